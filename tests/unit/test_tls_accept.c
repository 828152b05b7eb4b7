/* SPDX-License-Identifier: MIT */
/* TLS of listeners, against a client that is OpenSSL alone. */
#include "tests/unit/tls_fixture.h"

#include <criterion/criterion.h>
#include <openssl/ocsp.h>
#include <stdio.h>
#include <string.h>

TestSuite(tls_accept, .init = tls_fixture_setup, .fini = tls_fixture_teardown);

static struct gw_config config;
static struct gw_tls *tls;
static char error[GW_TLS_ERROR_MAX];

/* What a client does. */
struct client {
    int version;         /* 0: any */
    const char *ciphers; /* of TLS 1.2; NULL: OpenSSL's */
    const char *sni;
    const char *alpn; /* on the wire */
    const struct tls_issued *shows;
    bool wants_staple;
};

static SSL *client_new(const struct client *how)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_security_level(ctx, 0); /* for TLS 1.1 */
    SSL_CTX_set_min_proto_version(ctx, how->version);
    SSL_CTX_set_max_proto_version(ctx, how->version);
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_connect_state(ssl);
    if (how->ciphers)
        cr_assert_eq(SSL_set_cipher_list(ssl, how->ciphers), 1);
    if (how->sni) {
        char name[256];

        snprintf(name, sizeof(name), "%s", how->sni);
        SSL_set_tlsext_host_name(ssl, name);
    }
    if (how->alpn)
        SSL_set_alpn_protos(ssl, (const unsigned char *)how->alpn,
                            (unsigned)strlen(how->alpn));
    if (how->shows) {
        SSL_use_certificate(ssl, how->shows->cert);
        SSL_use_PrivateKey(ssl, how->shows->key);
    }
    if (how->wants_staple)
        SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
    return ssl;
}

static void begin(void)
{
    cr_assert(gw_tls_new(&config, &tls, error), "%s", error);
    cr_assert_not_null(tls);
}

static void meet(struct tls_pair *pair, const struct client *how)
{
    tls_meet(pair, gw_tls_accept(tls), client_new(how));
}

Test(tls_accept, versions)
{
    static const struct {
        enum gw_tls_version least;
        int version;
        bool is_let_in;
    } rows[] = {
        {GW_TLS_1_2, TLS1_VERSION, false},
        {GW_TLS_1_2, TLS1_1_VERSION, false},
        {GW_TLS_1_2, TLS1_2_VERSION, true},
        {GW_TLS_1_2, TLS1_3_VERSION, true},
        {GW_TLS_1_3, TLS1_2_VERSION, false},
        {GW_TLS_1_3, TLS1_3_VERSION, true},
    };

    tls_config_setup(&config);
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "a"}));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_pair pair;

        config.tls_min_version = rows[i].least;
        begin();
        meet(&pair, &(struct client){.version = rows[i].version});
        cr_expect_eq(pair.is_done, rows[i].is_let_in, "row %zu: %s", i,
                     pair.server_why);
        cr_expect_str_eq(pair.server_why,
                         rows[i].is_let_in ? "" : "unsupported protocol");
        tls_part(&pair);
        gw_tls_free(tls);
    }
}

Test(tls_accept, ciphers_are_those_of_the_option_in_the_clients_order)
{
    struct tls_pair pair;

    tls_config_setup(&config);
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "a"}));
    begin();
    meet(&pair, &(struct client){.version = TLS1_2_VERSION,
                                 .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305:"
                                            "ECDHE-ECDSA-AES128-GCM-SHA256"});
    cr_assert(pair.is_done, "%s", pair.server_why);
    cr_expect_str_eq(SSL_get_cipher(pair.client),
                     "ECDHE-ECDSA-CHACHA20-POLY1305");
    tls_part(&pair);
    meet(&pair, &(struct client){.version = TLS1_2_VERSION,
                                 .ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"});
    cr_expect_not(pair.is_done);
    cr_expect_str_eq(pair.server_why, "no shared cipher");
    tls_part(&pair);
    gw_tls_free(tls);
}

Test(tls_accept, a_certificate_by_server_name)
{
    static const struct {
        const char *sni, *shown;
    } rows[] = {
        {NULL, "first"},
        {"unknown.example", "first"},
        {"one.example", "first"},
        {"TWO.Example", "second"},
        {"two.example.", "second"},
        {"x.two.example", "third"},
        {"special.two.example", "second"},
        {"y.x.two.example", "first"},
        {".two.example", "first"},
        {"common", "first"}, /* there are alternative names */
        {"bare.example", "bare.example"},
        {"wild.one.example", "first"},
    };

    tls_config_setup(&config);
    tls_config_add(&config, tls_issue(&(struct tls_order){
                                .name = "first",
                                .alt = "DNS:one.example,DNS:*.one.example"}));
    tls_config_add(&config, tls_issue(&(struct tls_order){
                                .name = "third", .alt = "DNS:*.Two.example"}));
    tls_config_add(&config,
                   tls_issue(&(struct tls_order){
                       .name = "second",
                       .alt = "DNS:two.example,DNS:special.two.example,"
                              "DNS:one.example"}));
    tls_config_add(&config, tls_issue(&(struct tls_order){
                                .name = "common", .alt = "IP:127.0.0.1"}));
    tls_config_add(&config,
                   tls_issue(&(struct tls_order){.name = "bare.example"}));
    begin();
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_pair pair;

        meet(&pair, &(struct client){.version = i % 2 ? TLS1_2_VERSION
                                                      : TLS1_3_VERSION,
                                     .sni = rows[i / 2].sni});
        cr_expect(pair.is_done, "%s", pair.server_why);
        cr_expect_str_eq(tls_shown(&pair), rows[i / 2].shown, "%s: %s",
                         rows[i / 2].sni ? rows[i / 2].sni : "none",
                         tls_shown(&pair));
        tls_part(&pair);
    }
    gw_tls_free(tls);
}

Test(tls_accept, ecdsa_and_rsa_of_one_name)
{
    static const struct {
        const char *ciphers;
        int kind;
    } rows[] = {{"ECDHE-RSA-AES128-GCM-SHA256", EVP_PKEY_RSA},
                {"ECDHE-ECDSA-AES128-GCM-SHA256", EVP_PKEY_EC}};
    const char *log;

    tls_config_setup(&config);
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "other"}));
    tls_config_add(&config,
                   tls_issue(&(struct tls_order){
                       .name = "ec", .alt = "DNS:b.example,DNS:a.example"}));
    tls_config_add(&config, tls_issue(&(struct tls_order){
                                .name = "rsa",
                                .alt = "DNS:a.example,DNS:B.example",
                                .is_rsa = true}));
    tls_config_add(&config,
                   tls_issue(&(struct tls_order){
                       .name = "twice", .alt = "DNS:a.example,DNS:b.example"}));
    tls_log_begin();
    begin();
    log = tls_log_end();
    cr_expect(strstr(log, " tls_certificate_unused file="), "%s", log);
    for (size_t i = 0; i < 2; i++) {
        struct tls_pair pair;

        meet(&pair, &(struct client){.version = TLS1_2_VERSION,
                                     .ciphers = rows[i].ciphers,
                                     .sni = "a.example"});
        cr_assert(pair.is_done, "%s", pair.server_why);
        cr_expect_eq(EVP_PKEY_get_base_id(X509_get0_pubkey(
                         SSL_get0_peer_certificate(pair.client))),
                     rows[i].kind);
        tls_part(&pair);
    }
    gw_tls_free(tls);
}

Test(tls_accept, protocols)
{
    static const struct {
        const char *offer, *chosen; /* NULL: refused */
    } rows[] = {
        {NULL, ""},
        {"\x08http/1.1", "http/1.1"},
        {"\x02h2\x08http/1.1", "http/1.1"},
        {"\x08http/1.0\x02h2", "http/1.0"},
        {"\x08http/1.0\x08http/1.1", "http/1.1"},
        {"\x02h2", NULL},
        {"\x02h3\x0b\x61\x63me-tls/1.", NULL},
    };

    tls_config_setup(&config);
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "a"}));
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "b"}));
    begin();
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        const char *chosen = rows[i / 2].chosen;
        const unsigned char *got = NULL;
        unsigned len = 0;
        struct tls_pair pair;

        meet(&pair, &(struct client){.alpn = rows[i / 2].offer,
                                     .sni = i % 2 ? "b" : NULL});
        cr_expect_eq(pair.is_done, chosen != NULL, "row %zu", i);
        SSL_get0_alpn_selected(pair.client, &got, &len);
        if (chosen)
            cr_expect(len == strlen(chosen) &&
                          (len == 0 || !memcmp(got, chosen, len)),
                      "row %zu: %.*s", i, (int)len, (const char *)got);
        else
            cr_expect(strstr(pair.client_why, "no application protocol"), "%s",
                      pair.client_why);
        tls_part(&pair);
    }
    gw_tls_free(tls);
}

Test(tls_accept, certificates_of_clients)
{
    const struct tls_issued *ca =
        tls_issue(&(struct tls_order){.name = "ca", .is_ca = true});
    const struct tls_issued *other =
        tls_issue(&(struct tls_order){.name = "other-ca", .is_ca = true});
    const struct tls_issued *good =
        tls_issue(&(struct tls_order){.name = "good", .issuer = ca});
    const struct tls_issued *wrong =
        tls_issue(&(struct tls_order){.name = "wrong", .issuer = other});
    const struct tls_issued *old = tls_issue(&(struct tls_order){
        .name = "old", .issuer = ca, .from_day = -9, .to_day = -2});
    const struct {
        enum gw_client_verify demand;
        const struct tls_issued *shows;
        const char *why; /* NULL: let in */
    } rows[] = {
        {GW_CLIENT_VERIFY_REQUIRE, good, NULL},
        {GW_CLIENT_VERIFY_REQUIRE, NULL, "peer did not return a certificate"},
        {GW_CLIENT_VERIFY_REQUIRE, wrong,
         "certificate verify failed: unable to get local issuer certificate"},
        {GW_CLIENT_VERIFY_REQUIRE, old,
         "certificate verify failed: certificate has expired"},
        {GW_CLIENT_VERIFY_OPTIONAL, good, NULL},
        {GW_CLIENT_VERIFY_OPTIONAL, NULL, NULL},
        {GW_CLIENT_VERIFY_OPTIONAL, wrong,
         "certificate verify failed: unable to get local issuer certificate"},
    };

    tls_config_setup(&config);
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "a"}));
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "b"}));
    snprintf(config.tls_client_ca, GW_FILE_MAX, "%s", ca->file);
    for (size_t i = 0; i < 4 * sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_pair pair;

        config.tls_client_verify = rows[i / 4].demand;
        begin();
        meet(&pair, &(struct client){.version = i % 2 ? TLS1_2_VERSION
                                                      : TLS1_3_VERSION,
                                     .sni = i % 4 / 2 ? "b" : NULL,
                                     .shows = rows[i / 4].shows});
        cr_expect_eq(pair.is_done, !rows[i / 4].why, "row %zu: %s", i / 4,
                     pair.server_why);
        if (rows[i / 4].why)
            cr_expect_str_eq(pair.server_why, rows[i / 4].why, "row %zu: %s",
                             i / 4, pair.server_why);
        tls_part(&pair);
        gw_tls_free(tls);
    }
}

static void staple(const char *sni, bool is_stapled)
{
    for (int i = 0; i < 2; i++) {
        const unsigned char *der = NULL;
        struct tls_pair pair;

        meet(&pair,
             &(struct client){.version = i ? TLS1_2_VERSION : TLS1_3_VERSION,
                              .sni = sni,
                              .wants_staple = true});
        cr_assert(pair.is_done);
        long len = SSL_get_tlsext_status_ocsp_resp(pair.client, &der);
        cr_expect_eq(len > 0, is_stapled, "%s: %ld", sni, len);
        tls_part(&pair);
    }
}

Test(tls_accept, staples)
{
    const struct tls_issued *ca =
        tls_issue(&(struct tls_order){.name = "ca", .is_ca = true});
    static const char *const names[] = {"good", "late", "revoked", "without"};
    const char *log;

    tls_config_setup(&config);
    for (size_t i = 0; i < 4; i++) {
        const struct tls_issued *one =
            tls_issue(&(struct tls_order){.name = names[i], .issuer = ca});
        char name[32];

        tls_config_add(&config, one);
        if (i == 3)
            break;
        snprintf(name, sizeof(name), "%s.der", names[i]);
        tls_write_ocsp(name, one, ca,
                       i == 2 ? V_OCSP_CERTSTATUS_REVOKED
                              : V_OCSP_CERTSTATUS_GOOD,
                       i == 1 ? -60 : 3600);
        snprintf(config.certificates[i].ocsp, GW_FILE_MAX, "%s",
                 tls_path(name));
    }
    tls_log_begin();
    begin();
    log = tls_log_end();
    cr_expect(strstr(log, "warning tls_ocsp_unused file="), "%s", log);
    cr_expect(strstr(log, "late.der next_update=20"), "%s", log);
    cr_expect(strstr(log, "revoked.der status=revoked"), "%s", log);
    cr_expect(!strstr(log, "good.der"), "%s", log);
    staple("good", true);
    staple("late", false);
    staple("revoked", false);
    staple("without", false);
    gw_tls_free(tls);
}

Test(tls_accept, plain_http_is_called_so)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    BIO *in = BIO_new_mem_buf(request, -1);
    char why[64];

    tls_config_setup(&config);
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "a"}));
    begin();
    SSL *ssl = gw_tls_accept(tls);
    SSL_set_bio(ssl, in, BIO_new(BIO_s_mem()));
    cr_expect_lt(SSL_do_handshake(ssl), 1);
    cr_expect_str_eq(gw_tls_why(ssl, why, sizeof(why)), "http request");
    cr_expect_str_eq(gw_tls_why(ssl, why, sizeof(why)), "");
    SSL_free(ssl);
    gw_tls_free(tls);
}

Test(tls_accept, no_renegotiation)
{
    struct tls_pair pair;
    char byte;

    tls_config_setup(&config);
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "a"}));
    begin();
    meet(&pair, &(struct client){.version = TLS1_2_VERSION});
    cr_assert(pair.is_done);
    cr_assert_eq(SSL_renegotiate(pair.client), 1);
    SSL_do_handshake(pair.client);
    SSL_read(pair.server, &byte, 1);
    cr_expect_lt(SSL_do_handshake(pair.client), 1);
    gw_tls_why(pair.client, pair.client_why, sizeof(pair.client_why));
    cr_expect(strstr(pair.client_why, "no renegotiation"), "%s",
              pair.client_why);
    tls_part(&pair);
    gw_tls_free(tls);
}

static unsigned tickets;

static int count_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    (void)session;
    tickets++;
    return 0;
}

Test(tls_accept, one_ticket_and_no_session_kept)
{
    struct tls_pair pair;

    tls_config_setup(&config);
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "a"}));
    begin();
    for (int i = 0; i < 3; i++) {
        SSL *client = client_new(
            &(struct client){.version = i ? TLS1_2_VERSION : TLS1_3_VERSION});
        SSL_CTX *ctx = SSL_get_SSL_CTX(client);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(ctx, count_ticket);
        /* Who wants no ticket is given no session id either. */
        if (i == 2)
            SSL_set_options(client, SSL_OP_NO_TICKET);
        tickets = 0;
        tls_meet(&pair, gw_tls_accept(tls), client);
        cr_expect(pair.is_done);
        cr_expect_eq(tickets, i < 2, "%u", tickets);
        cr_expect_eq(SSL_CTX_sess_number(SSL_get_SSL_CTX(pair.server)), 0);
        tls_part(&pair);
    }
    gw_tls_free(tls);
}

Test(tls_accept, each_kind_of_key_has_its_staple)
{
    static const char *const ciphers[] = {"ECDHE-ECDSA-AES128-GCM-SHA256",
                                          "ECDHE-RSA-AES128-GCM-SHA256"};
    static const char *const names[] = {"ec.der", "rsa.der"};
    const struct tls_issued *ca =
        tls_issue(&(struct tls_order){.name = "ca", .is_ca = true});

    tls_config_setup(&config);
    for (size_t i = 0; i < 2; i++) {
        const struct tls_issued *one =
            tls_issue(&(struct tls_order){.name = i ? "rsa" : "ec",
                                          .alt = "DNS:a.example",
                                          .is_rsa = i == 1,
                                          .issuer = ca});

        tls_write_ocsp(names[i], one, ca, V_OCSP_CERTSTATUS_GOOD, 3600);
        tls_config_add(&config, one);
        snprintf(config.certificates[i].ocsp, GW_FILE_MAX, "%s",
                 tls_path(names[i]));
    }
    begin();
    for (size_t i = 0; i < 2; i++) {
        unsigned char file[4096];
        const unsigned char *der = NULL;
        struct tls_pair pair;

        meet(&pair, &(struct client){.version = TLS1_2_VERSION,
                                     .ciphers = ciphers[i],
                                     .wants_staple = true});
        cr_assert(pair.is_done, "%s", pair.server_why);
        long len = SSL_get_tlsext_status_ocsp_resp(pair.client, &der);
        FILE *in = fopen(tls_path(names[i]), "r");
        cr_assert_eq((long)fread(file, 1, sizeof(file), in), len);
        fclose(in);
        cr_expect_eq(memcmp(file, der, (size_t)len), 0);
        tls_part(&pair);
    }
    gw_tls_free(tls);
}

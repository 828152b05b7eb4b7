/* SPDX-License-Identifier: MIT */
/* TLS towards backends, which are OpenSSL alone. */
#include "tests/unit/tls_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(tls_connect, .init = tls_fixture_setup, .fini = tls_fixture_teardown);

static struct gw_config config;
static struct gw_tls *tls;
static char error[GW_TLS_ERROR_MAX];

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static SSL_CTX *server_context(const struct tls_issued *issued, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    SSL_CTX_set_security_level(ctx, 0); /* for TLS 1.1 */
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    cr_assert_eq(SSL_CTX_use_certificate(ctx, issued->cert), 1);
    cr_assert_eq(SSL_CTX_use_PrivateKey(ctx, issued->key), 1);
    return ctx;
}

static SSL *server_of(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);

    SSL_set_accept_state(ssl);
    return ssl;
}

static void setup(const char *ca_file, const char *name, bool is_unverified)
{
    memset(&config, 0, sizeof(config));
    config.backend_count = 2;
    for (size_t i = 0; i < 2; i++) {
        config.backends[i].is_tls = true;
        config.backends[i].is_unverified = is_unverified;
        snprintf(config.backends[i].tls_name,
                 sizeof(config.backends[i].tls_name), "%s", name);
    }
    if (ca_file)
        snprintf(config.backend_ca, GW_FILE_MAX, "%s", ca_file);
}

static void begin(void)
{
    cr_assert(gw_tls_new(&config, &tls, error), "%s", error);
    cr_expect_null(gw_tls_accept(tls), "no listener speaks TLS");
}

struct verified {
    const struct tls_issued *has;
    const char *ca_file, *name, *sni;
    bool is_unverified;
    const char *why; /* NULL: it is good */
};

static void check_verified(size_t number, const struct verified *row,
                           int version)
{
    SSL_CTX *ctx = server_context(row->has, version);
    struct tls_pair pair;

    setup(row->ca_file, row->name, row->is_unverified);
    begin();
    tls_meet(&pair, server_of(ctx),
             gw_tls_connect(tls, &config.backends[1], 1));
    cr_expect_eq(pair.is_done, !row->why, "row %zu: %s", number,
                 pair.client_why);
    cr_expect_str_eq(pair.client_why, row->why ? row->why : "", "row %zu: %s",
                     number, pair.client_why);
    const char *sni =
        SSL_get_servername(pair.server, TLSEXT_NAMETYPE_host_name);
    cr_expect_eq(sni != NULL, row->sni != NULL, "row %zu", number);
    if (sni && row->sni)
        cr_expect_str_eq(sni, row->sni);
    tls_part(&pair);
    gw_tls_free(tls);
    SSL_CTX_free(ctx);
}

Test(tls_connect, certificates_are_verified)
{
    const struct tls_issued *ca =
        tls_issue(&(struct tls_order){.name = "ca", .is_ca = true});
    const struct tls_issued *other =
        tls_issue(&(struct tls_order){.name = "other-ca", .is_ca = true});
    const struct tls_issued *good = tls_issue(&(struct tls_order){
        .name = "good",
        .alt = "DNS:n1.example,DNS:*.wild.example,IP:127.0.0.1,IP:2001:db8::1",
        .issuer = ca});
    const struct tls_issued *rsa = tls_issue(&(struct tls_order){
        .name = "rsa", .alt = "DNS:n1.example", .is_rsa = true, .issuer = ca});
    const struct tls_issued *old =
        tls_issue(&(struct tls_order){.name = "old",
                                      .alt = "DNS:n1.example",
                                      .issuer = ca,
                                      .from_day = -9,
                                      .to_day = -2});
    static const char unknown[] =
        "certificate verify failed: unable to get local issuer certificate";
    static const char host[] = "certificate verify failed: hostname mismatch";
    static const char ip[] = "certificate verify failed: IP address mismatch";
    const struct verified rows[] = {
        {good, ca->file, "n1.example", "n1.example", false, NULL},
        {rsa, ca->file, "n1.example", "n1.example", false, NULL},
        {good, ca->file, "x.wild.example", "x.wild.example", false, NULL},
        {good, good->file, "n1.example", "n1.example", false, NULL},
        {good, ca->file, "127.0.0.1", NULL, false, NULL},
        {good, ca->file, "2001:DB8:0::1", NULL, false, NULL},
        {good, ca->file, "[2001:db8::1]", NULL, false, NULL},
        {good, ca->file, "n2.example", "n2.example", false, host},
        {good, ca->file, "wild.example", "wild.example", false, host},
        {good, ca->file, "127.0.0.2", NULL, false, ip},
        {rsa, ca->file, "127.0.0.1", NULL, false, ip},
        {good, ca->file, "[2001:db8::2]", NULL, false, ip},
        {good, other->file, "n1.example", "n1.example", false, unknown},
        {good, NULL, "n1.example", "n1.example", false, unknown},
        {old, ca->file, "n1.example", "n1.example", false,
         "certificate verify failed: certificate has expired"},
        {old, other->file, "n2.example", "n2.example", true, NULL},
        {good, NULL, "127.0.0.9", NULL, true, NULL},
        {good, NULL, "", NULL, true, NULL},
    };

    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++)
        check_verified(i / 2, &rows[i / 2], versions[i % 2]);
}

Test(tls_connect, versions)
{
    static const struct {
        enum gw_tls_version least;
        int version;
        bool is_done;
    } rows[] = {
        {GW_TLS_1_2, TLS1_1_VERSION, false},
        {GW_TLS_1_2, TLS1_2_VERSION, true},
        {GW_TLS_1_2, TLS1_3_VERSION, true},
        {GW_TLS_1_3, TLS1_2_VERSION, false},
        {GW_TLS_1_3, TLS1_3_VERSION, true},
    };
    const struct tls_issued *one =
        tls_issue(&(struct tls_order){.name = "n1.example"});

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        SSL_CTX *ctx = server_context(one, rows[i].version);
        struct tls_pair pair;

        setup(one->file, "n1.example", false);
        config.tls_min_version = rows[i].least;
        begin();
        tls_meet(&pair, server_of(ctx),
                 gw_tls_connect(tls, &config.backends[0], 0));
        cr_expect_eq(pair.is_done, rows[i].is_done, "row %zu: %s", i,
                     pair.client_why);
        tls_part(&pair);
        gw_tls_free(tls);
        SSL_CTX_free(ctx);
    }
}

static int take_first(SSL *ssl, const unsigned char **out, unsigned char *len,
                      const unsigned char *offer, unsigned offer_len, void *arg)
{
    unsigned char *all = arg;

    (void)ssl;
    memcpy(all, offer, offer_len < 32 ? offer_len : 31);
    *out = offer + 1;
    *len = offer[0];
    return SSL_TLSEXT_ERR_OK;
}

Test(tls_connect, our_certificate_and_protocol)
{
    const struct tls_issued *ca =
        tls_issue(&(struct tls_order){.name = "ca", .is_ca = true});
    const struct tls_issued *server =
        tls_issue(&(struct tls_order){.name = "n1.example", .issuer = ca});
    const struct tls_issued *ours =
        tls_issue(&(struct tls_order){.name = "gateway", .issuer = ca});

    for (size_t i = 0; i < 4; i++) {
        SSL_CTX *ctx = server_context(server, versions[i % 2]);
        char offer[32] = "";
        struct tls_pair pair;

        SSL_CTX_load_verify_file(ctx, ca->file);
        SSL_CTX_set_verify(
            ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        SSL_CTX_set_alpn_select_cb(ctx, take_first, offer);
        setup(ca->file, "n1.example", false);
        if (i < 2) {
            snprintf(config.backend_certificate.file, GW_FILE_MAX, "%s",
                     ours->file);
            snprintf(config.backend_certificate.key, GW_FILE_MAX, "%s",
                     ours->key_file);
        }
        begin();
        tls_meet(&pair, server_of(ctx),
                 gw_tls_connect(tls, &config.backends[0], 0));
        cr_expect_eq(pair.is_done, i < 2, "%s", pair.server_why);
        cr_expect_eq(gw_tls_not_after(tls) > 0, i < 2);
        cr_expect_str_eq(offer, "\x08http/1.1");
        tls_part(&pair);
        gw_tls_free(tls);
        SSL_CTX_free(ctx);
    }
}

static bool resumes(SSL_CTX *ctx, size_t index, bool is_abrupt)
{
    struct tls_pair pair;

    tls_meet(&pair, server_of(ctx),
             gw_tls_connect(tls, &config.backends[index], index));
    cr_assert(pair.is_done, "%s", pair.client_why);
    bool is_resumed = SSL_session_reused(pair.client) == 1;
    if (!is_abrupt)
        SSL_set_shutdown(pair.client,
                         SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    tls_part(&pair);
    return is_resumed;
}

Test(tls_connect, sessions_are_resumed_with_the_backend_that_gave_them)
{
    const struct tls_issued *ca =
        tls_issue(&(struct tls_order){.name = "ca", .is_ca = true});
    const struct tls_issued *next =
        tls_issue(&(struct tls_order){.name = "next", .is_ca = true});
    const struct tls_issued *server =
        tls_issue(&(struct tls_order){.name = "n1.example", .issuer = ca});

    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *ctx = server_context(server, versions[i]);
        struct tls_pair pair;

        tls_replace(ca, ca);
        setup(ca->file, "n1.example", false);
        begin();
        cr_expect_not(resumes(ctx, 0, true));
        cr_expect(resumes(ctx, 0, true), "one that breaks leaves it good");
        cr_expect(resumes(ctx, 0, false));
        cr_expect_not(resumes(ctx, 1, false), "another backend");
        cr_expect(resumes(ctx, 1, false));
        cr_assert(gw_tls_reload(tls, &config, error), "%s", error);
        cr_expect_not(resumes(ctx, 0, false));
        cr_expect(resumes(ctx, 0, false));

        /* A ticket of before the reload must not come into use after it. */
        SSL *before = gw_tls_connect(tls, &config.backends[0], 0);
        tls_replace(ca, next);
        cr_assert(gw_tls_reload(tls, &config, error), "%s", error);
        tls_meet(&pair, server_of(ctx), before);
        cr_expect(pair.is_done);
        tls_part(&pair);
        tls_meet(&pair, server_of(ctx),
                 gw_tls_connect(tls, &config.backends[0], 0));
        cr_expect_not(pair.is_done);
        tls_part(&pair);
        gw_tls_free(tls);
        SSL_CTX_free(ctx);
    }
}

/* SPDX-License-Identifier: MIT */
/* Certificates in a folder of the test's own, and handshakes in memory. */
#include "tests/unit/tls_fixture.h"

#include "gateway/log.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char tls_folder[64];

static struct tls_issued issued[TLS_ISSUED_MAX];
static size_t issued_count;

void tls_fixture_setup(void)
{
    snprintf(tls_folder, sizeof(tls_folder), "/tmp/sidgate-tls-XXXXXX");
    cr_assert_not_null(mkdtemp(tls_folder));
    gw_log_setup(GW_LOG_ERROR, GW_LOG_TEXT);
}

void tls_fixture_teardown(void)
{
    DIR *dir = opendir(tls_folder);

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlink(tls_path(entry->d_name));
    if (dir)
        closedir(dir);
    rmdir(tls_folder);
    for (size_t i = 0; i < issued_count; i++) {
        X509_free(issued[i].cert);
        EVP_PKEY_free(issued[i].key);
    }
    issued_count = 0;
}

const char *tls_path(const char *name)
{
    static char paths[4][GW_FILE_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, GW_FILE_MAX, "%s/%.180s", tls_folder, name);
    return path;
}

void tls_write(const char *name, const void *bytes, size_t len)
{
    FILE *file = fopen(tls_path(name), "w");

    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

static void write_pair(const char *file, const char *key_file,
                       const struct tls_issued *from)
{
    FILE *out = fopen(file, "w");

    cr_assert_not_null(out);
    cr_assert_eq(PEM_write_X509(out, from->cert), 1);
    fclose(out);
    out = fopen(key_file, "w");
    cr_assert_not_null(out);
    cr_assert_eq(
        PEM_write_PrivateKey(out, from->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(out);
}

void tls_replace(const struct tls_issued *old, const struct tls_issued *fresh)
{
    write_pair(old->file, old->key_file, fresh);
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    cr_assert_not_null(extension, "%s", value);
    cr_assert_eq(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

const struct tls_issued *tls_issue(const struct tls_order *order)
{
    struct tls_issued *one = &issued[issued_count++];
    const struct tls_issued *issuer = order->issuer ? order->issuer : one;
    const char *common = order->common ? order->common : order->name;
    bool has_days = order->from_day != 0 || order->to_day != 0;

    cr_assert_leq(issued_count, TLS_ISSUED_MAX);
    one->key = order->is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("prime256v1");
    one->cert = X509_new();
    X509 *cert = one->cert;
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)issued_count + 100);
    X509_gmtime_adj(X509_getm_notBefore(cert),
                    86400L * (has_days ? order->from_day : -1));
    X509_gmtime_adj(X509_getm_notAfter(cert),
                    86400L * (has_days ? order->to_day : 30));
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                               (const unsigned char *)common, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer->cert));
    X509_set_pubkey(cert, one->key);
    if (order->is_ca)
        add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
    if (order->alt)
        add_extension(cert, NID_subject_alt_name, order->alt);
    cr_assert_gt(X509_sign(cert, issuer->key, EVP_sha256()), 0);
    snprintf(one->file, sizeof(one->file), "%s/%s.pem", tls_folder,
             order->name);
    snprintf(one->key_file, sizeof(one->key_file), "%s/%s.key", tls_folder,
             order->name);
    write_pair(one->file, one->key_file, one);
    return one;
}

void tls_write_ocsp(const char *name, const struct tls_issued *about,
                    const struct tls_issued *issuer, int status, long due_s)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, about->cert, issuer->cert);
    ASN1_TIME *then = X509_gmtime_adj(NULL, -86400L);
    ASN1_TIME *due = X509_gmtime_adj(NULL, due_s);
    unsigned char *der = NULL;

    bool is_revoked = status == V_OCSP_CERTSTATUS_REVOKED;
    cr_assert_not_null(OCSP_basic_add1_status(
        basic, id, status, OCSP_REVOKED_STATUS_UNSPECIFIED,
        is_revoked ? then : NULL, then, due));
    cr_assert_eq(OCSP_basic_sign(basic, issuer->cert, issuer->key, EVP_sha256(),
                                 NULL, 0),
                 1);
    OCSP_RESPONSE *response =
        OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    int len = i2d_OCSP_RESPONSE(response, &der);
    cr_assert_gt(len, 0);
    tls_write(name, der, (size_t)len);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(then);
    ASN1_TIME_free(due);
}

void tls_config_add(struct gw_config *config, const struct tls_issued *one)
{
    struct gw_certificate_config *certificate =
        &config->certificates[config->certificate_count++];

    snprintf(certificate->file, GW_FILE_MAX, "%s", one->file);
    snprintf(certificate->key, GW_FILE_MAX, "%s", one->key_file);
}

void tls_config_setup(struct gw_config *config)
{
    memset(config, 0, sizeof(*config));
    config->listen_count = 1;
    config->listen[0].is_tls = true;
    snprintf(config->tls_ciphers, sizeof(config->tls_ciphers),
             "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
             "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305");
}

/* --- handshakes ---------------------------------------------------------- */

/* One step of one side. 1: done, 0: waits, -1: failed. */
static int step(SSL *ssl, char *why, size_t cap)
{
    ERR_clear_error();
    int result = SSL_do_handshake(ssl);
    if (result == 1)
        return 1;
    if (SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ)
        return 0;
    gw_tls_why(ssl, why, cap);
    cr_expect_eq(ERR_peek_error(), 0, "the error queue is left empty");
    return -1;
}

/* Takes what follows the handshake, as session tickets. */
static bool reads_on(SSL *ssl, char *why, size_t cap)
{
    char byte;

    ERR_clear_error();
    int result = SSL_read(ssl, &byte, 1);
    if (SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ)
        return true;
    gw_tls_why(ssl, why, cap);
    return false;
}

void tls_meet(struct tls_pair *pair, SSL *server, SSL *client)
{
    BIO *one, *other;
    int server_step = 0, client_step = 0;

    cr_assert_not_null(server);
    cr_assert_not_null(client);
    cr_assert_eq(BIO_new_bio_pair(&one, 65536, &other, 65536), 1);
    SSL_set_bio(server, one, one);
    SSL_set_bio(client, other, other);
    *pair = (struct tls_pair){.server = server, .client = client};
    for (int i = 0; i < 10; i++) {
        if (client_step == 0)
            client_step =
                step(client, pair->client_why, sizeof(pair->client_why));
        if (server_step == 0)
            server_step =
                step(server, pair->server_why, sizeof(pair->server_why));
    }
    /* In TLS 1.3 a client is done before the server has judged it. */
    pair->is_done =
        client_step == 1 &&
        reads_on(client, pair->client_why, sizeof(pair->client_why)) &&
        server_step == 1 &&
        reads_on(server, pair->server_why, sizeof(pair->server_why));
}

void tls_part(struct tls_pair *pair)
{
    SSL_set_shutdown(pair->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(pair->server);
    SSL_free(pair->client);
    *pair = (struct tls_pair){0};
}

const char *tls_shown(const struct tls_pair *pair)
{
    static char common[64];
    const X509 *cert = SSL_get0_peer_certificate(pair->client);

    if (!cert)
        return "none";
    const X509_NAME *subject = X509_get_subject_name(cert);
    const ASN1_STRING *text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(
        subject, X509_NAME_get_index_by_NID(subject, NID_commonName, -1)));
    snprintf(common, sizeof(common), "%.*s", ASN1_STRING_length(text),
             (const char *)ASN1_STRING_get0_data(text));
    return common;
}

/* --- log lines ----------------------------------------------------------- */

static int log_saved = -1, log_file = -1;

void tls_log_begin(void)
{
    gw_log_setup(GW_LOG_INFO, GW_LOG_TEXT);
    fflush(stderr);
    log_saved = dup(STDERR_FILENO);
    log_file = open(tls_path("log"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(log_file, 0);
    dup2(log_file, STDERR_FILENO);
}

const char *tls_log_end(void)
{
    static char text[16384];

    gw_log_setup(GW_LOG_ERROR, GW_LOG_TEXT);
    dup2(log_saved, STDERR_FILENO);
    close(log_saved);
    ssize_t len = pread(log_file, text, sizeof(text) - 1, 0);
    close(log_file);
    text[len > 0 ? len : 0] = '\0';
    return text;
}

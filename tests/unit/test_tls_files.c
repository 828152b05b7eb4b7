/* SPDX-License-Identifier: MIT */
/* What is said of files that are wrong, and of certificates that are read. */
#include "tests/unit/tls_fixture.h"

#include <criterion/criterion.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

TestSuite(tls_files, .init = tls_fixture_setup, .fini = tls_fixture_teardown);

static struct gw_config config;
static char error[GW_TLS_ERROR_MAX];

static void write_text(const char *name, const char *text)
{
    tls_write(name, text, strlen(text));
}

static void write_encrypted(const char *name, const struct tls_issued *one)
{
    FILE *out = fopen(tls_path(name), "w");
    char word[] = "secret";

    cr_assert_eq(PEM_write_PrivateKey(out, one->key, EVP_aes_128_cbc(), NULL, 0,
                                      NULL, word),
                 1);
    fclose(out);
}

/* A file that has a whole certificate and one that is cut. */
static void write_cut(const char *name, const struct tls_issued *one)
{
    static const char cut[] = "-----BEGIN CERTIFICATE-----\nMIIB\n"
                              "-----END CERTIFICATE-----\n";
    FILE *out = fopen(tls_path(name), "w");

    PEM_write_X509(out, one->cert);
    fputs(cut, out);
    fclose(out);
}

/* An OCSP answer that has no content but its status, tryLater. */
static void write_later(const char *name)
{
    tls_write(name, "\x30\x03\x0a\x01\x03", 5);
}

static void prepare(void)
{
    static char big[1 << 20 | 2];
    const struct tls_issued *ca =
        tls_issue(&(struct tls_order){.name = "ca", .is_ca = true});
    const struct tls_issued *good =
        tls_issue(&(struct tls_order){.name = "good", .issuer = ca});
    const struct tls_issued *other =
        tls_issue(&(struct tls_order){.name = "other", .issuer = ca});

    memset(big, 'x', sizeof(big));
    tls_write("big", big, sizeof(big));
    tls_write("big.der", big, GW_TLS_ERROR_MAX * 40);
    write_text("text", "not PEM at all\n");
    write_text("empty", "");
    write_encrypted("encrypted", good);
    write_cut("cut", good);
    write_later("later.der");
    tls_write_ocsp("other.der", other, ca, V_OCSP_CERTSTATUS_GOOD, 3600);
}

/* Files of the folder. */
static const struct {
    const char *file, *key, *ocsp, *client_ca;
    const char *line; /* after the folder's name */
} wrong[] = {
    {"none", NULL, NULL, NULL,
     "/none: cannot be read: No such file or directory"},
    {"", NULL, NULL, NULL, "/: cannot be read: Is a directory"},
    {"big", NULL, NULL, NULL, "/big: cannot be read: File too large"},
    {"empty", NULL, NULL, NULL, "/empty: holds no certificate in PEM"},
    {"text", NULL, NULL, NULL, "/text: holds no certificate in PEM"},
    {"good.key", NULL, NULL, NULL, "/good.key: holds no certificate in PEM"},
    {"cut", "good.key", NULL, NULL, "/cut: a certificate cannot be read: "},
    {"good.pem", NULL, NULL, NULL, "/good.pem: holds no private key in PEM"},
    {"good.pem", "none", NULL, NULL,
     "/none: cannot be read: No such file or directory"},
    {"good.pem", "text", NULL, NULL, "/text: holds no private key in PEM"},
    {"good.pem", "encrypted", NULL, NULL,
     "/encrypted: the key is encrypted, and nobody can be asked for its "
     "passphrase"},
    {"good.pem", "other.key", NULL, NULL,
     "/other.key: is not the key of the certificate in "},
    {"good.pem", "good.key", "none", NULL,
     "/none: cannot be read: No such file or directory"},
    {"good.pem", "good.key", "text", NULL, "/text: is no OCSP response in DER"},
    {"good.pem", "good.key", "empty", NULL,
     "/empty: is no OCSP response in DER"},
    {"good.pem", "good.key", "big.der", NULL, "/big.der: is over 16384 bytes"},
    {"good.pem", "good.key", "later.der", NULL,
     "/later.der: the OCSP response says no more than trylater"},
    {"good.pem", "good.key", "other.der", NULL,
     "/other.der: the OCSP response is of another certificate"},
    {"good.pem", "good.key", NULL, "none",
     "/none: cannot be read: No such file or directory"},
    {"good.pem", "good.key", NULL, "text",
     "/text: holds no certificate in PEM"},
    {"good.pem", "good.key", NULL, "cut",
     "/cut: a certificate cannot be read: "},
};

static void name_file(char out[GW_FILE_MAX], const char *name)
{
    out[0] = '\0';
    if (name)
        snprintf(out, GW_FILE_MAX, "%s", tls_path(name));
}

static void expect_line(size_t row, const char *line)
{
    size_t len = strlen(tls_folder);

    cr_expect(!strncmp(error, tls_folder, len) &&
                  !strncmp(error + len, line, strlen(line)) &&
                  !strchr(error, '\n'),
              "row %zu: %s", row, error);
}

Test(tls_files, wrong_ones_are_named)
{
    prepare();
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct gw_certificate_config *certificate = &config.certificates[0];
        struct gw_tls *tls;

        tls_config_setup(&config);
        config.certificate_count = 1;
        name_file(certificate->file, wrong[i].file);
        name_file(certificate->key, wrong[i].key);
        name_file(certificate->ocsp, wrong[i].ocsp);
        name_file(config.tls_client_ca, wrong[i].client_ca);
        error[0] = '\0';
        cr_expect_not(gw_tls_new(&config, &tls, error), "row %zu", i);
        cr_expect_null(tls);
        expect_line(i, wrong[i].line);
    }
}

Test(tls_files, wrong_ones_of_backends_are_named)
{
    struct gw_tls *tls;

    prepare();
    memset(&config, 0, sizeof(config));
    config.backend_count = 1;
    config.backends[0].is_tls = true;
    snprintf(config.backends[0].id, sizeof(config.backends[0].id), "n1");
    cr_expect_not(gw_tls_new(&config, &tls, error));
    cr_expect_str_eq(error, "backend n1: there is no name that its "
                            "certificate must have");
    snprintf(config.backends[0].tls_name, 256, "n1.example");
    name_file(config.backend_ca, "text");
    cr_expect_not(gw_tls_new(&config, &tls, error));
    expect_line(0, "/text: holds no certificate in PEM");
    name_file(config.backend_ca, "ca.pem");
    name_file(config.backend_certificate.file, "good.pem");
    name_file(config.backend_certificate.key, "other.key");
    cr_expect_not(gw_tls_new(&config, &tls, error));
    expect_line(1, "/other.key: is not the key of the certificate in ");
}

Test(tls_files, no_permission)
{
    struct gw_tls *tls;

    if (geteuid() == 0 && seteuid(65534) != 0)
        cr_skip_test("cannot be another user");
    tls_config_setup(&config);
    config.certificate_count = 1;
    if (geteuid() == 65534 && getuid() == 0) {
        cr_assert_eq(seteuid(0), 0);
        prepare();
        chmod(tls_folder, 0755);
        chmod(tls_path("good.key"), 0600);
        cr_assert_eq(seteuid(65534), 0);
    } else {
        prepare();
        chmod(tls_path("good.key"), 0);
    }
    name_file(config.certificates[0].file, "good.pem");
    name_file(config.certificates[0].key, "good.key");
    cr_expect_not(gw_tls_new(&config, &tls, error));
    expect_line(0, "/good.key: cannot be read: Permission denied");
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
}

Test(tls_files, ciphers_and_no_certificate)
{
    static const struct {
        const char *ciphers;
        const char *line; /* NULL: good */
    } rows[] = {
        {"ECDHE-RSA-AES128-GCM-SHA256:nonsense",
         "tls-ciphers: OpenSSL knows no TLS 1.2 cipher nonsense"},
        {"nonsense", "tls-ciphers: OpenSSL knows no TLS 1.2 cipher nonsense"},
        {"TLS_AES_128_GCM_SHA256", "tls-ciphers: OpenSSL knows no TLS 1.2 "
                                   "cipher TLS_AES_128_GCM_SHA256"},
        {"!ALL", "tls-ciphers: "},
        {"HIGH:!aNULL:!MD5:@STRENGTH", NULL},
        {"EECDH+AESGCM:!RC4", NULL},
        {"", NULL},
    };
    struct gw_tls *tls;

    tls_config_setup(&config);
    cr_expect_not(gw_tls_new(&config, &tls, error));
    cr_expect_str_eq(error, "listen: tls needs a --tls-certificate");
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "a"}));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *line = rows[i].line;
        size_t len = line ? strlen(line) : 0;

        snprintf(config.tls_ciphers, sizeof(config.tls_ciphers), "%s",
                 rows[i].ciphers);
        error[0] = '\0';
        cr_expect_eq(gw_tls_new(&config, &tls, error), !line, "%s", error);
        cr_expect(!line || !strncmp(error, line, len), "%s", error);
        gw_tls_free(tls);
    }
}

Test(tls_files, nothing_is_read_where_nobody_speaks_tls)
{
    struct gw_tls *tls;

    tls_config_setup(&config);
    config.listen[0].is_tls = false;
    config.backend_count = 1;
    config.certificate_count = 1;
    snprintf(config.certificates[0].file, GW_FILE_MAX, "/nonexistent");
    cr_assert(gw_tls_new(&config, &tls, error), "%s", error);
    cr_assert_not_null(tls);
    cr_expect_null(gw_tls_accept(tls));
    cr_expect_null(gw_tls_connect(tls, &config.backends[0], 0));
    cr_expect_not(gw_tls_can_connect(tls, &config.backends[0]));
    cr_expect_eq(gw_tls_not_after(tls), 0);
    cr_expect(gw_tls_reload(tls, &config, error));
    cr_expect_null(gw_tls_accept(tls));
    gw_tls_free(tls);
    gw_tls_free(NULL);
}

Test(tls_files, expired_and_future_ones_are_used_and_warned_of)
{
    struct gw_tls *tls;
    const char *log;

    tls_config_setup(&config);
    tls_config_add(
        &config, tls_issue(&(struct tls_order){
                     .name = "fine", .alt = "DNS:b.example,DNS:*.A.example"}));
    tls_config_add(&config, tls_issue(&(struct tls_order){
                                .name = "past", .from_day = -9, .to_day = -2}));
    tls_config_add(&config, tls_issue(&(struct tls_order){
                                .name = "future", .from_day = 2, .to_day = 9}));
    tls_log_begin();
    cr_assert(gw_tls_new(&config, &tls, error), "%s", error);
    log = tls_log_end();
    cr_expect(strstr(log, "fine.pem names=*.a.example,b.example not_after=20"),
              "%s", log);
    cr_expect(strstr(log, "warning tls_certificate_expired file="), "%s", log);
    cr_expect(strstr(log, "past.pem not_after=20"), "%s", log);
    cr_expect(strstr(log, "warning tls_certificate_future file="), "%s", log);
    cr_expect(strstr(log, "future.pem not_before=20"), "%s", log);
    cr_expect(!strstr(log, "expired file=fine"), "%s", log);
    int64_t left = gw_tls_not_after(tls) - time(NULL);
    cr_expect(left < -2 * 86400 + 60 && left > -2 * 86400 - 60);
    gw_tls_free(tls);
}

/* SPDX-License-Identifier: MIT */
/*
 * Certificates, keys, authorities and OCSP responses, read from files.
 *
 * Whatever is wrong ends in one line that names the file, for these are the
 * mistakes that an operator makes most.
 */
#include "gateway/tls_private.h"

#include "gateway/log.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1 << 20, LOG_VALUE_MAX = 512, TIME_TEXT_MAX = 24 };

bool gw_tls_fail(char error[GW_TLS_ERROR_MAX], const char *form, ...)
{
    va_list args;

    va_start(args, form);
    vsnprintf(error, GW_TLS_ERROR_MAX, form, args);
    va_end(args);
    ERR_clear_error();
    return false;
}

const char *gw_tls_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return reason ? reason : "OpenSSL does not say why";
}

/* --- bytes --------------------------------------------------------------- */

struct bytes {
    unsigned char *ptr;
    size_t len;
};

static void bytes_fini(struct bytes *bytes)
{
    /* It may hold a key. */
    OPENSSL_clear_free(bytes->ptr, FILE_BYTES_MAX + 1);
    *bytes = (struct bytes){0};
}

/* errno says why not; EFBIG when it is over FILE_BYTES_MAX. */
static bool read_all(int fd, struct bytes *bytes)
{
    while (bytes->len <= FILE_BYTES_MAX) {
        ssize_t got =
            read(fd, bytes->ptr + bytes->len, FILE_BYTES_MAX + 1 - bytes->len);

        if (got == 0)
            return true;
        if (got > 0)
            bytes->len += (size_t)got;
        else if (errno != EINTR)
            return false;
    }
    errno = EFBIG;
    return false;
}

static bool bytes_read(const char *file, struct bytes *bytes, char *error)
{
    char why[128];

    *bytes = (struct bytes){.ptr = OPENSSL_malloc(FILE_BYTES_MAX + 1)};
    if (!bytes->ptr)
        return gw_tls_fail(error, "%s: memory is short", file);
    /* Without waiting, should somebody name a pipe. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool is_read = fd >= 0 && read_all(fd, bytes);
    int code = errno;
    if (fd >= 0)
        close(fd);
    if (is_read)
        return true;
    bytes_fini(bytes);
    return gw_tls_fail(error, "%s: cannot be read: %s", file,
                       strerror_r(code, why, sizeof(why)));
}

/* Whether reading PEM ended only because nothing more of the kind came. */
static bool is_pem_end(void)
{
    unsigned long code = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(code) == ERR_LIB_PEM &&
                  ERR_GET_REASON(code) == PEM_R_NO_START_LINE;

    if (is_end)
        ERR_clear_error();
    return is_end;
}

/* Never asks anybody: a daemon has nobody to ask. */
static int refuse_passphrase(char *out, int cap, int is_written, void *is_asked)
{
    (void)out;
    (void)cap;
    (void)is_written;
    *(bool *)is_asked = true;
    return -1;
}

/* All certificates of the file, at least one. */
static STACK_OF(X509) *
    certificates_parse(const char *file, const struct bytes *bytes, char *error)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(bytes->ptr, (int)bytes->len);
    bool is_asked = false;
    bool is_good = all && bio;

    ERR_clear_error();
    while (is_good) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, refuse_passphrase, &is_asked);

        if (!cert)
            break;
        is_good = sk_X509_push(all, cert) > 0;
        if (!is_good)
            X509_free(cert);
    }
    BIO_free(bio);
    if (!is_good)
        gw_tls_fail(error, "%s: memory is short", file);
    else if (!is_pem_end())
        is_good = gw_tls_fail(error, "%s: a certificate cannot be read: %s",
                              file, gw_tls_reason());
    else if (sk_X509_num(all) == 0)
        is_good = gw_tls_fail(error, "%s: holds no certificate in PEM", file);
    if (is_good)
        return all;
    sk_X509_pop_free(all, X509_free);
    return NULL;
}

/* --- a certificate and its key ------------------------------------------- */

static bool key_load(const char *file, EVP_PKEY **key, char *error)
{
    struct bytes bytes;
    bool is_asked = false;

    if (!bytes_read(file, &bytes, error))
        return false;
    BIO *bio = BIO_new_mem_buf(bytes.ptr, (int)bytes.len);
    ERR_clear_error();
    *key =
        bio ? PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &is_asked)
            : NULL;
    BIO_free(bio);
    bytes_fini(&bytes);
    if (*key)
        return true;
    if (is_asked)
        return gw_tls_fail(error,
                           "%s: the key is encrypted, and nobody can be asked "
                           "for its passphrase",
                           file);
    unsigned long code = ERR_peek_last_error();
    if (code == 0 || is_pem_end() || ERR_GET_LIB(code) == ERR_LIB_OSSL_DECODER)
        return gw_tls_fail(error, "%s: holds no private key in PEM", file);
    return gw_tls_fail(error, "%s: the key cannot be read: %s", file,
                       gw_tls_reason());
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm parts;

    return time && ASN1_TIME_to_tm(time, &parts) == 1 ? timegm(&parts)
                                                      : INT64_MAX;
}

static const char *time_text(int64_t seconds, char out[TIME_TEXT_MAX])
{
    time_t time = seconds;
    struct tm parts;

    if (!gmtime_r(&time, &parts) ||
        strftime(out, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        snprintf(out, TIME_TEXT_MAX, "unknown");
    return out;
}

static void log_names(const struct gw_tls_names *names, char *out)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < names->count && len < LOG_VALUE_MAX; i++)
        len += (size_t)snprintf(out + len, LOG_VALUE_MAX + 1 - len, "%s%s",
                                i > 0 ? "," : "", names->names[i]);
}

static void log_pair(const struct gw_tls_pair *pair)
{
    int64_t not_before = seconds_of(X509_get0_notBefore(pair->cert));
    int64_t now = time(NULL);
    char names[LOG_VALUE_MAX + 1];
    char from[TIME_TEXT_MAX];
    char until[TIME_TEXT_MAX];

    time_text(not_before, from);
    time_text(pair->not_after, until);
    log_names(&pair->names, names);
    gw_log(GW_LOG_INFO, "tls_certificate", "file", pair->file, "names", names,
           "not_after", until);
    if (now > pair->not_after)
        gw_log(GW_LOG_WARNING, "tls_certificate_expired", "file", pair->file,
               "not_after", until);
    else if (now < not_before)
        gw_log(GW_LOG_WARNING, "tls_certificate_future", "file", pair->file,
               "not_before", from);
}

/* --- OCSP ---------------------------------------------------------------- */

static OCSP_SINGLERESP *single_of(OCSP_BASICRESP *basic, X509 *cert)
{
    const ASN1_INTEGER *wanted = X509_get0_serialNumber(cert);

    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        OCSP_CERTID *id = NULL;
        ASN1_INTEGER *serial = NULL;
        const OCSP_CERTID *lent = OCSP_SINGLERESP_get0_id(single);

        /* OpenSSL lends it as const, and wants it without. */
        memcpy(&id, &lent, sizeof(id));
        OCSP_id_get0_info(NULL, NULL, NULL, &serial, id);
        if (serial && !ASN1_INTEGER_cmp(serial, wanted))
            return single;
    }
    return NULL;
}

/* A response that is no good to a client is left out, and said to be. */
static void staple_judge(const char *file, OCSP_SINGLERESP *single,
                         struct gw_tls_staple *staple)
{
    ASN1_GENERALIZEDTIME *next = NULL;
    int status = OCSP_single_get0_status(single, NULL, NULL, NULL, &next);

    staple->until = seconds_of(next);
    if (status != V_OCSP_CERTSTATUS_GOOD) {
        staple->until = 0;
        gw_log(GW_LOG_WARNING, "tls_ocsp_unused", "file", file, "status",
               OCSP_cert_status_str(status));
    } else if (staple->until <= time(NULL)) {
        char until[TIME_TEXT_MAX];

        gw_log(GW_LOG_WARNING, "tls_ocsp_unused", "file", file, "next_update",
               time_text(staple->until, until));
    }
}

static bool staple_check(const char *file, X509 *cert,
                         const struct bytes *bytes,
                         struct gw_tls_staple *staple, char *error)
{
    const unsigned char *at = bytes->ptr;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)bytes->len);
    OCSP_BASICRESP *basic =
        response ? OCSP_response_get1_basic(response) : NULL;
    OCSP_SINGLERESP *single = basic ? single_of(basic, cert) : NULL;

    if (!response || at != bytes->ptr + bytes->len)
        gw_tls_fail(error, "%s: is no OCSP response in DER", file);
    else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        gw_tls_fail(error, "%s: the OCSP response says no more than %s", file,
                    OCSP_response_status_str(OCSP_response_status(response)));
    else if (!basic)
        gw_tls_fail(error, "%s: the OCSP response cannot be read: %s", file,
                    gw_tls_reason());
    else if (!single)
        gw_tls_fail(error, "%s: the OCSP response is of another certificate",
                    file);
    else
        staple_judge(file, single, staple);
    bool is_good = single && at == bytes->ptr + bytes->len;
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return is_good;
}

static bool staple_load(const char *file, struct gw_tls_pair *pair, char *error)
{
    struct bytes bytes;

    if (!bytes_read(file, &bytes, error))
        return false;
    bool is_good =
        bytes.len <= GW_TLS_STAPLE_MAX
            ? staple_check(file, pair->cert, &bytes, &pair->staple, error)
            : gw_tls_fail(error, "%s: is over %d bytes", file,
                          GW_TLS_STAPLE_MAX);
    if (is_good) {
        pair->staple.len = bytes.len;
        pair->staple.der = OPENSSL_memdup(bytes.ptr, bytes.len);
        is_good =
            pair->staple.der || gw_tls_fail(error, "%s: memory is short", file);
    }
    bytes_fini(&bytes);
    return is_good;
}

/* --- all of it ----------------------------------------------------------- */

static bool chain_load(const char *file, struct gw_tls_pair *pair, char *error)
{
    struct bytes bytes;

    if (!bytes_read(file, &bytes, error))
        return false;
    pair->chain = certificates_parse(file, &bytes, error);
    bytes_fini(&bytes);
    if (!pair->chain)
        return false;
    pair->cert = sk_X509_shift(pair->chain);
    pair->not_after = seconds_of(X509_get0_notAfter(pair->cert));
    return gw_tls_names_of(pair->cert, &pair->names) ||
           gw_tls_fail(error, "%s: memory is short", file);
}

bool gw_tls_pair_load(const struct gw_certificate_config *config,
                      struct gw_tls_pair *pair, char error[GW_TLS_ERROR_MAX])
{
    const char *key = config->key[0] ? config->key : config->file;

    *pair = (struct gw_tls_pair){.file = config->file};
    if (!chain_load(config->file, pair, error) ||
        !key_load(key, &pair->key, error))
        return false;
    if (X509_check_private_key(pair->cert, pair->key) != 1)
        return gw_tls_fail(error, "%s: is not the key of the certificate in %s",
                           key, config->file);
    log_pair(pair);
    return !config->ocsp[0] || staple_load(config->ocsp, pair, error);
}

void gw_tls_pair_fini(struct gw_tls_pair *pair)
{
    X509_free(pair->cert);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
    OPENSSL_free(pair->staple.der);
    gw_tls_names_fini(&pair->names);
    *pair = (struct gw_tls_pair){0};
}

bool gw_tls_pair_use(const struct gw_tls_pair *pair, SSL_CTX *ctx,
                     char error[GW_TLS_ERROR_MAX])
{
    if (SSL_CTX_use_cert_and_key(ctx, pair->cert, pair->key, pair->chain, 1) ==
        1)
        return true;
    return gw_tls_fail(error, "%s: OpenSSL does not take it: %s", pair->file,
                       gw_tls_reason());
}

static bool authorities_add(struct gw_tls_authorities *out,
                            const STACK_OF(X509) * certs)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        X509_NAME *subject = X509_NAME_dup(X509_get_subject_name(cert));

        if (!subject || sk_X509_NAME_push(out->subjects, subject) <= 0) {
            X509_NAME_free(subject);
            return false;
        }
        /* What OpenSSL keeps of its extensions: else the first threads that
         * verify with it would work that out, all at once. */
        X509_check_purpose(cert, -1, 0);
        if (X509_STORE_add_cert(out->store, cert) != 1)
            return false;
    }
    return true;
}

bool gw_tls_authorities_load(const char *file, struct gw_tls_authorities *out,
                             char error[GW_TLS_ERROR_MAX])
{
    struct bytes bytes;

    *out = (struct gw_tls_authorities){.store = X509_STORE_new(),
                                       .subjects = sk_X509_NAME_new_null()};
    if (!out->store || !out->subjects)
        return gw_tls_fail(error, "%s: memory is short", file);
    if (!bytes_read(file, &bytes, error))
        return false;
    SHA256(bytes.ptr, bytes.len, out->digest);
    STACK_OF(X509) *certs = certificates_parse(file, &bytes, error);
    bytes_fini(&bytes);
    if (!certs)
        return false;
    bool is_good = authorities_add(out, certs) ||
                   gw_tls_fail(error, "%s: OpenSSL does not take it: %s", file,
                               gw_tls_reason());
    sk_X509_pop_free(certs, X509_free);
    /* Who is named there is trusted, root or not. */
    X509_STORE_set_flags(out->store, X509_V_FLAG_PARTIAL_CHAIN);
    return is_good;
}

void gw_tls_authorities_fini(struct gw_tls_authorities *authorities)
{
    X509_STORE_free(authorities->store);
    sk_X509_NAME_pop_free(authorities->subjects, X509_NAME_free);
    *authorities = (struct gw_tls_authorities){0};
}

/* SPDX-License-Identifier: MIT */
/*
 * Keys of session tickets.
 *
 * The state of a session travels in its ticket, encrypted for us: we keep no
 * session, however many clients come. One key makes tickets for half a day and
 * opens them until the next but one is made; after that nobody can, which
 * bounds what a stolen key is good for. All contexts share the keys, also over
 * a reload.
 */
#include "gateway/tls_private.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>
#include <time.h>

enum {
    NAME_LEN = 16, /* OpenSSL's */
    IV_LEN = 16,
};

struct key {
    unsigned char name[NAME_LEN];
    unsigned char cipher[32];
    unsigned char mac[32];
};

struct gw_tls_tickets {
    EVP_CIPHER *cipher;
    pthread_mutex_t lock; /* of what is below */
    struct key current;
    struct key previous;
    bool has_previous;
    int64_t turn_at_s;
};

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int tickets_index;

static void index_make(void)
{
    tickets_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static int64_t now_s(void)
{
    struct timespec now;

    /* This clock goes on while the machine sleeps. */
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

static bool key_make(struct key *key)
{
    return RAND_bytes(key->name, sizeof(key->name)) == 1 &&
           RAND_priv_bytes(key->cipher, sizeof(key->cipher)) == 1 &&
           RAND_priv_bytes(key->mac, sizeof(key->mac)) == 1;
}

struct gw_tls_tickets *gw_tls_tickets_new(void)
{
    struct gw_tls_tickets *tickets = calloc(1, sizeof(*tickets));

    if (!tickets)
        return NULL;
    pthread_mutex_init(&tickets->lock, NULL);
    tickets->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (!tickets->cipher || !key_make(&tickets->current)) {
        gw_tls_tickets_free(tickets);
        return NULL;
    }
    tickets->turn_at_s = now_s() + GW_TLS_TICKET_PERIOD_S;
    return tickets;
}

void gw_tls_tickets_free(struct gw_tls_tickets *tickets)
{
    if (!tickets)
        return;
    EVP_CIPHER_free(tickets->cipher);
    pthread_mutex_destroy(&tickets->lock);
    OPENSSL_cleanse(&tickets->current, sizeof(tickets->current));
    OPENSSL_cleanse(&tickets->previous, sizeof(tickets->previous));
    free(tickets);
}

static bool turn_locked(struct gw_tls_tickets *tickets, int64_t at_s)
{
    struct key fresh;

    if (at_s < tickets->turn_at_s)
        return true;
    if (!key_make(&fresh))
        return false;
    /* Where nobody came for a whole period, the present key is too old to open
     * anything. */
    tickets->has_previous = at_s - tickets->turn_at_s < GW_TLS_TICKET_PERIOD_S;
    tickets->previous = tickets->current;
    tickets->current = fresh;
    tickets->turn_at_s = at_s + GW_TLS_TICKET_PERIOD_S;
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    return true;
}

bool gw_tls_tickets_turn(struct gw_tls_tickets *tickets, int64_t at_s)
{
    bool is_good;

    pthread_mutex_lock(&tickets->lock);
    is_good = turn_locked(tickets, at_s);
    pthread_mutex_unlock(&tickets->lock);
    return is_good;
}

/* The key that makes tickets now, or the one of that name. False where there is
 * none. */
static bool key_take(struct gw_tls_tickets *tickets, const unsigned char *name,
                     struct key *key, bool *is_current)
{
    bool is_found = false;

    pthread_mutex_lock(&tickets->lock);
    if (!turn_locked(tickets, now_s())) {
        /* No random bytes now: the ticket is not used, nothing else fails. */
    } else if (!name || !memcmp(name, tickets->current.name, NAME_LEN)) {
        *key = tickets->current;
        *is_current = is_found = true;
    } else if (tickets->has_previous &&
               !memcmp(name, tickets->previous.name, NAME_LEN)) {
        *key = tickets->previous;
        *is_current = false;
        is_found = true;
    }
    pthread_mutex_unlock(&tickets->lock);
    return is_found;
}

static bool key_apply(const struct gw_tls_tickets *tickets, struct key *key,
                      const unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, bool is_made)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac,
                                          sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_CipherInit_ex(cipher, tickets->cipher, NULL, key->cipher, iv,
                             is_made) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's callback. Answers 1: go on; 2: go on, and give the client a new
 * ticket; 0: this is not ours, go on without; -1: give up. */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv,
                      EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int is_made)
{
    struct gw_tls_tickets *tickets =
        SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tickets_index);
    struct key key;
    bool is_current = true;
    bool is_good;

    if (is_made && RAND_bytes(iv, IV_LEN) != 1)
        return -1;
    if (!key_take(tickets, is_made ? NULL : name, &key, &is_current))
        return 0;
    if (is_made)
        memcpy(name, key.name, NAME_LEN);
    is_good = key_apply(tickets, &key, iv, cipher, mac, is_made);
    OPENSSL_cleanse(&key, sizeof(key));
    if (!is_good)
        return -1;
    return is_current ? 1 : 2;
}

bool gw_tls_tickets_use(struct gw_tls_tickets *tickets, SSL_CTX *ctx)
{
    pthread_once(&index_once, index_make);
    return tickets_index >= 0 &&
           SSL_CTX_set_ex_data(ctx, tickets_index, tickets) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key) == 1 &&
           SSL_CTX_set_timeout(ctx, GW_TLS_TICKET_PERIOD_S) >= 0;
}

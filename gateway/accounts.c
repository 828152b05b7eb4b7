/* SPDX-License-Identifier: MIT */
/*
 * What each client address has taken.
 *
 * What an address holds is counted either in its account or, where none could
 * be made for it, in one of a fixed number of uncounted sums that addresses
 * share by their hash; never in both: no account is made for an address while
 * its sum is above zero, and one that holds something is never let go. So what
 * comes back is taken from where it was added, and an address that was let in
 * uncounted takes nothing from an account that it gets later.
 */
#include "gateway/accounts.h"
#include "gateway/payer.h"
#include "store/siphash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    SHARDS = 16,
    SHARD_ACCOUNTS_MAX = GW_ACCOUNTS_MAX / SHARDS,
    SHARD_LISTS = 8192,
    SHARD_SUMS = 4096,
    FULL_MS = 10000,     /* a bucket that nothing was asked of for so long is
                            full, whatever it held */
    FREED_PER_NEW = 2,   /* more than one, so that they catch up */
    SESSION_RETRY_S = 10 /* nobody knows when a session will end */
};

#define NEVER_MS (INT64_MIN / 2)

enum holding {
    CONNECTIONS,
    SESSIONS,
    HOLDINGS,
};

struct account {
    struct account *next; /* in its list of the table */
    struct gw_link idle;  /* holds nothing, the longest unused first */
    struct gw_bucket bucket;
    uint32_t held[HOLDINGS];
    uint16_t list; /* which one */
    struct gw_peer net;
};

struct shard {
    _Alignas(64) pthread_mutex_t lock;
    struct gw_link idle;
    int64_t now_ms; /* the latest that a handshake told */
    size_t count;
    struct account *lists[SHARD_LISTS];
    uint32_t uncounted[SHARD_SUMS];
};

struct gw_accounts {
    struct shard shards[SHARDS];
    _Atomic uint32_t limits[HOLDINGS]; /* 0: none, and nothing is counted */
    _Atomic uint32_t rate;
    uint64_t hash_key[2];
};

/* Where an address belongs; its shard is locked. */
struct place {
    struct shard *shard;
    struct account **list;
    uint32_t *uncounted;
    struct gw_peer net;
};

bool gw_accounts_new(const struct gw_config *config,
                     struct gw_accounts **accounts)
{
    *accounts = NULL;
    if (config->max_connections_per_address == 0 &&
        config->max_sessions_per_address == 0 &&
        config->handshake_rate_per_address == 0)
        return true;

    struct gw_accounts *made =
        aligned_alloc(_Alignof(struct gw_accounts), sizeof(*made));
    if (made == NULL)
        return false;
    memset(made, 0, sizeof(*made));
    /* With a key that can be guessed all could be sent to one list. */
    if (getrandom(made->hash_key, sizeof(made->hash_key), 0) !=
        (ssize_t)sizeof(made->hash_key)) {
        free(made);
        return false;
    }
    made->limits[CONNECTIONS] = config->max_connections_per_address;
    made->limits[SESSIONS] = config->max_sessions_per_address;
    made->rate = config->handshake_rate_per_address;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&made->shards[i].lock, NULL);
        gw_link_init(&made->shards[i].idle);
    }
    *accounts = made;
    return true;
}

/* What was not counted so far cannot be limited: who is there would be
 * subtracted when it leaves. */
static void limit_set(struct gw_accounts *accounts, int holding, uint32_t limit)
{
    if (accounts->limits[holding] != 0)
        accounts->limits[holding] = limit != 0 ? limit : UINT32_MAX;
}

void gw_accounts_configure(struct gw_accounts *accounts,
                           const struct gw_config *config)
{
    if (accounts == NULL)
        return;
    limit_set(accounts, CONNECTIONS, config->max_connections_per_address);
    limit_set(accounts, SESSIONS, config->max_sessions_per_address);
    accounts->rate = config->handshake_rate_per_address;
}

void gw_accounts_free(struct gw_accounts *accounts)
{
    if (accounts == NULL)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &accounts->shards[i];
        for (size_t j = 0; j < SHARD_LISTS; j++) {
            while (shard->lists[j] != NULL) {
                struct account *account = shard->lists[j];
                shard->lists[j] = account->next;
                free(account);
            }
        }
        pthread_mutex_destroy(&shard->lock);
    }
    free(accounts);
}

size_t gw_accounts_count(struct gw_accounts *accounts)
{
    size_t count = 0;
    for (size_t i = 0; accounts != NULL && i < SHARDS; i++) {
        pthread_mutex_lock(&accounts->shards[i].lock);
        count += accounts->shards[i].count;
        pthread_mutex_unlock(&accounts->shards[i].lock);
    }
    return count;
}

/* ---- one account ---- */

static bool has_address(const struct gw_peer *peer)
{
    return peer->family == AF_INET || peer->family == AF_INET6;
}

static struct place place_lock(struct gw_accounts *accounts,
                               const struct gw_peer *peer)
{
    struct place place = {.net = gw_peer_account(peer)};
    size_t len = place.net.family == AF_INET ? 4 : sizeof(place.net.addr);
    uint64_t hash = store_siphash(accounts->hash_key, place.net.addr, len);

    place.shard = &accounts->shards[hash % SHARDS];
    place.list = &place.shard->lists[(hash >> 8) % SHARD_LISTS];
    place.uncounted = &place.shard->uncounted[(hash >> 32) % SHARD_SUMS];
    pthread_mutex_lock(&place.shard->lock);
    return place;
}

static void place_unlock(struct place *place)
{
    pthread_mutex_unlock(&place->shard->lock);
}

static struct account *find(const struct place *place)
{
    struct account *account = *place->list;
    while (account != NULL && !gw_peer_equal(&account->net, &place->net))
        account = account->next;
    return account;
}

static bool is_full(const struct account *account, int64_t now_ms)
{
    return now_ms - account->bucket.at_ms > FULL_MS;
}

static void forget(struct shard *shard, struct account *account)
{
    struct account **at = &shard->lists[account->list];
    while (*at != account)
        at = &(*at)->next;
    *at = account->next;
    gw_link_remove(&account->idle);
    shard->count--;
    free(account);
}

static struct account *oldest_idle(const struct shard *shard)
{
    return shard->idle.next == &shard->idle
               ? NULL
               : GW_CONTAINER(shard->idle.next, struct account, idle);
}

/* False when all accounts that there may be hold something. */
static bool make_room(struct shard *shard)
{
    struct account *oldest;
    for (int i = 0; i < FREED_PER_NEW; i++) {
        oldest = oldest_idle(shard);
        if (oldest != NULL && is_full(oldest, shard->now_ms))
            forget(shard, oldest);
    }
    if (shard->count < SHARD_ACCOUNTS_MAX)
        return true;
    oldest = oldest_idle(shard);
    if (oldest != NULL)
        forget(shard, oldest);
    return oldest != NULL;
}

/* NULL when the address must stay uncounted. */
static struct account *find_or_make(const struct place *place)
{
    struct shard *shard = place->shard;
    struct account *account = find(place);
    if (account != NULL)
        return account;
    if (*place->uncounted > 0 || !make_room(shard))
        return NULL;
    account = calloc(1, sizeof(*account));
    if (account == NULL)
        return NULL;
    account->net = place->net;
    account->list = (uint16_t)(place->list - shard->lists);
    account->bucket.at_ms = NEVER_MS;
    gw_link_init(&account->idle);
    account->next = *place->list;
    *place->list = account;
    shard->count++;
    return account;
}

/* Brings the list of idle accounts up to date once one has been used. */
static void settle(struct shard *shard, struct account *account)
{
    gw_link_remove(&account->idle);
    if (account->held[CONNECTIONS] > 0 || account->held[SESSIONS] > 0)
        return;
    if (is_full(account, shard->now_ms))
        forget(shard, account);
    else
        gw_link_add(&shard->idle, &account->idle);
}

/* Without an account it is added uncounted. */
static void add(const struct place *place, struct account *account,
                enum holding holding)
{
    if (account == NULL) {
        (*place->uncounted)++;
        return;
    }
    account->held[holding]++;
    settle(place->shard, account);
}

/* What was never added is not taken away either. */
static void take_away(const struct place *place, enum holding holding)
{
    struct account *account = find(place);
    if (account == NULL) {
        if (*place->uncounted > 0)
            (*place->uncounted)--;
        return;
    }
    if (account->held[holding] > 0)
        account->held[holding]--;
    settle(place->shard, account);
}

/* ---- what is asked of them ---- */

bool gw_accounts_open(struct gw_accounts *accounts, const struct gw_peer *peer)
{
    if (accounts == NULL || accounts->limits[CONNECTIONS] == 0 ||
        !has_address(peer))
        return true;
    struct place place = place_lock(accounts, peer);
    struct account *account = find_or_make(&place);
    bool is_let_in = account == NULL ||
                     account->held[CONNECTIONS] < accounts->limits[CONNECTIONS];
    if (is_let_in)
        add(&place, account, CONNECTIONS);
    place_unlock(&place);
    return is_let_in;
}

void gw_accounts_close(struct gw_accounts *accounts, const struct gw_peer *peer)
{
    if (accounts == NULL || accounts->limits[CONNECTIONS] == 0 ||
        !has_address(peer))
        return;
    struct place place = place_lock(accounts, peer);
    take_away(&place, CONNECTIONS);
    place_unlock(&place);
}

static enum gw_account_verdict judge(const struct gw_accounts *accounts,
                                     struct account *account, int64_t now_ms,
                                     unsigned *retry_s)
{
    struct gw_bucket *bucket = &account->bucket;
    uint32_t max = accounts->limits[SESSIONS];
    uint32_t rate = accounts->rate; /* once: a reload may make it 0 */

    if (max > 0 && account->held[SESSIONS] >= max) {
        *retry_s = SESSION_RETRY_S;
        return GW_ACCOUNT_SESSIONS;
    }
    if (gw_bucket_take(bucket, rate, now_ms))
        return GW_ACCOUNT_OK;
    /* The rate is in thousandths of a token for each ms. */
    int64_t wait_ms = (1000 - bucket->milli + rate - 1) / rate;
    *retry_s = (unsigned)((wait_ms + 999) / 1000);
    return GW_ACCOUNT_RATE;
}

enum gw_account_verdict gw_accounts_handshake(struct gw_accounts *accounts,
                                              const struct gw_peer *peer,
                                              int64_t now_ms, unsigned *retry_s)
{
    enum gw_account_verdict verdict = GW_ACCOUNT_OK;
    if (accounts == NULL || !has_address(peer))
        return verdict;
    struct place place = place_lock(accounts, peer);
    struct shard *shard = place.shard;
    /* The workers' clocks differ a little; a bucket must not go back. */
    if (now_ms > shard->now_ms)
        shard->now_ms = now_ms;
    bool has_limit = accounts->limits[SESSIONS] > 0;
    struct account *account =
        accounts->rate > 0 || has_limit ? find_or_make(&place) : find(&place);
    if (account != NULL)
        verdict = judge(accounts, account, shard->now_ms, retry_s);
    if (verdict == GW_ACCOUNT_OK && has_limit)
        add(&place, account, SESSIONS);
    else if (account != NULL)
        settle(shard, account);
    place_unlock(&place);
    return verdict;
}

void gw_accounts_handshake_over(struct gw_accounts *accounts,
                                const struct gw_peer *peer)
{
    if (accounts == NULL || accounts->limits[SESSIONS] == 0 ||
        !has_address(peer))
        return;
    struct place place = place_lock(accounts, peer);
    take_away(&place, SESSIONS);
    place_unlock(&place);
}

void gw_accounts_session(struct gw_accounts *accounts, const char *client,
                         int delta)
{
    struct gw_peer peer;
    if (accounts == NULL || accounts->limits[SESSIONS] == 0 ||
        !gw_peer_parse((struct eio_span){client, strlen(client)}, &peer) ||
        !has_address(&peer))
        return;
    struct place place = place_lock(accounts, &peer);
    if (delta > 0)
        add(&place, find_or_make(&place), SESSIONS);
    else
        take_away(&place, SESSIONS);
    place_unlock(&place);
}

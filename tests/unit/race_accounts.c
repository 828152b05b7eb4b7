/* SPDX-License-Identifier: MIT */
/* Races on the accounts of client addresses, for a thread sanitizer: a plain
 * program, since Criterion does not run under one. */
#include "gateway/accounts.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 4, TURNS = 20000, PEERS = 5, LIMIT = 3, HELD_MAX = 2 };

static struct gw_accounts *accounts;
static atomic_int open_now[PEERS];
static atomic_int faults;

static struct gw_peer peer_number(unsigned n)
{
    return (struct gw_peer){.family = AF_INET, .addr = {192, 0, 2, (uint8_t)n}};
}

/* What one thread holds. */
struct holdings {
    unsigned open[PEERS];
    unsigned sessions[PEERS];
};

/* The count here is raised after theirs and lowered before it, so it can only
 * be too low. */
static void open_turn(struct holdings *mine, unsigned n)
{
    const struct gw_peer peer = peer_number(n);
    if (mine->open[n] == HELD_MAX)
        return;
    if (!gw_accounts_open(accounts, &peer))
        return;
    mine->open[n]++;
    if (atomic_fetch_add(&open_now[n], 1) >= LIMIT)
        atomic_fetch_add(&faults, 1);
}

static void close_turn(struct holdings *mine, unsigned n)
{
    const struct gw_peer peer = peer_number(n);
    if (mine->open[n] == 0)
        return;
    mine->open[n]--;
    atomic_fetch_sub(&open_now[n], 1);
    gw_accounts_close(accounts, &peer);
}

static void session_turn(struct holdings *mine, unsigned n, bool is_more)
{
    const struct gw_peer peer = peer_number(n);
    char text[64];
    if (!is_more && mine->sessions[n] == 0)
        return;
    gw_peer_text(&peer, text, sizeof(text));
    gw_accounts_session(accounts, text, is_more ? 1 : -1);
    mine->sessions[n] += is_more ? 1U : -1U;
}

static void one_turn(struct holdings *mine, unsigned random, int64_t now_ms)
{
    unsigned n = (random >> 4) % PEERS;
    const struct gw_peer peer = peer_number(n);
    unsigned retry_s = 1;

    switch ((random >> 16) % 8) {
    case 0:
    case 1:
        open_turn(mine, n);
        break;
    case 2:
    case 3:
        close_turn(mine, n);
        break;
    case 4:
        session_turn(mine, n, true);
        break;
    case 5:
        session_turn(mine, n, false);
        break;
    case 6:
        if (gw_accounts_count(accounts) > PEERS)
            atomic_fetch_add(&faults, 1);
        break;
    default:
        if (gw_accounts_handshake(accounts, &peer, now_ms, &retry_s) ==
            GW_ACCOUNT_OK)
            gw_accounts_handshake_over(accounts, &peer);
        if (retry_s < 1)
            atomic_fetch_add(&faults, 1);
        break;
    }
}

static void *work(void *arg)
{
    struct holdings mine = {0};
    unsigned random = *(const unsigned *)arg;

    for (int i = 0; i < TURNS; i++) {
        random = random * 1103515245U + 12345U;
        one_turn(&mine, random, 1000 + i);
    }
    for (unsigned n = 0; n < PEERS; n++) {
        while (mine.open[n] > 0)
            close_turn(&mine, n);
        while (mine.sessions[n] > 0)
            session_turn(&mine, n, false);
    }
    return NULL;
}

/* With nothing held, each address has its whole limit again. */
static bool is_empty(void)
{
    unsigned count[PEERS] = {0};
    bool is_right = true;

    for (unsigned n = 0; n < PEERS; n++) {
        const struct gw_peer peer = peer_number(n);
        while (count[n] <= LIMIT && gw_accounts_open(accounts, &peer))
            count[n]++;
        is_right = is_right && count[n] == LIMIT;
        for (unsigned i = 0; i < count[n]; i++)
            gw_accounts_close(accounts, &peer);
    }
    return is_right;
}

static int race(uint32_t rate)
{
    struct gw_config *config = calloc(1, sizeof(*config));
    unsigned seeds[WORKERS] = {1, 2, 3, 4};
    pthread_t threads[WORKERS];

    if (config == NULL)
        return 1;
    config->max_connections_per_address = LIMIT;
    config->max_sessions_per_address = 1000000;
    config->handshake_rate_per_address = rate;
    if (!gw_accounts_new(config, &accounts))
        return 1;
    free(config);
    for (size_t i = 0; i < WORKERS; i++)
        if (pthread_create(&threads[i], NULL, work, &seeds[i]) != 0)
            return 1;
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);

    /* Without a rate no account outlives what it held. */
    bool is_right = atomic_load(&faults) == 0 &&
                    (rate > 0 || gw_accounts_count(accounts) == 0) &&
                    is_empty();
    if (!is_right)
        fprintf(stderr, "rate %u: the counts do not add up: %d faults\n", rate,
                atomic_load(&faults));
    gw_accounts_free(accounts);
    return is_right ? 0 : 1;
}

int main(void)
{
    return race(0) + race(100) == 0 ? 0 : 1;
}

/* SPDX-License-Identifier: MIT */
/* The operator's words on their way to Redis. Private to store/. */
#ifndef SIDGATE_STORE_PLANE_PUT_H
#define SIDGATE_STORE_PLANE_PUT_H

#include "store/plane.h"

struct store_plane_puts;

struct store_plane_put {
    const struct store_plane_puts *puts;
    struct store_call *call; /* NULL: free */
    uint32_t tag;
};

struct store_plane_puts {
    struct store_client *client;
    const char *key; /* of the hash */
    const struct store_plane_user *user;
    void *arg;
    struct store_plane_put list[STORE_PLANE_PUTS_MAX];
};

/* `key` is not copied. */
void store_plane_puts_init(struct store_plane_puts *puts, const char *key,
                           const struct store_plane_options *options);

/* As store_plane_put_admin and store_plane_keep_admin. */
bool store_plane_puts_set(struct store_plane_puts *puts, const char *backend,
                          const char *word, uint32_t tag);
void store_plane_puts_keep(const struct store_plane_puts *puts,
                           const char *backend, const char *word);

/* Nobody is told any more. */
void store_plane_puts_fini(struct store_plane_puts *puts);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Where a store is, as the user writes it:
 *
 *   memory
 *   redis://[[user]:password@]host[:port][/db]     also redis://[::1]:6379
 *   redis+unix://[[user]:password@]/path[?db=n]
 *
 * User and password may be percent-encoded.
 */
#ifndef SIDGATE_STORE_URL_H
#define SIDGATE_STORE_URL_H

#include "store/loop.h"

enum { STORE_SECRET_MAX = 512, STORE_URL_ERROR_MAX = 160 };

struct store_url {
    bool is_memory;
    struct store_address address; /* port 6379 where none is given */
    char user[128];               /* "" where none is given */
    char password[STORE_SECRET_MAX];
    unsigned db; /* 0 to 9999 */
};

/* Returns 0, or -1 with one line in `error` that says what is wrong and never
 * holds the password, e.g. "redis://h:99999: the port is not between 1 and
 * 65535". rediss://, redis+sentinel:// and redis+cluster:// get a line that
 * says that this version does not have them. */
int store_url_parse(const char *text, struct store_url *url,
                    char error[STORE_URL_ERROR_MAX])
    __attribute__((warn_unused_result));

/* Copies the text with *** in place of the password, for logs and
 * --print-config; cut if it does not fit. */
void store_url_masked(const char *text, char *out, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
/* What a Sentinel says, read. Private to store/sentinel*.c. */
#ifndef SIDGATE_STORE_SENTINEL_TEXT_H
#define SIDGATE_STORE_SENTINEL_TEXT_H

#include "store/loop.h"

struct redisReply;

/* The answer to SENTINEL GET-MASTER-ADDR-BY-NAME; NULL: none came. Returns
 * NULL, with *address, or why it is of no use. A nil one is the caller's, who
 * has words for it. The address' is_tls is false. */
const char *store_sentinel_read_answer(const struct redisReply *reply,
                                       struct store_address *address);

/* A message of +switch-master, "<name> <old host> <old port> <new host> <new
 * port>". False when it is about another master. The port of *address is 0 when
 * it makes no sense. */
bool store_sentinel_read_message(const char *master, const char *bytes,
                                 size_t len, struct store_address *address);

#endif

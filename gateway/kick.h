/* SPDX-License-Identifier: MIT */
/*
 * Ends a session by the operator's word, wherever its connections are. Every
 * replica is told; the one that holds the tunnel or the poll closes it. Between
 * polls the next one is answered with code 1.
 */
#ifndef SIDGATE_GATEWAY_KICK_H
#define SIDGATE_GATEWAY_KICK_H

#include "gateway/server.h"

/* `sid` is the session id as its client sends it; with hash_sids_file also
 * what stands for it in the store, which ends open tunnels and held polls
 * only. At most 100 kicks are carried out in a
 * second; false for those beyond, and for what is no sid. The first worker's
 * thread only. */
bool gw_kick(struct gw_server *server, const char *sid, size_t len);

#endif

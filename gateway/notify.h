/* SPDX-License-Identifier: MIT */
/*
 * The service manager: systemd's notification socket, its watchdog, and the
 * sockets that it opened for us. Everything is harmless where there is none.
 */
#ifndef SIDGATE_GATEWAY_NOTIFY_H
#define SIDGATE_GATEWAY_NOTIFY_H

#include "gateway/config.h"

/* Sends lines such as "READY=1" or "STOPPING=1\nSTATUS=..." to NOTIFY_SOCKET
 * (a path or '@' and an abstract name). False when there is none or it does
 * not take them. */
bool gw_notify(const char *lines);

/* How often WATCHDOG=1 must be sent, half of what WATCHDOG_USEC says, if
 * WATCHDOG_PID is not given or this process; 0: never. */
uint64_t gw_notify_watchdog_ms(void);

/* Sockets of LISTEN_FDS, if LISTEN_PID is this process: each is a listening
 * stream socket whose address is one of the configuration's (the port and the
 * host as bound), or the line in `error` names the one that is not. Fills
 * fds[i] for listener i, -1 for none; close-on-exec is set. The environment's
 * LISTEN_* variables are removed, so that nobody takes them twice. */
bool gw_notify_sockets(const struct gw_config *config,
                       int fds[GW_LISTEN_COUNT_MAX], char error[256]);

#endif

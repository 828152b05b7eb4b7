/* SPDX-License-Identifier: MIT */
/* A small DNS server on loopback, in a thread of its own. */
#ifndef SIDGATE_TESTS_UNIT_DNS_SERVER_H
#define SIDGATE_TESTS_UNIT_DNS_SERVER_H

#include "gateway/config.h"

enum dns_mode {
    DNS_ANSWERS,
    DNS_SERVFAIL,
    DNS_REFUSED,
    DNS_SILENT,
    DNS_TRUNCATES, /* over UDP; all of it over TCP */
    DNS_JUNK,      /* random bytes behind a good head */
    DNS_CUT,       /* the true answer without its last bytes */
};

enum { DNS_A = 1, DNS_AAAA = 28, DNS_SRV = 33 };

struct dns_server;

struct dns_server *dns_server_start(void);
void dns_server_stop(struct dns_server *server);

/* 127.0.0.1 and its port. */
struct gw_address dns_server_address(const struct dns_server *server);

/* Forgets all records and modes; counts stay. */
void dns_server_clear(struct dns_server *server);

/* An A record, or AAAA where there is a colon. */
void dns_server_add(struct dns_server *server, const char *name,
                    const char *address);

/* Further bytes of `target` than dots are its labels', as they are. */
void dns_server_add_srv(struct dns_server *server, const char *name,
                        const char *target, uint16_t port,
                        const uint16_t order[2]); /* priority and weight */

/* For questions of this type, or all for 0. */
void dns_server_set_mode(struct dns_server *server, const char *name,
                         uint16_t type, enum dns_mode mode);

/* Questions that came; type 0: of all. */
unsigned dns_server_count(struct dns_server *server, const char *name,
                          uint16_t type);
unsigned dns_server_count_tcp(struct dns_server *server);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The end of a session: counted by its cause, told to the access log, and kept
 * for a while, so that an operator can see what became of it.
 */
#ifndef SIDGATE_GATEWAY_SESSION_END_H
#define SIDGATE_GATEWAY_SESSION_END_H

#include "eio/sid.h"
#include "gateway/session_id.h"
#include "store/memory.h"

enum gw_end {
    GW_END_CLIENT,      /* its close packet, or its side of the websocket was
                           the first to end */
    GW_END_BACKEND,     /* likewise, the backend's */
    GW_END_DENIED,      /* the backend does not know it any more */
    GW_END_UNREACHABLE, /* the backend is dead */
    GW_END_EXPIRED,     /* nothing came for the life of its record */
    GW_END_KICKED,
    GW_END_DRAINED,  /* by a paced close */
    GW_END_SHUTDOWN, /* of this gateway */
    GW_END_LIMIT,    /* a client that takes nothing, frames that are wrong */
    GW_END_REPLACED, /* its sid is another's now */
    GW_END_COUNT,
};

/* The words of the metrics' label, the log and the API. */
extern const char *const gw_end_names[GW_END_COUNT];

enum { GW_ENDS_MAX = 1024 };

struct gw_ended {
    char id[GW_SESSION_ID_MAX];
    char sid[EIO_SID_MASK_MAX]; /* masked */
    struct store_record record;
    struct store_traffic traffic;
    int64_t ended_ms; /* wall clock */
    uint8_t cause;    /* enum gw_end */
};

struct gw_ends;
struct gw_server;

/* NULL when memory is short. */
struct gw_ends *gw_ends_new(void);
void gw_ends_free(struct gw_ends *ends);

/* Copies up to `max` of those kept, newest first, after skipping `skip`; their
 * number. Any thread. */
size_t gw_ends_list(struct gw_ends *ends, size_t skip, size_t max,
                    struct gw_ended *out);

/* The last one with this id. */
bool gw_ends_find(struct gw_ends *ends, const char *id, struct gw_ended *out);

/* How many ended so far, by cause. Any thread. */
uint64_t gw_ends_count(const struct gw_ends *ends, enum gw_end cause);

/* A session has ended. Any thread; may be called under a lock of the memory
 * store. */
void gw_session_ended(struct gw_server *server, struct store_key sid,
                      const struct store_record *record,
                      const struct store_traffic *traffic, enum gw_end cause);

#endif

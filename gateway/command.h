/* SPDX-License-Identifier: MIT */
/*
 * What an operator may ask of the running gateway: through the API of the
 * operator listener, and `sidgate ctl`, which uses that.
 *
 * GET and POST below /api/v1/, in JSON; docs/api.md has them all. An id's '/'
 * may be written %2F. POSTs are answered with {"ok":true} or, with a status of
 * 400 or more, {"error":"..."}.
 */
#ifndef SIDGATE_GATEWAY_COMMAND_H
#define SIDGATE_GATEWAY_COMMAND_H

#include "eio/query.h"
#include "gateway/config.h"
#include "store/store.h"

enum {
    GW_COMMAND_TEXT_MAX = 1024,
    GW_WHO_MAX = 96,
    GW_CURSOR_MAX = 64,
    GW_SEARCH_MAX = 128,
    GW_SESSIONS_LIMIT = 50, /* of one answer, unless another is asked for */
    GW_SESSIONS_LIMIT_MAX = 1000,
    GW_EVENTS_LIMIT = 100, /* likewise */
    GW_EVENTS_LIMIT_MAX = 500,
};

enum gw_verb {
    GW_VERB_NONE,
    GW_VERB_STATUS,
    GW_VERB_HISTORY,
    GW_VERB_EVENTS,
    GW_VERB_BACKENDS,
    GW_VERB_ADD,
    GW_VERB_DRAIN,
    GW_VERB_UNDRAIN,
    GW_VERB_REMOVE,
    GW_VERB_SESSIONS,
    GW_VERB_SESSION,
    GW_VERB_KICK,
    GW_VERB_CONFIG,
    GW_VERB_LOG,
    GW_VERB_SET_LOG,
    GW_VERB_RELOAD,
    GW_VERB_UPGRADE,
    GW_VERB_UPGRADE_STATE,
};

/* Which sessions are wanted. Texts of "" and numbers of -1: any. */
struct gw_session_filter {
    char backend[GW_BACKEND_ID_MAX];
    char client[STORE_CLIENT_MAX]; /* what the address begins with */
    char gateway[STORE_GATEWAY_MAX];
    char search[GW_SEARCH_MAX];
    int transport; /* enum store_transport */
    bool ended;    /* those that ended */
    unsigned limit;
    char cursor[GW_CURSOR_MAX]; /* "": from the beginning */
};

/* The request that a command is about, for an answer that comes later. */
struct gw_ticket {
    unsigned place;
    uint64_t serial;
};

struct gw_command {
    enum gw_verb verb;
    char id[GW_BACKEND_ID_MAX];
    char spec[GW_COMMAND_TEXT_MAX];
    char pool[GW_POOL_NAME_MAX]; /* "": the first */
    int64_t rate;                /* -1: not given */
    int64_t timeout_ms;          /* -1: not given */
    struct eio_sid session;      /* a sid, or what stands for it */
    struct gw_session_filter filter;
    int64_t after;        /* of events; -1: the newest */
    unsigned limit;       /* likewise */
    int level;            /* enum gw_log_level; -1: not given */
    char who[GW_WHO_MAX]; /* asks, as the log shows it */
    bool may_write;       /* its token is not one that may only read */
    struct gw_ticket ticket;
};

struct gw_outcome {
    unsigned status;
    const char *allow; /* with status 405: the methods; static */
    char error[512];   /* "": none */
    char *body; /* malloc'd JSON, the caller frees it; NULL: {"ok":true} or
                   the error */
    bool
        is_pending; /* gw_admin_complete follows, within 8 s, with the command's
                       ticket; nothing else here is meaningful then */
};

enum gw_method {
    GW_METHOD_READ, /* GET or HEAD */
    GW_METHOD_POST,
    GW_METHOD_OTHER,
};

/* Reads method, path and query (in which names and values may be
 * percent-encoded) of a request below /api/. False with status 400, 404 or 405
 * and the error in `outcome` when it is none of the above. */
bool gw_command_read(enum gw_method method, const char *path, const char *query,
                     struct gw_command *command, struct gw_outcome *outcome);

/* Fills an outcome with a status and one line. */
void gw_outcome_refuse(struct gw_outcome *outcome, unsigned status,
                       const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct gw_control;

/* Carries it out, in the control thread. `control` is what control.h has. */
void gw_command_run(struct gw_control *control,
                    const struct gw_command *command,
                    struct gw_outcome *outcome);

/* The next message for a page that watches; see struct gw_admin_hooks. */
struct gw_live_seen;
char *gw_live_render(struct gw_control *control, struct gw_live_seen *seen,
                     bool may_write);

#endif

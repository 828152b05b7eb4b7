/* SPDX-License-Identifier: MIT */
/*
 * What the operator plane answers to which path: no sockets, no loop.
 */
#ifndef SIDGATE_GATEWAY_ADMIN_ANSWER_H
#define SIDGATE_GATEWAY_ADMIN_ANSWER_H

#include "gateway/admin.h"
#include "gateway/admin_action.h"

#define GW_ADMIN_LIVE_PATH "/api/v1/live"

struct gw_admin_answer {
    unsigned status;
    const char *type;  /* the content's; static */
    const char *allow; /* with 405: the methods; static */
    const char *etag;  /* of a file of the page; static */
    bool is_pending;   /* gw_admin_complete brings it; nothing else counts */
    char *body;        /* malloc'd, the caller frees it; NULL when len is 0 */
    size_t len;
};

/* What answers are made from. */
struct gw_admin_desk {
    struct gw_admin_hooks hooks;
    struct gw_admin_guard guard;
    struct gw_admin_refusals refusals;
};

/* One line of plain text. */
struct gw_admin_answer gw_admin_answer_text(unsigned status, const char *line);

/* {"error":"..."}. */
struct gw_admin_answer gw_admin_answer_error(unsigned status, const char *line);

/* What became of a command; takes the outcome's body over. */
struct gw_admin_answer gw_admin_answer_json(struct gw_outcome *outcome);

/* What the guard does not let in is refused: 403 for where it comes from or
 * for what its token may not do, 401 for its token. Otherwise calls the hook
 * that the path asks for. What is below /api/ is answered in JSON. What changes
 * something is logged, or, while the answer is pending, told in `action`, whose
 * name is NULL else. */
struct gw_admin_answer gw_admin_answer(struct gw_admin_desk *desk,
                                       const struct gw_admin_request *request,
                                       struct gw_admin_action *action);

/* Whether a websocket may be opened; if not, `refusal` says why. */
bool gw_admin_answer_live(struct gw_admin_desk *desk,
                          const struct gw_admin_request *request,
                          bool *may_write, struct gw_admin_answer *refusal);

#endif

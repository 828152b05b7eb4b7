/* SPDX-License-Identifier: MIT */
/* What the parts of health.h share among themselves. */
#ifndef SIDGATE_GATEWAY_HEALTH_PRIVATE_H
#define SIDGATE_GATEWAY_HEALTH_PRIVATE_H

#include "gateway/health.h"

enum { GW_PROBES_MAX = 32 }; /* under way at a time */

enum gw_finding {
    GW_FOUND_GOOD,
    GW_FOUND_BAD,
    GW_FOUND_NOTHING, /* for want of something of our own */
};

/* Free, then asking, then leaving: its finding was told, or nobody wants it
 * any more, but its socket is still being closed. */
enum gw_probe_state {
    GW_PROBE_FREE,
    GW_PROBE_ASKING,
    GW_PROBE_LEAVING,
};

struct gw_health_http;

/* One check of one backend. */
struct gw_probe {
    enum gw_probe_state state;
    struct gw_health *health;
    unsigned index;   /* of the backend's place */
    uint64_t late_ms; /* when its time is over */
    bool is_forgiven; /* for a delay of our own: once */
    bool is_http;
    struct gw_backend_config backend; /* the place may get another one */
    char path[GW_PATH_MAX];           /* of a GET, as are the next two */
    uint32_t status_min;
    uint32_t status_max;
    struct lws *wsi;
    char why[GW_REASON_MAX]; /* what TLS had to say */
    uv_tcp_t tcp;
    uv_connect_t connect;
};

/* --- health.c ------------------------------------------------------------- */

/* Takes the finding, and the probe is leaving; nothing happens unless it is
 * asking. A GET's connection is closed by who calls. */
void gw_probe_end(struct gw_probe *probe, enum gw_finding finding,
                  const char *why);
/* Its socket is gone. */
void gw_probe_left(struct gw_probe *probe);

/* Bad, or nothing where `error`, an errno, is about this process. */
void gw_probe_fail(struct gw_probe *probe, int error);

/* --- health_state.c: what findings mean ------------------------------------
 */

/* Checks of one backend. */
struct gw_health_row {
    uint32_t good; /* in a row */
    uint32_t bad;
    bool is_told; /* of a want of our own, in this row */
};

/* Counts it, and changes and logs the backend's state where it is time. */
void gw_health_note(struct gw_backend *backend, struct gw_health_row *row,
                    const struct gw_pool_config *pool, enum gw_finding finding,
                    const char *why);
/* It is not checked any more: it counts as up. */
void gw_health_forget(struct gw_backend *backend);

/* --- health_probe.c: by a bare connect ------------------------------------ */

void gw_probe_connect(struct gw_probe *probe, uv_loop_t *loop,
                      const struct gw_address *source);
void gw_probe_disconnect(struct gw_probe *probe);

/* An address of ours to connect from, of the same family: they take turns.
 * NULL: any. */
const struct gw_address *gw_probe_source(const struct gw_config *config,
                                         const struct gw_address *backend,
                                         uint32_t turn);

/* --- health_http.c: by a GET ---------------------------------------------- */

/* `probes` are GW_PROBES_MAX. What libwebsockets and TLS need is made when it
 * is first needed. NULL when memory is short. */
struct gw_health_http *gw_health_http_new(uv_loop_t *loop,
                                          struct gw_probe *probes,
                                          const struct gw_config *config);

/* Files are read again when they are next needed. No probe to a backend with
 * TLS may be asking. */
void gw_health_http_configure(struct gw_health_http *http,
                              const struct gw_config *config);

/* In two parts, with turns of the loop between them until no handle of it is
 * closing. The first does nothing but close. */
void gw_health_http_close(struct gw_health_http *http);
void gw_health_http_free(struct gw_health_http *http);

void gw_probe_get(struct gw_health_http *http, struct gw_probe *probe,
                  const struct gw_address *source);
/* Not from within what libwebsockets calls. */
void gw_probe_hang_up(struct gw_probe *probe);

#endif

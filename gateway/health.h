/* SPDX-License-Identifier: MIT */
/*
 * Active health checks, in the control thread: each LIVE backend whose pool
 * wants it is asked at the pool's interval, give or take a tenth, by a TCP
 * connect or by a GET through libwebsockets' HTTP client (with TLS where the
 * backend speaks it, verified as its traffic is).
 *
 * A backend is up until checks say otherwise, in a new process as well as
 * after it was added, so that a start waits for none. The result is in
 * backend->is_down and backend->health_reason ("connection refused", "timeout
 * after 2000 ms", "status 503", "certificate verify failed", "2 good checks");
 * each change is logged. It concerns handshakes only.
 */
#ifndef SIDGATE_GATEWAY_HEALTH_H
#define SIDGATE_GATEWAY_HEALTH_H

#include "gateway/backend.h"

#include <uv.h>

struct gw_health;

/* `config` is the current one; gw_health_configure gives another, which must
 * be called before the old one is freed. NULL with one line in `error`. */
struct gw_health *gw_health_new(uv_loop_t *loop, struct gw_backends *backends,
                                const struct gw_config *config,
                                char error[256]);
void gw_health_configure(struct gw_health *health,
                         const struct gw_config *config);

/* No more checks: another process makes them now. gw_health_free follows. */
void gw_health_stop(struct gw_health *health);

/* Stops all checks and frees everything; runs the loop as far as that needs, so
 * it must not be called from within the loop. No other thread may open
 * descriptors meanwhile, as with gw_admin_close: after the workers were joined.
 * NULL is allowed. */
void gw_health_free(struct gw_health *health);

#endif

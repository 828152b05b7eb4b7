/* SPDX-License-Identifier: MIT */
/* Tunnels that are ended from here: kicked, drained, at shutdown. */
#include "gateway/shared.h"
#include "gateway/tunnel_private.h"

enum {
    GOING_AWAY = 1001,
    POLICY = 1008,
    PACE_MS = 100,
};

/* One that may yet become a session's is not its end. */
static bool is_session(const struct tunnel *tunnel,
                       const struct gw_backend *backend)
{
    return tunnel->backend == backend && tunnel->state == TUNNEL_OPEN &&
           (!tunnel->is_upgrade || tunnel->is_own);
}

size_t gw_tunnels_close_backend(struct gw_worker *worker,
                                const struct gw_backend *backend, size_t max,
                                size_t *left)
{
    size_t count = 0;
    struct gw_link *at = worker->tunnels.next;
    while (at != &worker->tunnels && (count < max || left != NULL)) {
        struct tunnel *tunnel = GW_CONTAINER(at, struct tunnel, link);
        at = at->next;
        if (!is_session(tunnel, backend))
            continue;
        if (count < max) {
            gw_tunnel_close(tunnel, GOING_AWAY, GW_END_DRAINED);
            count++;
        } else {
            (*left)++;
        }
    }
    return count;
}

/* Closes a share of the open tunnels, then waits for the next moment. */
static void close_some(struct gw_timer *timer)
{
    struct gw_worker *worker =
        GW_CONTAINER(timer, struct gw_worker, paced_close);
    const struct gw_config *config = worker->config;
    /* In thousandths of a tunnel, since a share may be less than one. */
    worker->close_credit +=
        (uint64_t)config->shutdown_rate * PACE_MS / config->workers;
    uint64_t left =
        config->shutdown_rate == 0 ? UINT64_MAX : worker->close_credit / 1000;
    worker->close_credit %= 1000;
    struct gw_link *at = worker->tunnels.next;
    while (at != &worker->tunnels && left > 0) {
        struct tunnel *tunnel = GW_CONTAINER(at, struct tunnel, link);
        at = at->next;
        if (tunnel->state != TUNNEL_OPEN)
            continue;
        gw_tunnel_close(tunnel, GOING_AWAY, GW_END_SHUTDOWN);
        left--;
    }
    if (at != &worker->tunnels)
        gw_worker_timer(worker, timer, PACE_MS, close_some);
}

size_t gw_tunnels_kick(struct gw_worker *worker, const struct eio_sid *named)
{
    size_t count = 0;
    struct gw_link *at = worker->tunnels.next;
    while (at != &worker->tunnels) {
        struct tunnel *tunnel = GW_CONTAINER(at, struct tunnel, link);
        at = at->next;
        struct eio_span sid = {tunnel->sid, tunnel->sid_len};
        if (tunnel->state != TUNNEL_OPEN || tunnel->sid == NULL ||
            !gw_shared_is_sid(worker->config, sid, named))
            continue;
        /* At once: its end may take some seconds. */
        gw_tunnel_blame(tunnel, GW_END_KICKED);
        gw_tunnel_unbind(tunnel);
        gw_tunnel_close(tunnel, POLICY, GW_END_KICKED);
        count++;
    }
    return count;
}

bool gw_tunnels_use(struct gw_worker *worker, const struct gw_backend *backend)
{
    for (struct gw_link *at = worker->tunnels.next; at != &worker->tunnels;
         at = at->next)
        if (GW_CONTAINER(at, struct tunnel, link)->backend == backend)
            return true;
    return false;
}

void gw_tunnels_drain(struct gw_worker *worker)
{
    close_some(&worker->paced_close);
}

static void cut(struct tunnel *tunnel)
{
    gw_tunnel_blame(tunnel, GW_END_SHUTDOWN);
    gw_tunnel_cut(tunnel);
}

void gw_tunnels_cut(struct gw_worker *worker)
{
    gw_timer_stop(&worker->wheel, &worker->paced_close);
    while (worker->tunnels.next != &worker->tunnels)
        cut(GW_CONTAINER(worker->tunnels.next, struct tunnel, link));
}

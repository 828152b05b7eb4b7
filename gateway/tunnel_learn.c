/* SPDX-License-Identifier: MIT */
/* A websocket-only session's first frame: its sid is learnt and bound. */
#include "gateway/tunnel_private.h"
#include "gateway/worker.h"

#include <stdlib.h>

enum { INTERNAL_ERROR = 1011 };

void gw_tunnel_free_binding(struct tunnel *tunnel)
{
    if (tunnel->binding == NULL)
        return;
    gw_affinity_bind_cancel(&tunnel->binding->bind);
    free(tunnel->binding);
    tunnel->binding = NULL;
}

bool gw_tunnel_keep_sid(struct tunnel *tunnel, const struct eio_sid *sid)
{
    tunnel->sid = malloc(sid->len);
    if (tunnel->sid == NULL)
        return false;
    memcpy(tunnel->sid, sid->bytes, sid->len);
    tunnel->sid_len = sid->len;
    return true;
}

static void on_bound(struct gw_bind *bind, enum gw_bind_result result)
{
    struct tunnel *tunnel = bind->arg;
    struct ws_binding *binding = tunnel->binding;
    tunnel->binding = NULL;
    if (result == GW_BOUND) {
        tunnel->is_own = gw_tunnel_keep_sid(tunnel, &bind->sid);
    }
    free(binding);
    if (result == GW_BIND_CONFLICT)
        gw_tunnel_close(tunnel, INTERNAL_ERROR, GW_END_REPLACED);
}

static void bind_session(struct tunnel *tunnel, const struct eio_open *open)
{
    struct gw_binding binding = {
        .backend = tunnel->backend,
        .open = open,
        .peer = &tunnel->binding->peer,
        .path = eio_span_of(
            tunnel->worker->config->pools[tunnel->backend->config->pool]
                .paths[0]),
        .host = eio_span_of("sidgate"),
        .transport = STORE_TRANSPORT_WEBSOCKET,
        .eio = tunnel->eio,
    };
    tunnel->ping_interval_ms = open->ping_interval_ms;
    tunnel->ping_timeout_ms = open->ping_timeout_ms;
    tunnel->binding->bind.done = on_bound;
    tunnel->binding->bind.arg = tunnel;
    gw_affinity_bind(tunnel->worker, &tunnel->binding->bind, &binding);
}

void gw_tunnel_learn(struct tunnel *tunnel, struct eio_span bytes)
{
    struct eio_open open;
    struct eio_span payload;
    if (tunnel->first != NULL) {
        if (!gw_buf_append(&tunnel->first, bytes.ptr, bytes.len)) {
            tunnel->is_learning = false;
            gw_tunnel_free_binding(tunnel);
            return;
        }
        bytes.ptr = gw_buf_ptr(tunnel->first);
        bytes.len = gw_buf_len(tunnel->first);
    }
    enum eio_result result = eio_frame_first_text(bytes, &payload);
    if (result == EIO_MORE &&
        (tunnel->first != NULL ||
         gw_buf_append(&tunnel->first, bytes.ptr, bytes.len)))
        return;
    tunnel->is_learning = false;
    if (result == EIO_DONE && eio_open_parse(payload, &open) == EIO_DONE)
        bind_session(tunnel, &open);
    else
        gw_tunnel_free_binding(tunnel);
    gw_buf_free(&tunnel->first);
}

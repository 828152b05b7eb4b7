/* SPDX-License-Identifier: MIT */
/* A health check by a bare connect. */
#include "gateway/health_private.h"

#include <string.h>

const struct gw_address *gw_probe_source(const struct gw_config *config,
                                         const struct gw_address *backend,
                                         uint32_t turn)
{
    for (size_t i = 0; i < config->source_count; i++) {
        const struct gw_address *source =
            &config->sources[(turn + i) % config->source_count];

        if (source->addr.ss_family == backend->addr.ss_family)
            return source;
    }
    return NULL;
}

static void on_connect(uv_connect_t *request, int status)
{
    struct gw_probe *probe = request->data;

    if (status == 0)
        gw_probe_end(probe, GW_FOUND_GOOD, "");
    else
        gw_probe_fail(probe, -status);
}

static void on_close(uv_handle_t *handle)
{
    gw_probe_left(handle->data);
}

void gw_probe_connect(struct gw_probe *probe, uv_loop_t *loop,
                      const struct gw_address *source)
{
    int status = uv_tcp_init(loop, &probe->tcp);

    probe->tcp.data = probe;
    probe->connect.data = probe;
    if (status == 0 && source != NULL)
        status =
            uv_tcp_bind(&probe->tcp, (const struct sockaddr *)&source->addr, 0);
    if (status == 0)
        status = uv_tcp_connect(
            &probe->connect, &probe->tcp,
            (const struct sockaddr *)&probe->backend.address.addr, on_connect);
    if (status != 0)
        gw_probe_fail(probe, -status);
}

void gw_probe_disconnect(struct gw_probe *probe)
{
    /* A connect under way is told of with UV_ECANCELED, to nobody. */
    uv_close((uv_handle_t *)&probe->tcp, on_close);
}

/* SPDX-License-Identifier: MIT */
/* Ends a session by the operator's word. */
#include "gateway/kick.h"
#include "gateway/affinity.h"
#include "gateway/conn.h"
#include "gateway/denied.h"
#include "gateway/log.h"
#include "gateway/tunnel.h"

#include <stdlib.h>

enum { KICKS_PER_SECOND = 100 };

struct kick {
    struct gw_mail mail;
    struct eio_sid sid;
};

static void deliver(struct gw_worker *worker, struct gw_mail *mail)
{
    struct kick *kick = GW_CONTAINER(mail, struct kick, mail);
    size_t count =
        gw_tunnels_kick(worker, &kick->sid) + gw_conns_kick(worker, &kick->sid);
    char masked[EIO_SID_MASK_MAX];
    eio_sid_mask(&kick->sid, masked);
    if (count > 0) {
        gw_count_add(&worker->metrics.kicked, count);
        gw_log(GW_LOG_INFO, "session_kicked", "sid", masked);
    }
    free(kick);
}

static bool is_allowed(struct gw_server *server, int64_t now_ms)
{
    if (now_ms / 1000 != server->kick_second) {
        server->kick_second = now_ms / 1000;
        server->kick_count = 0;
    }
    return server->kick_count++ < KICKS_PER_SECOND;
}

bool gw_kick(struct gw_server *server, const char *sid, size_t len)
{
    struct gw_worker *worker = server->workers[0];
    struct eio_sid key = {.len = (uint16_t)len};
    if (len == 0 || len > EIO_SID_MAX || !is_allowed(server, worker->now_ms))
        return false;
    memcpy(key.bytes, sid, len);
    gw_affinity_evict(worker, &key, GW_END_KICKED);
    for (size_t i = 0; i < worker->config->pool_count; i++)
        gw_affinity_deny(worker, &key, (uint8_t)i, GW_KICKED_MS);
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct kick *kick = calloc(1, sizeof(*kick));
        if (kick == NULL)
            return false;
        kick->sid = key;
        kick->mail.deliver = deliver;
        gw_worker_post(server->workers[i], &kick->mail);
    }
    return true;
}

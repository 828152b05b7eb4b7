/* SPDX-License-Identifier: MIT */
/* What went through tunnels, told to their sessions' records. */
#include "gateway/tunnel_private.h"
#include "store/memory.h"

enum { TUNNELS_PER_STEP = 1024 };

void gw_tunnel_account(struct tunnel *tunnel)
{
    struct store_traffic traffic = {.in_bytes = tunnel->in_bytes,
                                    .out_bytes = tunnel->out_bytes};
    struct store_key key = {tunnel->sid, tunnel->sid_len};
    if (tunnel->sid == NULL || traffic.in_bytes + traffic.out_bytes == 0)
        return;
    tunnel->in_bytes = 0;
    tunnel->out_bytes = 0;
    store_memory_account(tunnel->worker->server->memory, key, &traffic,
                         gw_wall_ms());
}

/* Those that have had their turn stand at the end of the list. */
void gw_tunnels_account(struct gw_worker *worker)
{
    struct gw_link *last = worker->tunnels.prev;
    /* The records that count are the new process's: what is told there goes
     * with the tunnel. */
    if (atomic_load_explicit(&worker->server->is_handed_over,
                             memory_order_relaxed))
        return;
    for (int i = 0; i < TUNNELS_PER_STEP; i++) {
        struct gw_link *first = worker->tunnels.next;
        if (first == &worker->tunnels)
            return;
        gw_tunnel_account(GW_CONTAINER(first, struct tunnel, link));
        gw_link_remove(first);
        gw_link_add(&worker->tunnels, first);
        if (first == last)
            return;
    }
}

/* SPDX-License-Identifier: MIT */
/* The metrics page: backends as they are now, each worker, the process. */
#include "gateway/metrics_private.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>

/* Backends */

static void put_sessions(const struct gw_metrics_page *page)
{
    gw_metrics_head(page->out, "sidgate_sessions", "gauge",
                    "Sessions bound to a backend now, by transport.");
    for (size_t i = 0; i < page->view->backend_count; i++) {
        const struct gw_metrics_backend *one = &page->view->backends[i];
        int64_t all = one->sessions > 0 ? one->sessions : 0;
        int64_t websockets = one->websockets > 0 ? one->websockets : 0;

        /* They are read at different moments. */
        if (websockets > all)
            websockets = all;
        fprintf(
            page->out,
            "sidgate_sessions{backend=\"%s\",transport=\"polling\"} %" PRId64
            "\nsidgate_sessions{backend=\"%s\",transport=\"websocket\"} "
            "%" PRId64 "\n",
            page->labels[i], all - websockets, page->labels[i], websockets);
    }
}

static void put_states(const struct gw_metrics_page *page)
{
    gw_metrics_head(page->out, "sidgate_backend_state", "gauge",
                    "1 for the state that a backend is in, 0 for all others.");
    for (size_t i = 0; i < page->view->backend_count; i++)
        for (int state = 0; state < GW_CONDITIONS; state++)
            fprintf(page->out,
                    "sidgate_backend_state{backend=\"%s\",state=\"%s\"} %d\n",
                    page->labels[i], gw_backend_state_names[state],
                    (int)page->view->backends[i].condition == state);
}

static void put_up(const struct gw_metrics_page *page)
{
    gw_metrics_head(page->out, "sidgate_backend_up", "gauge",
                    "1 while a backend gets new sessions: its state is up.");
    for (size_t i = 0; i < page->view->backend_count; i++)
        fprintf(page->out, "sidgate_backend_up{backend=\"%s\"} %d\n",
                page->labels[i],
                page->view->backends[i].condition == GW_CONDITION_UP);
}

void gw_metrics_put_conditions(const struct gw_metrics_page *page)
{
    put_sessions(page);
    put_states(page);
    put_up(page);
}

/* Workers */

static void put_cpu(const struct gw_metrics_page *page)
{
    bool has_head = false;

    for (size_t i = 0; i < page->view->worker_count; i++) {
        int64_t us = page->view->workers[i].cpu_us;

        if (us < 0)
            continue;
        if (!has_head)
            gw_metrics_head(page->out, "sidgate_worker_cpu_seconds_total",
                            "counter", "CPU time that a worker has used.");
        has_head = true;
        fprintf(page->out,
                "sidgate_worker_cpu_seconds_total{worker=\"%zu\"} %" PRId64
                ".%06" PRId64 "\n",
                i, us / 1000000, us % 1000000);
    }
}

void gw_metrics_put_each_worker(const struct gw_metrics_page *page)
{
    static const struct {
        const char *name;
        const char *type;
        const char *help;
        size_t offset;
    } families[] = {
        {"sidgate_worker_connections", "gauge",
         "Client connections of a worker now, tunnels not counted.",
         offsetof(struct gw_metrics, connections)},
        {"sidgate_worker_tunnels", "gauge",
         "Websocket tunnels of a worker now.",
         offsetof(struct gw_metrics, tunnels)},
        {"sidgate_worker_requests_total", "counter",
         "Requests whose head a worker has read whole and found valid.",
         offsetof(struct gw_metrics, requests)},
        {"sidgate_worker_connections_accepted_total", "counter",
         "Client connections that a worker has accepted.",
         offsetof(struct gw_metrics, accepted)},
        {"sidgate_worker_accept_errors_total", "counter",
         "Client connections that a worker could not accept.",
         offsetof(struct gw_metrics, accept_errors)},
    };
    const struct gw_metrics_view *view = page->view;

    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        gw_metrics_head(page->out, families[i].name, families[i].type,
                        families[i].help);
        for (size_t worker = 0; worker < view->worker_count; worker++) {
            const void *counter = (const char *)view->workers[worker].metrics +
                                  families[i].offset;

            fprintf(page->out, "%s{worker=\"%zu\"} %" PRIu64 "\n",
                    families[i].name, worker, gw_metrics_read(counter));
        }
    }
    put_cpu(page);
}

/* The gateway */

static void put_ends(const struct gw_metrics_page *page)
{
    gw_metrics_head(page->out, "sidgate_sessions_ended_total", "counter",
                    "Sessions that ended, by what ended them.");
    for (int cause = 0; cause < GW_END_COUNT; cause++)
        fprintf(page->out,
                "sidgate_sessions_ended_total{cause=\"%s\"} %" PRIu64 "\n",
                gw_end_names[cause], page->view->ended[cause]);
}

static void put_gateway(const struct gw_metrics_page *page)
{
    const struct gw_metrics_view *view = page->view;
    FILE *out = page->out;

    gw_metrics_head(out, "sidgate_access_log_lost_total", "counter",
                    "Lines of the access log for which there was no room.");
    fprintf(out, "sidgate_access_log_lost_total %" PRIu64 "\n",
            view->log_lines_lost);
    gw_metrics_head(out, "sidgate_reloads_total", "counter",
                    "Reloads of the configuration.");
    fprintf(out,
            "sidgate_reloads_total{result=\"ok\"} %" PRIu64
            "\nsidgate_reloads_total{result=\"failed\"} %" PRIu64 "\n",
            view->reloads_ok, view->reloads_failed);
    gw_metrics_head(out, "sidgate_store_connections", "gauge",
                    "Connections to the shared store that there should be: "
                    "one for each worker, 0 with the memory store.");
    fprintf(out, "sidgate_store_connections %u\n", view->store_connections);
    gw_metrics_head(out, "sidgate_replicas", "gauge",
                    "Live gateways that share the store, this one included.");
    fprintf(out, "sidgate_replicas %u\n", view->replicas);
    if (view->not_after_s > 0) {
        gw_metrics_head(out, "sidgate_tls_certificate_not_after_seconds",
                        "gauge",
                        "When the first of the certificates expires, in "
                        "seconds since the epoch.");
        fprintf(out, "sidgate_tls_certificate_not_after_seconds %" PRId64 "\n",
                view->not_after_s);
    }
    gw_metrics_head(out, "sidgate_build_info", "gauge",
                    "Always 1; the label says what runs.");
    fprintf(out, "sidgate_build_info{version=\"%s\"} 1\n", view->version);
}

/* The names that Prometheus' own libraries give these. */
static void put_standard(const struct gw_metrics_page *page)
{
    const struct gw_metrics_process *process = &page->view->process;
    const struct {
        const char *name;
        const char *help;
        int64_t value;
    } gauges[] = {
        {"process_start_time_seconds",
         "When this process started, in seconds since the epoch.",
         process->start_time_s},
        {"process_resident_memory_bytes", "Memory in use.",
         process->resident_bytes},
        {"process_open_fds", "Open file descriptors.", process->open_fds},
        {"process_max_fds", "How many there may be.", process->max_fds},
    };

    if (process->cpu_us >= 0) {
        gw_metrics_head(page->out, "process_cpu_seconds_total", "counter",
                        "CPU time of this process, user and system.");
        fprintf(page->out,
                "process_cpu_seconds_total %" PRId64 ".%06" PRId64 "\n",
                process->cpu_us / 1000000, process->cpu_us % 1000000);
    }
    for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++) {
        if (gauges[i].value < 0)
            continue;
        gw_metrics_head(page->out, gauges[i].name, "gauge", gauges[i].help);
        fprintf(page->out, "%s %" PRId64 "\n", gauges[i].name, gauges[i].value);
    }
}

void gw_metrics_put_process(const struct gw_metrics_page *page)
{
    put_ends(page);
    put_gateway(page);
    put_standard(page);
}

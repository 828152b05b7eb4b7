/* SPDX-License-Identifier: MIT */
/* The metrics page. */
#include "gateway/metrics.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKENDS = 2, WORKERS = 2 };

static struct gw_metrics workers[WORKERS];
static struct gw_backend_metrics backends[WORKERS][BACKENDS];
static const struct gw_metrics_worker worker_rows[WORKERS] = {
    {.metrics = &workers[0], .backends = backends[0], .cpu_us = 1500000},
    {.metrics = &workers[1], .backends = backends[1], .cpu_us = 42},
};
static const struct gw_metrics_backend two_backends[BACKENDS] = {
    {.id = "n1", .place = 0, .sessions = 5, .websockets = 2},
    {.id = "[::1]:3001", .place = 1, .condition = GW_CONDITION_DOWN},
};
static char *page;
static size_t page_len;

static struct gw_metrics_view plain_view(void)
{
    return (struct gw_metrics_view){
        .workers = worker_rows,
        .worker_count = WORKERS,
        .backends = two_backends,
        .backend_count = BACKENDS,
        .process = {.start_time_s = 1700000000,
                    .cpu_us = 61000007,
                    .resident_bytes = 4096,
                    .open_fds = 17,
                    .max_fds = 1024},
        .ended = {[GW_END_CLIENT] = 3, [GW_END_KICKED] = 1},
        .reloads_ok = 4,
        .reloads_failed = 2,
        .log_lines_lost = 9,
        .replicas = 2,
        .not_after_s = 1800000000,
        .version = "1.2.3",
    };
}

static void render(const struct gw_metrics_view *view)
{
    page = gw_metrics_render(view, &page_len);
    cr_assert_not_null(page);
    cr_expect_eq(strlen(page), page_len);
}

static void render_plain(void)
{
    const struct gw_metrics_view view = plain_view();

    render(&view);
}

/* How often `line` stands on the page as a whole line. */
static size_t count_lines(const char *line)
{
    size_t len = strlen(line);
    size_t count = 0;

    for (const char *at = page; *at != '\0'; at = strchr(at, '\n') + 1) {
        if (strncmp(at, line, len) == 0 && at[len] == '\n')
            count++;
    }
    return count;
}

static void expect_line(const char *line)
{
    cr_expect_eq(count_lines(line), 1, "%s: %zu times in\n%s", line,
                 count_lines(line), page);
}

Test(metrics, workers_are_summed)
{
    gw_count(&workers[0].accepted);
    gw_count_add(&workers[1].accepted, 41);
    gw_count_add(&workers[1].routed_recovery, 7);
    gw_count_add(&workers[0].tunnels, 3);
    gw_count_add(&workers[0].tunnels, (uint64_t)-1);
    gw_count_add(&workers[1].connections, (uint64_t)-1);
    gw_count_add(&backends[0][1].b_requests, 10);
    gw_count_add(&backends[1][1].b_requests, 100);
    gw_count_add(&backends[1][0].b_upgrades_refused, 2);
    render_plain();
    expect_line("sidgate_connections_accepted_total 42");
    expect_line("sidgate_routed_total{source=\"recovery\"} 7");
    expect_line("sidgate_tunnels 2");
    expect_line("sidgate_connections 0");
    expect_line("sidgate_backend_requests_total{backend=\"n1\"} 0");
    expect_line("sidgate_backend_requests_total{backend=\"[::1]:3001\"} 110");
    expect_line("sidgate_upgrade_failures_total{backend=\"n1\",reason="
                "\"refused\"} 2");
    free(page);
}

Test(metrics, the_process_and_its_sessions)
{
    render_plain();
    expect_line("sidgate_sessions{backend=\"n1\",transport=\"polling\"} 3");
    expect_line("sidgate_sessions{backend=\"n1\",transport=\"websocket\"} 2");
    expect_line(
        "sidgate_sessions{backend=\"[::1]:3001\",transport=\"polling\"} "
        "0");
    expect_line("sidgate_sessions_ended_total{cause=\"client\"} 3");
    expect_line("sidgate_sessions_ended_total{cause=\"kicked\"} 1");
    expect_line("sidgate_sessions_ended_total{cause=\"backend\"} 0");
    expect_line("sidgate_reloads_total{result=\"ok\"} 4");
    expect_line("sidgate_reloads_total{result=\"failed\"} 2");
    expect_line("sidgate_access_log_lost_total 9");
    expect_line("sidgate_replicas 2");
    expect_line("sidgate_tls_certificate_not_after_seconds 1800000000");
    expect_line("sidgate_build_info{version=\"1.2.3\"} 1");
    expect_line("process_start_time_seconds 1700000000");
    expect_line("process_cpu_seconds_total 61.000007");
    expect_line("process_resident_memory_bytes 4096");
    expect_line("process_open_fds 17");
    expect_line("process_max_fds 1024");
    expect_line("# TYPE sidgate_sessions gauge");
    expect_line("# TYPE sidgate_tunnels gauge");
    expect_line("# TYPE sidgate_requests_total counter");
    free(page);
}

/* What cannot be known is left out, and so is its head. */
Test(metrics, what_the_kernel_does_not_say)
{
    const struct gw_metrics_worker blind = {
        .metrics = &workers[0], .backends = backends[0], .cpu_us = -1};
    struct gw_metrics_view view = plain_view();

    view.workers = &blind;
    view.worker_count = 1;
    view.not_after_s = 0;
    view.process = (struct gw_metrics_process){
        .cpu_us = -1, .resident_bytes = -1, .open_fds = -1, .max_fds = -1};
    render(&view);
    cr_expect_null(strstr(page, "cpu_seconds"));
    cr_expect_null(strstr(page, "process_open"));
    cr_expect_null(strstr(page, "process_max"));
    cr_expect_null(strstr(page, "process_resident"));
    cr_expect_null(strstr(page, "certificate"));
    free(page);
}

Test(metrics, a_backend_has_one_state)
{
    render_plain();
    expect_line("sidgate_backend_state{backend=\"n1\",state=\"up\"} 1");
    expect_line("sidgate_backend_state{backend=\"n1\",state=\"down\"} 0");
    expect_line("sidgate_backend_state{backend=\"[::1]:3001\",state=\"up\"} 0");
    expect_line(
        "sidgate_backend_state{backend=\"[::1]:3001\",state=\"down\"} 1");
    expect_line("sidgate_backend_up{backend=\"n1\"} 1");
    expect_line("sidgate_backend_up{backend=\"[::1]:3001\"} 0");
    free(page);
}

/* Counts that other threads change meanwhile may contradict one another. */
Test(metrics, no_sessions_below_zero)
{
    const struct gw_metrics_backend odd[BACKENDS] = {
        {.id = "n1", .sessions = -1, .websockets = 1},
        {.id = "n2", .sessions = 1, .websockets = 3},
    };
    struct gw_metrics_view view = plain_view();

    view.backends = odd;
    render(&view);
    expect_line("sidgate_sessions{backend=\"n1\",transport=\"polling\"} 0");
    expect_line("sidgate_sessions{backend=\"n1\",transport=\"websocket\"} 0");
    expect_line("sidgate_sessions{backend=\"n2\",transport=\"polling\"} 0");
    expect_line("sidgate_sessions{backend=\"n2\",transport=\"websocket\"} 1");
    free(page);
}

Test(metrics, workers_by_themselves)
{
    gw_count_add(&workers[0].requests, 5);
    gw_count_add(&workers[1].requests, 8);
    gw_count(&workers[1].tunnels);
    gw_count(&workers[1].accept_errors);
    render_plain();
    expect_line("sidgate_requests_total 13");
    expect_line("sidgate_worker_requests_total{worker=\"0\"} 5");
    expect_line("sidgate_worker_requests_total{worker=\"1\"} 8");
    expect_line("sidgate_worker_tunnels{worker=\"0\"} 0");
    expect_line("sidgate_worker_tunnels{worker=\"1\"} 1");
    expect_line("sidgate_worker_accept_errors_total{worker=\"1\"} 1");
    expect_line("sidgate_worker_cpu_seconds_total{worker=\"0\"} 1.500000");
    expect_line("sidgate_worker_cpu_seconds_total{worker=\"1\"} 0.000042");
    free(page);
}

Test(metrics, each_family_has_one_head)
{
    render_plain();
    expect_line("# TYPE sidgate_routed_total counter");
    expect_line("# TYPE sidgate_upgrade_failures_total counter");
    for (const char *at = page; *at != '\0'; at = strchr(at, '\n') + 1) {
        char line[1024] = "";
        size_t len = strcspn(at, "\n");

        cr_assert_eq(at[len], '\n');
        cr_assert_lt(len, sizeof(line));
        memcpy(line, at, len);
        expect_line(line);
    }
    free(page);
}

/* Whether a sample is one of the histogram's. */
static bool is_histogram(const char *at, const char *family)
{
    size_t len = strlen(family);

    if (strncmp(at, family, len) != 0)
        return false;
    at += len;
    return strncmp(at, "_bucket{", 8) == 0 || strncmp(at, "_sum{", 5) == 0 ||
           strncmp(at, "_count{", 7) == 0;
}

/* Every sample stands under the head of its own family. */
Test(metrics, families_stand_together)
{
    char family[128] = "";

    render_plain();
    for (const char *at = page; *at != '\0'; at = strchr(at, '\n') + 1) {
        static const char help[] = "# HELP ";
        static const char type[] = "# TYPE ";

        if (strncmp(at, help, sizeof(help) - 1) == 0) {
            at += sizeof(help) - 1;
            snprintf(family, sizeof(family), "%.*s", (int)strcspn(at, " "), at);
            cr_expect_neq(at[strlen(family) + 1], '\n', "%s has no help",
                          family);
            continue;
        }
        if (strncmp(at, type, sizeof(type) - 1) == 0)
            at += sizeof(type) - 1;
        else if (is_histogram(at, family))
            continue;
        cr_expect_eq(strcspn(at, " {"), strlen(family));
        cr_expect_eq(strncmp(at, family, strlen(family)), 0, "%.60s under %s",
                     at, family);
    }
    free(page);
}

Test(metrics, label_values_are_escaped)
{
    const struct gw_metrics_backend odd = {.id = "a\"b\\c\nd"};
    struct gw_metrics_view view = plain_view();

    view.backends = &odd;
    view.backend_count = 1;
    render(&view);
    expect_line("sidgate_backend_up{backend=\"a\\\"b\\\\c\\nd\"} 1");
    free(page);
}

Test(metrics, no_backends_no_workers)
{
    const struct gw_metrics_view view = {.version = "1.2.3"};

    render(&view);
    expect_line("sidgate_connections_accepted_total 0");
    cr_expect_null(strstr(page, "backend=\""));
    cr_expect_null(strstr(page, "worker=\""));
    free(page);
}

static bool has_promtool(void)
{
    return system("command -v promtool >/dev/null 2>&1") == 0;
}

Test(metrics, promtool_agrees)
{
    if (!has_promtool())
        cr_skip_test("promtool is not installed");

    render_plain();
    FILE *out = popen("promtool check metrics", "w");
    cr_assert_not_null(out);
    cr_expect_eq(fwrite(page, 1, page_len, out), page_len);
    cr_expect_eq(pclose(out), 0);
    free(page);
}

/* Backends have places of their own there, which change hands. */
Test(metrics, rows_are_found_by_their_places)
{
    const struct gw_metrics_backend n2 = {
        .id = "n2", .place = 1, .sessions = 3};
    struct gw_metrics_view view = plain_view();

    view.backends = &n2;
    view.backend_count = 1;
    gw_count_add(&backends[0][0].b_requests, 5);
    gw_count_add(&backends[0][1].b_requests, 7);
    render(&view);
    expect_line("sidgate_backend_requests_total{backend=\"n2\"} 7");
    expect_line("sidgate_sessions{backend=\"n2\",transport=\"polling\"} 3");
    free(page);
}

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
static char *page;
static size_t page_len;

static void render(const char *const *ids, const int64_t *sessions,
                   size_t worker_count, size_t backend_count)
{
    struct gw_metrics *const worker_list[WORKERS] = {&workers[0], &workers[1]};
    struct gw_backend_metrics *const backend_list[WORKERS] = {backends[0],
                                                              backends[1]};
    const struct gw_metrics_view view = {
        .workers = worker_list,
        .worker_backends = backend_list,
        .worker_count = worker_count,
        .backend_ids = ids,
        .backend_sessions = sessions,
        .backend_count = backend_count,
        .start_time_s = 1700000000,
        .not_after_s = 1800000000,
        .version = "1.2.3",
    };

    page = gw_metrics_render(&view, &page_len);
    cr_assert_not_null(page);
    cr_expect_eq(strlen(page), page_len);
}

static void render_plain(void)
{
    static const char *const ids[BACKENDS] = {"n1", "[::1]:3001"};
    static const int64_t sessions[BACKENDS] = {5, 0};

    render(ids, sessions, WORKERS, BACKENDS);
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
    gw_count_add(&backends[1][0].b_upgrades_failed, 2);
    render_plain();
    expect_line("sidgate_connections_accepted_total 42");
    expect_line("sidgate_routed_total{source=\"recovery\"} 7");
    expect_line("sidgate_tunnels 2");
    expect_line("sidgate_connections 0");
    expect_line("sidgate_backend_requests_total{backend=\"n1\"} 0");
    expect_line("sidgate_backend_requests_total{backend=\"[::1]:3001\"} 110");
    expect_line("sidgate_upgrades_total{backend=\"n1\",result=\"failed\"} 2");
    free(page);
}

Test(metrics, the_process_and_its_sessions)
{
    render_plain();
    expect_line("sidgate_sessions{backend=\"n1\"} 5");
    expect_line("sidgate_sessions{backend=\"[::1]:3001\"} 0");
    expect_line("sidgate_start_time_seconds 1700000000");
    expect_line("sidgate_tls_certificate_not_after_seconds 1800000000");
    expect_line("sidgate_build_info{version=\"1.2.3\"} 1");
    expect_line("# TYPE sidgate_sessions gauge");
    expect_line("# TYPE sidgate_tunnels gauge");
    expect_line("# TYPE sidgate_requests_total counter");
    free(page);
}

Test(metrics, each_family_has_one_head)
{
    render_plain();
    expect_line("# TYPE sidgate_routed_total counter");
    expect_line("# TYPE sidgate_upgrades_total counter");
    for (const char *at = page; *at != '\0'; at = strchr(at, '\n') + 1) {
        char line[256];

        cr_assert_not_null(strchr(at, '\n'));
        snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
        expect_line(line);
    }
    free(page);
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
        cr_expect_eq(strcspn(at, " {"), strlen(family));
        cr_expect_eq(strncmp(at, family, strlen(family)), 0, "%.60s under %s",
                     at, family);
    }
    free(page);
}

Test(metrics, label_values_are_escaped)
{
    static const char *const ids[] = {"a\"b\\c\nd"};
    static const int64_t sessions[] = {1};

    render(ids, sessions, 1, 1);
    expect_line("sidgate_sessions{backend=\"a\\\"b\\\\c\\nd\"} 1");
    free(page);
}

Test(metrics, no_backends_no_workers)
{
    render(NULL, NULL, 0, 0);
    expect_line("sidgate_connections_accepted_total 0");
    cr_expect_null(strstr(page, "backend=\""));
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

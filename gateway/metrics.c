/* SPDX-License-Identifier: MIT */
/*
 * The metrics page: every worker's counters summed, in Prometheus' text
 * format.
 */
#include "gateway/metrics_private.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

/* One line of metrics.def. */
struct series {
    size_t offset; /* in its struct */
    const char *name;
    const char *help;
    const char *type;
};

static const struct series worker_series[] = {
#define GW_COUNTER(field, name, help)                                          \
    {offsetof(struct gw_metrics, field), "sidgate_" name, help, "counter"},
#define GW_GAUGE(field, name, help)                                            \
    {offsetof(struct gw_metrics, field), "sidgate_" name, help, "gauge"},
#define GW_BACKEND_COUNTER(field, name, help)
#include "gateway/metrics.def"
#undef GW_COUNTER
#undef GW_GAUGE
#undef GW_BACKEND_COUNTER
};

static const struct series backend_series[] = {
#define GW_COUNTER(field, name, help)
#define GW_GAUGE(field, name, help)
#define GW_BACKEND_COUNTER(field, name, help)                                  \
    {offsetof(struct gw_backend_metrics, field), "sidgate_" name, help,        \
     "counter"},
#include "gateway/metrics.def"
#undef GW_COUNTER
#undef GW_GAUGE
#undef GW_BACKEND_COUNTER
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t read_at(const void *base, size_t offset)
{
    const void *counter = (const char *)base + offset;

    return gw_metrics_read(counter);
}

void gw_metrics_head(FILE *out, const char *name, const char *type,
                     const char *help)
{
    int name_len = (int)strcspn(name, "{");

    fprintf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", name_len, name, help,
            name_len, name, type);
}

/* A family's head stands before its first series only. */
static void put_series_head(FILE *out, const struct series *series,
                            const struct series *previous)
{
    size_t len = strcspn(series->name, "{");

    if (previous != NULL && strcspn(previous->name, "{") == len &&
        strncmp(previous->name, series->name, len) == 0)
        return;
    gw_metrics_head(out, series->name, series->type, series->help);
}

static void escape(const char *value, char out[GW_METRICS_LABEL_MAX])
{
    size_t len = 0;

    for (; *value != '\0' && len + 2 < GW_METRICS_LABEL_MAX; value++) {
        if (*value == '\n' || *value == '"' || *value == '\\')
            out[len++] = '\\';
        out[len++] = *value;
        if (*value == '\n')
            out[len - 1] = 'n';
    }
    out[len] = '\0';
}

static void put_sums(const struct gw_metrics_page *page)
{
    const struct gw_metrics_view *view = page->view;
    const struct series *previous = NULL;

    for (size_t i = 0; i < COUNT(worker_series); i++) {
        const struct series *series = &worker_series[i];
        uint64_t sum = 0;

        for (size_t worker = 0; worker < view->worker_count; worker++)
            sum += read_at(view->workers[worker].metrics, series->offset);
        put_series_head(page->out, series, previous);
        /* A gauge's parts may be read at different moments, and their sum
         * then be below zero. */
        if (strcmp(series->type, "gauge") == 0 && (int64_t)sum < 0)
            sum = 0;
        fprintf(page->out, "%s %" PRIu64 "\n", series->name, sum);
        previous = series;
    }
}

static uint64_t sum_of_backend(const struct gw_metrics_view *view,
                               size_t backend, size_t offset)
{
    unsigned place = view->backends[backend].place;
    uint64_t sum = 0;

    for (size_t worker = 0; worker < view->worker_count; worker++)
        sum += read_at(&view->workers[worker].backends[place], offset);
    return sum;
}

/* One line: name{backend="id"}, with the name's own fixed labels behind. */
static void put_of_backend(const struct gw_metrics_page *page,
                           const struct series *series, size_t backend)
{
    size_t name_len = strcspn(series->name, "{");
    const char *fixed = series->name + name_len;
    bool has_more = *fixed == '{';

    fprintf(page->out, "%.*s{backend=\"%s\"%s%s %" PRIu64 "\n", (int)name_len,
            series->name, page->labels[backend], has_more ? "," : "}",
            has_more ? fixed + 1 : "",
            sum_of_backend(page->view, backend, series->offset));
}

static void put_backends(const struct gw_metrics_page *page)
{
    const struct series *previous = NULL;

    for (size_t i = 0; i < COUNT(backend_series); i++) {
        const struct series *series = &backend_series[i];

        put_series_head(page->out, series, previous);
        previous = series;
        for (size_t backend = 0; backend < page->view->backend_count; backend++)
            put_of_backend(page, series, backend);
    }
}

static void put_page(const struct gw_metrics_page *page)
{
    put_sums(page);
    gw_metrics_put_durations(page);
    put_backends(page);
    gw_metrics_put_conditions(page);
    gw_metrics_put_each_worker(page);
    gw_metrics_put_process(page);
}

char *gw_metrics_render(const struct gw_metrics_view *view, size_t *len)
{
    char *text = NULL;
    struct gw_metrics_page page = {.view = view};

    page.labels = calloc(view->backend_count + 1, sizeof(*page.labels));
    if (page.labels == NULL)
        return NULL;
    for (size_t i = 0; i < view->backend_count; i++)
        escape(view->backends[i].id, page.labels[i]);
    page.out = open_memstream(&text, len);
    if (page.out == NULL) {
        free(page.labels);
        return NULL;
    }
    /* Nobody else has it. */
    __fsetlocking(page.out, FSETLOCKING_BYCALLER);
    put_page(&page);
    free(page.labels);

    bool has_failed = ferror(page.out) != 0;
    if (fclose(page.out) != 0 || has_failed) {
        free(text);
        return NULL;
    }
    return text;
}

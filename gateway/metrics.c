/* SPDX-License-Identifier: MIT */
/*
 * The metrics page: every worker's counters summed, in Prometheus' text
 * format.
 */
#include "gateway/metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
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
    {offsetof(struct gw_metrics, field), name, help, "counter"},
#define GW_GAUGE(field, name, help)                                            \
    {offsetof(struct gw_metrics, field), name, help, "gauge"},
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
    {offsetof(struct gw_backend_metrics, field), name, help, "counter"},
#include "gateway/metrics.def"
#undef GW_COUNTER
#undef GW_GAUGE
#undef GW_BACKEND_COUNTER
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t read_counter(const void *base, size_t offset)
{
    const void *counter = (const char *)base + offset;

    return atomic_load_explicit((const gw_counter *)counter,
                                memory_order_relaxed);
}

static void put_head(FILE *out, const char *name, const char *type,
                     const char *help)
{
    int name_len = (int)strcspn(name, "{");

    fprintf(out, "# HELP sidgate_%.*s %s\n# TYPE sidgate_%.*s %s\n", name_len,
            name, help, name_len, name, type);
}

/* A family's head stands before its first series only. */
static void put_series_head(FILE *out, const struct series *series,
                            const struct series *previous)
{
    size_t len = strcspn(series->name, "{");

    if (previous != NULL && strcspn(previous->name, "{") == len &&
        strncmp(previous->name, series->name, len) == 0)
        return;
    put_head(out, series->name, series->type, series->help);
}

static void put_label_value(FILE *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\n') {
            fputs("\\n", out);
            continue;
        }
        if (*value == '"' || *value == '\\')
            fputc('\\', out);
        fputc(*value, out);
    }
}

/* Writes name{backend="id"} with the name's own fixed labels behind. */
static void put_backend_name(FILE *out, const char *name, const char *id)
{
    size_t name_len = strcspn(name, "{");
    const char *fixed = name + name_len;

    fprintf(out, "sidgate_%.*s{backend=\"", (int)name_len, name);
    put_label_value(out, id);
    if (*fixed == '{')
        fprintf(out, "\",%s", fixed + 1);
    else
        fputs("\"}", out);
}

static void put_workers(FILE *out, const struct gw_metrics_view *view)
{
    const struct series *previous = NULL;

    for (size_t i = 0; i < COUNT(worker_series); i++) {
        const struct series *series = &worker_series[i];
        uint64_t sum = 0;

        for (size_t worker = 0; worker < view->worker_count; worker++)
            sum += read_counter(view->workers[worker], series->offset);
        put_series_head(out, series, previous);
        /* A gauge's parts may be read at different moments, and their sum
         * then be below zero. */
        if (strcmp(series->type, "gauge") == 0 && (int64_t)sum < 0)
            sum = 0;
        fprintf(out, "sidgate_%s %" PRIu64 "\n", series->name, sum);
        previous = series;
    }
}

static void put_backends(FILE *out, const struct gw_metrics_view *view)
{
    const struct series *previous = NULL;

    for (size_t i = 0; i < COUNT(backend_series); i++) {
        const struct series *series = &backend_series[i];

        put_series_head(out, series, previous);
        previous = series;
        for (size_t backend = 0; backend < view->backend_count; backend++) {
            uint64_t sum = 0;

            for (size_t worker = 0; worker < view->worker_count; worker++)
                sum += read_counter(&view->worker_backends[worker][backend],
                                    series->offset);
            put_backend_name(out, series->name, view->backend_ids[backend]);
            fprintf(out, " %" PRIu64 "\n", sum);
        }
    }
    put_head(out, "sessions", "gauge", "Sessions bound to a backend now.");
    for (size_t backend = 0; backend < view->backend_count; backend++) {
        put_backend_name(out, "sessions", view->backend_ids[backend]);
        fprintf(out, " %" PRId64 "\n", view->backend_sessions[backend]);
    }
}

static void put_process(FILE *out, const struct gw_metrics_view *view)
{
    put_head(out, "start_time_seconds", "gauge",
             "When this process started, in seconds since the epoch.");
    fprintf(out, "sidgate_start_time_seconds %" PRIu64 "\n",
            view->start_time_s);
    if (view->not_after_s > 0) {
        put_head(out, "tls_certificate_not_after_seconds", "gauge",
                 "When the first of the certificates expires, in seconds "
                 "since the epoch.");
        fprintf(out, "sidgate_tls_certificate_not_after_seconds %" PRId64 "\n",
                view->not_after_s);
    }
    put_head(out, "build_info", "gauge", "Always 1; the label says what runs.");
    fputs("sidgate_build_info{version=\"", out);
    put_label_value(out, view->version);
    fputs("\"} 1\n", out);
}

char *gw_metrics_render(const struct gw_metrics_view *view, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);

    if (out == NULL)
        return NULL;
    put_workers(out, view);
    put_backends(out, view);
    put_process(out, view);

    bool has_failed = ferror(out) != 0;
    if (fclose(out) != 0 || has_failed) {
        free(text);
        return NULL;
    }
    return text;
}

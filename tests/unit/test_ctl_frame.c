/* SPDX-License-Identifier: MIT */
/* Frames on a terminal, and what stands in those of `sidgate ctl top`. */
#include "gateway/ctl_frame.h"
#include "gateway/ctl_top.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct gw_ctl_frame frame;
static struct gw_ctl_samples samples;

static char *draw(const struct gw_ctl_screen *screen)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_neq(out, NULL);
    gw_ctl_frame_draw(&frame, screen, out);
    fclose(out);
    return text;
}

static void expect_drawn(struct gw_ctl_screen screen, const char *drawn)
{
    char *text = draw(&screen);

    cr_expect_str_eq(text, drawn);
    free(text);
}

Test(ctl_frame, plain)
{
    gw_ctl_frame_add(&frame, GW_CTL_BAD, "%s %d", "a\033\n", 7);
    gw_ctl_frame_add(&frame, GW_CTL_PLAIN, "blank   ");
    expect_drawn((struct gw_ctl_screen){0}, "a?? 7\nblank\n");
    expect_drawn((struct gw_ctl_screen){.columns = 3, .rows = 1}, "a??\n");
}

Test(ctl_frame, escapes)
{
    gw_ctl_frame_add(&frame, GW_CTL_BAD, "bad");
    gw_ctl_frame_add(&frame, GW_CTL_PLAIN, "plain");
    expect_drawn((struct gw_ctl_screen){80, 24, true},
                 "\033[H\033[K\033[31mbad\033[0m\n\033[Kplain\n\033[J");
    /* In the last row there is no line end. */
    expect_drawn((struct gw_ctl_screen){2, 2, true},
                 "\033[H\033[K\033[31mba\033[0m\n\033[Kpl");
    expect_drawn((struct gw_ctl_screen){80, 1, true},
                 "\033[H\033[K\033[31mbad\033[0m");
}

Test(ctl_frame, bounds)
{
    char text[2 * GW_CTL_LINE_MAX];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (int i = 0; i < GW_CTL_LINES_MAX + 10; i++)
        gw_ctl_frame_add(&frame, GW_CTL_PLAIN, "%s", text);
    cr_expect_eq(frame.count, GW_CTL_LINES_MAX);
    cr_expect_eq(strlen(frame.lines[0].text), GW_CTL_LINE_MAX - 1);
}

static cJSON *list_of(double requests, double errors)
{
    cJSON *list = cJSON_CreateArray();
    cJSON *backend = cJSON_CreateObject();

    cJSON_AddStringToObject(backend, "id", "n1");
    cJSON_AddNumberToObject(backend, "requests_total", requests);
    cJSON_AddNumberToObject(backend, "errors_total", errors);
    cJSON_AddItemToArray(list, backend);
    return list;
}

static void sample(double requests, double errors, int64_t now_ms)
{
    cJSON *list = list_of(requests, errors);

    gw_ctl_top_sample(&samples, list, now_ms);
    cr_assert_eq(samples.count, 1);
    cJSON_Delete(list);
}

Test(ctl_top, rates)
{
    sample(100, 0, 1000);
    cr_expect(isnan(samples.list[0].requests_per_s));
    sample(300, 1, 1500);
    cr_expect_eq(samples.list[0].requests_per_s, 400);
    cr_expect_eq(samples.list[0].errors_per_s, 2);
    /* No time went by. */
    sample(400, 1, 1500);
    cr_expect(isnan(samples.list[0].requests_per_s));
    /* Another process counts. */
    sample(5, 2, 2500);
    cr_expect(isnan(samples.list[0].requests_per_s));
    cr_expect_eq(samples.list[0].errors_per_s, 1);
}

Test(ctl_top, samples_are_bounded)
{
    cJSON *list = cJSON_CreateArray();

    for (int i = 0; i < GW_CTL_TOP_BACKENDS + 10; i++) {
        cJSON *backend = cJSON_CreateObject();
        char id[300];

        memset(id, 'a' + i % 26, sizeof(id) - 1);
        id[sizeof(id) - 1] = '\0';
        cJSON_AddStringToObject(backend, "id", id);
        cJSON_AddItemToArray(list, backend);
    }
    cJSON_AddItemToArray(list, cJSON_CreateNull());
    gw_ctl_top_sample(&samples, list, 1000);
    gw_ctl_top_sample(&samples, list, 2000);
    cr_expect_eq(samples.count, GW_CTL_TOP_BACKENDS);
    cJSON_Delete(list);
}

/* A status of nothing, so many backends and so many events. */
static void build(int backends, int events, size_t rows)
{
    cJSON *status = cJSON_CreateObject();
    cJSON *backend_list = cJSON_CreateArray();
    cJSON *event_list = cJSON_CreateArray();
    const struct gw_ctl_screen screen = {.columns = 80, .rows = rows};
    const struct gw_ctl_top top = {status, backend_list, event_list};

    for (int i = 0; i < backends; i++)
        cJSON_AddItemToArray(backend_list, cJSON_CreateObject());
    for (int i = 0; i < events; i++)
        cJSON_AddItemToArray(event_list, cJSON_CreateObject());
    frame.count = 0;
    gw_ctl_top_frame(&frame, &top, &samples, &screen);
    cJSON_Delete(status);
    cJSON_Delete(backend_list);
    cJSON_Delete(event_list);
}

Test(ctl_top, fits)
{
    static const int counts[] = {0, 1, 3, 7, 20, 511, 600};

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        for (size_t j = 0; j < sizeof(counts) / sizeof(counts[0]); j++)
            for (size_t rows = 18; rows < 80; rows++) {
                build(counts[i], counts[j], rows);
                cr_assert_leq(frame.count, rows, "%d backends, %d events: %zu",
                              counts[i], counts[j], rows);
            }
}

/* What is cut off is the end. */
Test(ctl_top, tiny)
{
    for (size_t rows = 0; rows < 18; rows++) {
        build(100, 20, rows);
        cr_assert_gt(frame.count, 0);
        char *text = draw(&(struct gw_ctl_screen){10, rows, true});
        cr_assert_neq(text, NULL);
        free(text);
    }
}

Test(ctl_top, all_events_where_there_is_room)
{
    build(2, 5, 60);
    const char *last = frame.lines[frame.count - 1].text;
    cr_expect_str_eq(last, "- - -");
    cr_expect_str_eq(frame.lines[frame.count - 6].text, "EVENTS");
}

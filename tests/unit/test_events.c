/* SPDX-License-Identifier: MIT */
/* The last lines of the log. The ring is the process' own: each test has a
 * process of its own. */
#include "gateway/events.h"
#include "gateway/log.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct gw_event events[GW_EVENTS_MAX];
static uint64_t last;
static uint64_t lost;

static size_t list(int64_t after, enum gw_log_level level, size_t max)
{
    memset(events, 0xaa, sizeof(events));
    return gw_events_list(after, level, max, events, &last, &lost);
}

static void add(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        gw_events_add(7, GW_LOG_INFO, "one", "{}");
}

/* Standard error is for failures. */
static void silence(void)
{
    int null = open("/dev/null", O_WRONLY);

    dup2(null, STDERR_FILENO);
    close(null);
}

Test(events, none)
{
    cr_expect_eq(list(-1, GW_LOG_DEBUG, 10), 0);
    cr_expect_eq(last, 0);
    cr_expect_eq(lost, 0);
    cr_expect_eq(list(0, GW_LOG_DEBUG, 10), 0);
    cr_expect_eq(list(INT64_MAX, GW_LOG_DEBUG, 10), 0);
    cr_expect_eq(lost, 0);
}

Test(events, are_as_they_were_given)
{
    gw_events_add(7, GW_LOG_WARNING, "backend_down", "{\"backend\":\"n1\"}");
    cr_assert_eq(list(-1, GW_LOG_DEBUG, 10), 1);
    cr_expect_eq(events[0].number, 1);
    cr_expect_eq(events[0].level, GW_LOG_WARNING);
    cr_expect_eq(events[0].time_ms, 7);
    cr_expect_str_eq(events[0].name, "backend_down");
    cr_expect_str_eq(events[0].fields, "{\"backend\":\"n1\"}");
}

Test(events, after)
{
    add(10);
    cr_assert_eq(list(7, GW_LOG_DEBUG, 10), 3);
    cr_expect_eq(events[0].number, 8);
    cr_expect_eq(events[2].number, 10);
    cr_expect_eq(last, 10);
    cr_expect_eq(lost, 0);
    cr_assert_eq(list(0, GW_LOG_DEBUG, 4), 4);
    cr_expect_eq(events[0].number, 1);
    cr_expect_eq(last, 10);
    cr_expect_eq(list(10, GW_LOG_DEBUG, 4), 0);
    cr_expect_eq(list(11, GW_LOG_DEBUG, 4), 0);
    cr_expect_eq(last, 10);
}

Test(events, newest)
{
    add(10);
    cr_assert_eq(list(-1, GW_LOG_DEBUG, 3), 3);
    cr_expect_eq(events[0].number, 8);
    cr_expect_eq(events[2].number, 10);
}

Test(events, levels)
{
    for (int i = 0; i < 3; i++) {
        gw_events_add(7, GW_LOG_ERROR, "error", "{}");
        gw_events_add(7, GW_LOG_INFO, "info", "{}");
        gw_events_add(7, GW_LOG_DEBUG, "debug", "{}");
    }
    cr_assert_eq(list(-1, GW_LOG_ERROR, 2), 2);
    cr_expect_eq(events[0].number, 4);
    cr_expect_eq(events[1].number, 7);
    cr_assert_eq(list(4, GW_LOG_WARNING, 9), 1);
    cr_expect_eq(events[0].number, 7);
    cr_assert_eq(list(0, GW_LOG_INFO, 9), 6);
    cr_expect_eq(list(0, GW_LOG_DEBUG, 9), 9);
    cr_expect_eq(list(-1, GW_LOG_DEBUG, 9), 9);
}

Test(events, wrap_around)
{
    add(GW_EVENTS_MAX);
    cr_expect_eq(list(0, GW_LOG_DEBUG, GW_EVENTS_MAX), GW_EVENTS_MAX);
    cr_expect_eq(lost, 0);
    add(100);
    cr_expect_eq(list(0, GW_LOG_DEBUG, GW_EVENTS_MAX), GW_EVENTS_MAX);
    cr_expect_eq(lost, 100);
    cr_expect_eq(events[0].number, 101);
    cr_expect_eq(events[GW_EVENTS_MAX - 1].number, GW_EVENTS_MAX + 100);
    cr_expect_eq(list(90, GW_LOG_DEBUG, 1), 1);
    cr_expect_eq(lost, 10);
    cr_expect_eq(events[0].number, 101);
    cr_expect_eq(list(100, GW_LOG_DEBUG, 1), 1);
    cr_expect_eq(lost, 0);
    cr_expect_eq(list(-1, GW_LOG_DEBUG, GW_EVENTS_MAX), GW_EVENTS_MAX);
    cr_expect_eq(lost, 0);
    cr_expect_eq(list(-1, GW_LOG_ERROR, GW_EVENTS_MAX), 0);
}

/* The older one's fields were longer. */
Test(events, places_are_used_again)
{
    char fields[GW_EVENT_TEXT_MAX];

    snprintf(fields, sizeof(fields), "{\"x\":\"%01000d\"}", 0);
    gw_events_add(7, GW_LOG_INFO, "long", fields);
    add(GW_EVENTS_MAX);
    cr_assert_eq(list(GW_EVENTS_MAX, GW_LOG_DEBUG, 1), 1);
    cr_expect_str_eq(events[0].fields, "{}");
    cr_expect_str_eq(events[0].name, "one");
}

Test(events, too_long)
{
    char fields[GW_EVENT_TEXT_MAX + 10];
    char name[100];

    memset(fields, 'x', sizeof(fields) - 1);
    fields[sizeof(fields) - 1] = '\0';
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    gw_events_add(7, GW_LOG_INFO, name, fields);
    cr_assert_eq(list(-1, GW_LOG_DEBUG, 1), 1);
    cr_expect_str_eq(events[0].fields, "{}");
    cr_expect_eq(strlen(events[0].name), sizeof(events[0].name) - 1);
}

static const char *field(const cJSON *fields, const char *name)
{
    const char *text =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(fields, name));

    return text != NULL ? text : "(none)";
}

static void check_log(enum gw_log_format format)
{
    silence();
    gw_log_setup(GW_LOG_INFO, format);
    gw_log(GW_LOG_INFO, "with", "a", "x \"y\"\n\x1b\xff\\", "b", NULL, "c",
           gw_num(-7).text);
    gw_log(GW_LOG_INFO, "without");
    gw_log(GW_LOG_DEBUG, "not_wanted");
    cr_assert_eq(list(0, GW_LOG_DEBUG, 10), 2);
    cr_expect_str_eq(events[0].name, "with");
    cr_expect_str_eq(events[1].fields, "{}");
    cJSON *fields = cJSON_Parse(events[0].fields);
    cr_assert_not_null(fields, "%s", events[0].fields);
    cr_expect_str_eq(field(fields, "a"), "x \"y\"\n\x1b\xc3\xbf\\");
    cr_expect_str_eq(field(fields, "b"), "");
    cr_expect_str_eq(field(fields, "c"), "-7");
    cJSON_Delete(fields);
}

Test(events, of_the_log)
{
    check_log(GW_LOG_TEXT);
}

Test(events, of_a_log_in_json)
{
    check_log(GW_LOG_JSON);
}

Test(events, debug_lines_too)
{
    int64_t before_ms = (int64_t)time(NULL) * 1000;

    silence();
    gw_log_setup(GW_LOG_DEBUG, GW_LOG_TEXT);
    gw_log(GW_LOG_DEBUG, "fine", "x", "y");
    cr_assert_eq(list(0, GW_LOG_DEBUG, 10), 1);
    cr_expect_geq(events[0].time_ms, before_ms);
    cr_expect_leq(events[0].time_ms, before_ms + 60000);
    cr_expect_eq(events[0].level, GW_LOG_DEBUG);
}

/* Values are cut, and what does not fit behind them is left out: it stays
 * JSON. */
Test(events, long_values)
{
    char value[2000];

    silence();
    for (int byte = 1; byte < 256; byte += 84) {
        memset(value, byte, sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        gw_log(GW_LOG_ERROR, "long", "a", value, "b", value, "c", value, "d",
               value, "e", "short");
    }
    size_t count = list(0, GW_LOG_DEBUG, 10);
    cr_assert_eq(count, 4);
    for (size_t i = 0; i < count; i++) {
        cJSON *fields = cJSON_Parse(events[i].fields);

        cr_assert_not_null(fields, "%s", events[i].fields);
        cr_expect(strstr(field(fields, "a"), "...") != NULL);
        cr_expect(strstr(field(fields, "b"), "...") != NULL);
        cr_expect_geq(cJSON_GetArraySize(fields), 2);
        cJSON_Delete(fields);
    }
}

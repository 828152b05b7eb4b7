/* SPDX-License-Identifier: MIT */
/* What stands in one cell of a table. */
#include "gateway/ctl_table.h"
#include "gateway/ctl_text.h"
#include "gateway/ctl_units.h"

#include <math.h>
#include <string.h>

const cJSON *gw_ctl_member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

double gw_ctl_number(const cJSON *object, const char *key)
{
    const cJSON *item = gw_ctl_member(object, key);

    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

const char *gw_ctl_text(const cJSON *object, const char *key)
{
    const cJSON *item = gw_ctl_member(object, key);

    return cJSON_IsString(item) && item->valuestring[0] != '\0'
               ? item->valuestring
               : NULL;
}

void gw_ctl_put_text(const cJSON *row, const char *key,
                     char out[GW_CTL_CELL_MAX])
{
    const char *text = gw_ctl_text(row, key);

    gw_ctl_copy(text != NULL ? text : "-", out, GW_CTL_CELL_MAX);
}

/* To the second; the zone stays. */
void gw_ctl_put_time(const cJSON *row, const char *key,
                     char out[GW_CTL_CELL_MAX])
{
    static const char form[] = "0000-00-00T00:00:00.000Z";

    gw_ctl_put_text(row, key, out);
    if (strlen(out) == sizeof(form) - 1 && out[10] == 'T' && out[19] == '.')
        memcpy(out + 19, "Z", 2);
}

void gw_ctl_put_count(const cJSON *row, const char *key,
                      char out[GW_CTL_CELL_MAX])
{
    gw_ctl_count(gw_ctl_number(row, key), out);
}

/* 0 is no limit. */
void gw_ctl_put_limit(const cJSON *row, const char *key,
                      char out[GW_CTL_CELL_MAX])
{
    double limit = gw_ctl_number(row, key);

    gw_ctl_count(limit > 0 ? limit : -1, out);
}

void gw_ctl_put_bytes(const cJSON *row, const char *key,
                      char out[GW_CTL_CELL_MAX])
{
    gw_ctl_bytes(gw_ctl_number(row, key), out);
}

void gw_ctl_put_seconds(const cJSON *row, const char *key,
                        char out[GW_CTL_CELL_MAX])
{
    gw_ctl_seconds(gw_ctl_number(row, key), out);
}

void gw_ctl_put_ms(const cJSON *row, const char *key, char out[GW_CTL_CELL_MAX])
{
    gw_ctl_ms(gw_ctl_number(row, key), out);
}

double gw_ctl_upgraded(const cJSON *backend)
{
    double tried = gw_ctl_number(backend, "upgrade_attempts");

    return tried > 0 ? gw_ctl_number(backend, "upgrade_successes") / tried
                     : (double)NAN;
}

void gw_ctl_put_upgraded(const cJSON *row, const char *key,
                         char out[GW_CTL_CELL_MAX])
{
    (void)key;
    gw_ctl_share(gw_ctl_upgraded(row), out);
}

/* The share of the sessions that were there at first and are gone. */
static double drained(const cJSON *backend, const cJSON *drain)
{
    double first = gw_ctl_number(drain, "sessions_at_start");
    double left = gw_ctl_number(backend, "sessions");

    if (!(first > 0) || !(left >= 0))
        return first == 0 && left == 0 ? 1 : (double)NAN;
    return left < first ? 1 - left / first : 0;
}

void gw_ctl_put_drain(const cJSON *row, const char *key,
                      char out[GW_CTL_CELL_MAX])
{
    const cJSON *drain = gw_ctl_member(row, key);
    double rate = gw_ctl_number(drain, "rate");
    double left = gw_ctl_number(drain, "deadline_s");
    double done = drained(row, drain);
    char rate_text[GW_CTL_UNIT_MAX];
    char left_text[GW_CTL_UNIT_MAX];
    char done_text[GW_CTL_UNIT_MAX];

    gw_ctl_rate(rate, rate_text);
    gw_ctl_seconds(left, left_text);
    gw_ctl_share(done, done_text);
    if (!cJSON_IsObject(drain))
        snprintf(out, GW_CTL_CELL_MAX, "-");
    else if (!(rate > 0) && !(left >= 0) && !(done >= 0))
        snprintf(out, GW_CTL_CELL_MAX, "on");
    else
        snprintf(out, GW_CTL_CELL_MAX, "%s%s%s%s%s%s%s",
                 done >= 0 ? done_text : "",
                 done >= 0 && (rate > 0 || left >= 0) ? ", " : "",
                 rate > 0 ? rate_text : "", rate > 0 ? "/s" : "",
                 rate > 0 && left >= 0 ? ", " : "", left >= 0 ? left_text : "",
                 left >= 0 ? " left" : "");
}

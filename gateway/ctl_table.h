/* SPDX-License-Identifier: MIT */
/* JSON objects as the rows of an aligned table. */
#ifndef SIDGATE_GATEWAY_CTL_TABLE_H
#define SIDGATE_GATEWAY_CTL_TABLE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>

enum { GW_CTL_CELL_MAX = 160, GW_CTL_COLUMNS_MAX = 20 };

/* Writes one cell of the row; "-" for what is not there. */
typedef void (*gw_ctl_cell_fn)(const cJSON *row, const char *key,
                               char out[GW_CTL_CELL_MAX]);

struct gw_ctl_column {
    const char *title;
    const char *key;
    gw_ctl_cell_fn put;
    bool is_right; /* aligned so, as numbers are */
};

struct gw_ctl_table {
    const struct gw_ctl_column *columns;
    size_t count;
    int widths[GW_CTL_COLUMNS_MAX]; /* the most that was measured */
};

/* Widens the columns for these rows and their titles. */
void gw_ctl_table_measure(struct gw_ctl_table *table, const cJSON *rows);
void gw_ctl_table_titles(const struct gw_ctl_table *table, FILE *out);
void gw_ctl_table_rows(const struct gw_ctl_table *table, const cJSON *rows,
                       FILE *out);

/* All three at once. */
void gw_ctl_table_print(const struct gw_ctl_column *columns, size_t count,
                        const cJSON *rows, FILE *out);

/* Members of an object. The number is NAN and the text NULL where there is
 * none, or it is empty. */
double gw_ctl_number(const cJSON *object, const char *key);
const char *gw_ctl_text(const cJSON *object, const char *key);
const cJSON *gw_ctl_member(const cJSON *object, const char *key);

void gw_ctl_put_text(const cJSON *row, const char *key,
                     char out[GW_CTL_CELL_MAX]);
void gw_ctl_put_time(const cJSON *row, const char *key,
                     char out[GW_CTL_CELL_MAX]);
void gw_ctl_put_count(const cJSON *row, const char *key,
                      char out[GW_CTL_CELL_MAX]);
void gw_ctl_put_limit(const cJSON *row, const char *key,
                      char out[GW_CTL_CELL_MAX]);
void gw_ctl_put_bytes(const cJSON *row, const char *key,
                      char out[GW_CTL_CELL_MAX]);
void gw_ctl_put_seconds(const cJSON *row, const char *key,
                        char out[GW_CTL_CELL_MAX]);
void gw_ctl_put_ms(const cJSON *row, const char *key,
                   char out[GW_CTL_CELL_MAX]);

/* The share of upgrade_attempts that are upgrade_successes. */
double gw_ctl_upgraded(const cJSON *backend);
void gw_ctl_put_upgraded(const cJSON *row, const char *key,
                         char out[GW_CTL_CELL_MAX]);

/* How far a drain is, how fast, and how long it may still take. */
void gw_ctl_put_drain(const cJSON *row, const char *key,
                      char out[GW_CTL_CELL_MAX]);

#endif

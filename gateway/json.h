/* SPDX-License-Identifier: MIT */
/* What the API's answers are made of, beyond what cJSON offers. All are false
 * when memory is short. */
#ifndef SIDGATE_GATEWAY_JSON_H
#define SIDGATE_GATEWAY_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

/* ISO 8601, UTC, with milliseconds, of wall clock milliseconds. */
bool gw_json_add_time(cJSON *object, const char *name, int64_t wall_ms);

/* Never below 0: counts of other threads may be between two changes. */
bool gw_json_add_count(cJSON *object, const char *name, long long value);

/* With three decimals at most; null for what is no number. */
bool gw_json_add_number(cJSON *object, const char *name, double value);

/* A new object at the list's end, or NULL. */
cJSON *gw_json_append(cJSON *list);

/* Frees the tree, and gives its text, malloc'd; NULL when that cannot be had,
 * or `is_whole` is false. */
char *gw_json_finish(cJSON *root, bool is_whole);

#endif

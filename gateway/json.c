/* SPDX-License-Identifier: MIT */
/* What the API's answers are made of. */
#include "gateway/json.h"

#include "gateway/log_text.h"

#include <math.h>

enum { DECIMALS = 1000 };

#define EXACT_MAX 1e12

bool gw_json_add_time(cJSON *object, const char *name, int64_t wall_ms)
{
    char text[GW_LOG_TIME_MAX];

    gw_log_time(wall_ms, text);
    return cJSON_AddStringToObject(object, name, text) != NULL;
}

bool gw_json_add_count(cJSON *object, const char *name, long long value)
{
    return cJSON_AddNumberToObject(object, name,
                                   value > 0 ? (double)value : 0) != NULL;
}

bool gw_json_add_number(cJSON *object, const char *name, double value)
{
    if (!isfinite(value))
        return cJSON_AddNullToObject(object, name) != NULL;
    /* Beyond that there are no decimals worth to be cut. */
    if (fabs(value) < EXACT_MAX)
        value =
            (double)(long long)(value * DECIMALS + (value < 0 ? -0.5 : 0.5)) /
            DECIMALS;
    return cJSON_AddNumberToObject(object, name, value) != NULL;
}

cJSON *gw_json_append(cJSON *list)
{
    cJSON *object = cJSON_CreateObject();

    if (object != NULL && cJSON_AddItemToArray(list, object))
        return object;
    cJSON_Delete(object);
    return NULL;
}

char *gw_json_finish(cJSON *root, bool is_whole)
{
    char *text = root != NULL && is_whole ? cJSON_PrintUnformatted(root) : NULL;

    cJSON_Delete(root);
    return text;
}

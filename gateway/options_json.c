/* SPDX-License-Identifier: MIT */
/* The configuration file: JSON with comments. */
#include "gateway/options_parse.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1 << 20 };

static int fail(struct gw_reader *reader, const char *text, const char *detail)
{
    snprintf(reader->error, GW_OPTIONS_ERROR_MAX, "%.255s: %s%.150s",
             reader->file, text, detail);
    for (char *at = reader->error; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    return -1;
}

static int fail_line(struct gw_reader *reader, const char *text, const char *at,
                     const char *problem)
{
    int line = 1;

    for (; text < at; text++)
        line += *text == '\n';
    snprintf(reader->error, GW_OPTIONS_ERROR_MAX, "%.255s: line %d: %s",
             reader->file, line, problem);
    return -1;
}

/* The end of the string that starts at `at`, or the text's end. */
static char *skip_string(char *at)
{
    for (at++; *at != '\0' && *at != '"'; at++)
        if (*at == '\\' && at[1] != '\0')
            at++;
    return *at == '"' ? at + 1 : at;
}

/* Overwrites a comment at `at` with spaces; NULL when it has no end. */
static char *blank_comment(char *at)
{
    bool is_block = at[1] == '*';
    char *end = is_block ? strstr(at + 2, "*/") : at + strcspn(at, "\n");

    if (end == NULL)
        return NULL;
    end += is_block ? 2 : 0;
    for (; at < end; at++)
        if (*at != '\n')
            *at = ' ';
    return end;
}

/* Comments become spaces and lines stay lines, so that an error's line number
 * is the file's. (cJSON_Minify would lose them, and takes the quote after an
 * escaped backslash for an escaped one.) */
static int blank_comments(struct gw_reader *reader, char *text)
{
    char *at = text;

    while (*at != '\0') {
        if (*at == '"') {
            at = skip_string(at);
        } else if (at[0] == '/' && (at[1] == '/' || at[1] == '*')) {
            char *end = blank_comment(at);

            if (end == NULL)
                return fail_line(reader, text, at, "a comment has no end");
            at = end;
        } else {
            at++;
        }
    }
    return 0;
}

static int set_number(struct gw_reader *reader, const struct gw_option *option,
                      double value)
{
    char text[32];

    if (value < 0 || value > 9007199254740992.0 ||
        value != (double)(uint64_t)value)
        return gw_option_fail(reader, option, "%g is not a whole number",
                              value);
    snprintf(text, sizeof(text), "%.0f", value);
    return gw_option_set(reader, option, text);
}

static int set_scalar(struct gw_reader *reader, const struct gw_option *option,
                      const cJSON *item)
{
    bool is_number =
        option->kind == GW_KIND_COUNT || option->kind == GW_KIND_SIZE ||
        option->kind == GW_KIND_TIME || option->kind == GW_KIND_STATUS_RANGE;

    if (option->kind == GW_KIND_SWITCH) {
        if (!cJSON_IsBool(item))
            return gw_option_fail(reader, option,
                                  "the value must be true or false");
        return gw_option_set(reader, option,
                             cJSON_IsTrue(item) ? "true" : "false");
    }
    if (is_number && cJSON_IsNumber(item))
        return set_number(reader, option, item->valuedouble);
    if (cJSON_IsString(item) && option->kind != GW_KIND_COUNT)
        return gw_option_set(reader, option, item->valuestring);
    return gw_option_fail(reader, option, "the value must be a %s",
                          option->kind == GW_KIND_COUNT ? "number"
                          : option->kind == GW_KIND_STATUS_RANGE
                              ? "number or a string"
                          : is_number ? "number or a string with a unit"
                                      : "string");
}

static int set_list(struct gw_reader *reader, const struct gw_option *option,
                    const cJSON *item)
{
    const cJSON *element;

    if (cJSON_IsString(item))
        return gw_option_set(reader, option, item->valuestring);
    if (!cJSON_IsArray(item))
        return gw_option_fail(reader, option,
                              "the value must be a list of strings");
    cJSON_ArrayForEach(element, item)
    {
        if (!cJSON_IsString(element))
            return gw_option_fail(reader, option,
                                  "the value must be a list of strings");
        if (gw_option_set(reader, option, element->valuestring) != 0)
            return -1;
    }
    return 0;
}

static int set_option(struct gw_reader *reader, const struct gw_option *option,
                      const cJSON *item)
{
    if (gw_option_is_given(reader, option))
        return gw_option_fail(reader, option, "given more than once");
    if (gw_option_begin(reader, option) != 0)
        return -1;
    if (gw_option_repeats(option))
        return set_list(reader, option, item);
    return set_scalar(reader, option, item);
}

static int fail_pool(struct gw_reader *reader, const char *text,
                     const char *detail)
{
    char start[128];

    snprintf(start, sizeof(start), "pools[%zu]: %s", reader->pool - 1, text);
    return fail(reader, start, detail);
}

static bool is_pool_known(const struct gw_reader *reader, const char *name)
{
    for (size_t i = 0; i < reader->pool; i++)
        if (strcmp(reader->config->pools[i].name, name) == 0)
            return true;
    return false;
}

/* The name comes before all else, wherever it stands: it is a part of the
 * backends' ids. */
static int set_pool_name(struct gw_reader *reader, const cJSON *object)
{
    char *out = reader->config->pools[reader->pool].name;
    const cJSON *item = NULL;

    for (const cJSON *at = object->child; at != NULL; at = at->next) {
        if (strcmp(at->string, "name") != 0)
            continue;
        if (item != NULL)
            return fail_pool(reader, "name: given more than once", "");
        item = at;
    }
    if (item == NULL)
        return fail_pool(reader, "name is missing", "");
    if (!cJSON_IsString(item))
        return fail_pool(reader, "name: the value must be a string", "");
    if (!gw_option_is_pool_name(item->valuestring))
        return fail_pool(reader,
                         "name: not 1 to 31 letters, digits, '.', '_' "
                         "or '-': ",
                         item->valuestring);
    if (strcmp(item->valuestring, GW_POOL_DEFAULT) == 0)
        return fail_pool(reader,
                         "name: this is the first pool's, which the "
                         "keys outside of pools are about: ",
                         item->valuestring);
    if (is_pool_known(reader, item->valuestring))
        return fail_pool(reader,
                         "name: another pool has it: ", item->valuestring);
    memcpy(out, item->valuestring, strlen(item->valuestring) + 1);
    return 0;
}

static int set_pool(struct gw_reader *reader, const cJSON *object)
{
    if (!cJSON_IsObject(object))
        return fail_pool(reader, "not an object", "");
    if (set_pool_name(reader, object) != 0)
        return -1;
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        const struct gw_option *option = gw_option_find(item->string, '_');

        if (strcmp(item->string, "name") == 0)
            continue;
        if (option == NULL)
            return fail_pool(reader, "unknown key ", item->string);
        if (!gw_option_is_for_pools(option))
            return fail_pool(reader, "no key of a pool: ", item->string);
        if (set_option(reader, option, item) != 0)
            return -1;
    }
    return 0;
}

static int set_pools(struct gw_reader *reader, const cJSON *list)
{
    const cJSON *object;
    char most[16];
    int status = 0;

    snprintf(most, sizeof(most), "%d are given", GW_POOL_COUNT_MAX - 1);
    if (reader->has_pools)
        return fail(reader, "pools: given more than once", "");
    reader->has_pools = true;
    if (!cJSON_IsArray(list))
        return fail(reader, "pools: the value must be a list of objects", "");
    cJSON_ArrayForEach(object, list)
    {
        if (reader->config->pool_count == GW_POOL_COUNT_MAX)
            return fail(reader, "pools: more than ", most);
        reader->pool = reader->config->pool_count++;
        status = set_pool(reader, object);
        reader->pool = 0;
        if (status != 0)
            break;
    }
    return status;
}

static int set_key(struct gw_reader *reader, const cJSON *item)
{
    const struct gw_option *option = gw_option_find(item->string, '_');

    if (strcmp(item->string, "pools") == 0)
        return set_pools(reader, item);
    if (option == NULL || option->kind == GW_KIND_CONFIG ||
        option->kind == GW_KIND_ACTION)
        return fail(reader, "unknown key ", item->string);
    return set_option(reader, option, item);
}

int gw_options_json(struct gw_reader *reader, char *text, size_t len)
{
    const char *end = text;
    const cJSON *item;
    cJSON *root;
    int status = 0;

    reader->origin = GW_ORIGIN_FILE;
    if (strlen(text) != len)
        return fail_line(reader, text, text + strlen(text),
                         "not text: it holds a zero byte");
    if (blank_comments(reader, text) != 0)
        return -1;
    root = cJSON_ParseWithLengthOpts(text, len + 1, &end, true);
    if (root == NULL)
        return fail_line(reader, text, end, "not valid JSON");
    if (!cJSON_IsObject(root))
        status = fail(reader, "not a JSON object", "");
    for (item = root->child; status == 0 && item != NULL; item = item->next)
        status = set_key(reader, item);
    cJSON_Delete(root);
    return status;
}

ssize_t gw_options_read_all(int fd, char *text, size_t size)
{
    size_t len = 0;

    while (len < size) {
        ssize_t got = read(fd, text + len, size - len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        len += (size_t)got;
    }
    return (ssize_t)len;
}

int gw_options_file(struct gw_reader *reader, const char *name)
{
    char *text = NULL;
    ssize_t len;
    int status = -1;
    int fd = open(name, O_RDONLY | O_CLOEXEC);

    reader->file = name;
    if (fd < 0)
        return fail(reader, "cannot be read: ", strerror(errno));
    text = malloc(FILE_BYTES_MAX + 2);
    if (text == NULL) {
        fail(reader, "cannot be read: ", strerror(errno));
        goto done;
    }
    len = gw_options_read_all(fd, text, FILE_BYTES_MAX + 1);
    if (len < 0) {
        fail(reader, "cannot be read: ", strerror(errno));
    } else if (len > FILE_BYTES_MAX) {
        fail(reader, "larger than 1 MiB", "");
    } else {
        text[len] = '\0';
        status = gw_options_json(reader, text, (size_t)len);
    }
done:
    free(text);
    close(fd);
    return status;
}

/* SPDX-License-Identifier: MIT */
/* What a new connection is told before it takes commands: all of it in one
 * write, the replies are looked at one by one. */
#include "store/link_private.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [STORE_STEP_AUTH] = "AUTH",           [STORE_STEP_SELECT] = "SELECT",
    [STORE_STEP_NAME] = "CLIENT SETNAME", [STORE_STEP_SCRIPT] = "SCRIPT LOAD",
    [STORE_STEP_INFO] = "INFO",           [STORE_STEP_SUBSCRIBE] = "SUBSCRIBE",
};

/* ---- writing ---- */

static void put_step(struct store_link *link, enum store_link_step step,
                     int argc, const char *const *argv)
{
    store_bytes_command(&link->out, argc, argv);
    link->steps[link->step_count++] = step;
}

static void put_auth(struct store_link *link)
{
    const struct store_link_options *options = &link->options;
    const char *with_user[] = {"AUTH", options->user, options->password};
    const char *without[] = {"AUTH", options->password};

    if (options->user[0] != '\0')
        put_step(link, STORE_STEP_AUTH, 3, with_user);
    else
        put_step(link, STORE_STEP_AUTH, 2, without);
}

static void put_commands_only(struct store_link *link)
{
    /* The whole INFO, since a part of it has the run_id, another the role. */
    const char *info[] = {"INFO"};

    for (size_t i = 0; i < link->options.script_count; i++) {
        const char *load[] = {"SCRIPT", "LOAD", link->options.scripts[i]};
        put_step(link, STORE_STEP_SCRIPT, 3, load);
    }
    put_step(link, STORE_STEP_INFO, 1, info);
}

bool store_link_begin_setup(struct store_link *link)
{
    const struct store_link_options *options = &link->options;
    char db[16];
    const char *select[] = {"SELECT", db};
    const char *name[] = {"CLIENT", "SETNAME", options->name};
    const char *subscribe[] = {"SUBSCRIBE", options->channel};

    link->step_count = 0;
    link->step = 0;
    link->loaded = 0;
    if (options->password[0] != '\0')
        put_auth(link);
    snprintf(db, sizeof(db), "%u", options->db);
    if (options->db > 0)
        put_step(link, STORE_STEP_SELECT, 2, select);
    if (options->name[0] != '\0')
        put_step(link, STORE_STEP_NAME, 3, name);
    if (options->channel != NULL)
        put_step(link, STORE_STEP_SUBSCRIBE, 2, subscribe);
    else
        put_commands_only(link);
    return store_link_flush(link);
}

/* ---- INFO ---- */

/* The value of a line "name:value"; of length 0 where there is none. */
static const char *info_value(const redisReply *info, const char *name,
                              size_t *len)
{
    const char *end = info->str + info->len;
    size_t name_len = strlen(name);

    *len = 0;
    for (const char *line = info->str; line < end; line++) {
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        if (line_end == NULL)
            line_end = end;
        size_t line_len = (size_t)(line_end - line);
        if (line_len > name_len && line[name_len] == ':' &&
            memcmp(line, name, name_len) == 0) {
            const char *value = line + name_len + 1;
            *len = (size_t)(line_end - value);
            if (*len > 0 && value[*len - 1] == '\r')
                (*len)--;
            return value;
        }
        line = line_end;
    }
    return end;
}

static bool info_is(const redisReply *info, const char *name, const char *value)
{
    size_t len;
    const char *found = info_value(info, name, &len);

    return len == strlen(value) && memcmp(found, value, len) == 0;
}

static void keep_run_id(struct store_link *link, const redisReply *info)
{
    size_t len;
    const char *id = info_value(info, "run_id", &len);

    if (len >= sizeof(link->run_id))
        return;
    for (size_t i = 0; i < len; i++) {
        if (id[i] <= ' ' || id[i] >= 0x7f)
            return;
    }
    memcpy(link->run_id, id, len);
    link->run_id[len] = '\0';
}

/* Why a node that answers is of no use all the same; NULL for one that is. The
 * words are those of the errors that its first commands would end with. */
static const char *info_words(const struct store_link *link,
                              const redisReply *info)
{
    bool is_sentinel = info_is(info, "redis_mode", "sentinel");
    bool is_cluster = info_is(info, "cluster_enabled", "1");

    if (link->options.role == STORE_ROLE_SENTINEL)
        return is_sentinel ? NULL : "it is no Sentinel";
    if (is_sentinel)
        return "it is a Sentinel: the URL of those begins with "
               "redis+sentinel://";
    if (info_is(info, "loading", "1"))
        return store_link_error_words("LOADING ");
    if (link->options.role == STORE_ROLE_CLUSTER)
        return is_cluster ? NULL : "it is no node of a Redis Cluster";
    if (is_cluster)
        return store_link_error_words("CLUSTERDOWN ");
    if (!info_is(info, "role", "slave"))
        return NULL;
    if (info_is(info, "slave_read_only", "1"))
        return store_link_error_words("READONLY ");
    return link->options.role == STORE_ROLE_MASTER ? "it is a replica" : NULL;
}

/* ---- replies ---- */

static bool is_text(const redisReply *reply, const char *text)
{
    return reply != NULL && reply->type == REDIS_REPLY_STRING &&
           reply->len == strlen(text) &&
           memcmp(reply->str, text, reply->len) == 0;
}

static bool is_subscribed(const struct store_link *link,
                          const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
           is_text(reply->element[0], "subscribe") &&
           is_text(reply->element[1], link->options.channel);
}

static bool keep_sha(struct store_link *link, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING || reply->len != STORE_LINK_SHA_LEN ||
        strspn(reply->str, "0123456789abcdefABCDEF") != STORE_LINK_SHA_LEN)
        return false;
    memcpy(link->shas[link->loaded++], reply->str, STORE_LINK_SHA_LEN);
    return true;
}

/* What the reply, which is no error, means for the link, in `why`: "" for
 * nothing. */
static void take_reply(struct store_link *link, enum store_link_step step,
                       const redisReply *reply, char why[STORE_LINK_WHY_MAX])
{
    const char *words = NULL;
    bool is_right = true;

    switch (step) {
    case STORE_STEP_AUTH:
    case STORE_STEP_SELECT:
        is_right = reply->type == REDIS_REPLY_STATUS;
        break;
    case STORE_STEP_NAME:
        break;
    case STORE_STEP_SCRIPT:
        is_right = keep_sha(link, reply);
        break;
    case STORE_STEP_INFO:
        is_right = reply->type == REDIS_REPLY_STRING;
        if (!is_right)
            break;
        words = info_words(link, reply);
        keep_run_id(link, reply);
        break;
    case STORE_STEP_SUBSCRIBE:
        is_right = is_subscribed(link, reply);
        break;
    }
    why[0] = '\0';
    if (words != NULL)
        snprintf(why, STORE_LINK_WHY_MAX, "%s", words);
    else if (!is_right)
        snprintf(why, STORE_LINK_WHY_MAX, "its answer to %s makes no sense",
                 names[step]);
}

void store_link_setup_reply(struct store_link *link, const redisReply *reply)
{
    enum store_link_step step = link->steps[link->step++];
    bool may_fail = step == STORE_STEP_NAME || step == STORE_STEP_INFO;
    char why[STORE_LINK_WHY_MAX] = "";

    if (reply->type != REDIS_REPLY_ERROR)
        take_reply(link, step, reply, why);
    else if (!may_fail || store_link_error_words(reply->str) != NULL)
        store_link_setup_words(link, names[step], reply->str, why);
    if (why[0] != '\0')
        store_link_drop(link, why);
    else if (link->step == link->step_count)
        store_link_set_up(link);
}

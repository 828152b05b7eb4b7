/* SPDX-License-Identifier: MIT */
/*
 * The map in a Redis that all replicas share.
 *
 * An operation lives from its call to the last answer that it waits for, and
 * is what request->pending points to. It is freed before `done` runs, so that
 * `done` may do anything, also close the store.
 */
#include "store/redis.h"

#include "store/record.h"
#include "store/script.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIFE_MAX_MS (INT64_C(30) * 24 * 3600 * 1000)
#define SESSION     ":session:"

enum {
    KEY_TEXT_MAX = STORE_PREFIX_MAX + sizeof(SESSION) + STORE_KEY_MAX,
    ARGS_MAX = 4 + 2 + 2 * STORE_RECORD_COUNT, /* of a put */
    TELL_EVERY_MS = 1000,
};

struct store_redis {
    struct store store; /* first: what callers hold */
    struct store_client *client;
    struct operation *first;
    struct store_redis_options options;
    int64_t told_ms; /* when on_error last ran from here */
    bool has_told;
    char prefix[STORE_PREFIX_MAX];
};

struct operation {
    struct store_redis *redis;
    struct store_request *request;
    struct operation *next;
    struct operation *prev;
    struct store_call *call;
    struct store_call *life_call; /* of a get: PTTL */
    bool *is_gone;                /* told when the operation is freed */
    int64_t begun_us;
    enum store_op op;
    bool has_record; /* of a get: HMGET gave one */
    int64_t life_ms; /* likewise: PTTL did */
    struct store_record record;
};

/* A command's arguments. */
struct command {
    int argc;
    const char *argv[ARGS_MAX];
    size_t lens[ARGS_MAX];
    char key[KEY_TEXT_MAX];
    char life[STORE_NUMBER_TEXT_MAX];
    struct store_record_text text;
};

_Static_assert((int)ARGS_MAX <= (int)STORE_LINK_ARGS_MAX,
               "a put fits into a command");
_Static_assert((int)STORE_HASHED_LEN <= (int)STORE_KEY_MAX,
               "a hashed key fits where a key does");

static struct store_redis *redis_of(struct store *store)
{
    return (struct store_redis *)store;
}

static void command_add(struct command *command, const char *arg)
{
    command->argv[command->argc] = arg;
    command->lens[command->argc] = strlen(arg);
    command->argc++;
}

static void command_add_field(struct command *command,
                              enum store_record_field field)
{
    command_add(command, store_record_names[field]);
    command_add(command, command->text.values[field]);
}

/* A copy's is negative: the script knows it by that. */
static void command_add_life(struct command *command, int64_t life_ms,
                             bool is_copy)
{
    if (life_ms < 1)
        life_ms = 1;
    if (life_ms > LIFE_MAX_MS)
        life_ms = LIFE_MAX_MS;
    snprintf(command->life, sizeof(command->life), "%" PRId64,
             is_copy ? -life_ms : life_ms);
    command_add(command, command->life);
}

static void command_add_key(struct command *command,
                            const struct store_redis *redis,
                            struct store_key key)
{
    const struct store_redis_options *options = &redis->options;
    const int start = snprintf(command->key, sizeof(command->key), "%s%s",
                               redis->prefix, SESSION);
    char *rest = command->key + start;
    size_t len = key.len;

    if (options->hash != NULL) {
        options->hash(options->hash_arg, key, rest);
        len = STORE_HASHED_LEN;
    } else {
        memcpy(rest, key.ptr, len);
    }
    command->argv[command->argc] = command->key;
    command->lens[command->argc] = (size_t)start + len;
    command->argc++;
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* NULL, and `done` has run, when the operation cannot begin. */
static struct operation *operation_new(struct store *store,
                                       struct store_request *request,
                                       struct store_key key, enum store_op kind)
{
    struct store_redis *redis = redis_of(store);
    struct operation *op = NULL;

    request->pending = NULL;
    if (store_client_is_up(redis->client) && key.len > 0 &&
        key.len <= STORE_KEY_MAX)
        op = calloc(1, sizeof(*op));
    if (op == NULL) {
        request->done(request, STORE_UNAVAILABLE, NULL, 0);
        return NULL;
    }
    op->redis = redis;
    op->op = kind;
    op->begun_us = now_us();
    op->request = request;
    op->next = redis->first;
    if (redis->first != NULL)
        redis->first->prev = op;
    redis->first = op;
    request->pending = op;
    return op;
}

static void operation_free(struct operation *op)
{
    if (op->is_gone != NULL)
        *op->is_gone = true;
    if (op->call != NULL)
        store_link_forget(op->call);
    if (op->life_call != NULL)
        store_link_forget(op->life_call);
    if (op->prev != NULL)
        op->prev->next = op->next;
    else
        op->redis->first = op->next;
    if (op->next != NULL)
        op->next->prev = op->prev;
    op->request->pending = NULL;
    free(op);
}

/* `record` may be the operation's own. */
static void operation_end(struct operation *op, enum store_status status,
                          const struct store_record *record, int64_t life_ms)
{
    struct store_request *request = op->request;
    const struct store_redis_options *options = &op->redis->options;

    if (options->on_timed != NULL && status != STORE_UNAVAILABLE)
        options->on_timed(options->arg, op->op, now_us() - op->begun_us);
    if (record == NULL) {
        operation_free(op);
        request->done(request, status, NULL, 0);
        return;
    }
    const struct store_record copy = *record;
    operation_free(op);
    request->done(request, status, &copy, life_ms);
}

/* The rest of a key's life from what PTTL gave; 0 when there is no key. One
 * without an expiry was made by hand: it is to be touched soon. */
static int64_t life_of(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_INTEGER || reply->integer == -2)
        return 0;
    if (reply->integer < 1)
        return 1;
    return reply->integer < LIFE_MAX_MS ? reply->integer : LIFE_MAX_MS;
}

/* Tells of what a put found in its place. False when that ended the
 * operation. */
static bool tell_replaced(struct operation *op, long long result)
{
    struct store_redis *redis = op->redis;
    struct store_loop *loop = redis->options.loop;
    const int64_t now_ms = loop->ops->now_ms(loop);
    bool is_gone = false;

    if (redis->options.on_error == NULL ||
        (redis->has_told && now_ms - redis->told_ms < TELL_EVERY_MS))
        return true;
    redis->has_told = true;
    redis->told_ms = now_ms;
    op->is_gone = &is_gone;
    redis->options.on_error(
        redis->options.arg,
        result == STORE_SCRIPT_PUT_OVER_TYPE
            ? "wrong type at a session's key: replaced"
            : "no valid backend at a session's key: replaced");
    if (is_gone)
        return false;
    op->is_gone = NULL;
    return true;
}

static void on_number(struct operation *op, long long result)
{
    if (op->op == STORE_OP_PUT && result != STORE_SCRIPT_PUT_DONE) {
        if (result != STORE_SCRIPT_PUT_OVER_TYPE &&
            result != STORE_SCRIPT_PUT_OVER_JUNK)
            operation_end(op, STORE_UNAVAILABLE, NULL, 0);
        else if (tell_replaced(op, result))
            operation_end(op, STORE_OK, NULL, 0);
        return;
    }
    operation_end(op, result == 1 ? STORE_OK : STORE_NOT_FOUND, NULL, 0);
}

/* The record of another backend. One that is junk is as good as none: touch
 * and remove say so, and a put replaces it, so that it never comes here. */
static void on_other(struct operation *op, const redisReply *reply)
{
    struct store_record record;

    if (reply->elements != 2 || !store_record_read(reply->element[0], &record))
        operation_end(
            op, op->op == STORE_OP_PUT ? STORE_UNAVAILABLE : STORE_NOT_FOUND,
            NULL, 0);
    else
        operation_end(op, STORE_CONFLICT, &record, life_of(reply->element[1]));
}

/* A script has answered. */
static void on_script(void *arg, const redisReply *reply)
{
    struct operation *op = arg;

    op->call = NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER)
        on_number(op, reply->integer);
    else if (reply != NULL && reply->type == REDIS_REPLY_ARRAY)
        on_other(op, reply);
    else
        operation_end(op, STORE_UNAVAILABLE, NULL, 0);
}

static void run(struct operation *op, enum store_script script,
                struct command *command)
{
    op->call =
        store_client_eval(op->redis->client, (size_t)script, command->argc,
                          command->argv, command->lens, on_script, op);
    if (op->call == NULL)
        operation_end(op, STORE_UNAVAILABLE, NULL, 0);
}

static void redis_put(struct store *store, struct store_request *request,
                      struct store_key key, const struct store_record *record,
                      const char *replaces, int64_t life_ms)
{
    struct operation *op = operation_new(store, request, key, STORE_OP_PUT);
    struct command command = {0};

    if (op == NULL)
        return;
    store_record_write(record, &command.text);
    command_add_key(&command, op->redis, key);
    command_add(&command, record->backend);
    command_add(&command, replaces != NULL ? replaces : "");
    command_add_life(&command, life_ms, record->is_copy);
    command_add(&command, "v");
    command_add(&command, "1");
    for (unsigned i = 0; i < STORE_RECORD_COUNT; i++)
        command_add_field(&command, (enum store_record_field)i);
    run(op, STORE_SCRIPT_PUT, &command);
}

static void redis_touch(struct store *store, struct store_request *request,
                        struct store_key key, const struct store_record *record,
                        int64_t life_ms)
{
    struct operation *op = operation_new(store, request, key, STORE_OP_TOUCH);
    struct command command = {0};

    if (op == NULL)
        return;
    store_record_write(record, &command.text);
    command_add_key(&command, op->redis, key);
    command_add(&command, record->backend);
    command_add_life(&command, life_ms, false);
    command_add_field(&command, STORE_RECORD_SEEN);
    command_add_field(&command, STORE_RECORD_TRANSPORT);
    if (record->gateway[0] != '\0')
        command_add_field(&command, STORE_RECORD_GATEWAY);
    run(op, STORE_SCRIPT_TOUCH, &command);
}

static void redis_remove(struct store *store, struct store_request *request,
                         struct store_key key, const char *backend,
                         const char *gateway)
{
    struct operation *op = operation_new(store, request, key, STORE_OP_REMOVE);
    struct command command = {0};

    if (op == NULL)
        return;
    command_add_key(&command, op->redis, key);
    command_add(&command, backend);
    if (gateway != NULL)
        command_add(&command, gateway);
    run(op, STORE_SCRIPT_REMOVE, &command);
}

static bool is_wrong_type(const redisReply *reply)
{
    static const char code[] = "WRONGTYPE";

    return reply->type == REDIS_REPLY_ERROR && reply->len >= sizeof(code) - 1 &&
           memcmp(reply->str, code, sizeof(code) - 1) == 0;
}

/* The two answers may come in any order: in a cluster, where the session is
 * being moved, their ways may part. */
static void end_get(struct operation *op)
{
    if (op->call != NULL || op->life_call != NULL)
        return;
    if (op->has_record && op->life_ms > 0)
        operation_end(op, STORE_OK, &op->record, op->life_ms);
    else
        operation_end(op, STORE_NOT_FOUND, NULL, 0);
}

static void on_fields(void *arg, const redisReply *reply)
{
    struct operation *op = arg;

    op->call = NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY)
        op->has_record = store_record_read(reply, &op->record);
    if (reply != NULL &&
        (reply->type == REDIS_REPLY_ARRAY || is_wrong_type(reply)))
        end_get(op);
    else
        operation_end(op, STORE_UNAVAILABLE, NULL, 0);
}

static void on_life(void *arg, const redisReply *reply)
{
    struct operation *op = arg;

    op->life_call = NULL;
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        operation_end(op, STORE_UNAVAILABLE, NULL, 0);
        return;
    }
    op->life_ms = life_of(reply);
    end_get(op);
}

static void redis_get(struct store *store, struct store_request *request,
                      struct store_key key)
{
    struct operation *op = operation_new(store, request, key, STORE_OP_GET);
    struct command fields = {0};

    if (op == NULL)
        return;
    command_add(&fields, "HMGET");
    command_add_key(&fields, op->redis, key);
    for (unsigned i = 0; i < STORE_RECORD_COUNT; i++)
        command_add(&fields, store_record_names[i]);
    const char *life_argv[] = {"PTTL", fields.key};
    const size_t life_lens[] = {strlen("PTTL"), fields.lens[1]};
    struct store_client *client = op->redis->client;
    op->call = store_client_send(client, fields.argc, fields.argv, fields.lens,
                                 on_fields, op);
    if (op->call != NULL)
        op->life_call =
            store_client_send(client, 2, life_argv, life_lens, on_life, op);
    if (op->life_call == NULL)
        operation_end(op, STORE_UNAVAILABLE, NULL, 0);
}

static void redis_cancel(struct store *store, struct store_request *request)
{
    (void)store;
    operation_free(request->pending);
}

static void redis_close(struct store *store)
{
    struct store_redis *redis = redis_of(store);

    for (struct operation *op = redis->first; op != NULL;) {
        struct operation *next = op->next;
        operation_free(op);
        op = next;
    }
    store_client_free(redis->client);
    free(redis);
}

static const struct store_ops redis_ops = {
    .name = "redis",
    .put = redis_put,
    .get = redis_get,
    .touch = redis_touch,
    .remove = redis_remove,
    .cancel = redis_cancel,
    .close = redis_close,
};

static struct store_client *
open_client(const struct store_redis_options *options)
{
    const struct store_client_options client_options = {
        .loop = options->loop,
        .url = options->url,
        .password = options->password,
        .sentinel_user = options->sentinel_user,
        .sentinel_password = options->sentinel_password,
        .name = options->name,
        .timeout_ms = options->timeout_ms,
        .scripts = store_scripts,
        .script_count = STORE_SCRIPT_COUNT,
        .on_state = options->on_state,
        .on_error = options->on_error,
        .on_suspect = options->on_suspect,
        .arg = options->arg,
    };

    return store_client_new(&client_options);
}

struct store *store_redis_new(const struct store_redis_options *options)
{
    struct store_redis *redis = calloc(1, sizeof(*redis));

    if (redis == NULL)
        return NULL;
    redis->store.ops = &redis_ops;
    redis->options = *options;
    const int len =
        snprintf(redis->prefix, sizeof(redis->prefix), "%s", options->prefix);
    if (len >= 0 && (size_t)len < sizeof(redis->prefix))
        redis->client = open_client(options);
    if (redis->client == NULL) {
        free(redis);
        return NULL;
    }
    /* These are the caller's and the client's. */
    redis->options.url = NULL;
    redis->options.password = NULL;
    redis->options.sentinel_user = NULL;
    redis->options.sentinel_password = NULL;
    redis->options.prefix = NULL;
    redis->options.name = NULL;
    return &redis->store;
}

struct store_client *store_redis_client(struct store *store)
{
    return redis_of(store)->client;
}

uint16_t store_redis_slot(struct store *store, struct store_key key)
{
    struct command command = {0};

    command_add_key(&command, redis_of(store), key);
    return store_slot_of(command.key, command.lens[0]);
}

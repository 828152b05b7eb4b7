/* SPDX-License-Identifier: MIT */
/* The store when Redis is away, slow or strict, and when callers change their
 * mind. */
#include "tests/unit/session_fixture.h"

#include <signal.h>

TestSuite(store_redis_faults, .fini = close_all, .timeout = 30);

Test(store_redis_faults, refuses_at_once_when_not_connected)
{
    open_server();
    const struct store_redis_options options = default_options();
    store = store_redis_new(&options);
    result = (struct result){0};
    store_get(store, &request, key_of("a"));
    cr_expect_eq(result.calls, 1);
    cr_expect_eq(result.status, STORE_UNAVAILABLE);
    cr_expect_null(request.pending);
    cr_assert(poll_loop_until(loop, is_up, store, LIMIT_MS));
    cr_expect_eq(get("a"), STORE_NOT_FOUND);
}

static bool is_stalled(void *arg)
{
    return !is_up(arg);
}

Test(store_redis_faults, a_paused_server_is_unavailable_then_comes_back)
{
    open_with_timeout(SHORT_TIMEOUT_MS);
    struct store_loop *hooks = poll_loop_hooks(loop);
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    redis_server_pause(&server);
    const int64_t start_ms = hooks->ops->now_ms(hooks);
    cr_expect_eq(get("a"), STORE_UNAVAILABLE);
    const int64_t took_ms = hooks->ops->now_ms(hooks) - start_ms;
    cr_expect(took_ms >= SHORT_TIMEOUT_MS, "%lld", (long long)took_ms);
    cr_expect(took_ms < 10 * SHORT_TIMEOUT_MS, "%lld", (long long)took_ms);
    cr_expect(is_stalled(store));
    result = (struct result){0};
    store_get(store, &request, key_of("a"));
    cr_expect_eq(result.status, STORE_UNAVAILABLE);
    cr_expect_eq(result.calls, 1, "refused at once");
    redis_server_resume(&server);
    cr_assert(poll_loop_until(loop, is_up, store, LIMIT_MS), "%s", last_why);
    cr_expect_eq(get("a"), STORE_OK);
    cr_expect_str_eq(result.record.backend, "n1");
}

Test(store_redis_faults, a_put_without_an_answer_may_have_happened)
{
    open_with_timeout(SHORT_TIMEOUT_MS);
    redis_server_pause(&server);
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_UNAVAILABLE);
    redis_server_resume(&server);
    cr_assert(poll_loop_until(loop, is_up, store, LIMIT_MS));
    cr_expect_eq(get("a"), STORE_OK);
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
}

Test(store_redis_faults, a_lost_connection_ends_every_operation)
{
    enum { COUNT = 8 };
    struct store_request requests[COUNT];
    struct result results[COUNT] = {{0}};
    const struct store_record record = record_of("n1");

    open_all();
    redis_server_pause(&server);
    for (size_t i = 0; i < COUNT; i++) {
        requests[i] = (struct store_request){on_done, &results[i], NULL};
        if (i % 2 == 0)
            store_get(store, &requests[i], key_of("a"));
        else
            store_put(store, &requests[i], key_of("a"), &record, NULL, 9000);
        cr_expect_not_null(requests[i].pending);
    }
    kill(server.pid, SIGKILL);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert(poll_loop_until(loop, is_done, &results[i], LIMIT_MS));
        cr_expect_eq(results[i].status, STORE_UNAVAILABLE);
        cr_expect_eq(results[i].calls, 1);
        cr_expect_null(requests[i].pending);
    }
}

Test(store_redis_faults, cancelled_requests_are_not_called)
{
    struct result other = {0};
    struct store_request first = {on_done, &other, NULL};

    open_all();
    const struct store_record record = record_of("n1");
    store_put(store, &first, key_of("a"), &record, NULL, 90000);
    store_cancel(store, &first);
    cr_expect_null(first.pending);
    store_cancel(store, &first);
    cr_expect_eq(get("a"), STORE_OK, "what was asked for happened");
    store_get(store, &first, key_of("a"));
    store_cancel(store, &first);
    store_touch(store, &first, key_of("a"), &record, 90000);
    store_cancel(store, &first);
    store_remove(store, &first, key_of("a"), "n2", NULL);
    store_cancel(store, &first);
    cr_expect_eq(get("a"), STORE_OK);
    cr_expect_eq(other.calls, 0);
}

Test(store_redis_faults, close_cancels)
{
    struct result other = {0};
    struct store_request requests[3];
    const struct store_record record = record_of("n1");

    open_all();
    for (size_t i = 0; i < 3; i++)
        requests[i] = (struct store_request){on_done, &other, NULL};
    store_get(store, &requests[0], key_of("a"));
    store_put(store, &requests[1], key_of("a"), &record, NULL, 90000);
    store_get(store, &requests[2], key_of("a"));
    store_close(store);
    store = NULL;
    for (size_t i = 0; i < 3; i++)
        cr_expect_null(requests[i].pending);
    cr_expect_eq(other.calls, 0);
}

/* A request on the heap, which is freed within its `done`. */
struct job {
    struct store_request request;
    unsigned left; /* further gets to start from `done` */
};

static unsigned jobs_done;

static void free_job(struct store_request *which, enum store_status status,
                     const struct store_record *record, int64_t life_ms)
{
    struct job *job = which->arg;

    (void)status;
    (void)record;
    (void)life_ms;
    if (job->left > 0) {
        job->left--;
        store_get(store, which, key_of("a"));
        return;
    }
    free(job);
    jobs_done++;
}

static void close_store(struct store_request *which, enum store_status status,
                        const struct store_record *record, int64_t life_ms)
{
    (void)which;
    (void)status;
    cr_expect(record == NULL || strcmp(record->backend, "n1") == 0);
    cr_expect(life_ms >= 0);
    store_close(store);
    store = NULL;
    /* The record lives on until this returns. */
    cr_expect(record == NULL || strcmp(record->backend, "n1") == 0);
    jobs_done++;
}

static bool are_jobs_done(void *arg)
{
    return jobs_done >= *(const unsigned *)arg;
}

Test(store_redis_faults, done_may_start_another_and_free_itself)
{
    const unsigned count = 3;

    open_all();
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    for (unsigned i = 0; i < count; i++) {
        struct job *job = calloc(1, sizeof(*job));
        job->request.done = free_job;
        job->request.arg = job;
        job->left = i;
        store_get(store, &job->request, key_of("a"));
    }
    unsigned expected = count;
    cr_assert(poll_loop_until(loop, are_jobs_done, &expected, LIMIT_MS));
}

static void close_within(void (*start)(struct store_request *))
{
    struct result other = {0};
    struct store_request before = {on_done, &other, NULL};
    struct store_request closing = {.done = close_store};
    struct store_request after = {on_done, &other, NULL};
    unsigned one = 1;

    store_get(store, &before, key_of("a"));
    start(&closing);
    store_get(store, &after, key_of("a"));
    cr_assert(poll_loop_until(loop, are_jobs_done, &one, LIMIT_MS));
    cr_expect_eq(other.calls, 1, "the one before, not the one after");
    cr_expect_null(after.pending);
    poll_loop_turn(loop, 0);
    cr_expect_eq(other.calls, 1);
}

static void start_get(struct store_request *which)
{
    store_get(store, which, key_of("a"));
}

static void start_conflict(struct store_request *which)
{
    const struct store_record record = record_of("n2");

    store_put(store, which, key_of("a"), &record, NULL, 1000);
}

Test(store_redis_faults, done_of_a_get_may_close)
{
    open_all();
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    close_within(start_get);
}

Test(store_redis_faults, done_of_a_put_may_close)
{
    open_all();
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    close_within(start_conflict);
}

Test(store_redis_faults, done_may_close_when_the_connection_is_lost)
{
    struct store_request closing = {.done = close_store};
    struct result other = {0};
    struct store_request after = {on_done, &other, NULL};
    unsigned one = 1;

    open_all();
    redis_server_pause(&server);
    store_get(store, &closing, key_of("a"));
    store_get(store, &after, key_of("a"));
    kill(server.pid, SIGKILL);
    cr_assert(poll_loop_until(loop, are_jobs_done, &one, LIMIT_MS));
    cr_expect_eq(other.calls, 0);
    cr_expect_null(after.pending);
}

static void close_on_error(void *arg, const char *text)
{
    (void)arg;
    (void)text;
    jobs_done++;
    store_close(store);
    store = NULL;
}

static void cancel_on_error(void *arg, const char *text)
{
    (void)arg;
    (void)text;
    jobs_done++;
    store_cancel(store, &request);
}

static void put_over_wrong_type(void (*told)(void *arg, const char *text))
{
    const struct store_record record = record_of("n1");
    unsigned one = 1;

    open_server();
    struct store_redis_options options = default_options();
    options.on_error = told;
    store = open_client(&options);
    redis_server_do(&server, "SET sidgate:session:a x");
    store_put(store, &request, key_of("a"), &record, NULL, 90000);
    cr_assert(poll_loop_until(loop, are_jobs_done, &one, LIMIT_MS));
    cr_expect_null(request.pending);
    cr_expect_eq(result.calls, 0);
    cr_expect_eq(redis_server_number(&server, "PTTL sidgate:session:a") > 0, 1);
}

Test(store_redis_faults, on_error_may_close)
{
    put_over_wrong_type(close_on_error);
}

Test(store_redis_faults, on_error_may_cancel)
{
    put_over_wrong_type(cancel_on_error);
}

static void every_operation(void)
{
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_eq(put("a", "n2", NULL, 90000), STORE_CONFLICT);
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_eq(get("a"), STORE_OK);
    cr_expect_eq(touch("a", "n1", 90000), STORE_OK);
    cr_expect_eq(drop("a", "n1"), STORE_OK);
    cr_expect_eq(error_count, 0, "%s", last_error);
}

Test(store_redis_faults, a_limited_user_is_enough)
{
    open_limited();
    every_operation();
    redis_server_do(&server, "SCRIPT FLUSH");
    every_operation();
    cr_expect_str_not_empty(store_client_run_id(store_redis_client(store)));
}

Test(store_redis_faults, no_permission_is_unavailable)
{
    open_limited();
    redis_server_do(&server, "ACL SETUSER sidgate -evalsha -hmget");
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_UNAVAILABLE);
    cr_expect_eq(error_count, 1);
    cr_expect(strstr(last_error, "NOPERM") != NULL, "%s", last_error);
    cr_expect_eq(get("a"), STORE_UNAVAILABLE);
    redis_server_do(&server, "ACL SETUSER sidgate +evalsha -hset");
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_UNAVAILABLE);
    redis_server_do(&server, "ACL SETUSER sidgate +hset +hmget -pttl");
    cr_expect_eq(get("a"), STORE_UNAVAILABLE);
    redis_server_do(&server, LIMITED_USER);
    redis_server_do(&server, "ACL SETUSER sidgate -pexpire");
    cr_expect_eq(put("b", "n1", NULL, 90000), STORE_UNAVAILABLE);
    cr_expect_eq(redis_server_number(&server, "EXISTS sidgate:session:b"), 0,
                 "left without an expiry");
    redis_server_do(&server, LIMITED_USER);
    error_count = 0;
    every_operation();
}

Test(store_redis_faults, the_password_of_the_options_wins)
{
    open_server();
    redis_server_do(&server, "CONFIG SET requirepass right");
    snprintf(server.url.password, sizeof(server.url.password), "wrong");
    struct store_redis_options options = default_options();
    options.password = "right";
    store = open_client(&options);
    every_operation();
}

Test(store_redis_faults, another_prefix_and_database)
{
    open_server();
    server.url.db = 3;
    struct store_redis_options options = default_options();
    options.prefix = "my app";
    store = open_client(&options);
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_eq(redis_server_number(&server, "DBSIZE"), 0);
    redis_server_do(&server, "SELECT 3");
    cr_expect_eq(redis_server_number(&server, "EXISTS %s", "my app:session:a"),
                 1);
    cr_expect_eq(get("a"), STORE_OK);
}

Test(store_redis_faults, a_prefix_that_is_too_long_is_refused)
{
    char prefix[STORE_PREFIX_MAX + 1];

    open_all();
    struct store_redis_options options = default_options();
    memset(prefix, 'p', sizeof(prefix));
    prefix[STORE_PREFIX_MAX] = '\0';
    options.prefix = prefix;
    cr_expect_null(store_redis_new(&options));
}

static void hash_key(void *arg, struct store_key key,
                     char out[STORE_HASHED_LEN])
{
    const char *secret = arg;

    for (size_t i = 0; i < STORE_HASHED_LEN; i++)
        out[i] = (char)('a' + (secret[0] + key.len + i) % 26);
}

Test(store_redis_faults, keys_may_be_hashed)
{
    char secret[] = "s";
    char hashed[STORE_HASHED_LEN];

    open_server();
    struct store_redis_options options = default_options();
    options.hash = hash_key;
    options.hash_arg = secret;
    store = open_client(&options);
    every_operation();
    cr_expect_eq(put("a secret sid", "n1", NULL, 90000), STORE_OK);
    hash_key(secret, key_of("a secret sid"), hashed);
    cr_expect_eq(redis_server_number(&server, "EXISTS sidgate:session:%b",
                                     hashed, sizeof(hashed)),
                 1);
    cr_expect_eq(redis_server_number(&server, "DBSIZE"), 1);
    cr_expect_eq(get("a secret sid"), STORE_OK);
    redisReply *reply = redis_server_ask(&server, "HGETALL sidgate:session:%b",
                                         hashed, sizeof(hashed));
    for (size_t i = 0; i < reply->elements; i++)
        cr_expect_null(strstr(reply->element[i]->str, "secret sid"));
    freeReplyObject(reply);
}

Test(store_redis_faults, two_clients_see_each_other)
{
    open_all();
    struct store *first = store;
    const struct store_redis_options options = default_options();
    struct store *second = open_client(&options);
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    store = second;
    cr_expect_eq(get("a"), STORE_OK);
    cr_expect_eq(put("a", "n2", NULL, 90000), STORE_CONFLICT);
    cr_expect_eq(drop("a", "n1"), STORE_OK);
    store_close(second);
    store = first;
    cr_expect_eq(get("a"), STORE_NOT_FOUND);
}

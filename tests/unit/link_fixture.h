/* SPDX-License-Identifier: MIT */
/* A link on the fake loop, for one test program: all that it tells goes into
 * one text, such as "up; 1=OK; down(it does not answer); 2=-; ". */
#ifndef SIDGATE_TESTS_UNIT_LINK_FIXTURE_H
#define SIDGATE_TESTS_UNIT_LINK_FIXTURE_H

#include "store/link.h"
#include "tests/unit/fake_loop.h"

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <stdarg.h>

#define SHA_A         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B         "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define RUN_ID        "0123456789abcdef0123456789abcdef01234567"
#define BULK_SHA(sha) "$40\r\n" sha "\r\n"

/* The replies to the SETUP of open_link(). */
#define GOOD_SETUP                                                             \
    BULK_SHA(SHA_A)                                                            \
    BULK_SHA(SHA_B)                                                            \
    "$74\r\n# Server\r\nrun_id:" RUN_ID "\r\n"                                 \
    "\r\nrole:master\r\n\r\n"

static const char *const scripts[] = {"return 1", "return ARGV[1]"};

static struct fake_loop fake;
static struct store_link *link_;
static char told[65536];

/* A callback frees the link when told's end is this. */
static const char *free_at;

__attribute__((format(printf, 1, 2))) static inline void tell(const char *form,
                                                              ...)
{
    size_t len = strlen(told);
    va_list args;

    va_start(args, form);
    vsnprintf(told + len, sizeof(told) - len, form, args);
    va_end(args);
    len = strlen(told);
    if (free_at != NULL && link_ != NULL && strlen(free_at) <= len &&
        strcmp(told + len - strlen(free_at), free_at) == 0) {
        store_link_free(link_);
        link_ = NULL;
    }
}

static inline void on_state(void *arg, bool is_up, const char *why)
{
    (void)arg;
    cr_expect_eq(is_up, why == NULL);
    if (is_up)
        tell("up; ");
    else
        tell("down(%s); ", why);
}

static inline void on_error(void *arg, const char *text)
{
    (void)arg;
    tell("error(%s); ", text);
}

static inline void on_message(void *arg, const char *bytes, size_t len)
{
    (void)arg;
    tell("message(%.*s); ", (int)len, bytes);
}

static inline void on_done(void *arg, const struct redisReply *reply)
{
    const char *name = arg;

    if (reply == NULL)
        tell("%s=-; ", name);
    else if (reply->type == REDIS_REPLY_INTEGER)
        tell("%s=%lld; ", name, reply->integer);
    else if (reply->type == REDIS_REPLY_NIL)
        tell("%s=nil; ", name);
    else if (reply->type == REDIS_REPLY_ARRAY)
        tell("%s=[%zu]; ", name, reply->elements);
    else
        tell("%s=%s; ", name, reply->str);
}

static struct store_link_options base_options = {
    .loop = &fake.base,
    .address = {.host = "127.0.0.1", .port = 6379},
    .timeout_ms = 250,
    .scripts = scripts,
    .script_count = 2,
    .on_state = on_state,
    .on_error = on_error,
    .on_message = on_message,
};

/* DOWN, before the first attempt. */
static inline void new_link(const struct store_link_options *options)
{
    fake_loop_init(&fake);
    told[0] = '\0';
    free_at = NULL;
    link_ = store_link_new(options);
    cr_assert_not_null(link_);
}

/* In SETUP, which nothing has answered. */
static inline void begin_link(const struct store_link_options *options)
{
    new_link(options);
    fake_loop_wait(&fake, 0);
    fake_loop_connect(&fake);
}

/* UP. */
static inline void open_link(void)
{
    begin_link(&base_options);
    fake_loop_text(&fake, GOOD_SETUP);
    cr_assert_str_eq(told, "up; ");
    told[0] = '\0';
    fake_loop_clear(&fake);
}

static inline void close_link(void)
{
    store_link_free(link_);
    link_ = NULL;
    fake_loop_fini(&fake);
}

/* What was told since the last call of this. */
#define expect_told(text)                                                      \
    do {                                                                       \
        cr_expect_str_eq(told, text, "told: %s", told);                        \
        told[0] = '\0';                                                        \
    } while (0)

/* The argument of on_done. */
static inline void *named(const char *name)
{
    return (void *)(uintptr_t)name;
}

static inline struct store_call *call_get(const char *name)
{
    const char *argv[] = {"GET", name};
    size_t lens[] = {3, strlen(name)};

    return store_link_send(link_, 2, argv, lens, on_done, named(name));
}

static inline struct store_call *call_script(size_t script, const char *name)
{
    const char *argv[] = {"key", name};
    size_t lens[] = {3, strlen(name)};

    return store_link_eval(link_, script, 2, argv, lens, on_done, named(name));
}

#endif

/* SPDX-License-Identifier: MIT */
/* Three Sentinels on the fake net, s1 to s3, and one who asks them, for one
 * test program: all that is told goes into one text, such as
 * "master(10.0.0.1:6379); lost(Sentinel s3:26379: connection refused); ". */
#ifndef SIDGATE_TESTS_UNIT_SENTINEL_FIXTURE_H
#define SIDGATE_TESTS_UNIT_SENTINEL_FIXTURE_H

#include "store/sentinel.h"
#include "tests/unit/fake_net.h"

#include <criterion/criterion.h>

enum { HOSTS = 3, STEP_MS = 10 };

#define ANSWER(host, port) "*2\r\n" host port
#define OLD                ANSWER("$8\r\n10.0.0.1\r\n", "$4\r\n6379\r\n")
#define NEW                ANSWER("$8\r\n10.0.0.2\r\n", "$4\r\n6380\r\n")
#define SUBSCRIBED         "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"
#define NIL                "*-1\r\n"
#define TOLD_OLD           "master(10.0.0.1:6379); "
#define TOLD_NEW           "master(10.0.0.2:6380); "
#define SWITCH             "mymaster 10.0.0.1 6379 10.0.0.2 6380"
#define SWITCH_BACK        "mymaster 10.0.0.2 6380 10.0.0.1 6379"

/* How a Sentinel behaves. */
struct host {
    const char *answer; /* as it is sent; NULL: none comes */
    size_t answer_len;  /* 0: up to the NUL */
    const char *info;   /* NULL: that of a Sentinel */
    const char *setup;  /* an error to what comes before; NULL: none */
    bool is_away;       /* refuses connections */
    bool is_deaf;       /* no permission for SUBSCRIBE */
    bool is_slow;       /* SUBSCRIBE is not answered */
    bool breaks;        /* hangs up in place of the answer */
    unsigned asked;
    unsigned opened;   /* connections */
    unsigned listener; /* the number of the wire that hears the channel */
};

static struct fake_net net;
static struct store_sentinel *sentinel;
static struct host sentinels[HOSTS];
static char told[65536];
static char setup_seen[1024];
static const char
    *free_at;            /* a callback frees the sentinel when told ends so */
static bool is_refusing; /* on_master says settled(false) */

static inline void note(const char *text)
{
    const size_t at = strlen(told);

    snprintf(told + at, sizeof(told) - at, "%s", text);
    const size_t len = strlen(told);
    if (free_at != NULL && len >= strlen(free_at) &&
        strcmp(told + len - strlen(free_at), free_at) == 0) {
        store_sentinel_free(sentinel);
        sentinel = NULL;
    }
}

static inline void on_master(void *arg, const struct store_address *address)
{
    char text[STORE_HOST_MAX + 32];

    cr_expect_eq(arg, &net);
    cr_expect(!address->is_unix);
    snprintf(text, sizeof(text), "%s(%s:%u); ",
             address->is_tls ? "tls" : "master", address->host, address->port);
    note(text);
    if (is_refusing && sentinel != NULL)
        store_sentinel_settled(sentinel, false);
}

static inline void on_lost(void *arg, const char *why)
{
    char text[512];

    cr_expect_eq(arg, &net);
    snprintf(text, sizeof(text), "lost(%s); ", why);
    note(text);
}

static struct store_address addresses[HOSTS] = {
    {.host = "s1", .port = 26379},
    {.host = "s2", .port = 26379},
    {.host = "s3", .port = 26379},
};

static struct store_sentinel_options base_options = {
    .loop = &net.loop.base,
    .hosts = addresses,
    .host_count = HOSTS,
    .master = "mymaster",
    .name = "test",
    .timeout_ms = 250,
    .on_master = on_master,
    .on_lost = on_lost,
    .arg = &net,
};

/* ---- the Sentinels ---- */

static inline struct host *host_of(const struct net_wire *wire)
{
    const char *name = wire->to.host;

    fake_require(name[0] == 's' && name[1] >= '1' && name[1] <= '3', name);
    return &sentinels[name[1] - '1'];
}

static inline void say(unsigned number, const char *text)
{
    struct net_wire *wire = fake_net_find(&net, number);

    if (wire != NULL)
        fake_net_bytes(wire, text, strlen(text));
}

/* Of two wires the other one; 0: there is none. */
static inline unsigned other_wire(unsigned number)
{
    struct net_wire *wire = net.wires;

    while (wire != NULL && wire->number == number)
        wire = wire->next;
    return wire != NULL ? wire->number : 0;
}

/* ---- messages ---- */

static inline void say_message(const struct host *host, const char *bytes,
                               size_t len)
{
    char text[1024];
    const int head = snprintf(
        text, sizeof(text),
        "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$%zu\r\n", len);
    struct net_wire *wire = fake_net_find(&net, host->listener);

    fake_require(wire != NULL, "somebody listens");
    memcpy(text + head, bytes, len);
    memcpy(text + head + len, "\r\n", 2);
    fake_net_bytes(wire, text, (size_t)head + len + 2);
}

static inline void publish(unsigned host, const char *text)
{
    say_message(&sentinels[host - 1], text, strlen(text));
}

/* ---- answers ---- */

static inline void answer(struct host *host, struct net_wire *wire)
{
    host->asked++;
    if (host->breaks)
        fake_net_end(wire, "connection reset");
    else if (host->answer != NULL)
        fake_net_bytes(wire, host->answer,
                       host->answer_len > 0 ? host->answer_len
                                            : strlen(host->answer));
}

static inline void subscribe(struct host *host, struct net_wire *wire)
{
    host->listener = wire->number;
    if (host->is_deaf)
        say(wire->number, "-NOPERM this user has no permissions\r\n");
    else if (!host->is_slow)
        say(wire->number, SUBSCRIBED);
}

static inline void note_setup(const struct fake_command *command)
{
    for (int i = 0; i < command->argc; i++) {
        const size_t at = strlen(setup_seen);
        snprintf(setup_seen + at, sizeof(setup_seen) - at, "%s%s",
                 command->argv[i], i + 1 < command->argc ? " " : "; ");
    }
}

static inline void obey(struct host *host, struct net_wire *wire,
                        const struct fake_command *command)
{
    const char *name = command->argv[0];

    if (strcmp(name, "PING") != 0)
        note_setup(command);
    if (strcmp(name, "SENTINEL") == 0)
        answer(host, wire);
    else if (strcmp(name, "SUBSCRIBE") == 0)
        subscribe(host, wire);
    else if (host->setup != NULL)
        say(wire->number, host->setup);
    else if (strcmp(name, "INFO") == 0)
        say(wire->number, host->info != NULL
                              ? host->info
                              : "$21\r\nredis_mode:sentinel\r\n\r\n");
    else
        say(wire->number, strcmp(name, "PING") == 0 ? "+PONG\r\n" : "+OK\r\n");
}

/* One thing that a Sentinel has to do; false when there is none. */
static inline bool serve_one(void)
{
    struct fake_command command;

    for (struct net_wire *wire = net.wires; wire != NULL; wire = wire->next) {
        struct host *host = host_of(wire);
        const size_t len = fake_net_command(wire, &command);
        if (!wire->wire.is_open && host->is_away) {
            fake_net_end(wire, "connection refused");
            return true;
        }
        if (!wire->wire.is_open) {
            host->opened++;
            fake_net_connect(wire);
            return true;
        }
        if (len > 0) {
            fake_net_take(wire, len);
            obey(host, wire, &command);
            return true;
        }
    }
    return false;
}

static inline void serve(void)
{
    unsigned count = 0;

    while (serve_one())
        fake_require(count++ < 1000, "nothing goes on without end");
}

/* Time passes, and the Sentinels do what they have to. */
static inline void run(int64_t ms)
{
    serve();
    for (int64_t at = 0; at < ms; at += STEP_MS) {
        fake_loop_wait(&net.loop, STEP_MS);
        serve();
    }
}

static inline unsigned asked(void)
{
    return sentinels[0].asked + sentinels[1].asked + sentinels[2].asked;
}

static inline unsigned opened(void)
{
    return sentinels[0].opened + sentinels[1].opened + sentinels[2].opened;
}

/* ---- life ---- */

/* All Sentinels name 10.0.0.1:6379. Nothing has happened yet. */
static inline void begin(const struct store_sentinel_options *options)
{
    fake_net_init(&net);
    for (unsigned i = 0; i < HOSTS; i++)
        sentinels[i] = (struct host){.answer = OLD};
    told[0] = '\0';
    setup_seen[0] = '\0';
    free_at = NULL;
    is_refusing = false;
    sentinel = store_sentinel_new(options);
    cr_assert_not_null(sentinel);
}

/* What was told since the last call of this. */
#define expect_told(text)                                                      \
    do {                                                                       \
        cr_expect_str_eq(told, text, "told: %s", told);                        \
        told[0] = '\0';                                                        \
    } while (0)

/* s1 named the master, which takes commands. */
static inline void begin_settled(void)
{
    begin(&base_options);
    run(200);
    expect_told(TOLD_OLD);
    store_sentinel_settled(sentinel, true);
    run(1000);
    for (unsigned i = 0; i < HOSTS; i++)
        sentinels[i].asked = sentinels[i].opened = 0;
}

static inline void end(void)
{
    store_sentinel_free(sentinel);
    sentinel = NULL;
    fake_net_fini(&net);
}

#endif

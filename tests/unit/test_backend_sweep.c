/* SPDX-License-Identifier: MIT */
/* Places that become free once no worker uses them; the worker's turns are
 * taken by hand. */
#include "gateway/log.h"
#include "gateway/options.h"

#include <criterion/criterion.h>
#include <sys/socket.h>

#include "gateway/backend_set.h"
#include "gateway/worker.c"

enum { SECOND = 1000, TURNS_MAX = 1000 };

static struct gw_config config;
static struct gw_server *server;
static struct gw_worker *worker;
static struct gw_backend *one;
static int64_t now_ms = 100 * SECOND;

static void read_config(const char *listen)
{
    char error[GW_OPTIONS_ERROR_MAX] = "";
    enum gw_action action;
    const char *const words[] = {"sidgate",
                                 "--listen",
                                 listen,
                                 "--backend",
                                 "n1=127.0.0.1:1",
                                 "--backend",
                                 "n2=127.0.0.1:2",
                                 "--workers",
                                 "1",
                                 "--admin",
                                 "off",
                                 "--health-check",
                                 "off",
                                 "--max-sessions",
                                 "100"};
    cr_assert_eq(gw_options_read((int)(sizeof(words) / sizeof(words[0])),
                                 (char **)(uintptr_t)words, &config, &action,
                                 error),
                 0, "%s", error);
}

static void setup(void)
{
    char error[256] = "";
    gw_log_setup(GW_LOG_ERROR, GW_LOG_TEXT);
    read_config("127.0.0.1:0");
    server = gw_server_new(&config, error);
    cr_assert_not_null(server, "%s", error);
    cr_assert(gw_server_open(server, NULL, error), "%s", error);
    worker = server->workers[0];
    one = gw_backend_find(server->backends, "n1");
    cr_assert_not_null(one);
}

static void teardown(void)
{
    gw_server_free(server);
}

TestSuite(backend_sweep, .init = setup, .fini = teardown);

static void pass(int64_t ms)
{
    now_ms += ms;
    gw_sweep_step(server->sweep, now_ms);
}

static void expect_state(int state)
{
    cr_expect_eq(atomic_load(&one->state), state, "%d",
                 (int)atomic_load(&one->state));
}

static void remove_one(void)
{
    gw_backend_remove(server->backends, one, now_ms);
}

/* Two passes: the worker is asked, and its answer heard. */
static void sweep(void)
{
    pass(SECOND);
    turn(worker, 0);
    pass(SECOND);
}

Test(backend_sweep, a_removed_one_is_forgotten_and_then_free)
{
    pass(60 * SECOND);
    expect_state(GW_BACKEND_LIVE);
    remove_one();
    pass(SECOND);
    expect_state(GW_BACKEND_REMOVED); /* somebody may have just found it */
    gw_count(&worker->backend_metrics[one->index].b_requests);
    pass(5 * SECOND);
    expect_state(GW_BACKEND_FORGOTTEN);
    cr_expect_null(gw_backend_find(server->backends, "n1"));
    pass(60 * SECOND);
    expect_state(GW_BACKEND_FORGOTTEN); /* the worker has not answered */
    turn(worker, 0);
    expect_state(GW_BACKEND_FORGOTTEN);
    pass(1);
    expect_state(GW_BACKEND_FREE);
    cr_expect_eq(worker->backend_metrics[one->index].b_requests, 0,
                 "whoever gets the place begins with nothing");
}

Test(backend_sweep, sessions_and_handshakes_keep_it)
{
    remove_one();
    atomic_store(&one->sessions, 1);
    pass(60 * SECOND);
    expect_state(GW_BACKEND_REMOVED);
    atomic_store(&one->sessions, 0);
    atomic_store(&one->handshakes, 1);
    pass(60 * SECOND);
    expect_state(GW_BACKEND_REMOVED);
    atomic_store(&one->handshakes, 0);
    atomic_store(&one->elsewhere, 1);
    pass(60 * SECOND);
    expect_state(GW_BACKEND_REMOVED);
    atomic_store(&one->elsewhere, 0);
    pass(60 * SECOND);
    expect_state(GW_BACKEND_FORGOTTEN);
}

/* Its sessions are counted as those of the one that has its id. */
Test(backend_sweep, a_former_one_stays_for_long)
{
    remove_one();
    atomic_store(&one->is_superseded, true);
    pass(600 * SECOND);
    expect_state(GW_BACKEND_REMOVED);
    pass(301 * SECOND);
    expect_state(GW_BACKEND_FORGOTTEN);
}

static struct gw_stream *stream_of(int fd)
{
    struct gw_stream *stream = gw_stream_new(worker, fd, NULL, NULL);
    cr_assert_not_null(stream);
    return stream;
}

/* A tunnel of another session than the counted ones. */
static void open_tunnel(int others[2])
{
    int client[2];
    int backend[2];
    const int kind = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    cr_assert_eq(socketpair(AF_UNIX, kind, 0, client), 0);
    cr_assert_eq(socketpair(AF_UNIX, kind, 0, backend), 0);
    struct gw_tunnel_about about = {.backend = one,
                                    .client_stream = stream_of(client[0]),
                                    .backend_stream = stream_of(backend[0])};
    atomic_fetch_add(&server->open_count, 1);
    gw_tunnel_open(worker, &about);
    others[0] = client[1];
    others[1] = backend[1];
}

Test(backend_sweep, a_tunnel_keeps_the_place)
{
    int others[2];

    open_tunnel(others);
    remove_one();
    pass(10 * SECOND);
    expect_state(GW_BACKEND_FORGOTTEN);
    for (int i = 0; i < 3; i++) {
        sweep();
        expect_state(GW_BACKEND_FORGOTTEN);
    }
    close(others[0]);
    close(others[1]);
    for (int i = 0; i < TURNS_MAX && gw_tunnels_use(worker, one); i++)
        turn(worker, 1);
    sweep();
    expect_state(GW_BACKEND_FREE);
}

/* One that stays in use does not keep the others waiting. */
Test(backend_sweep, they_take_turns)
{
    struct gw_backend *two = gw_backend_find(server->backends, "n2");
    int others[2];

    open_tunnel(others);
    remove_one();
    gw_backend_remove(server->backends, two, now_ms);
    pass(10 * SECOND);
    for (int i = 0; i < 4; i++)
        sweep();
    expect_state(GW_BACKEND_FORGOTTEN);
    cr_expect_eq(atomic_load(&two->state), GW_BACKEND_FREE);
    close(others[0]);
    close(others[1]);
    for (int i = 0; i < TURNS_MAX && gw_tunnels_use(worker, one); i++)
        turn(worker, 1);
    for (int i = 0; i < 2; i++)
        sweep();
    expect_state(GW_BACKEND_FREE);
}

/* The process ends before the worker has answered. */
Test(backend_sweep, a_question_at_the_end)
{
    remove_one();
    pass(10 * SECOND);
    expect_state(GW_BACKEND_FORGOTTEN);
}

/* ---- another configuration ---- */

static struct gw_listen_set *other_config(const char *listen)
{
    char error[256] = "";
    struct gw_config *next = malloc(sizeof(*next));
    struct gw_listen_set *set = calloc(1, sizeof(*set));
    cr_assert(next != NULL && set != NULL);
    read_config(listen);
    *next = config;
    cr_assert(gw_listen_prepare(set, &server->listening, NULL, next, error),
              "%s", error);
    cr_assert(gw_server_configure(server, next, set));
    cr_expect(server->config == next);
    return set;
}

Test(backend_sweep, a_configuration_is_gone_over_to)
{
    struct gw_listen_set *set = other_config("127.0.0.1:0");

    cr_expect(worker->config == server->boot);
    cr_expect_not(gw_server_configure(server, &config, set), "one at a time");
    gw_server_step(server);
    cr_expect_not_null(server->change);
    turn(worker, 0);
    cr_expect(worker->config == server->config);
    gw_server_step(server);
    cr_expect_null(server->change);
    free(set);
    /* And one more, after which the second is freed. */
    free(other_config("127.0.0.1:0"));
    turn(worker, 0);
    gw_server_step(server);
    cr_expect_null(server->change);
    cr_expect(worker->config == server->config);
}

static int listener_count(void)
{
    int count = 0;
    for (struct gw_listener *at = worker->listeners; at != NULL; at = at->next)
        count++;
    return count;
}

Test(backend_sweep, listeners_come_and_go)
{
    int before = worker->listeners->fd;

    free(other_config("[::1]:0"));
    turn(worker, 0);
    gw_server_step(server);
    for (int i = 0; i < TURNS_MAX && listener_count() > 1; i++)
        turn(worker, 1);
    cr_expect_eq(listener_count(), 1);
    cr_expect_str_eq(worker->listeners->config.address.text, "[::1]:0");
    cr_expect_neq(worker->listeners->fd, before);
}

/* The process ends before the worker has gone over. */
Test(backend_sweep, a_configuration_at_the_end)
{
    free(other_config("[::1]:0"));
}

/* SPDX-License-Identifier: MIT */
/* Health checks by GETs, of servers that behave and of those that do not. */
#include "health_fixture.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void setup(void)
{
    health_setup();
    config.pools[0].health_check = GW_HEALTH_HTTP;
}

TestSuite(health_http, .init = setup, .fini = health_teardown);

static void expect_request(struct server *server)
{
    char host[64];

    snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%d\r\n", server->port);
    pthread_mutex_lock(&server->lock);
    const char *request = server->request;
    cr_expect_eq(strncmp(request, "GET /health?deep=1 HTTP/1.1\r\n", 29), 0,
                 "%s", request);
    cr_expect_not_null(strcasestr(request, host), "%s", request);
    cr_expect_not_null(
        strcasestr(request, "\r\nuser-agent: sidgate-health\r\n"), "%s",
        request);
    cr_expect_not_null(strcasestr(request, "\r\nconnection: close\r\n"), "%s",
                       request);
    pthread_mutex_unlock(&server->lock);
}

Test(health_http, a_good_answer_is_good)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);

    /* No way leads over anybody else. */
    setenv("http_proxy", "http://127.0.0.1:9", 1);
    atomic_store(&backend->is_down, true);
    health_begin();
    cr_assert(gets_hits(server, 1));
    expect_request(server);
    cr_expect(goes_up(backend));
    cr_assert(gets_hits(server, 5));
    cr_expect(!atomic_load(&backend->is_down), "%s", backend->health_reason);
    server_stop(server);
}

Test(health_http, over_ipv6_too)
{
    struct server *server = server_start(NULL, true);
    struct gw_backend *backend = place(0, "n1", server->port);
    struct sockaddr_in6 *in6 =
        (struct sockaddr_in6 *)&backend->own.address.addr;

    memset(in6, 0, sizeof(*in6));
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)server->port);
    in6->sin6_addr = in6addr_loopback;
    backend->own.address.addr_len = sizeof(*in6);
    atomic_store(&backend->is_down, true);
    health_begin();
    cr_expect(goes_up(backend));
    server_stop(server);
}

Test(health_http, from_the_addresses_of_ours)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);
    struct sockaddr_in *in = (struct sockaddr_in *)&config.sources[1].addr;

    config.sources[0].addr.ss_family = AF_INET6; /* not for this backend */
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK + 7);
    config.sources[1].addr_len = sizeof(*in);
    config.source_count = 2;
    atomic_store(&backend->is_down, true);
    health_begin();
    cr_expect(goes_up(backend));
    server_stop(server);
}

struct answer {
    const char *text;
    const char *why; /* NULL: it is a good one */
};

static void expect_answers(const struct answer *answers, size_t count)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);

    health_begin();
    for (size_t i = 0; i < count; i++) {
        server->answer = answers[i].text;
        if (answers[i].why == NULL) {
            cr_expect(goes_up(backend), "%.60s", answers[i].text);
            cr_expect_str_eq(backend->health_reason, "2 good checks");
        } else {
            cr_expect(goes_down(backend), "%.60s", answers[i].text);
            cr_expect_str_eq(backend->health_reason, answers[i].why);
        }
    }
    server_stop(server);
}

Test(health_http, statuses_count)
{
    static const struct answer answers[] = {
        {"HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n", "status 503"},
        {"HTTP/1.1 399 Fine\r\nContent-Length: 0\r\n\r\n", NULL},
        {"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", "status 400"},
        /* Nobody follows it. */
        {"HTTP/1.1 302 There\r\nLocation: http://127.0.0.1:1/\r\n"
         "Content-Length: 0\r\n\r\n",
         NULL},
        {"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n"
         "0\r\n\r\n",
         "status 404"},
        {"HTTP/1.0 200 OK\r\n\r\nold", NULL},
        {"HTTP/1.1 500 No\r\n\r\n", "status 500"},
        {"HTTP/1.1 204 None\r\n\r\n", NULL},
    };

    expect_answers(answers, sizeof(answers) / sizeof(answers[0]));
}

Test(health_http, a_range_of_statuses)
{
    static const struct answer answers[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "status 200"},
        {"HTTP/1.1 426 Upgrade\r\nContent-Length: 0\r\n\r\n", NULL},
    };

    config.pools[0].health_status_min = 426;
    config.pools[0].health_status_max = 426;
    expect_answers(answers, sizeof(answers) / sizeof(answers[0]));
}

Test(health_http, what_is_no_answer)
{
    static const char *const texts[] = {
        "",
        "nonsense",
        "\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: not all of it",
        "HTTP/9.9 2x0\r\n\r\n",
        "200 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\x15\x03\x01\x00\x02\x02\x0a",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct server *server = server_start(NULL, false);
        struct gw_backend *backend = place((unsigned)i, "n1", server->port);

        snprintf(backend->own.id, sizeof(backend->own.id), "n%zu", i);
        server->answer = texts[i];
        if (health == NULL)
            health_begin();
        cr_expect(goes_down(backend), "%s", texts[i]);
        cr_expect_neq(backend->health_reason[0], '\0');
        atomic_store(&backend->state, GW_BACKEND_FREE);
        server_stop(server);
    }
}

Test(health_http, a_server_that_closes_resets_or_hangs)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);

    config.pools[0].health_timeout_ms = 150;
    health_begin();
    atomic_store(&server->mode, SERVER_CLOSES);
    cr_assert(goes_down(backend));
    cr_expect_str_eq(backend->health_reason, "closed without an answer");
    atomic_store(&server->mode, SERVER_ANSWERS);
    cr_assert(goes_up(backend));
    atomic_store(&server->mode, SERVER_RESETS);
    cr_assert(goes_down(backend));
    cr_expect_str_eq(backend->health_reason, "connection reset by peer");
    atomic_store(&server->mode, SERVER_ANSWERS);
    cr_assert(goes_up(backend));
    atomic_store(&server->mode, SERVER_HOLDS);
    cr_assert(goes_down(backend));
    cr_expect_str_eq(backend->health_reason, "timeout after 150 ms");
    atomic_store(&server->mode, SERVER_ANSWERS);
    cr_assert(goes_up(backend));
    server_stop(server);
}

Test(health_http, rows_of_good_and_bad_ones)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);

    /* Checks fail by their answer alone, however busy the machine is. */
    config.pools[0].health_timeout_ms = 5000;
    config.pools[0].health_rise = 3;
    config.pools[0].health_fall = 4;
    server->answer = "HTTP/1.1 500 No\r\n\r\n";
    health_begin();
    cr_assert(goes_down(backend));
    cr_expect_eq(atomic_load(&server->hits), 4);
    server->answer = "HTTP/1.1 200 OK\r\n\r\n";
    cr_assert(goes_up(backend));
    cr_expect_eq(atomic_load(&server->hits), 7);
    cr_expect_str_eq(backend->health_reason, "3 good checks");
    /* Rows that are broken off. */
    for (int i = 0; i < 4; i++) {
        server->answer = "HTTP/1.1 500 No\r\n\r\n";
        cr_assert(gets_hits(server, 3));
        server->answer = "HTTP/1.1 200 OK\r\n\r\n";
        cr_assert(gets_hits(server, 1));
    }
    cr_expect(!atomic_load(&backend->is_down));
    server_stop(server);
}

Test(health_http, bodies_without_end_are_left)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);

    atomic_store(&backend->is_down, true);
    server->answer = "HTTP/1.1 200 OK\r\n\r\n";
    atomic_store(&server->mode, SERVER_STREAMS);
    health_begin();
    cr_assert(goes_up(backend));
    cr_assert(gets_hits(server, 10));
    cr_expect(!atomic_load(&backend->is_down));
    server_stop(server);
}

Test(health_http, connections_do_not_outlive_their_answers)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);

    atomic_store(&server->mode, SERVER_LINGERS);
    health_begin();
    cr_assert(gets_hits(server, 100));
    cr_expect(!atomic_load(&backend->is_down));
    server_stop(server);
}

static char *long_head(size_t fields)
{
    size_t size = fields * 128 + 64;
    char *head = malloc(size);
    size_t len;

    cr_assert_not_null(head);
    len = (size_t)snprintf(head, size, "HTTP/1.1 200 OK\r\n");
    for (size_t i = 0; i < fields; i++)
        len += (size_t)snprintf(head + len, size - len, "X-%04zu: %0100d\r\n",
                                i, 0);
    snprintf(head + len, size - len, "\r\n");
    return head;
}

Test(health_http, long_heads_are_read_endless_ones_not)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);
    char *good = long_head(150);
    char *bad = long_head(2000);

    atomic_store(&backend->is_down, true);
    server->answer = good;
    health_begin();
    cr_assert(goes_up(backend));
    server->answer = bad;
    cr_assert(goes_down(backend));
    cr_expect_str_eq(backend->health_reason, "malformed answer");
    server_stop(server);
    free(good);
    free(bad);
}

Test(health_http, another_path_is_asked_for_anew)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);
    struct gw_config next = config;

    config.pools[0].health_interval_ms = 3600000;
    config.pools[0].health_fall = 1;
    snprintf(next.pools[0].health_path, GW_PATH_MAX, "/other");
    server->answer = "HTTP/1.1 500 No\r\n\r\n";
    health_begin();
    cr_assert(goes_down(backend));
    gw_health_configure(health, &next);
    cr_assert(gets_hits(server, 1));
    cr_expect_eq(strncmp(server->request, "GET /other HTTP/1.1\r\n", 21), 0);
    cr_expect(atomic_load(&backend->is_down));
    server_stop(server);
}

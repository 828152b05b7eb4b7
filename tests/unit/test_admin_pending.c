/* SPDX-License-Identifier: MIT */
/* Commands whose answers come later. */
#include "admin_fixture.h"

#include "gateway/admin_private.h"

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST(path) "POST " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void complete(struct gw_ticket ticket, unsigned status, const char *body)
{
    struct gw_outcome outcome = {.status = status};

    if (body != NULL)
        outcome.body = strdup(body);
    else if (status >= 400)
        snprintf(outcome.error, sizeof(outcome.error), "why");
    gw_admin_complete(admin, ticket, &outcome);
    cr_expect_null(outcome.body);
}

/* Sends it and turns the loop until the command has come. */
static int begin(const char *request)
{
    unsigned before = command_count;
    uint64_t end = uv_hrtime() + PATIENCE_S * 1000000000ULL;
    int fd = connect_plain();

    answer_with = (struct gw_outcome){.is_pending = true};
    send_text(fd, request);
    while (command_count == before && uv_hrtime() < end)
        uv_run(&loop, UV_RUN_NOWAIT);
    cr_assert_eq(command_count, before + 1);
    return fd;
}

static void turn_for(uint64_t ms)
{
    uint64_t end = uv_hrtime() + ms * 1000000ULL;

    while (uv_hrtime() < end) {
        uv_run(&loop, UV_RUN_NOWAIT);
        poll(NULL, 0, 1);
    }
}

static void expect_end(int fd, const char *status, const char *body)
{
    size_t len;
    char *bytes = read_all(fd, &len);
    const char *end = strstr(bytes, "\r\n\r\n");

    cr_expect_eq(strncmp(bytes, status, strlen(status)), 0, "%s", bytes);
    cr_expect(end != NULL && strcmp(end + 4, body) == 0, "%s", bytes);
    free(bytes);
}

Test(admin_pending, answer_comes_later)
{
    open_admin();
    int fd = begin(GET("/api/v1/backends"));
    turn_for(700);
    struct pollfd none = {.fd = fd, .events = POLLIN};
    cr_expect_eq(poll(&none, 1, 0), 0, "an answer before there was one");
    complete(last_command.ticket, 200, "{\"a\":1}");
    expect_end(fd, "HTTP/1.1 200 ", "{\"a\":1}");

    fd = begin(POST("/api/v1/reload"));
    complete(last_command.ticket, 200, NULL);
    expect_end(fd, "HTTP/1.1 200 ", "{\"ok\":true}");

    fd = begin(POST("/api/v1/reload"));
    complete(last_command.ticket, 503, NULL);
    expect_end(fd, "HTTP/1.1 503 ", "{\"error\":\"why\"}");

    fd = begin("HEAD /api/v1/backends HTTP/1.1\r\nHost: x\r\n\r\n");
    complete(last_command.ticket, 200, "{\"a\":1}");
    expect_end(fd, "HTTP/1.1 200 ", "");
    close_admin();
}

/* The asker's life begins anew with the wait. */
Test(admin_pending, whoever_was_slow_may_wait_all_the_same)
{
    unsigned before = command_count;

    open_admin();
    admin->life_ms = 2500;
    int fd = connect_plain();
    send_text(fd, "GET /api/v1/backends HTTP/1.1\r\n");
    turn_for(1500);
    answer_with = (struct gw_outcome){.is_pending = true};
    send_text(fd, "Host: x\r\n\r\n");
    turn_for(1500);
    cr_assert_eq(command_count, before + 1);
    complete(last_command.ticket, 200, "{}");
    expect_end(fd, "HTTP/1.1 200 ", "{}");
    close_admin();
}

Test(admin_pending, answers_that_nobody_waits_for)
{
    open_admin();
    size_t before = count_fds();
    int fd = begin(GET("/api/v1/backends"));
    struct gw_ticket old = last_command.ticket;
    close(fd);
    turn_for(50);
    /* Another one has its place, or the next. */
    for (int i = 0; i < 3; i++) {
        fd = begin(GET("/api/v1/backends"));
        complete(old, 200, "{\"old\":true}");
        struct gw_ticket wrong = last_command.ticket;
        wrong.serial++;
        complete(wrong, 200, "{\"wrong\":true}");
        wrong = last_command.ticket;
        wrong.place = 64;
        complete(wrong, 200, "{\"wrong\":true}");
        wrong.place = (last_command.ticket.place + 1) % 64;
        complete(wrong, 200, "{\"wrong\":true}");
        complete(last_command.ticket, 200, "{\"new\":true}");
        /* Once is enough. */
        complete(last_command.ticket, 200, "{\"more\":true}");
        old = last_command.ticket;
        expect_end(fd, "HTTP/1.1 200 ", "{\"new\":true}");
        complete(old, 200, "{\"late\":true}");
    }
    wait_for_fds(before);
    close_admin();
}

Test(admin_pending, never_answered_is_cut)
{
    size_t len;

    open_admin();
    admin->life_ms = 1500;
    int fd = begin(POST("/api/v1/reload"));
    char *bytes = read_all(fd, &len);
    cr_expect_eq(len, 0, "%s", bytes);
    free(bytes);
    complete(last_command.ticket, 200, NULL);
    close_admin();
}

/* A second request, or the end of the first one's side, changes nothing. */
Test(admin_pending, what_comes_meanwhile)
{
    open_admin();
    unsigned before = command_count;
    int fd = begin(GET("/api/v1/backends") GET("/api/v1/backends"));
    send_text(fd, GET("/api/v1/backends"));
    shutdown(fd, SHUT_WR);
    turn_for(700);
    cr_expect_eq(command_count, before + 1);
    complete(last_command.ticket, 200, "{}");
    expect_end(fd, "HTTP/1.1 200 ", "{}");
    close_admin();
}

Test(admin_pending, close_with_some)
{
    open_admin();
    int fd = begin(POST("/api/v1/reload"));
    close_admin();
    close(fd);
}

/* A hook may find that it has the answer already. */
static void command_at_once(void *arg, const struct gw_command *asked,
                            struct gw_outcome *outcome)
{
    command(arg, asked, outcome);
    complete(asked->ticket, 200, "{\"at\":\"once\"}");
    complete(asked->ticket, 200, "{\"at\":\"twice\"}");
}

Test(admin_pending, answered_within_the_hook)
{
    const struct gw_admin_hooks hooks = {is_ready, metrics, command_at_once,
                                         live, &loop};
    struct gw_address address = address_of("127.0.0.1", 0);

    cr_assert_eq(uv_loop_init(&loop), 0);
    admin = gw_admin_open(&loop, &address, &tokens, &hooks, -1, error);
    cr_assert_not_null(admin, "%s", error);
    expect_end(begin(POST("/api/v1/reload")), "HTTP/1.1 200 ",
               "{\"at\":\"once\"}");
    /* The outcome itself was there: then that counts. */
    answer_with = (struct gw_outcome){.status = 202};
    expect_answer(POST("/api/v1/reload"), "HTTP/1.1 202 ", "{\"ok\":true}");
    close_admin();
}

Test(admin_pending, who_and_what_may)
{
    tokens = (struct gw_admin_tokens){"correct-horse-battery",
                                      "battery-staple-horse"};
    open_admin();
    answer_with = (struct gw_outcome){.status = 200};
    expect_answer("POST /api/v1/reload HTTP/1.1\r\nHost: x\r\n"
                  "Authorization: Bearer correct-horse-battery\r\n\r\n",
                  "HTTP/1.1 200 ", "{\"ok\":true}");
    cr_expect_eq(strncmp(last_command.who, "token@127.0.0.1:", 16), 0, "%s",
                 last_command.who);
    cr_expect(last_command.may_write);
    expect_answer("GET /api/v1/backends HTTP/1.1\r\nHost: x\r\n"
                  "Authorization: Bearer battery-staple-horse\r\n\r\n",
                  "HTTP/1.1 200 ", "");
    cr_expect_eq(strncmp(last_command.who, "read-token@127.0.0.1:", 21), 0);
    cr_expect_not(last_command.may_write);
    unsigned before = command_count;
    expect_answer("POST /api/v1/reload HTTP/1.1\r\nHost: x\r\n"
                  "Authorization: Bearer battery-staple-horse\r\n\r\n",
                  "HTTP/1.1 403 ",
                  "\r\n\r\n{\"error\":\"this token may only read\"}");
    cr_expect_eq(command_count, before);
    close_admin();
}

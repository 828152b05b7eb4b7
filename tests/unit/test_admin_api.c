/* SPDX-License-Identifier: MIT */
/* Commands through the operator plane, and its socket in other hands. */
#include "admin_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>

#define POST_END " HTTP/1.1\r\nHost: x\r\n\r\n"

static void expect_command(const char *request, enum gw_verb verb)
{
    unsigned before = command_count;

    expect_answer(request, "HTTP/1.1 200 ",
                  "content-type: application/json\r\n");
    cr_expect_eq(command_count, before + 1, "%s", request);
    cr_expect_eq(last_command.verb, verb, "%s", request);
}

Test(admin_api, commands_arrive)
{
    open_admin();
    expect_command("GET /api/v1/backends" POST_END, GW_VERB_BACKENDS);
    expect_command("HEAD /api/v1/backends" POST_END, GW_VERB_BACKENDS);
    expect_command("GET /api/v1/upgrade" POST_END, GW_VERB_UPGRADE_STATE);
    expect_command("POST /api/v1/upgrade" POST_END, GW_VERB_UPGRADE);
    expect_command("POST /api/v1/reload" POST_END, GW_VERB_RELOAD);
    expect_command("POST /api/v1/backends/n1/undrain" POST_END,
                   GW_VERB_UNDRAIN);
    cr_expect_str_eq(last_command.id, "n1");
    expect_command(
        "POST /api/v1/backends/10.0.0.1:80/drain?rate=5&timeout=1m" POST_END,
        GW_VERB_DRAIN);
    cr_expect_str_eq(last_command.id, "10.0.0.1:80");
    cr_expect_eq(last_command.rate, 5);
    cr_expect_eq(last_command.timeout_ms, 60000);
    close_admin();
}

static const struct {
    const char *path;
    const char *id;
} ids[] = {
    {"blue%2Fn1", "blue/n1"},       {"blue%2fn1", "blue/n1"},
    {"blue/n1", "blue/n1"},         {"[::1]:80", "[::1]:80"},
    {"%5B::1%5D%3A80", "[::1]:80"}, {"n%31", "n1"},
    {"a.b_c-d", "a.b_c-d"},
};

/* lws decodes paths before anybody sees them. */
Test(admin_api, ids_come_through)
{
    open_admin();
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        char request[256];

        snprintf(request, sizeof(request), "POST /api/v1/backends/%s/remove%s",
                 ids[i].path, POST_END);
        expect_command(request, GW_VERB_REMOVE);
        cr_expect_str_eq(last_command.id, ids[i].id, "%s", ids[i].path);
    }
    close_admin();
}

static const struct {
    const char *query;
    const char *spec;
} specs[] = {
    {"spec=n1=10.0.0.1:80", "n1=10.0.0.1:80"},
    {"spec=n1%3D10.0.0.1%3A80", "n1=10.0.0.1:80"},
    {"spec=[::1]:80,weight=2,tls", "[::1]:80,weight=2,tls"},
    {"spec=a%26pool=b", "a&pool=b"},
    {"spec=a%26pool%3Db", "a&pool=b"},
    {"spec=a%3Bb", "a;b"},
    {"spec=a%25b", "a%b"},
    {"spec=a%2541b", "a%41b"},
    {"spec=/../x//y/./z", "/../x//y/./z"},
    {"spec=a?b", "a?b"},
    {"spec=a%2Bb", "a+b"},
};

Test(admin_api, specs_come_through)
{
    open_admin();
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        char request[256];

        snprintf(request, sizeof(request), "POST /api/v1/backends?%s%s",
                 specs[i].query, POST_END);
        expect_command(request, GW_VERB_ADD);
        cr_expect_str_eq(last_command.spec, specs[i].spec, "%s",
                         specs[i].query);
        cr_expect_str_empty(last_command.pool);
    }
    expect_command("POST /api/v1/backends?spec=a%3Db=c&pool=blue" POST_END,
                   GW_VERB_ADD);
    cr_expect_str_eq(last_command.spec, "a=b=c");
    cr_expect_str_eq(last_command.pool, "blue");
    close_admin();
}

static const struct {
    const char *request;
    const char *status;
    const char *part;
} refused[] = {
    {"POST /api/v1/backends/n1/drain?x=1" POST_END, "HTTP/1.1 400 ",
     "\r\n\r\n{\"error\":\"unknown parameter x\"}"},
    /* lws closes. */
    {"POST /api/v1/backends?spec=a%00b" POST_END, "", ""},
    {"POST /api/v1/backends?spec=a%zzb" POST_END, "", ""},
    {"POST /api/v1/backends?spec=a+b" POST_END, "HTTP/1.1 400 ", "{\"error\":"},
    /* lws ends the line there. */
    {"POST /api/v1/backends?spec=a%0d%0ab" POST_END, "HTTP/1.0 400 ",
     "\r\n\r\nbad request\n"},
    {"POST /api/v1/reload%0dXHost:x" POST_END, "HTTP/1.0 400 ", "bad request"},
    {"POST /api/v1/reload%0aXHost:x" POST_END, "HTTP/1.0 400 ", "bad request"},
    {"POST /api/v1/reload%20HTTP/1.1" POST_END, "HTTP/1.1 404 ", "not found"},
    {"POST /api/v1/reload?%20HTTP/1.1" POST_END, "HTTP/1.1 400 ", "unknown"},
    {"POST /api/v1/reload HTTP/1.2\r\nHost: x\r\n\r\n", "HTTP/1.",
     "bad request"},
    {"POST /api/v1/backends?spec=a&spec=b" POST_END, "HTTP/1.1 400 ",
     "spec is given more than once"},
    {"POST /api/v1/backends?spec=a;pool=b;pool=c" POST_END, "HTTP/1.1 400 ",
     "pool is given more than once"},
    {"GET /api/v1/nothing" POST_END, "HTTP/1.1 404 ",
     "\r\n\r\n{\"error\":\"not found\"}"},
    {"GET /api/v1/" POST_END, "HTTP/1.1 404 ", "application/json"},
    {"GET /api" POST_END, "HTTP/1.1 404 ", "text/plain"},
    {"POST /api/v1/backends/../reload" POST_END, "HTTP/1.1 200 ", "true"},
    {"GET /api/v1/reload" POST_END, "HTTP/1.1 405 ", "\r\nallow: POST\r\n"},
    {"PUT /api/v1/upgrade" POST_END, "HTTP/1.1 405 ",
     "\r\nallow: GET, HEAD, POST\r\n"},
    {"DELETE /api/v1/backends" POST_END, "HTTP/1.1 405 ",
     "\r\nallow: GET, HEAD, POST\r\n"},
    {"POST /metrics" POST_END, "HTTP/1.1 405 ", "\r\nallow: GET, HEAD\r\n"},
    {"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\n\r\n",
     "HTTP/1.1 403 ", "{\"error\":\"a page of another site may not ask\"}"},
    {"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nOrigin: null\r\n\r\n",
     "HTTP/1.1 403 ", "application/json"},
    {"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\n"
     "Sec-Fetch-Site: cross-site\r\n\r\n",
     "HTTP/1.1 403 ", "application/json"},
    {"POST /api/v1/reload HTTP/1.1\r\nHost: evil\r\n\r\n", "HTTP/1.1 403 ",
     "application/json"},
    {"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n\r\n",
     "HTTP/1.1 200 ", "\r\n\r\n{\"ok\":true}"},
};

Test(admin_api, refused)
{
    open_admin();
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        unsigned before = command_count;
        bool is_let_in = strncmp(refused[i].status, "HTTP/1.1 200", 12) == 0;

        expect_answer(refused[i].request, refused[i].status, refused[i].part);
        cr_expect_eq(command_count, before + is_let_in, "%s",
                     refused[i].request);
    }
    close_admin();
}

Test(admin_api, outcomes_are_told)
{
    static char body[] = "{\"backends\":[]}";

    open_admin();
    answer_with.body = body;
    expect_answer("GET /api/v1/backends" POST_END, "HTTP/1.1 200 ",
                  "\r\n\r\n{\"backends\":[]}");
    answer_with = (struct gw_outcome){.status = 202};
    expect_answer("POST /api/v1/upgrade" POST_END, "HTTP/1.1 202 ",
                  "\r\n\r\n{\"ok\":true}");
    gw_outcome_refuse(&answer_with, 409, "%s", "a \"b\" \\ c");
    expect_answer("POST /api/v1/reload" POST_END, "HTTP/1.1 409 ",
                  "\r\n\r\n{\"error\":\"a \\\"b\\\" \\\\ c\"}");
    close_admin();
}

/* Turns the loop until what was sent must have been looked at. */
static void turn(void)
{
    for (int i = 0; i < 20; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        poll(NULL, 0, 1);
    }
}

static void expect_body_dropped(size_t body_len, size_t piece)
{
    static char body[70000];
    char head[128];
    size_t len;
    int fd = connect_plain();

    memset(body, 'b', sizeof(body));
    snprintf(head, sizeof(head),
             "POST /api/v1/reload HTTP/1.1\r\nHost: x\r\n"
             "Content-Length: %zu\r\n\r\n",
             body_len);
    command_count = 0;
    send_text(fd, head);
    turn();
    for (size_t at = 0; at < body_len; at += piece) {
        size_t part = body_len - at < piece ? body_len - at : piece;

        cr_expect_eq(command_count, 0, "before the body was there");
        cr_assert_eq(send(fd, body + at, part, MSG_NOSIGNAL), (ssize_t)part);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    char *bytes = read_all(fd, &len);
    cr_expect_eq(strncmp(bytes, "HTTP/1.1 200 ", 13), 0, "%s", bytes);
    cr_expect_not_null(strstr(bytes, "{\"ok\":true}"));
    cr_expect_eq(command_count, 1);
    free(bytes);
}

Test(admin_api, bodies_are_read_and_dropped)
{
    open_admin();
    expect_body_dropped(1, 1);
    expect_body_dropped(100, 7);
    expect_body_dropped(65536, 1500);
    close_admin();
}

Test(admin_api, bodies_that_are_not_read)
{
    open_admin();
    expect_answer("POST /api/v1/reload HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: 65537\r\n\r\n",
                  "HTTP/1.1 413 ", "too large");
    expect_answer("POST /api/v1/reload HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: x\r\n\r\n",
                  "HTTP/1.1 400 ", "bad request");
    expect_answer("POST /api/v1/reload HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: -1\r\n\r\n",
                  "HTTP/1.1 400 ", "bad request");
    cr_expect_eq(command_count, 0);
    close_admin();
}

Test(admin_api, half_a_body_is_no_command)
{
    open_admin();
    size_t before = count_fds();
    int fd = connect_plain();
    send_text(fd, "POST /api/v1/reload HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: 10\r\n\r\nhalf");
    turn();
    close(fd);
    wait_for_fds(before);
    cr_expect_eq(command_count, 0);
    close_admin();
}

/* The socket in other hands */

static char *answer_of(struct gw_admin *one, const struct gw_address *address)
{
    size_t len;
    int fd = connect_to(address);

    (void)one;
    send_text(fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    return read_all(fd, &len);
}

static void expect_served(const struct gw_address *address)
{
    char *bytes = answer_of(admin, address);

    cr_expect_not_null(strstr(bytes, "\r\n\r\nok\n"), "%s", bytes);
    free(bytes);
}

Test(admin_api, successor_takes_the_socket)
{
    open_admin();
    struct gw_address address = address_of("127.0.0.1", gw_admin_port(admin));
    /* One that is under way stays with the old one. */
    int held = connect_to(&address);
    send_text(held, "GET /healthz HTTP/1.1\r\n");
    turn();
    gw_admin_hand_over(admin);
    /* This one waits in the kernel meanwhile. */
    int waiting = connect_to(&address);
    send_text(waiting, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    turn();
    struct pollfd none = {.fd = waiting, .events = POLLIN};
    cr_expect_eq(poll(&none, 1, 0), 0, "a stopped one has answered");

    struct gw_admin *old = admin;
    size_t len;
    admin = inherit(&address, dup(gw_admin_fd(old)));
    cr_assert_not_null(admin, "%s", error);
    cr_expect_eq(gw_admin_port(admin), gw_admin_port(old));
    cr_expect(fcntl(gw_admin_fd(admin), F_GETFD) & FD_CLOEXEC);
    char *bytes = read_all(waiting, &len);
    cr_expect_not_null(strstr(bytes, "\r\n\r\nok\n"));
    free(bytes);
    send_text(held, "Host: x\r\n\r\n");
    bytes = read_all(held, &len);
    cr_expect_not_null(strstr(bytes, "\r\n\r\nok\n"));
    free(bytes);
    gw_admin_close(old);
    expect_served(&address);
    close_admin();
}

Test(admin_api, resumes)
{
    open_admin();
    struct gw_address address = address_of("127.0.0.1", gw_admin_port(admin));
    gw_admin_hand_over(admin);
    gw_admin_resume(admin);
    expect_served(&address);
    close_admin();
}

/* The ticker starts a listener that stands still; not this one. */
Test(admin_api, handed_over_stays_so)
{
    open_admin();
    struct gw_address address = address_of("127.0.0.1", gw_admin_port(admin));
    int held = connect_to(&address);
    turn();
    gw_admin_hand_over(admin);
    int waiting = connect_to(&address);
    send_text(waiting, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    uint64_t end = uv_hrtime() + 1200000000ULL;
    while (uv_hrtime() < end)
        turn();
    struct pollfd none = {.fd = waiting, .events = POLLIN};
    cr_expect_eq(poll(&none, 1, 0), 0);
    close(waiting);
    close(held);
    close_admin();
}

static struct gw_address unix_address(char folder[32])
{
    struct gw_address address = {0};
    struct sockaddr_un *un = (struct sockaddr_un *)&address.addr;

    snprintf(folder, 32, "/tmp/sidgate-unit-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    un->sun_family = AF_UNIX;
    snprintf(un->sun_path, sizeof(un->sun_path), "%s/s", folder);
    snprintf(address.text, sizeof(address.text), "unix:%.60s", un->sun_path);
    address.addr_len = sizeof(*un);
    return address;
}

static bool is_there(const struct gw_address *address)
{
    struct stat info;

    return lstat(address->text + 5, &info) == 0;
}

Test(admin_api, file_is_the_successors)
{
    char folder[32];
    struct gw_address address = unix_address(folder);

    cr_assert_eq(uv_loop_init(&loop), 0);
    struct gw_admin *old = open_on(&address);
    cr_assert_not_null(old, "%s", error);
    gw_admin_hand_over(old);
    admin = inherit(&address, dup(gw_admin_fd(old)));
    cr_assert_not_null(admin, "%s", error);
    gw_admin_close(old);
    cr_expect(is_there(&address));
    expect_served(&address);
    close_admin();
    cr_expect_not(is_there(&address));
    rmdir(folder);
}

Test(admin_api, file_is_ours_again)
{
    char folder[32];
    struct gw_address address = unix_address(folder);

    cr_assert_eq(uv_loop_init(&loop), 0);
    admin = open_on(&address);
    cr_assert_not_null(admin, "%s", error);
    gw_admin_hand_over(admin);
    gw_admin_resume(admin);
    close_admin();
    cr_expect_not(is_there(&address));
    rmdir(folder);
}

/* A file of a pipe, and a socket that does not listen. */
Test(admin_api, what_does_not_listen_is_refused)
{
    struct gw_address address = address_of("127.0.0.1", 9);
    int fds[2];

    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    size_t before = count_fds();
    cr_expect_null(inherit(&address, dup(fds[0])));
    cr_expect_not_null(strstr(error, "does not listen"), "%s", error);
    cr_expect_null(inherit(&address, open("/dev/null", O_RDONLY)));
    cr_expect_leq(count_fds(), before, "it was not taken over");
    close(fds[0]);
    close(fds[1]);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes a client of a cluster with nodes that lie. The bytes are a program:
 * what the user does, and what each node says to each command. Each call ends
 * once and within its time, no node is asked without end, nothing is left.
 *
 * The first byte says what the nodes answer once the bytes are used up, and how
 * replies are cut.
 */
#include "store/client.h"
#include "tests/unit/fake_net.h"

#include <hiredis/hiredis.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CALLS = 64,
    NODES = 4, /* by their ports, 1 and on; others are one of these as well */
    TIMEOUT_MS = 250,
    SLACK_MS = 20, /* what waits is looked at so often */
    STEP_MS = 5,
    OPS_MAX = 200,
    LIMIT_MS = 3000, /* of all that passes while there are bytes */
    REPLY_MAX = 1024,
};

struct fuzz_call {
    struct store_call *call;
    int64_t begun_ms;
    unsigned ends;
    bool is_started;
    bool is_forgotten;
};

static struct fake_net net;
static struct store_client *client;
static struct fuzz_call calls[CALLS];
static unsigned call_count;
static unsigned commands; /* of calls, as the nodes saw them */
static bool is_refusing[NODES];
static bool is_silent[NODES];
static bool has_channel;
static bool frees; /* the next callback frees the client */
static uint8_t mode;

/* The program. */
static const uint8_t *bytes;
static size_t left;

static uint8_t take(void)
{
    if (left == 0)
        return 0;
    left--;
    return *bytes++;
}

/* ---- what the client tells ---- */

static void free_now(void)
{
    if (!frees || client == NULL)
        return;
    store_client_free(client);
    client = NULL;
}

static void expect_line(const char *text)
{
    fake_require(text[0] != '\0' && strlen(text) < 800, "a line");
    for (; *text != '\0'; text++)
        fake_require(*text >= ' ' && *text < 0x7f, "printable");
}

static void on_state(void *arg, bool is_up, const char *why)
{
    (void)arg;
    fake_require(client != NULL && is_up == (why == NULL), "a reason if down");
    if (why != NULL)
        expect_line(why);
    free_now();
}

static void on_error(void *arg, const char *text)
{
    (void)arg;
    fake_require(client != NULL, "no callback after the end");
    expect_line(text);
    free_now();
}

static void on_suspect(void *arg, const struct store_slots *slots)
{
    (void)arg;
    fake_require(client != NULL && store_slots_count(slots) > 0, "some slots");
    free_now();
}

static void on_message(void *arg, const char *message, size_t len)
{
    (void)arg;
    fake_require(client != NULL && message[len] == '\0', "it has an end");
    free_now();
}

static void on_done(void *arg, const redisReply *reply)
{
    struct fuzz_call *one = arg;
    const int64_t took_ms = net.loop.now_ms - one->begun_ms;

    (void)reply;
    fake_require(client != NULL, "no callback after the end");
    fake_require(one->is_started && !one->is_forgotten, "one that is awaited");
    fake_require(one->ends++ == 0, "it ends once");
    fake_require(took_ms <= TIMEOUT_MS + SLACK_MS, "it ends within its time");
    one->call = NULL;
    free_now();
}

/* ---- what nodes say ---- */

static unsigned slot_of(const struct fake_command *command)
{
    const int at = strncmp(command->argv[0], "EVAL", 4) == 0 ? 3 : 1;

    if (command->argc <= at)
        return 0;
    return store_slot_of(command->argv[at], strlen(command->argv[at]));
}

static int put_redirection(char *out, unsigned slot, unsigned port, bool is_ask)
{
    return snprintf(out, REPLY_MAX, "-%s %u 127.0.0.1:%u\r\n",
                    is_ask ? "ASK" : "MOVED", slot, port);
}

/* Bytes of the program between two texts. */
static int put_raw(char *out, const char *before, const char *after)
{
    int len = snprintf(out, REPLY_MAX, "%s", before);

    for (unsigned count = take() % 64; count > 0 && left > 0; count--)
        out[len++] = (char)take();
    return len + snprintf(out + len, 16, "%s", after);
}

static int put_text(char *out, const char *text)
{
    return snprintf(out, REPLY_MAX, "%s", text);
}

/* To a call, when the program has ended. */
static int put_last(char *out, unsigned port, unsigned slot)
{
    const unsigned next = 1 + port % NODES;
    const unsigned what = mode % 8;

    if (what < 4)
        return put_redirection(out, slot, what & 1 ? next : port, what & 2);
    return put_text(out, what == 4   ? "-TRYAGAIN x\r\n"
                         : what == 5 ? "-CLUSTERDOWN x\r\n"
                         : what == 6 ? ""
                                     : "+OK\r\n");
}

static int put_reply(char *out, unsigned port, unsigned slot)
{
    static const char *const raw[][2] = {{"-MOVED ", "\r\n"},
                                         {"-ASK ", "\r\n"},
                                         {"-MOVED 1 ", ":2\r\n"},
                                         {"", ""}};
    static const char *const texts[] = {"-TRYAGAIN x\r\n",
                                        "-CLUSTERDOWN x\r\n",
                                        "-READONLY x\r\n",
                                        "-NOSCRIPT x\r\n",
                                        "",
                                        ":1\r\n",
                                        ":1\r\n",
                                        ":1\r\n"};

    if (left == 0)
        return put_last(out, port, slot);
    const uint8_t what = take();
    switch (what % 8) {
    case 0:
    case 1:
        return put_redirection(out, slot, take() % 16, false);
    case 2:
        return put_redirection(out, slot, take() % 16, true);
    case 3:
        return put_redirection(out, take() * 256u + take(), take(), what & 16);
    case 4:
        return put_raw(out, raw[what / 16 % 4][0], raw[what / 16 % 4][1]);
    default:
        return put_text(out, texts[what / 16 % 8]);
    }
}

static int put_range(char *out, long first, long last, unsigned port,
                     unsigned id)
{
    return snprintf(out, 128,
                    "*3\r\n:%ld\r\n:%ld\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n"
                    "$3\r\n%03u\r\n",
                    first, last, port, id);
}

/* Ranges whose numbers are the program's. */
static int put_odd_map(char *out)
{
    const unsigned count = take() % 6;
    int len = snprintf(out, REPLY_MAX, "*%u\r\n", count);

    for (unsigned i = 0; i < count; i++) {
        const long first = take() * 256L + take() - 8;
        const long last = first + take() * 128L - 64;
        len += put_range(out + len, first, last, take(), take());
    }
    return len;
}

/* All slots, in parts whose places and ids the program chooses. */
static int put_good_map(char *out, uint8_t turn)
{
    int len = snprintf(out, REPLY_MAX, "*4\r\n");

    for (unsigned i = 0; i < 4; i++) {
        const unsigned port = 1 + (i + turn) % NODES;
        len += put_range(out + len, i * 4096L, i * 4096L + 4095, port,
                         turn & 16 ? take() : port);
    }
    return len;
}

static int put_map(char *out)
{
    switch (take() % 8) {
    case 4:
        return put_good_map(out, take());
    case 5:
        return put_odd_map(out);
    case 6:
        return put_raw(out, "*1\r\n", "\r\n");
    case 7:
        return put_raw(out, "", "");
    default:
        return put_good_map(out, 0);
    }
}

static int put_info(char *out)
{
    const unsigned start = take();

    return snprintf(out, REPLY_MAX,
                    "$29\r\nrun_id:%03u\r\ncluster_enabled:%u\r\n", start / 64,
                    start % 64 != 63);
}

static int put_answer(char *out, unsigned port,
                      const struct fake_command *command)
{
    const char *name = command->argv[0];

    if (strcmp(name, "CLUSTER") == 0)
        return put_map(out);
    if (strcmp(name, "INFO") == 0)
        return put_info(out);
    if (strcmp(name, "SCRIPT") == 0)
        return snprintf(out, REPLY_MAX, "$40\r\n%040d\r\n", 1);
    if (strcmp(name, "SUBSCRIBE") == 0)
        return put_text(out, "*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n"
                             "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nm\r\n");
    if (strcmp(name, "ASKING") == 0)
        return put_text(out, "+OK\r\n");
    commands++;
    return put_reply(out, port, slot_of(command));
}

/* ---- the net ---- */

static void deliver(unsigned number, const char *reply, size_t len)
{
    const size_t most = mode & 8 ? 7 : REPLY_MAX;

    for (size_t at = 0; at < len;) {
        struct net_wire *wire = fake_net_find(&net, number);
        const size_t piece = len - at < most ? len - at : most;
        if (wire == NULL)
            return;
        fake_net_bytes(wire, reply + at, piece);
        at += piece;
    }
}

static bool step_wire(struct net_wire *wire)
{
    struct fake_command command;
    char reply[REPLY_MAX];
    const unsigned node = wire->to.port % NODES;

    if (!wire->wire.is_open && is_refusing[node]) {
        fake_net_end(wire, "refused");
        return true;
    }
    if (is_silent[node])
        return false;
    if (!wire->wire.is_open) {
        fake_net_connect(wire);
        return true;
    }
    const size_t len = fake_net_command(wire, &command);
    if (len == 0)
        return false;
    fake_net_take(wire, len);
    const int reply_len = put_answer(reply, wire->to.port, &command);
    fake_require(reply_len >= 0 && reply_len < REPLY_MAX, "room for a reply");
    deliver(wire->number, reply, (size_t)reply_len);
    return true;
}

static bool step_any(void)
{
    unsigned count = 0;

    for (struct net_wire *wire = net.wires; wire != NULL; wire = wire->next) {
        fake_require(count++ <= 1001, "links are bounded");
        if (step_wire(wire))
            return true; /* it may be gone */
    }
    return false;
}

static void pump(void)
{
    unsigned steps = 0;

    while (step_any())
        fake_require(steps++ < 20000, "the nodes come to rest");
}

static void pass(int64_t ms)
{
    for (int64_t gone_ms = 0; gone_ms < ms; gone_ms += STEP_MS) {
        fake_loop_wait(&net.loop, STEP_MS);
        pump();
    }
}

/* ---- what the user does ---- */

static void start_call(uint8_t how)
{
    char key[16];
    const char *plain[] = {"GET", key};
    const char *script[] = {key, "x"};
    uint32_t number = how;

    if (client == NULL || call_count == CALLS)
        return;
    const size_t len = (size_t)snprintf(key, sizeof(key), "k%u", take() % 32);
    struct fuzz_call *one = &calls[call_count];
    const size_t plain_lens[] = {3, len};
    const size_t script_lens[] = {len, 1};
    *one = (struct fuzz_call){.begun_ms = net.loop.now_ms, .is_started = true};
    if (how % 4 == 3 && store_client_node(client, &number))
        one->call = store_client_send_to(client, number, 2, plain, plain_lens,
                                         on_done, one);
    else if (how % 4 == 2)
        one->call =
            store_client_eval(client, 0, 2, script, script_lens, on_done, one);
    else
        one->call =
            store_client_send(client, 2, plain, plain_lens, on_done, one);
    call_count += one->call != NULL;
}

static void forget_call(void)
{
    struct fuzz_call *one = &calls[take() % CALLS];

    if (client == NULL || one->call == NULL)
        return;
    store_link_forget(one->call);
    one->is_forgotten = true;
    one->call = NULL;
}

static void cut_wire(void)
{
    struct net_wire *wire = net.wires;

    for (unsigned i = take() % 4; wire != NULL && i > 0; i--)
        wire = wire->next;
    if (wire != NULL)
        fake_net_end(wire, "cut");
}

static void subscribe(void)
{
    const struct store_channel channel = {
        .name = "ch", .on_state = on_state, .on_message = on_message};

    if (client == NULL || has_channel)
        return;
    has_channel = true;
    fake_require(store_client_subscribe(client, &channel), "memory");
}

static void act(void)
{
    const uint8_t what = take();

    switch (what % 16) {
    case 7:
        pass(take() % 64);
        break;
    case 8:
        pass(take() * 4);
        break;
    case 9:
        forget_call();
        break;
    case 10:
        cut_wire();
        break;
    case 11:
        is_refusing[what / 16 % NODES] ^= true;
        break;
    case 12:
        is_silent[what / 16 % NODES] ^= true;
        break;
    case 13:
        subscribe();
        break;
    case 14:
    case 15:
        frees = frees || what == 255;
        break;
    default:
        start_call(what / 16);
        break;
    }
    pump();
}

/* ---- a run ---- */

static void begin(void)
{
    static const char *const scripts[] = {"return 1"};
    struct store_url url = {.kind = STORE_KIND_CLUSTER,
                            .hosts = {{.host = "127.0.0.1", .port = 1},
                                      {.host = "127.0.0.1", .port = 2}},
                            .host_count = 2};
    const struct store_client_options options = {
        .loop = &net.loop.base,
        .url = &url,
        .timeout_ms = TIMEOUT_MS,
        .scripts = scripts,
        .script_count = 1,
        .on_state = on_state,
        .on_error = on_error,
        .on_suspect = on_suspect,
    };

    memset(calls, 0, sizeof(calls));
    memset(is_refusing, 0, sizeof(is_refusing));
    memset(is_silent, 0, sizeof(is_silent));
    call_count = commands = 0;
    has_channel = frees = false;
    fake_net_init(&net);
    client = store_client_new(&options);
    fake_require(client != NULL, "memory");
    pass(STEP_MS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bytes = data;
    left = size;
    mode = take();
    begin();
    const int64_t limit_ms = net.loop.now_ms + LIMIT_MS;
    for (unsigned i = 0; left > 0 && i < OPS_MAX && net.loop.now_ms < limit_ms;
         i++)
        act();
    pass(TIMEOUT_MS + SLACK_MS + STEP_MS);
    for (unsigned i = 0; client != NULL && i < call_count; i++)
        fake_require(calls[i].ends == 1 || calls[i].is_forgotten,
                     "each call ends");
    /* twelve redirections, or one look in 20 ms, and now and then another */
    fake_require(commands <= CALLS * 40, "nodes are not asked without end");
    store_client_free(client);
    client = NULL;
    fake_net_fini(&net);
    return 0;
}

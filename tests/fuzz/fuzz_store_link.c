/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes a link with the bytes of a hostile Redis. The first byte chooses the
 * kind of link and how the bytes are cut, the second what happens between the
 * pieces. Each call ends once, and the bounds hold.
 */
#include "store/call.h"
#include "store/link.h"
#include "tests/unit/fake_loop.h"

#include <hiredis/hiredis.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS = 64 };

static const char *const scripts[] = {"return 1"};

static struct fake_loop fake;
static struct store_link *link_;
static unsigned started[CALLS];
static unsigned ended[CALLS];
static unsigned call_count;
static bool has_password;
static bool frees; /* the next callback frees the link */

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static void free_now(void)
{
    if (!frees || link_ == NULL)
        return;
    store_link_free(link_);
    link_ = NULL;
}

static void on_state(void *arg, bool is_up, const char *why)
{
    (void)arg;
    require(is_up == (why == NULL) && is_up == store_link_is_up(link_));
    if (why != NULL)
        require(why[0] != '\0' && strlen(why) < 256);
    require(!has_password || why == NULL || strstr(why, "hush") == NULL);
    free_now();
}

static void on_error(void *arg, const char *text)
{
    (void)arg;
    require(text[0] != '\0' && strlen(text) <= 200);
    require(!has_password || strstr(text, "hush") == NULL);
    for (; *text != '\0'; text++)
        require(*text >= ' ' && *text < 0x7f);
    free_now();
}

/* Looks at every byte, so that a sanitizer sees what is not there. */
static size_t weigh(const struct redisReply *reply, int depth)
{
    size_t sum = 1;

    require(depth <= 4);
    if (reply->type == REDIS_REPLY_ARRAY) {
        require(reply->elements <= 65536);
        for (size_t i = 0; i < reply->elements; i++)
            sum += weigh(reply->element[i], depth + 1);
    } else if (reply->type != REDIS_REPLY_INTEGER &&
               reply->type != REDIS_REPLY_NIL) {
        require(reply->str[reply->len] == '\0');
        for (size_t i = 0; i < reply->len; i++)
            sum += (unsigned char)reply->str[i];
    }
    return sum;
}

static void on_message(void *arg, const char *bytes, size_t len)
{
    (void)arg;
    require(bytes[len] == '\0');
    free_now();
}

static void on_done(void *arg, const struct redisReply *reply)
{
    size_t index = (size_t)((unsigned *)arg - started);

    require(started[index] == 1 && ended[index]++ == 0);
    if (reply != NULL)
        require(weigh(reply, 0) > 0);
    free_now();
}

/* Back on the same link, or it ends. */
static void on_stray(void *arg, struct store_call *call, const char *text)
{
    (void)arg;
    require(call->done != NULL && text[0] != '\0');
    if (text[0] == 'C' ||
        !store_link_resend(link_, call, text[0] == 'A' && text[1] == 'S'))
        store_call_end(call, NULL);
}

static void start_call(void)
{
    const char *argv[] = {"key", "value"};
    const size_t lens[] = {3, 5};
    struct store_call *call;

    if (link_ == NULL || call_count == CALLS)
        return;
    void *arg = &started[call_count];
    if (call_count % 2 == 0)
        call = store_link_eval(link_, 0, 2, argv, lens, on_done, arg);
    else
        call = store_link_send(link_, 2, argv, lens, on_done, arg);
    require(call == NULL || store_link_is_up(link_));
    if (call != NULL)
        started[call_count++] = 1;
}

static void move(void)
{
    const struct store_address to = {.host = "h",
                                     .port = fake.address.port % 2 + 1};

    if (link_ != NULL)
        store_link_set_address(link_, &to);
    fake_loop_wait(&fake, 0);
}

/* What happens between two pieces. */
static void disturb(uint32_t chance)
{
    if (chance % 8 < 4)
        start_call();
    if (chance % 64 == 17)
        fake_loop_wait(&fake, 250);
    if (chance % 256 == 33)
        fake_loop_wait(&fake, 6000);
    if (chance % 512 == 65)
        fake_loop_end(&fake, "gone");
    if (chance % 512 == 129)
        frees = true;
    if (chance % 512 == 257)
        move();
    if (fake.wire != NULL && !fake.wire->is_open)
        fake_loop_connect(&fake);
    fake_loop_clear(&fake);
}

static void begin(uint8_t kind)
{
    struct store_link_options options = {
        .loop = &fake.base,
        .address = {.host = "h", .port = 1},
        .role = kind & 16   ? STORE_ROLE_CLUSTER
                : kind & 32 ? STORE_ROLE_SENTINEL
                            : STORE_ROLE_SINGLE,
        .on_stray = kind & 16 ? on_stray : NULL,
        .password = kind & 2 ? "hush" : NULL,
        .channel = kind & 1 ? "ch" : NULL,
        .name = kind & 2 ? "name" : NULL,
        .db = kind & 2 ? 3 : 0,
        .timeout_ms = 250,
        .scripts = scripts,
        .script_count = kind & 1 ? 0 : 1,
        .on_state = on_state,
        .on_error = on_error,
        .on_message = on_message,
    };

    memset(started, 0, sizeof(started));
    memset(ended, 0, sizeof(ended));
    call_count = 0;
    frees = false;
    has_password = (kind & 2) != 0;
    fake_loop_init(&fake);
    link_ = store_link_new(&options);
    require(link_ != NULL);
    fake_loop_wait(&fake, 0);
    fake_loop_connect(&fake);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *bytes = (const char *)data + 2;
    size_t len = size - 2;
    size_t most = data[0] & 4 ? 8 : 1 + len;
    uint32_t state = data[1];

    begin(data[0]);
    for (size_t at = 0; at < len;) {
        state = state * 1664525 + 1013904223;
        size_t piece = 1 + (state >> 16) % most;
        piece = piece > len - at ? len - at : piece;
        fake_loop_bytes(&fake, bytes + at, piece);
        at += piece;
        disturb(data[1] == 0 ? 0 : state >> 8);
    }
    if (data[0] & 8)
        fake_loop_end(&fake, "gone");
    fake_loop_wait(&fake, 300);
    /* whoever still waits does so for a link that is gone */
    for (unsigned i = 0; link_ != NULL && i < call_count; i++)
        require(ended[i] == 1);
    store_link_free(link_);
    fake_loop_fini(&fake);
    return 0;
}

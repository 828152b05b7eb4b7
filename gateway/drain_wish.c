/* SPDX-License-Identifier: MIT */
/* What an operator wants of a backend, as text. */
#include "gateway/drain_wish.h"
#include "gateway/options.h"
#include "gateway/options_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RATE_MAX = 1000000, /* as of the options */
    RATE_DIGITS_MAX = 7,
    TIMEOUT_MS_MAX = 86400000,
};

static bool read_rate(const char *text, struct gw_drain_wish *wish)
{
    size_t len = strspn(text, "0123456789");
    if (wish->has_rate || len == 0 || len > RATE_DIGITS_MAX ||
        text[len] != '\0')
        return false;
    unsigned long rate = strtoul(text, NULL, 10);
    wish->has_rate = rate <= RATE_MAX;
    wish->rate = wish->has_rate ? (uint32_t)rate : 0;
    return wish->has_rate;
}

static bool read_timeout(const char *text, struct gw_drain_wish *wish)
{
    int64_t ms;
    if (wish->has_timeout || !gw_options_parse_time(text, &ms) ||
        ms > TIMEOUT_MS_MAX)
        return false;
    wish->has_timeout = true;
    wish->timeout_ms = (uint32_t)ms;
    return true;
}

static bool read_word(const char *word, struct gw_drain_wish *wish)
{
    if (strncmp(word, "rate=", 5) == 0)
        return read_rate(word + 5, wish);
    if (strncmp(word, "timeout=", 8) == 0)
        return read_timeout(word + 8, wish);
    return false;
}

bool gw_drain_wish_read(const char *text, struct gw_drain_wish *wish)
{
    char copy[GW_DRAIN_TEXT_MAX];
    int len = snprintf(copy, sizeof(copy), "%s", text);
    bool is_good = len >= 0 && (size_t)len < sizeof(copy);
    char *rest = copy;
    *wish = (struct gw_drain_wish){.is_drained = true};
    while (is_good && rest != NULL && rest[0] != '\0') {
        char *word = rest;
        rest = strchr(word, ' ');
        if (rest != NULL)
            *rest++ = '\0';
        is_good = read_word(word, wish);
    }
    if (!is_good)
        *wish = (struct gw_drain_wish){.is_drained = true};
    return is_good;
}

void gw_drain_wish_write(const struct gw_drain_wish *wish,
                         char out[GW_DRAIN_TEXT_MAX])
{
    char rate[20] = "";
    char timeout[36] = "";
    char text[32];
    if (wish->has_rate)
        snprintf(rate, sizeof(rate), " rate=%u", (unsigned)wish->rate);
    if (wish->has_timeout) {
        gw_quantity_text(GW_KIND_TIME, wish->timeout_ms, text);
        snprintf(timeout, sizeof(timeout), " timeout=%.24s", text);
    }
    if (wish->is_drained)
        snprintf(out, GW_DRAIN_TEXT_MAX, "drain%s%s", rate, timeout);
    else
        snprintf(out, GW_DRAIN_TEXT_MAX, "ready");
}

bool gw_drain_wish_is_same(const struct gw_drain_wish *a,
                           const struct gw_drain_wish *b)
{
    return a->is_drained == b->is_drained && a->has_rate == b->has_rate &&
           a->has_timeout == b->has_timeout && a->rate == b->rate &&
           a->timeout_ms == b->timeout_ms;
}

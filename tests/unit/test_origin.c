/* SPDX-License-Identifier: MIT */
/* Allowed origins. */
#include "gateway/origin.h"
#include "tests/unit/head_fixture.h"

#include <criterion/criterion.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct {
    const char *in;
    const char *out; /* NULL: it is none */
} forms[] = {
    {"https://example.com", "https://example.com"},
    {"http://example.com", "http://example.com"},
    {"HTTPS://Example.COM", "https://example.com"},
    {"https://example.com:443", "https://example.com"},
    {"http://example.com:80", "http://example.com"},
    {"https://example.com:80", "https://example.com:80"},
    {"http://example.com:443", "http://example.com:443"},
    {"http://localhost:3000", "http://localhost:3000"},
    {"http://localhost", "http://localhost"},
    {"http://192.0.2.1:8080", "http://192.0.2.1:8080"},
    {"http://[2001:DB8:0:0::1]:8080", "http://[2001:db8::1]:8080"},
    {"http://[::1]", "http://[::1]"},
    {"http://[::1]:80", "http://[::1]"},
    {"https://*.example.com", "https://*.example.com"},
    {"https://*.Example.com:443", "https://*.example.com"},
    {"https://*.example.com:8443", "https://*.example.com:8443"},
    {"https://my_host-1.example", "https://my_host-1.example"},
    {"https://xn--bcher-kva.example", "https://xn--bcher-kva.example"},
    {"capacitor://localhost", "capacitor://localhost"},
    {"chrome-extension://abcdef", "chrome-extension://abcdef"},
    {"app+x.y://h:443", "app+x.y://h:443"},
    {"https://example.com:1", "https://example.com:1"},
    {"https://example.com:65535", "https://example.com:65535"},

    {"", NULL},
    {"*", NULL},
    {"null", NULL},
    {"example.com", NULL},
    {"//example.com", NULL},
    {"://example.com", NULL},
    {"https:example.com", NULL},
    {"https:/example.com", NULL},
    {"https://", NULL},
    {"https:///", NULL},
    {"https://:443", NULL},
    {"https://example.com/", NULL},
    {"https://example.com/path", NULL},
    {"https://example.com?q", NULL},
    {"https://example.com#f", NULL},
    {"https://user@example.com", NULL},
    {"https://user:pw@example.com", NULL},
    {"https://example.com@evil.test", NULL},
    {"https://example.com\\@evil.test", NULL},
    {"https://example.com%00.evil.test", NULL},
    {"https://example.com evil.test", NULL},
    {" https://example.com", NULL},
    {"https://example.com ", NULL},
    {"https://example.com,https://b.test", NULL},
    {"https://example.com.", NULL},
    {"https://.example.com", NULL},
    {"https://a..b", NULL},
    {"https://.", NULL},
    {"https://b\xc3\xbc"
     "cher.example",
     NULL},
    {"https://example.com:", NULL},
    {"https://example.com:0", NULL},
    {"https://example.com:0443", NULL},
    {"https://example.com:65536", NULL},
    {"https://example.com:99999999999", NULL},
    {"https://example.com:+443", NULL},
    {"https://example.com:4 3", NULL},
    {"https://example.com:*", NULL},
    {"https://*", NULL},
    {"https://*.", NULL},
    {"https://*example.com", NULL},
    {"https://a.*.example.com", NULL},
    {"https://*.*.example.com", NULL},
    {"https://**.example.com", NULL},
    {"*://example.com", NULL},
    {"*.example.com", NULL},
    {"https://*.[::1]", NULL},
    {"https://[::1", NULL},
    {"https://::1", NULL},
    {"https://[192.0.2.1]", NULL},
    {"https://[::ffff:192.0.2.1]", NULL},
    {"https://[::1]x", NULL},
    {"https://[fe80::1%25eth0]", NULL},
    {"1https://example.com", NULL},
    {"+x://example.com", NULL},
    {"ht tps://example.com", NULL},
    {"https//example.com", NULL},
};

Test(origin, forms)
{
    for (size_t i = 0; i < COUNT(forms); i++) {
        char out[GW_ORIGIN_MAX];
        bool is_one = gw_origin_normal(forms[i].in, out);
        cr_expect_eq(is_one, forms[i].out != NULL, "%s", forms[i].in);
        if (is_one && forms[i].out != NULL)
            cr_expect_str_eq(out, forms[i].out, "%s: %s", forms[i].in, out);
    }
}

Test(origin, normal_ones_stay_as_they_are)
{
    for (size_t i = 0; i < COUNT(forms); i++) {
        char out[GW_ORIGIN_MAX];
        if (forms[i].out == NULL)
            continue;
        cr_expect(gw_origin_normal(forms[i].out, out));
        cr_expect_str_eq(out, forms[i].out);
    }
}

Test(origin, longest)
{
    char text[GW_ORIGIN_MAX + 1];
    char out[GW_ORIGIN_MAX];
    memset(text, 'a', sizeof(text));
    memcpy(text, "https://", 8);
    text[GW_ORIGIN_MAX - 1] = '\0';
    cr_assert(gw_origin_normal(text, out));
    cr_assert_str_eq(out, text);
    text[GW_ORIGIN_MAX - 1] = 'a';
    text[GW_ORIGIN_MAX] = '\0';
    cr_assert_not(gw_origin_normal(text, out));
}

static const struct {
    const char *allowed;
    const char *origin;
    bool may;
} matches[] = {
    {"https://example.com", "https://example.com", true},
    {"https://example.com", "https://EXAMPLE.com", true},
    {"https://example.com", "HTTPS://example.com", true},
    {"https://example.com", "https://example.com:443", true},
    {"https://example.com", "", true},
    {"https://example.com", "http://example.com", false},
    {"http://example.com", "https://example.com", false},
    {"https://example.com", "http://example.com:443", false},
    {"https://example.com", "https://example.com:8443", false},
    {"https://example.com:8443", "https://example.com", false},
    {"https://example.com:8443", "https://example.com:8443", true},
    {"https://example.com", "https://example.com.", false},
    {"https://example.com", "https://example.com..", false},
    {"https://example.com", "https://example.com@evil.test", false},
    {"https://example.com", "https://example.com:443@evil.test", false},
    {"https://example.com", "https://user@example.com", false},
    {"https://example.com", "https://evil.test/https://example.com", false},
    {"https://example.com", "https://evil.test#https://example.com", false},
    {"https://example.com", "https://example.com.evil.test", false},
    {"https://example.com", "https://evil-example.com", false},
    {"https://example.com", "https://www.example.com", false},
    {"https://example.com", "https://example.co", false},
    {"https://example.com", "https://example.comm", false},
    {"https://example.com", "https://example.com/", false},
    {"https://example.com", "https://example.com https://a.test", false},
    {"https://example.com", "https://a.test https://example.com", false},
    {"https://example.com", "https://example.com, https://a.test", false},
    {"https://example.com", "null", false},
    {"https://example.com", "*", false},
    {"https://example.com", "example.com", false},
    {"https://example.com", "wss://example.com", false},
    {"https://example.com", "https://examp1e.com", false},

    {"https://*.example.com", "https://a.example.com", true},
    {"https://*.example.com", "https://A.Example.Com:443", true},
    {"https://*.example.com", "https://a.b.c.example.com", true},
    {"https://*.example.com", "https://a-b.example.com", true},
    {"https://*.example.com", "https://example.com", false},
    {"https://*.example.com", "https://.example.com", false},
    {"https://*.example.com", "https://a..example.com", false},
    {"https://*.example.com", "https://evil-example.com", false},
    {"https://*.example.com", "https://evilexample.com", false},
    {"https://*.example.com", "https://a.example.com.", false},
    {"https://*.example.com", "https://a.example.com.evil.test", false},
    {"https://*.example.com", "https://evil.test/.example.com", false},
    {"https://*.example.com", "https://evil.test?.example.com", false},
    {"https://*.example.com", "https://evil.test#.example.com", false},
    {"https://*.example.com", "https://evil.test@a.example.com", false},
    {"https://*.example.com", "https://a.example.com@evil.test", false},
    {"https://*.example.com", "https://evil.test:1.example.com", false},
    {"https://*.example.com", "https://evil.test\\.example.com", false},
    {"https://*.example.com", "https://*.example.com", false},
    {"https://*.example.com", "http://a.example.com", false},
    {"https://*.example.com", "https://a.example.com:8443", false},
    {"https://*.example.com:8443", "https://a.example.com:8443", true},
    {"https://*.example.com:8443", "https://a.example.com", false},
    {"https://*.example.com", "null", false},
    {"https://*.example.com", "", true},

    {"http://[::1]:3000", "http://[0:0::1]:3000", true},
    {"http://[::1]:3000", "http://[::2]:3000", false},
    {"capacitor://localhost", "capacitor://localhost", true},
    {"capacitor://localhost", "http://localhost", false},
};

/* From bytes that end at an unreadable page. */
static bool may(const struct gw_config *config, const char *bytes, size_t len)
{
    struct guard guard = guard_copy(bytes, len);
    bool is_let_in = gw_origin_may(config, (struct eio_span){guard.bytes, len});
    guard_free(&guard);
    return is_let_in;
}

Test(origin, matches)
{
    static struct gw_config config;
    for (size_t i = 0; i < COUNT(matches); i++) {
        const char *origin = matches[i].origin;
        cr_assert(gw_origin_normal(matches[i].allowed, config.origins[0]));
        config.origin_count = 1;
        cr_expect_eq(may(&config, origin, strlen(origin)), matches[i].may,
                     "%s: %s", matches[i].allowed, origin);
        /* A further one that has nothing to do with it changes nothing. */
        memcpy(config.origins[1], config.origins[0], GW_ORIGIN_MAX);
        cr_assert(gw_origin_normal("https://other.test", config.origins[0]));
        config.origin_count = 2;
        cr_expect_eq(may(&config, origin, strlen(origin)), matches[i].may,
                     "%s: %s", matches[i].allowed, origin);
        /* Without any, all are let in. */
        config.origin_count = 0;
        cr_expect(may(&config, origin, strlen(origin)), "%s", origin);
    }
}

Test(origin, control_bytes_match_nothing)
{
    static struct gw_config config = {.origins = {"https://example.com"},
                                      .origin_count = 1};
    cr_assert_not(may(&config, "https://example.com\0", 20));
    cr_assert_not(may(&config, "https://example.com\0.evil.test", 30));
    cr_assert_not(may(&config, "\0https://example.com", 20));
    cr_assert_not(may(&config, "https\0://example.com", 20));
    cr_assert_not(may(&config, "https://example.com\t", 20));
    cr_assert(may(&config, "https://example.com", 19));
}

Test(origin, longer_than_any_is_refused)
{
    static struct gw_config config = {.origins = {"https://*.example.com"},
                                      .origin_count = 1};
    static char text[8192];
    memset(text, 'a', sizeof(text));
    memcpy(text, "https://", 8);
    memcpy(text + sizeof(text) - 12, ".example.com", 12);
    cr_assert_not(may(&config, text, sizeof(text)));
    /* The longest that still fits. */
    memcpy(text + GW_ORIGIN_MAX - 1 - 12, ".example.com", 12);
    cr_assert(may(&config, text, GW_ORIGIN_MAX - 1));
    cr_assert_not(may(&config, text, GW_ORIGIN_MAX));
}

static const struct {
    const char *fields;
    bool is_jsonp;
    bool may;
} scripts[] = {
    {"", false, true},
    {"", true, false},
    {"Sec-Fetch-Site: same-origin\r\n", true, true},
    {"sec-fetch-site: None\r\n", true, true},
    {"Sec-Fetch-Site: same-site\r\n", false, false},
    {"Sec-Fetch-Site: cross-site\r\n", false, false},
    {"Sec-Fetch-Site:\r\n", false, false},
    {"Referer: https://example.com\r\n", true, true},
    {"Referer: https://EXAMPLE.com:443/a?b#c\r\n", true, true},
    {"Referer: https://example.com?\r\n", true, true},
    {"Referer: https://example.com.evil.test/\r\n", true, false},
    {"Referer: https://evil.test/https://example.com\r\n", true, false},
    {"Referer: https://example.com@evil.test/\r\n", true, false},
    {"Referer: https://evil.test\\@example.com/\r\n", true, false},
    {"Referer: example.com\r\n", true, false},
    {"Referer: https\r\n", true, false},
    {"Referer: https:\r\n", true, false},
    {"Referer: ://\r\n", true, false},
    {"Referer:\r\n", true, false},
    {"Referer: https://evil.test/\r\n", false, true},
    {"Sec-Fetch-Site: cross-site\r\nReferer: https://example.com/\r\n", false,
     true},
};

Test(origin, of_scripts_that_send_none)
{
    static struct gw_config config = {.origins = {"https://example.com"}};
    for (size_t i = 0; i < COUNT(scripts); i++) {
        char text[256];
        int len =
            snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n",
                     scripts[i].fields);
        struct parsed *parsed = parse((struct eio_span){text, len}, true);
        cr_assert_eq(parsed->status, 0, "%s", scripts[i].fields);
        config.origin_count = 1;
        cr_expect_eq(
            gw_origin_may_without(&config, &parsed->head, scripts[i].is_jsonp),
            scripts[i].may, "%s", scripts[i].fields);
        config.origin_count = 0;
        cr_expect(
            gw_origin_may_without(&config, &parsed->head, scripts[i].is_jsonp));
        parsed_free(parsed);
    }
}

/* SPDX-License-Identifier: MIT */
/* The store's URL: good ones, bad ones, and what a log may show of them. */
#include "store/url.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define A50  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A100 A50 A50
#define A250 A100 A100 A50
#define A500 A250 A250

static const struct {
    const char *text;
    const char *host;
    unsigned port; /* 0: a unix socket */
    const char *user;
    const char *password;
    unsigned db;
} good[] = {
    {"redis://h", "h", 6379, "", "", 0},
    {"REDIS://H", "H", 6379, "", "", 0},
    {"redis://h/", "h", 6379, "", "", 0},
    {"redis://h:1", "h", 1, "", "", 0},
    {"redis://h:65535/9999", "h", 65535, "", "", 9999},
    {"redis://127.0.0.1:6380/15", "127.0.0.1", 6380, "", "", 15},
    {"redis://redis-1.my_net.local/0", "redis-1.my_net.local", 6379, "", "", 0},
    {"redis://[::1]", "::1", 6379, "", "", 0},
    {"redis://[fe80::1]:7000/1", "fe80::1", 7000, "", "", 1},
    {"redis://[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1, "", "", 0},
    {"redis://:pw@h", "h", 6379, "", "pw", 0},
    {"redis://me:pw@h:1/2", "h", 1, "me", "pw", 2},
    {"redis://me:@h", "h", 6379, "me", "", 0},
    {"redis://:@h", "h", 6379, "", "", 0},
    {"redis://me:p:w@h", "h", 6379, "me", "p:w", 0},
    {"redis://me:p@w@h", "h", 6379, "me", "p@w", 0},
    {"redis://m%3ae:p%40%2F%25%c3%a9@[::1]:1", "::1", 1, "m:e", "p@/%\xc3\xa9",
     0},
    {"redis://:p%0aw@h", "h", 6379, "", "p\nw", 0},
    {"redis://" A100 ":" A500 "@h", "h", 6379, A100, A500, 0},
    {"redis://" A250, A250, 6379, "", "", 0},
    {"redis+unix:///a", "/a", 0, "", "", 0},
    {"redis+unix:///run/redis.sock?db=3", "/run/redis.sock", 0, "", "", 3},
    {"redis+unix://:pw@/run/a@b:c", "/run/a@b:c", 0, "", "pw", 0},
    {"redis+unix://me:pw@/run/r?db=9999", "/run/r", 0, "me", "pw", 9999},
    {"redis+unix:///" A100, "/" A100, 0, "", "", 0},
};

Test(store_url, good)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char error[STORE_URL_ERROR_MAX] = "";
        struct store_url url;
        memset(&url, 0x55, sizeof(url));
        cr_expect_eq(store_url_parse(good[i].text, &url, error), 0, "%s: %s",
                     good[i].text, error);
        cr_expect(!url.is_memory);
        cr_expect_str_eq(url.address.host, good[i].host);
        cr_expect_eq(url.address.port, good[i].port, "%s", good[i].text);
        cr_expect_eq(url.address.is_unix, good[i].port == 0);
        cr_expect_str_eq(url.user, good[i].user);
        cr_expect_str_eq(url.password, good[i].password);
        cr_expect_eq(url.db, good[i].db, "%s", good[i].text);
    }
}

Test(store_url, memory)
{
    char error[STORE_URL_ERROR_MAX];
    struct store_url url;

    cr_expect_eq(store_url_parse("memory", &url, error), 0);
    cr_expect(url.is_memory);
}

#define NO_SCHEME                                                              \
    "a store is memory, redis://host:port/db or redis+unix:///path?db=n"

static const struct {
    const char *text;
    const char *shown; /* NULL: as it is */
    const char *wrong;
} bad[] = {
    {"", NULL, NO_SCHEME},
    {"Memory", NULL, NO_SCHEME},
    {"memory ", NULL, "it holds a space or a control character"},
    {"redis", NULL, NO_SCHEME},
    {"redis:h", NULL, NO_SCHEME},
    {"redis:me:pw@h", "redis:***@h", NO_SCHEME},
    {"http://h", NULL, NO_SCHEME},
    {"http://me:pw@h", "http://me:***@h", NO_SCHEME},
    {"rediss://me:pw@h", "rediss://me:***@h",
     "this version has no TLS to Redis"},
    {"redis+sentinel://:pw@h,i/m", "redis+sentinel://:***@h,i/m",
     "this version does not speak to Redis Sentinel"},
    {"redis+cluster://h,i", NULL,
     "this version does not speak to Redis Cluster"},
    {"redis://", NULL, "the host is missing"},
    {"redis:///0", NULL, "the host is missing"},
    {"redis://:6379", "redis://:***", "the host is missing"},
    {"redis://:pw@", "redis://:***@", "the host is missing"},
    {"redis://h ", NULL, "it holds a space or a control character"},
    {"redis://h\n", "redis://h?", "it holds a space or a control character"},
    {"redis://h\x7f", "redis://h?", "it holds a space or a control character"},
    {"redis://\xc3\xa9", "redis://??",
     "the host holds a character that no host name has"},
    {"redis://h,i", NULL, "the host holds a character that no host name has"},
    {"redis://%68", NULL, "the host holds a character that no host name has"},
    {"redis://" A250 A50, "redis://" A50 "aaaaaaaaaaaaaaaaaaaaaa...",
     "the host is longer than 255 bytes"},
    {"redis://h:", NULL, "the port is not between 1 and 65535"},
    {"redis://h:0", NULL, "the port is not between 1 and 65535"},
    {"redis://h:65536", NULL, "the port is not between 1 and 65535"},
    {"redis://h:99999", NULL, "the port is not between 1 and 65535"},
    {"redis://h:4294967297", NULL, "the port is not between 1 and 65535"},
    {"redis://h:+1", "redis://h:***", "the port is not between 1 and 65535"},
    {"redis://me:pw", "redis://me:***", "the port is not between 1 and 65535"},
    {"redis://::1", "redis://:***", "an IPv6 address is written in brackets"},
    {"redis://[::1", "redis://[:***", "the closing bracket is missing"},
    {"redis://[h]", NULL, "what is in brackets is not an IPv6 address"},
    {"redis://[]", NULL, "what is in brackets is not an IPv6 address"},
    {"redis://[" A100 "]", "redis://[" A50 "aaaaaaaaaaaaaaaaaaaaa...",
     "what is in brackets is not an IPv6 address"},
    {"redis://[::1]6379", NULL, "only a port may follow the brackets"},
    {"redis://[::1]:", NULL, "the port is not between 1 and 65535"},
    {"redis://h/a", NULL, "the database is not a number from 0 to 9999"},
    {"redis://h/10000", NULL, "the database is not a number from 0 to 9999"},
    {"redis://h/-1", NULL, "the database is not a number from 0 to 9999"},
    {"redis://h/1/", NULL, "the database is not a number from 0 to 9999"},
    {"redis://h?db=1", NULL, "only /database may follow the host"},
    {"redis://h#1", NULL, "only /database may follow the host"},
    {"redis://pw@h", "redis://***@h",
     "user and password are written user:password@, or :password@"},
    {"redis://:p/w@h", "redis://:***@h",
     "/, ? and # in user or password are written %2F, %3F and %23"},
    {"redis://:p%w@h", "redis://:***@h",
     "broken percent-encoding in user or password (a % is %25)"},
    {"redis://:p%4@h", "redis://:***@h",
     "broken percent-encoding in user or password (a % is %25)"},
    {"redis://:p%@h", "redis://:***@h",
     "broken percent-encoding in user or password (a % is %25)"},
    {"redis://:p%00w@h", "redis://:***@h",
     "broken percent-encoding in user or password (a % is %25)"},
    {"redis://m%zz:pw@h", "redis://m%zz:***@h",
     "broken percent-encoding in user or password (a % is %25)"},
    {"redis://" A100 A50 ":pw@h", "redis://" A50 "aaaaaaaaaaaaaaaaaaaaaa...",
     "the user is longer than 127 bytes"},
    {"redis://:" A500 A50 "@h", "redis://:***@h",
     "the password is longer than 511 bytes"},
    {"redis+unix://", NULL, "the path is missing: redis+unix:///path"},
    {"redis+unix:///", NULL, "the path is missing: redis+unix:///path"},
    {"redis+unix:///?db=1", NULL, "the path is missing: redis+unix:///path"},
    {"redis+unix://run/r", NULL,
     "a path begins with a slash: redis+unix:///path"},
    {"redis+unix://:p/w@/r", "redis+unix://:***@/r",
     "a path begins with a slash: redis+unix:///path"},
    {"redis+unix://pw@/r", "redis+unix://***@/r",
     "user and password are written user:password@, or :password@"},
    {"redis+unix:///r?db=", NULL,
     "the database is not a number from 0 to 9999"},
    {"redis+unix:///r?x=1", NULL, "only ?db=number may follow the path"},
    {"redis+unix:///" A100 "1234567",
     "redis+unix:///" A50 "aaaaaaaaaaaaaaaa...",
     "the path is longer than 107 bytes"},
};

Test(store_url, bad)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char expected[2 * STORE_URL_ERROR_MAX];
        char error[STORE_URL_ERROR_MAX] = "";
        struct store_url url;
        snprintf(expected, sizeof(expected), "%s: %s",
                 bad[i].shown != NULL ? bad[i].shown : bad[i].text,
                 bad[i].wrong);
        cr_expect_eq(store_url_parse(bad[i].text, &url, error), -1, "%s",
                     bad[i].text);
        cr_expect_str_eq(error, expected, "%s", error);
        cr_expect_str_eq(url.password, "");
    }
}

static const struct {
    const char *text;
    const char *masked;
} masks[] = {
    {"memory", "memory"},
    {"", ""},
    {"redis://h:6379/0", "redis://h:6379/0"},
    {"redis://[::1]:6379/0", "redis://[::1]:6379/0"},
    {"redis://[::1]", "redis://[::1]"},
    {"redis://:pw@h:1/0", "redis://:***@h:1/0"},
    {"redis://me:pw@[::1]:1/0", "redis://me:***@[::1]:1/0"},
    {"redis://me:p@w:x@h", "redis://me:***@h"},
    {"redis://me:p/w@h", "redis://me:***@h"},
    {"redis://me:@h", "redis://me:@h"},
    {"redis://pw@h", "redis://***@h"},
    {"redis://me:pw/0", "redis://me:***/0"},
    {"redis+unix:///a:b", "redis+unix:///a:b"},
    {"redis+unix://me:pw@/a?db=1", "redis+unix://me:***@/a?db=1"},
    {"me:pw@h", "me:***@h"},
};

Test(store_url, masked)
{
    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        char out[64];
        store_url_masked(masks[i].text, out, sizeof(out));
        cr_expect_str_eq(out, masks[i].masked, "%s", out);
        char cut[8];
        memset(cut, 'x', sizeof(cut));
        store_url_masked(masks[i].text, cut, sizeof(cut));
        cr_expect_eq(strncmp(cut, masks[i].masked, 7), 0);
        cr_expect_eq(cut[7] == '\0' || strlen(cut) < 7, true);
        store_url_masked(masks[i].text, NULL, 0);
    }
}

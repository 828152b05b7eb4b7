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
        cr_expect_eq(url.kind, STORE_KIND_SINGLE);
        cr_expect_eq(url.host_count, 1);
        cr_expect_str_eq(url.hosts[0].host, good[i].host);
        cr_expect_eq(url.hosts[0].port, good[i].port, "%s", good[i].text);
        cr_expect_eq(url.hosts[0].is_unix, good[i].port == 0);
        cr_expect_not(url.hosts[0].is_tls);
        cr_expect_str_eq(url.master, "");
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
    cr_expect_eq(url.kind, STORE_KIND_MEMORY);
    cr_expect_eq(url.host_count, 0);
}

/* Sixteen of them. */
#define H4  "h,i,j,k"
#define H16 H4 "," H4 "," H4 "," H4

static const struct {
    const char *text;
    enum store_kind kind;
    bool is_tls;
    unsigned count;
    const char *hosts; /* as host:port, with a space behind each */
    const char *user;
    const char *password;
    const char *master;
    unsigned db;
} lists[] = {
    {"rediss://h", STORE_KIND_SINGLE, true, 1, "h:6379 ", "", "", "", 0},
    {"Rediss://me:pw@[::1]:7/2", STORE_KIND_SINGLE, true, 1, "::1:7 ", "me",
     "pw", "", 2},
    {"redis+sentinel://h/m", STORE_KIND_SENTINEL, false, 1, "h:26379 ", "", "",
     "m", 0},
    {"redis+sentinel://h,[::1],i:7,[::2]:8/mymaster/3", STORE_KIND_SENTINEL,
     false, 4, "h:26379 ::1:26379 i:7 ::2:8 ", "", "", "mymaster", 3},
    {"REDIS+SENTINEL://me:pw@h:1,h:1/A-z.9_/", STORE_KIND_SENTINEL, false, 2,
     "h:1 h:1 ", "me", "pw", "A-z.9_", 0},
    {"redis+sentinel://:p,w@h,i/m", STORE_KIND_SENTINEL, false, 2,
     "h:26379 i:26379 ", "", "p,w", "m", 0},
    {"redis+sentinel://:p@w,x:y@h,i/m/9999", STORE_KIND_SENTINEL, false, 2,
     "h:26379 i:26379 ", "", "p@w,x:y", "m", 9999},
    {"redis+sentinel://m%2ce:p%2C%40@h/a%25b%3f%23,:@c", STORE_KIND_SENTINEL,
     false, 1, "h:26379 ", "m,e", "p,@", "a%b?#,:@c", 0},
    {"redis+sentinel://h/" A100 "%61%61%61%61%61%61%61%61%61%61"
     "%61%61%61%61%61%61%61%61%61%61%61%61%61%61%61%61%61",
     STORE_KIND_SENTINEL, false, 1, "h:26379 ", "", "",
     A100 "aaaaaaaaaaaaaaaaaaaaaaaaaaa", 0},
    {"rediss+sentinel://me:@h,i:65535/0/0", STORE_KIND_SENTINEL, true, 2,
     "h:26379 i:65535 ", "me", "", "0", 0},
    {"redis+cluster://h", STORE_KIND_CLUSTER, false, 1, "h:6379 ", "", "", "",
     0},
    {"redis+cluster://me:pw@h,10.0.0.1:7000,[fe80::1]:7001,[::1]/",
     STORE_KIND_CLUSTER, false, 4,
     "h:6379 10.0.0.1:7000 fe80::1:7001 ::1:6379 ", "me", "pw", "", 0},
    {"redis+cluster://" H16, STORE_KIND_CLUSTER, false, 16,
     "h:6379 i:6379 j:6379 k:6379 h:6379 i:6379 j:6379 k:6379 "
     "h:6379 i:6379 j:6379 k:6379 h:6379 i:6379 j:6379 k:6379 ",
     "", "", "", 0},
    /* All before the last '@' is of the user. */
    {"redis+cluster://h,me:pw@i", STORE_KIND_CLUSTER, false, 1, "i:6379 ",
     "h,me", "pw", "", 0},
    {"rediss+cluster://:pw@h,i", STORE_KIND_CLUSTER, true, 2, "h:6379 i:6379 ",
     "", "pw", "", 0},
};

Test(store_url, lists_of_hosts)
{
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        char error[STORE_URL_ERROR_MAX] = "";
        char hosts[400] = "";
        struct store_url url;
        memset(&url, 0x55, sizeof(url));
        cr_expect_eq(store_url_parse(lists[i].text, &url, error), 0, "%s: %s",
                     lists[i].text, error);
        cr_expect_eq(url.kind, lists[i].kind, "%s", lists[i].text);
        cr_assert_eq(url.host_count, lists[i].count, "%s", lists[i].text);
        for (unsigned n = 0; n < url.host_count; n++) {
            size_t used = strlen(hosts);
            snprintf(hosts + used, sizeof(hosts) - used, "%.40s:%u ",
                     url.hosts[n].host, (unsigned)url.hosts[n].port);
            cr_expect_eq(url.hosts[n].is_tls, lists[i].is_tls);
            cr_expect_not(url.hosts[n].is_unix);
        }
        cr_expect_str_eq(hosts, lists[i].hosts, "%s", hosts);
        cr_expect_str_eq(url.user, lists[i].user);
        cr_expect_str_eq(url.password, lists[i].password);
        cr_expect_str_eq(url.master, lists[i].master, "%s", url.master);
        cr_expect_eq(url.db, lists[i].db, "%s", lists[i].text);
    }
}

#define NO_SCHEME                                                              \
    "a store is memory, redis://host:port/db, redis+unix:///path?db=n, "       \
    "redis+sentinel://hosts/master or redis+cluster://hosts"
#define NO_MASTER    "the master's name is missing: redis+sentinel://hosts/master"
#define NO_SUCH_NAME "the master's name holds a character that no name has"

struct bad {
    const char *text;
    const char *shown; /* NULL: as it is */
    const char *wrong;
};

static const struct bad bad[] = {
    {"", NULL, NO_SCHEME},
    {"Memory", NULL, NO_SCHEME},
    {"memory ", NULL, "it holds a space or a control character"},
    {"redis", NULL, NO_SCHEME},
    {"redis:h", NULL, NO_SCHEME},
    {"redis:me:pw@h", "redis:***@h", NO_SCHEME},
    {"http://h", NULL, NO_SCHEME},
    {"http://me:pw@h", "http://me:***@h", NO_SCHEME},
    {"redis+tls://me:pw@h", "redis+tls://me:***@h", NO_SCHEME},
    {"redis+sentinel:h,i/m", NULL, NO_SCHEME},
    {"rediss+unix:///run/r", NULL,
     "a unix socket has no TLS: redis+unix:///path"},
    {"rediss+unix://me:pw@/run/r", "rediss+unix://me:***@/run/r",
     "a unix socket has no TLS: redis+unix:///path"},
    {"redis://", NULL, "the host is missing"},
    {"redis:///0", NULL, "the host is missing"},
    {"redis://:6379", "redis://:***", "the host is missing"},
    {"redis://:pw@", "redis://:***@", "the host is missing"},
    {"redis://h ", NULL, "it holds a space or a control character"},
    {"redis://h\n", "redis://h?", "it holds a space or a control character"},
    {"redis://h\x7f", "redis://h?", "it holds a space or a control character"},
    {"redis://\xc3\xa9", "redis://??",
     "the host holds a character that no host name has"},
    {"redis://h,i", NULL,
     "several hosts need redis+sentinel:// or redis+cluster://"},
    {"rediss://me:pw@h:1,[::1]:2/3", "rediss://me:***@h:1,[::1]:2/3",
     "several hosts need redis+sentinel:// or redis+cluster://"},
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

static const struct bad bad_lists[] = {
    {"redis+sentinel://", NULL, "the host is missing"},
    {"redis+cluster://", NULL, "the host is missing"},
    {"redis+sentinel:///m", NULL, "the host is missing"},
    {"redis+cluster://,", NULL, "a host of the list is empty"},
    {"redis+cluster://,h", NULL, "a host of the list is empty"},
    {"redis+cluster://h,", NULL, "a host of the list is empty"},
    {"redis+sentinel://me:pw@h,,i/m", "redis+sentinel://me:***@h,,i/m",
     "a host of the list is empty"},
    {"redis+cluster://h,:7000", "redis+cluster://h,:***",
     "the host is missing"},
    {"redis+cluster://" H16 ",l", NULL, "more than 16 hosts"},
    {"redis+sentinel://:pw@" H16 ",l/m", "redis+sentinel://:***@" H16 ",l/m",
     "more than 16 hosts"},
    {"redis+cluster://h,i:0", NULL, "the port is not between 1 and 65535"},
    {"redis+cluster://h:1,i:pw", "redis+cluster://h:1,i:***",
     "the port is not between 1 and 65535"},
    {"redis+cluster://h,::1", "redis+cluster://h,:***",
     "an IPv6 address is written in brackets"},
    {"redis+cluster://h,[::1", "redis+cluster://h,[:***",
     "the closing bracket is missing"},
    {"redis+cluster://[::1]x,h", NULL, "only a port may follow the brackets"},
    {"redis+cluster://pw@h,i", "redis+cluster://***@h,i",
     "user and password are written user:password@, or :password@"},
    {"redis+cluster://me:p/w@h,i", "redis+cluster://me:***@h,i",
     "/, ? and # in user or password are written %2F, %3F and %23"},
    {"redis+cluster://h,i/0", NULL, "a cluster has no databases"},
    {"rediss+cluster://h,i/m/1", NULL, "a cluster has no databases"},
    {"redis+cluster://h?db=1", NULL, "nothing may follow the hosts"},
    {"redis+cluster://h#", NULL, "nothing may follow the hosts"},
    {"redis+sentinel://h,i", NULL, NO_MASTER},
    {"redis+sentinel://:pw@h,i/", "redis+sentinel://:***@h,i/", NO_MASTER},
    {"redis+sentinel://h//0", NULL, NO_MASTER},
    {"redis+sentinel://h?m", NULL, NO_MASTER},
    {"redis+sentinel://h/a%2Fb", NULL, NO_SUCH_NAME},
    {"redis+sentinel://h/a%20b", NULL, NO_SUCH_NAME},
    {"redis+sentinel://h/a%0a", NULL, NO_SUCH_NAME},
    {"redis+sentinel://h/\xc3\xa4", "redis+sentinel://h/??", NO_SUCH_NAME},
    {"redis+sentinel://h/a%7f", NULL, NO_SUCH_NAME},
    {"redis+sentinel://h/a%00", NULL,
     "broken percent-encoding in the master's name (a % is %25)"},
    {"redis+sentinel://h/a%", NULL,
     "broken percent-encoding in the master's name (a % is %25)"},
    {"redis+sentinel://h/" A100 "1234567890123456789012345678",
     "redis+sentinel://h/" A50 "aaaaaaaaaaa...",
     "the master's name is longer than 127 bytes"},
    {"redis+sentinel://h/m/a", NULL,
     "the database is not a number from 0 to 9999"},
    {"redis+sentinel://h/m/10000", NULL,
     "the database is not a number from 0 to 9999"},
    {"redis+sentinel://h/m/1/", NULL,
     "the database is not a number from 0 to 9999"},
    {"redis+sentinel://h/m?db=1", NULL, "only /database may follow the master"},
    {"redis+sentinel://h/m#", NULL, "only /database may follow the master"},
};

static void check_bad(const struct bad *one)
{
    char expected[2 * STORE_URL_ERROR_MAX];
    char error[STORE_URL_ERROR_MAX] = "";
    struct store_url url;

    snprintf(expected, sizeof(expected), "%s: %s",
             one->shown != NULL ? one->shown : one->text, one->wrong);
    cr_expect_eq(store_url_parse(one->text, &url, error), -1, "%s", one->text);
    cr_expect_str_eq(error, expected, "%s", error);
    cr_expect_str_eq(url.password, "");
    cr_expect_eq(url.host_count, 0);
}

Test(store_url, bad)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_bad(&bad[i]);
    for (size_t i = 0; i < sizeof(bad_lists) / sizeof(bad_lists[0]); i++)
        check_bad(&bad_lists[i]);
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
    {"redis://me:pw/0", "redis://me:***"},
    {"redis+unix:///a:b", "redis+unix:///a:b"},
    {"redis+unix://me:pw@/a?db=1", "redis+unix://me:***@/a?db=1"},
    {"me:pw@h", "me:***@h"},
    {"rediss://me:pw@h:1/0", "rediss://me:***@h:1/0"},
    {"redis+sentinel://h:1,[::1]:2,i/m/3",
     "redis+sentinel://h:1,[::1]:2,i/m/3"},
    {"redis+sentinel://me:pw@h:1,i:2/m", "redis+sentinel://me:***@h:1,i:2/m"},
    {"redis+sentinel://:p,w:1@h,i/m", "redis+sentinel://:***@h,i/m"},
    {"redis+cluster://me:p@w,h:1@h:1,i", "redis+cluster://me:***@h:1,i"},
    {"redis+cluster://h:1,me:pw@i:2,j", "redis+cluster://h:***@i:2,j"},
    {"redis+cluster://me:p/w,x@h,i", "redis+cluster://me:***@h,i"},
    {"redis+cluster://me:p/w,h,i", "redis+cluster://me:***"},
    {"redis+cluster://h,me:pw,i", "redis+cluster://h,me:***"},
    {"redis+cluster://me:1234,i:pw", "redis+cluster://me:1234,i:***"},
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

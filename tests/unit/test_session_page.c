/* SPDX-License-Identifier: MIT */
/* Cursors and filters of the operator's list of sessions. */
#include "gateway/session_page.h"

#include "gateway/shared.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const uint64_t key[2] = {1, 2};

static const struct gw_cursor cursors[] = {
    {GW_CURSOR_LOCAL, 0, 0, 0},
    {GW_CURSOR_LOCAL, 123456, 63, 7},
    {GW_CURSOR_STORE, UINT64_MAX, UINT32_MAX, UINT64_MAX},
    {GW_CURSOR_ENDED, 99, 0, 0},
};

Test(session_page, cursors_come_back)
{
    for (size_t i = 0; i < sizeof(cursors) / sizeof(cursors[0]); i++) {
        char text[GW_CURSOR_MAX];
        struct gw_cursor read = {0};

        gw_cursor_write(key, &cursors[i], text);
        cr_assert_lt(strlen(text), sizeof(text));
        for (const char *at = text; *at != '\0'; at++)
            cr_expect(strchr("lse-0123456789abcdef", *at) != NULL, "%s", text);
        cr_assert(gw_cursor_read(key, text, &read), "%s", text);
        cr_expect_eq(read.kind, cursors[i].kind);
        cr_expect_eq(read.major, cursors[i].major);
        cr_expect_eq(read.middle, cursors[i].middle);
        cr_expect_eq(read.minor, cursors[i].minor);
    }
}

Test(session_page, cursors_of_others_are_refused)
{
    static const uint64_t other[2] = {1, 3};
    struct gw_cursor read;
    char text[GW_CURSOR_MAX];

    for (size_t i = 0; i < sizeof(cursors) / sizeof(cursors[0]); i++) {
        gw_cursor_write(other, &cursors[i], text);
        cr_expect_not(gw_cursor_read(key, text, &read), "%s", text);
    }
}

Test(session_page, cursors_that_were_changed_are_refused)
{
    char text[GW_CURSOR_MAX];
    char changed[GW_CURSOR_MAX + 1];
    struct gw_cursor read;

    gw_cursor_write(key, &cursors[1], text);
    for (size_t i = 0; i < strlen(text); i++) {
        for (int c = 1; c < 256; c++) {
            memcpy(changed, text, sizeof(text));
            changed[i] = (char)c;
            cr_expect_eq(gw_cursor_read(key, changed, &read),
                         (char)c == text[i], "%s", changed);
        }
        memcpy(changed, text, sizeof(text));
        changed[i] = '\0';
        cr_expect_not(gw_cursor_read(key, changed, &read), "%s", changed);
    }
    snprintf(changed, sizeof(changed), "%s0", text);
    cr_expect_not(gw_cursor_read(key, changed, &read));
    cr_expect_not(gw_cursor_read(key, "", &read));
    cr_expect_not(gw_cursor_read(key, "l00-0-0-0", &read));
}

/* ---- filters ---- */

static struct gw_config config;
static struct gw_session_filter filter;

static const struct store_record record = {
    .backend = "blue/n1",
    .client = "10.0.0.17",
    .gateway = "gw-A.0123abcd",
    .transport = STORE_TRANSPORT_WEBSOCKET,
};

static const char sid[] = "aSessionId-0123";

static void begin(void)
{
    memset(&config, 0, sizeof(config));
    filter = (struct gw_session_filter){.transport = -1};
}

static bool matches(enum gw_session_name_kind kind, const char *name)
{
    const struct gw_session_name named = {kind, {name, strlen(name)}};
    struct gw_session_match match;

    gw_session_match_init(&match, &filter, &config);
    return gw_session_matches(&match, &record, &named);
}

static bool finds(const char *search)
{
    snprintf(filter.search, sizeof(filter.search), "%s", search);
    return matches(GW_NAME_SID, sid);
}

TestSuite(session_filter, .init = begin);

Test(session_filter, without_one_all_are_wanted)
{
    cr_expect(matches(GW_NAME_SID, sid));
    cr_expect(matches(GW_NAME_KEY, sid));
    cr_expect(matches(GW_NAME_ID, "0123456789abcdef"));
}

Test(session_filter, by_transport)
{
    filter.transport = STORE_TRANSPORT_WEBSOCKET;
    cr_expect(matches(GW_NAME_SID, sid));
    filter.transport = STORE_TRANSPORT_POLLING;
    cr_expect_not(matches(GW_NAME_SID, sid));
}

Test(session_filter, by_whole_names)
{
    snprintf(filter.backend, sizeof(filter.backend), "blue/n1");
    snprintf(filter.gateway, sizeof(filter.gateway), "gw-A.0123abcd");
    cr_expect(matches(GW_NAME_SID, sid));
    snprintf(filter.backend, sizeof(filter.backend), "blue/n");
    cr_expect_not(matches(GW_NAME_SID, sid));
    snprintf(filter.backend, sizeof(filter.backend), "blue/n1");
    snprintf(filter.gateway, sizeof(filter.gateway), "gw-A");
    cr_expect_not(matches(GW_NAME_SID, sid));
}

Test(session_filter, by_the_beginning_of_a_client)
{
    static const char *const right[] = {"1", "10.0.0.", "10.0.0.17"};
    static const char *const wrong[] = {"0.0.0.17", "10.0.0.18", "10.0.0.170"};

    for (size_t i = 0; i < 3; i++) {
        snprintf(filter.client, sizeof(filter.client), "%s", right[i]);
        cr_expect(matches(GW_NAME_SID, sid), "%s", right[i]);
        snprintf(filter.client, sizeof(filter.client), "%s", wrong[i]);
        cr_expect_not(matches(GW_NAME_SID, sid), "%s", wrong[i]);
    }
}

Test(session_filter, by_a_search)
{
    char id[GW_SESSION_ID_MAX];

    cr_expect(finds("N1"));
    cr_expect(finds("LUE/"));
    cr_expect(finds("0.17"));
    cr_expect(finds("gw-a"));
    cr_expect(finds(sid));
    cr_expect_not(finds("aSessionId-012"));
    cr_expect_not(finds("aSessionId-01234"));
    cr_expect_not(finds("asessionid-0123"));
    cr_expect_not(finds("n2"));
    gw_session_id(&config, (struct store_key){sid, strlen(sid)}, id);
    for (size_t len = strlen(id); len > 2; len--) {
        id[len] = '\0';
        cr_expect(finds(id), "%s", id);
    }
    cr_expect_not(finds(id + 1));
    filter.transport = STORE_TRANSPORT_POLLING;
    cr_expect_not(finds("N1"));
}

Test(session_filter, by_what_is_hashed)
{
    static const char secret[] = "a secret that nobody knows";
    char hashed[STORE_HASHED_LEN + 1] = "";
    char id[GW_SESSION_ID_MAX];

    memcpy(config.hash_secret, secret, sizeof(secret));
    config.hash_secret_len = sizeof(secret);
    gw_shared_hash(&config, (struct store_key){sid, strlen(sid)}, hashed);
    gw_session_id_of_key((struct store_key){hashed, STORE_HASHED_LEN}, id);
    snprintf(filter.search, sizeof(filter.search), "%s", sid);
    cr_expect(matches(GW_NAME_SID, sid));
    cr_expect(matches(GW_NAME_KEY, hashed));
    cr_expect(matches(GW_NAME_ID, id));
    cr_expect_not(matches(GW_NAME_KEY, sid));
    snprintf(filter.search, sizeof(filter.search), "%s", id);
    cr_expect(matches(GW_NAME_SID, sid));
    cr_expect(matches(GW_NAME_KEY, hashed));
    cr_expect(matches(GW_NAME_ID, id));
}

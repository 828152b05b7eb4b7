/* SPDX-License-Identifier: MIT */
/* `sidgate ctl sessions`: page by page, as many as are wanted. */
#include "gateway/ctl_call.h"
#include "gateway/ctl_table.h"
#include "gateway/ctl_text.h"

#include <stdlib.h>
#include <string.h>

enum {
    PAGE_MAX = 1000, /* that one answer may hold */
    ROWS = 100,      /* without --limit */
    ROWS_MAX = 1000000,
    PAGES_MAX = 20000, /* most of them may be empty */
};

static const char path[] = "/api/v1/sessions";

static const struct gw_ctl_column live[] = {
    {"ID", "id", gw_ctl_put_text, false},
    {"SID", "sid", gw_ctl_put_text, false},
    {"BACKEND", "backend", gw_ctl_put_text, false},
    {"TRANSPORT", "transport", gw_ctl_put_text, false},
    {"EIO", "eio", gw_ctl_put_count, true},
    {"CLIENT", "client", gw_ctl_put_text, false},
    {"GATEWAY", "gateway", gw_ctl_put_text, false},
    {"AGE", "age_s", gw_ctl_put_seconds, true},
    {"IDLE", "idle_s", gw_ctl_put_seconds, true},
    {"REQUESTS", "requests", gw_ctl_put_count, true},
    {"IN", "bytes_in", gw_ctl_put_bytes, true},
    {"OUT", "bytes_out", gw_ctl_put_bytes, true},
};

static const struct gw_ctl_column ended[] = {
    {"ID", "id", gw_ctl_put_text, false},
    {"SID", "sid", gw_ctl_put_text, false},
    {"BACKEND", "backend", gw_ctl_put_text, false},
    {"TRANSPORT", "transport", gw_ctl_put_text, false},
    {"EIO", "eio", gw_ctl_put_count, true},
    {"CLIENT", "client", gw_ctl_put_text, false},
    {"GATEWAY", "gateway", gw_ctl_put_text, false},
    {"ENDED", "ended", gw_ctl_put_time, false},
    {"LASTED", "duration_s", gw_ctl_put_seconds, true},
    {"REQUESTS", "requests", gw_ctl_put_count, true},
    {"IN", "bytes_in", gw_ctl_put_bytes, true},
    {"OUT", "bytes_out", gw_ctl_put_bytes, true},
    {"CAUSE", "cause", gw_ctl_put_text, false},
};

/* A listing that goes on over several answers. */
struct listing {
    struct gw_ctl_call *call;
    struct gw_ctl_table table;
    long limit; /* of rows */
    long rows;  /* so far */
    double looked_at;
    bool is_json;
    char cursor[GW_CTL_PATH_MAX]; /* of the next page; "": it was the last */
};

static bool make_path(const struct listing *listing, char *out)
{
    static const enum gw_ctl_flag filters[] = {
        GW_CTL_BACKEND, GW_CTL_CLIENT, GW_CTL_TRANSPORT,
        GW_CTL_GATEWAY, GW_CTL_SEARCH,
    };
    const struct gw_ctl_call *call = listing->call;
    long left = listing->limit - listing->rows;
    const char *cursor = listing->cursor;
    char count[24];

    snprintf(count, sizeof(count), "%ld", left < PAGE_MAX ? left : PAGE_MAX);
    snprintf(out, GW_CTL_PATH_MAX, "%s", path);
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
        if (!gw_ctl_path_set(out, gw_ctl_flags[filters[i]].name,
                             call->values[filters[i]]))
            return false;
    return gw_ctl_path_set(out, "ended",
                           gw_ctl_is_given(call, GW_CTL_ENDED) ? "true"
                                                               : NULL) &&
           gw_ctl_path_set(out, "limit", count) &&
           gw_ctl_path_set(out, "cursor", *cursor != '\0' ? cursor : NULL);
}

static void print_json(cJSON *item, const char *before)
{
    char *text = cJSON_PrintUnformatted(item);

    fputs(before, stdout);
    if (text != NULL)
        gw_ctl_print_json(text, strlen(text), stdout);
    cJSON_free(text);
}

/* All pages are one object, whose other members are those of the last. */
static void print_page(struct listing *listing, const cJSON *rows,
                       bool is_first)
{
    bool leads = listing->rows == cJSON_GetArraySize(rows);
    cJSON *row = NULL;

    if (listing->is_json) {
        if (is_first)
            fputs("{\"sessions\":[", stdout);
        cJSON_ArrayForEach(row, rows)
        {
            print_json(row, leads ? "" : ",");
            leads = false;
        }
        return;
    }
    gw_ctl_table_measure(&listing->table, rows);
    if (is_first)
        gw_ctl_table_titles(&listing->table, stdout);
    gw_ctl_table_rows(&listing->table, rows, stdout);
}

static void print_end(const struct listing *listing, cJSON *root)
{
    cJSON *member = NULL;

    if (!listing->is_json)
        return;
    if (gw_ctl_number(root, "looked_at") >= 0)
        cJSON_SetNumberValue(
            cJSON_GetObjectItemCaseSensitive(root, "looked_at"),
            listing->looked_at);
    fputc(']', stdout);
    cJSON_ArrayForEach(member, root)
    {
        cJSON name = {.type = cJSON_String, .valuestring = member->string};

        if (strcmp(member->string, "sessions") == 0)
            continue;
        print_json(&name, ",");
        print_json(member, ":");
    }
    fputs("}\n", stdout);
}

/* False when it is no page. */
static bool take_page(struct listing *listing, const cJSON *root)
{
    const cJSON *rows = gw_ctl_member(root, "sessions");
    const cJSON *next = gw_ctl_member(root, "next");
    const char *cursor = cJSON_IsString(next) ? next->valuestring : "";

    if (!cJSON_IsArray(rows) || cJSON_GetArraySize(rows) > PAGE_MAX ||
        !(cJSON_IsNull(next) || *cursor != '\0') ||
        strlen(cursor) >= sizeof(listing->cursor))
        return false;
    snprintf(listing->cursor, sizeof(listing->cursor), "%s", cursor);
    listing->rows += cJSON_GetArraySize(rows);
    if (gw_ctl_number(root, "looked_at") > 0)
        listing->looked_at += gw_ctl_number(root, "looked_at");
    return true;
}

/* 0, or the code to exit with. */
static int run_pages(struct listing *listing)
{
    char asked[GW_CTL_PATH_MAX];

    for (int pages = 0; pages < PAGES_MAX; pages++) {
        cJSON *root = NULL;

        if (!make_path(listing, asked))
            return gw_ctl_fail("the arguments are too long", GW_CTL_UNASKED);
        int code = gw_ctl_fetch(listing->call, false, asked, &root);
        if (code == 0 && !take_page(listing, root))
            code =
                gw_ctl_fail("what came is no list of sessions", GW_CTL_UNASKED);
        bool is_last = listing->cursor[0] == '\0' ||
                       listing->rows >= listing->limit || ferror(stdout);
        if (code == 0)
            print_page(listing, gw_ctl_member(root, "sessions"), pages == 0);
        if (code == 0 && is_last)
            print_end(listing, root);
        cJSON_Delete(root);
        if (code != 0 || is_last)
            return code;
    }
    return gw_ctl_fail("the list has no end", GW_CTL_UNASKED);
}

int gw_ctl_run_sessions(struct gw_ctl_call *call)
{
    static struct listing listing;
    bool wants_all = gw_ctl_is_given(call, GW_CTL_ALL);
    bool is_ended = gw_ctl_is_given(call, GW_CTL_ENDED);

    listing = (struct listing){
        .call = call,
        .table = {.columns = is_ended ? ended : live,
                  .count = is_ended ? sizeof(ended) / sizeof(ended[0])
                                    : sizeof(live) / sizeof(live[0])},
        .limit = wants_all ? ROWS_MAX : ROWS,
        .is_json = gw_ctl_is_given(call, GW_CTL_JSON),
    };
    if (wants_all && gw_ctl_is_given(call, GW_CTL_LIMIT))
        return gw_ctl_fail("--all and --limit exclude each other",
                           GW_CTL_UNASKED);
    if (!gw_ctl_read_count(call, GW_CTL_LIMIT, ROWS_MAX, &listing.limit))
        return gw_ctl_fail(call->error, GW_CTL_UNASKED);
    int code = run_pages(&listing);
    if (code == 0 && listing.cursor[0] != '\0' && !ferror(stdout)) {
        fflush(stdout);
        fprintf(
            stderr,
            "sidgate ctl: stopped after %ld sessions, there may be more%s\n",
            listing.rows, wants_all ? "" : " (--limit N, --all)");
    }
    return code;
}

/* SPDX-License-Identifier: MIT */
/*
 * Lists of sessions, a page at a time.
 *
 * A page ends when it is full or enough has been looked at. The next one goes
 * on behind the last record that was looked at: in memory behind its place in
 * the table, in Redis behind what one SCAN gave. What one SCAN gives is not
 * divided, so that a page from Redis may be shorter than it might be.
 */
#include "gateway/server.h"
#include "gateway/sessions_private.h"

#include <string.h>

enum {
    HERE_BUDGET = 20000, /* records looked at for one answer */
    THERE_BUDGET = 5000,
    SCAN_MAX = 500,
    SID_BYTES_MIN = 12, /* a search as long as this may be a whole sid */
    ENDED_BATCH = 32,
};

static void begin(struct gw_question *question)
{
    question->rows = 0;
    question->looked_at = 0;
    question->text.len = 0;
    question->kept_rows = 0;
    question->kept_len = 0;
}

static void put_row(struct gw_question *question,
                    const struct gw_session_row *row)
{
    if (question->rows > 0)
        gw_text_put(&question->text, ",");
    else
        gw_text_put(&question->text, "\"sessions\":[");
    gw_session_row_put(&question->text, row, question->wall_ms, false);
    question->rows++;
}

static bool is_full(const struct gw_question *question)
{
    return question->rows >= question->command.filter.limit;
}

/* `next` NULL: everything was looked at. */
static void finish(struct gw_question *question, const char *scope,
                   const struct gw_cursor *next)
{
    struct gw_text text = {0};
    char cursor[GW_CURSOR_MAX];
    gw_text_put(&text, "{\"scope\":\"");
    gw_text_put(&text, scope);
    gw_text_put(&text, "\",");
    if (question->rows == 0)
        gw_text_put(&text, "\"sessions\":[");
    else
        gw_text_put(&text,
                    question->text.bytes != NULL ? question->text.bytes : "");
    gw_text_put(&text, "],\"next\":");
    if (next != NULL) {
        gw_cursor_write(question->sessions->cursor_key, next, cursor);
        gw_text_put(&text, "\"");
        gw_text_put(&text, cursor);
        gw_text_put(&text, "\"");
    } else {
        gw_text_put(&text, "null");
    }
    gw_text_put(&text, ",\"looked_at\":");
    gw_text_put_count(&text, question->looked_at);
    gw_text_put(&text, "}");
    text.is_short = text.is_short || question->text.is_short;
    gw_question_answer(question, &text);
}

/* ---- in memory ---- */

static bool look_here(struct gw_question *question,
                      const struct store_memory_item *item)
{
    const struct gw_session_name name = {GW_NAME_SID,
                                         {item->key, item->key_len}};
    struct gw_session_row row;
    if (!gw_session_matches(&question->match, &item->record, &name))
        return true;
    gw_sessions_row_here(question->sessions, item, &row);
    put_row(question, &row);
    return !is_full(question);
}

static void list_here(struct gw_question *question)
{
    if (!gw_question_walk(question, HERE_BUDGET, look_here)) {
        gw_question_pause(question, list_here);
        return;
    }
    const struct store_memory_walk *walk = &question->walk;
    const struct gw_cursor next = {.kind = GW_CURSOR_LOCAL,
                                   .major = walk->index,
                                   .middle = walk->part,
                                   .minor = (uint32_t)walk->depth};
    finish(question, "local", walk->is_done ? NULL : &next);
}

static void begin_here(struct gw_question *question)
{
    const struct gw_cursor *cursor = &question->cursor;
    begin(question);
    question->walk = (struct store_memory_walk){
        .index = cursor->major, .part = cursor->middle, .depth = cursor->minor};
    list_here(question);
}

/* ---- in the shared store ---- */

static bool look_there(void *arg, const struct store_browse_item *item)
{
    struct gw_question *question = arg;
    const struct gw_session_name name = {GW_NAME_KEY,
                                         {item->key, item->key_len}};
    struct gw_session_row row;
    if (!gw_session_matches(&question->match, &item->record, &name))
        return false;
    gw_sessions_row_there(question->sessions, item, &row);
    put_row(question, &row);
    return true;
}

static void keep_or_forget(void *arg, bool is_kept)
{
    struct gw_question *question = arg;
    struct gw_text *text = &question->text;
    if (is_kept) {
        question->kept_rows = question->rows;
        question->kept_len = text->len;
        return;
    }
    question->rows = question->kept_rows;
    text->len = question->kept_len;
    if (text->bytes != NULL)
        text->bytes[text->len] = '\0';
}

/* Where a page is asked for that follows others, there is none here. */
static void list_without(struct gw_question *question)
{
    if (question->cursor.kind == 0)
        begin_here(question);
    else
        gw_question_refuse(question, 503,
                           "the store is away: begin again without a cursor "
                           "for the sessions that this replica knows");
}

static void on_walk_end(void *arg, const struct store_browse_result *result)
{
    struct gw_question *question = arg;
    const struct store_browse_place *place = &result->place;
    const struct gw_cursor next = {.kind = GW_CURSOR_STORE,
                                   .major = place->cursor,
                                   .middle = place->node,
                                   .minor = (uint64_t)place->ahead << 32 |
                                            place->behind};
    question->browsing = NULL;
    question->looked_at = result->looked_at;
    if (result->end == STORE_BROWSE_AWAY)
        list_without(question);
    else
        finish(question, "store",
               result->end == STORE_BROWSE_MORE ? &next : NULL);
}

/* Where all are wanted, two SCANs are to give most of a page. */
static uint32_t scan_count(const struct gw_session_filter *filter)
{
    bool has_filter = filter->backend[0] != '\0' || filter->client[0] != '\0' ||
                      filter->gateway[0] != '\0' || filter->search[0] != '\0' ||
                      filter->transport >= 0;
    if (has_filter)
        return SCAN_MAX;
    return filter->limit / 2 < SCAN_MAX ? filter->limit / 2 : SCAN_MAX;
}

static void list_there(struct gw_question *question)
{
    const struct gw_cursor *cursor = &question->cursor;
    const struct store_browse_walk walk = {
        .from = {.cursor = cursor->major,
                 .node = cursor->middle,
                 .behind = (uint32_t)cursor->minor,
                 .ahead = (uint32_t)(cursor->minor >> 32)},
        .limit = question->command.filter.limit,
        .count = scan_count(&question->command.filter),
        .budget = THERE_BUDGET,
        .timeout_ms = GW_STORE_WAIT_MS,
        .on_item = look_there,
        .on_batch = keep_or_forget,
        .on_end = on_walk_end,
        .arg = question,
    };
    begin(question);
    if (!question->found.is_away)
        question->browsing =
            store_browse_walk(question->sessions->browse, &walk);
    if (question->browsing == NULL)
        list_without(question);
}

/* ---- those that ended ---- */

static size_t count_ended(const struct gw_ends *ends)
{
    uint64_t total = 0;
    for (int i = 0; i < GW_END_COUNT; i++)
        total += gw_ends_count(ends, (enum gw_end)i);
    return (size_t)total;
}

static void look_at_ended(struct gw_question *question,
                          const struct gw_ended *ended)
{
    const struct gw_session_name name = {GW_NAME_ID,
                                         {ended->id, sizeof(ended->id) - 1}};
    struct gw_session_row row;
    question->looked_at++;
    if (!gw_session_matches(&question->match, &ended->record, &name))
        return;
    gw_session_row_of_ended(&row, ended);
    put_row(question, &row);
}

/* A cursor counts from the first one that ever ended, for new ones come in
 * front of those that were listed. */
static void list_ended(struct gw_question *question)
{
    struct gw_ends *ends = question->sessions->server->ends;
    struct gw_ended batch[ENDED_BATCH];
    size_t total = count_ended(ends);
    size_t skip = 0;
    size_t count = 1;
    begin(question);
    if (question->cursor.kind != 0 && question->cursor.major < total)
        skip = total - (size_t)question->cursor.major;
    while (!is_full(question) && count > 0) {
        count = gw_ends_list(ends, skip, ENDED_BATCH, batch);
        for (size_t i = 0; i < count && !is_full(question); i++, skip++)
            look_at_ended(question, &batch[i]);
    }
    const struct gw_cursor next = {.kind = GW_CURSOR_ENDED,
                                   .major = total - skip};
    bool has_more = skip < total && skip < GW_ENDS_MAX;
    finish(question, "local", has_more ? &next : NULL);
}

/* ---- pages ---- */

static void begin_page(struct gw_question *question)
{
    char kind = question->cursor.kind;
    if (kind == GW_CURSOR_LOCAL || !question->sessions->server->is_shared)
        begin_here(question);
    else
        gw_question_reach(question, list_there);
}

/* A search for a whole sid or id gives that one session. */
static void on_found(struct gw_question *question)
{
    const struct gw_found *found = &question->found;
    struct gw_session_row row;
    if (!gw_found_any(found)) {
        begin_page(question);
        return;
    }
    gw_sessions_row_found(question->sessions, found, &row);
    if (gw_session_fits(&question->match, &row.record))
        put_row(question, &row);
    if (question->looked_at == 0)
        question->looked_at = 1;
    finish(question, found->is_there ? "store" : "local", NULL);
}

static bool read_cursor(struct gw_question *question)
{
    const struct gw_session_filter *filter = &question->command.filter;
    struct gw_cursor *cursor = &question->cursor;
    if (filter->cursor[0] == '\0')
        return true;
    return gw_cursor_read(question->sessions->cursor_key, filter->cursor,
                          cursor) &&
           (cursor->kind == GW_CURSOR_ENDED) == filter->ended;
}

void gw_sessions_list(struct gw_question *question)
{
    const struct gw_session_filter *filter = &question->command.filter;
    size_t len = strlen(filter->search);
    gw_session_match_init(&question->match, filter, question->sessions->config);
    if (!read_cursor(question))
        gw_question_refuse(question, 400,
                           "cursor is not one that this gateway gave");
    else if (filter->ended)
        list_ended(question);
    else if (len >= SID_BYTES_MIN && question->cursor.kind == 0)
        gw_sessions_find(question, filter->search, len, on_found);
    else
        begin_page(question);
}

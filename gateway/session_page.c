/* SPDX-License-Identifier: MIT */
/* A page of sessions: where it begins, and which of them are wanted. */
#include "gateway/session_page.h"
#include "gateway/grammar.h"
#include "gateway/shared.h"
#include "store/siphash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- cursors ---- */

void gw_cursor_write(const uint64_t key[2], const struct gw_cursor *cursor,
                     char out[GW_CURSOR_MAX])
{
    int len =
        snprintf(out, GW_CURSOR_MAX, "%c%" PRIx64 "-%" PRIx32 "-%" PRIx64,
                 cursor->kind, cursor->major, cursor->middle, cursor->minor);
    uint64_t check = store_siphash(key, out, (size_t)len);
    snprintf(out + len, GW_CURSOR_MAX - (size_t)len, "-%016" PRIx64, check);
}

/* Reads up to 16 hex digits and leaves *at behind them. */
static uint64_t read_hex(const char **at)
{
    uint64_t value = 0;
    for (int i = 0; i < 16 && gw_hex_digit(**at) >= 0; i++, (*at)++)
        value = value * 16 + (uint64_t)gw_hex_digit(**at);
    return value;
}

/* What is not as it would be written anew was not written here. */
bool gw_cursor_read(const uint64_t key[2], const char *text,
                    struct gw_cursor *cursor)
{
    char again[GW_CURSOR_MAX];
    if (text[0] != GW_CURSOR_LOCAL && text[0] != GW_CURSOR_STORE &&
        text[0] != GW_CURSOR_ENDED)
        return false;
    const char *at = text + 1;
    cursor->kind = text[0];
    cursor->major = read_hex(&at);
    at += *at == '-';
    cursor->middle = (uint32_t)read_hex(&at);
    at += *at == '-';
    cursor->minor = read_hex(&at);
    gw_cursor_write(key, cursor, again);
    return strcmp(text, again) == 0;
}

/* ---- filters ---- */

static bool may_begin_id(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (gw_hex_digit(text[i]) < 0 || (text[i] >= 'A' && text[i] <= 'F'))
            return false;
    return len > 0 && len < GW_SESSION_ID_MAX;
}

void gw_session_match_init(struct gw_session_match *match,
                           const struct gw_session_filter *filter,
                           const struct gw_config *config)
{
    size_t len = strlen(filter->search);
    *match = (struct gw_session_match){
        .filter = filter,
        .config = config,
        .sid = {filter->search, len},
        .may_begin_id = may_begin_id(filter->search),
    };
    if (len == 0)
        return;
    gw_session_id(config, match->sid, match->id);
    if (config->hash_secret_len > 0)
        gw_shared_hash(config, match->sid, match->hashed);
}

static bool is_same(struct store_key key, const char *bytes, size_t len)
{
    return key.len == len && memcmp(key.ptr, bytes, len) == 0;
}

static bool is_sid(const struct gw_session_match *match,
                   const struct gw_session_name *name)
{
    if (name->kind == GW_NAME_ID)
        return is_same(name->key, match->id, sizeof(match->id) - 1);
    if (name->kind == GW_NAME_KEY && match->config->hash_secret_len > 0)
        return is_same(name->key, match->hashed, sizeof(match->hashed));
    return is_same(name->key, match->sid.ptr, match->sid.len);
}

static bool begins_id(const struct gw_session_match *match,
                      const struct gw_session_name *name)
{
    char id[GW_SESSION_ID_MAX] = "";
    if (!match->may_begin_id)
        return false;
    if (name->kind == GW_NAME_SID)
        gw_session_id(match->config, name->key, id);
    else if (name->kind == GW_NAME_KEY)
        gw_session_id_of_key(name->key, id);
    else
        memcpy(id, name->key.ptr, sizeof(id) - 1);
    return strncmp(id, match->sid.ptr, match->sid.len) == 0;
}

bool gw_session_fits(const struct gw_session_match *match,
                     const struct store_record *record)
{
    const struct gw_session_filter *filter = match->filter;
    if (filter->transport >= 0 && record->transport != filter->transport)
        return false;
    if (filter->backend[0] != '\0' &&
        strcmp(record->backend, filter->backend) != 0)
        return false;
    if (filter->gateway[0] != '\0' &&
        strcmp(record->gateway, filter->gateway) != 0)
        return false;
    return strncmp(record->client, filter->client, strlen(filter->client)) == 0;
}

bool gw_session_matches(const struct gw_session_match *match,
                        const struct store_record *record,
                        const struct gw_session_name *name)
{
    const char *search = match->filter->search;
    if (!gw_session_fits(match, record))
        return false;
    return search[0] == '\0' || strcasestr(record->client, search) != NULL ||
           strcasestr(record->backend, search) != NULL ||
           strcasestr(record->gateway, search) != NULL || is_sid(match, name) ||
           begins_id(match, name);
}

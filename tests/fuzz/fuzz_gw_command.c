/* SPDX-License-Identifier: MIT */
/* Fuzzes what an operator's request says: the first byte is the method, then
 * comes the path and, behind the first '?', the query. */
#include "gateway/command.h"
#include "gateway/log.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

/* With NUL behind it, in memory of its own. */
static char *copy_of(const char *bytes, size_t len)
{
    char *copy = malloc(len + 1);

    require(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

/* Fits, and holds nothing that could break a line. */
static void check_text(const char *text, size_t size, bool is_visible)
{
    size_t len = strnlen(text, size);

    require(len < size);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        require(c >= ' ' && c != 0x7f);
        require(!is_visible || (c > ' ' && c < 0x7f));
    }
}

static void check_filter(const struct gw_session_filter *filter)
{
    check_text(filter->backend, sizeof(filter->backend), true);
    check_text(filter->client, sizeof(filter->client), true);
    check_text(filter->gateway, sizeof(filter->gateway), true);
    check_text(filter->cursor, sizeof(filter->cursor), true);
    check_text(filter->search, sizeof(filter->search), false);
    require(filter->limit >= 1 && filter->limit <= GW_SESSIONS_LIMIT_MAX);
    require(filter->transport >= -1 &&
            filter->transport <= STORE_TRANSPORT_WEBSOCKET);
}

static void check_good(const struct gw_command *command,
                       const struct gw_outcome *outcome)
{
    bool is_session =
        command->verb == GW_VERB_SESSION || command->verb == GW_VERB_KICK;

    require(command->verb != GW_VERB_NONE);
    require(outcome->status == 0 && outcome->error[0] == '\0');
    check_text(command->id, sizeof(command->id), true);
    check_text(command->spec, sizeof(command->spec), true);
    check_text(command->pool, sizeof(command->pool), true);
    check_filter(&command->filter);
    require(command->session.len <= EIO_SID_MAX);
    require(is_session == (command->session.len > 0));
    require(command->rate >= -1 && command->rate <= 1000000);
    require(command->timeout_ms >= -1 && command->timeout_ms <= 86400000);
    require(command->after >= -1);
    require(command->limit >= 1 && command->limit <= GW_EVENTS_LIMIT_MAX);
    require(command->level >= -1 && command->level <= GW_LOG_DEBUG);
    require(command->verb != GW_VERB_SET_LOG || command->level >= 0);
    require(command->verb != GW_VERB_ADD || command->spec[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gw_command command;
    static struct gw_outcome outcome;

    if (size == 0)
        return 0;
    char *path = copy_of((const char *)data + 1, size - 1);
    char *mark = strchr(path, '?');
    char *query = mark != NULL ? copy_of(mark + 1, strlen(mark + 1)) : NULL;
    enum gw_method method = (enum gw_method)(data[0] % 3);

    if (mark != NULL)
        *mark = '\0';
    memset(&command, 0xaa, sizeof(command));
    memset(&outcome, 0xaa, sizeof(outcome));
    if (gw_command_read(method, path, query, &command, &outcome)) {
        check_good(&command, &outcome);
    } else {
        require(outcome.status == 400 || outcome.status == 404 ||
                outcome.status == 405);
        require((outcome.status == 405) == (outcome.allow != NULL));
        require(outcome.error[0] != '\0' && outcome.body == NULL);
        check_text(outcome.error, sizeof(outcome.error), false);
    }
    free(query);
    free(path);
    return 0;
}

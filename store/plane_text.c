/* SPDX-License-Identifier: MIT */
/* Heartbeats and the operator's words as Redis holds them. */
#include "store/plane_text.h"

#include "store/record.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char backend_mark[] = "backend:";
static const char sessions_mark[] = " sessions=";

enum {
    BACKEND_MARK_LEN = sizeof(backend_mark) - 1,
    SESSIONS_MARK_LEN = sizeof(sessions_mark) - 1,
    FIELD_TEXT_MAX = 2 * (STORE_PLANE_FIELD_MAX + 1) + 1,
    PORT_MAX = 65535,
    SESSIONS_MAX = 1000000000, /* so that sums of them do not overflow */
};

bool store_plane_is_text(const char *bytes, size_t len)
{
    if (len > STORE_PLANE_FIELD_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] < 0x20 || bytes[i] > 0x7e)
            return false;
    }
    return true;
}

static bool is_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING &&
           store_plane_is_text(reply->str, reply->len);
}

static bool is_hash(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements % 2 == 0;
}

static bool is_word(const redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_STRING && reply->len == strlen(word) &&
           memcmp(reply->str, word, reply->len) == 0;
}

bool store_plane_words_read(const struct redisReply *reply, size_t count,
                            bool *is_drained)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != count)
        return false;
    for (size_t i = 0; i < count; i++)
        is_drained[i] = is_word(reply->element[i], "drain");
    return true;
}

bool store_plane_is_wrong_type(const struct redisReply *reply)
{
    static const char mark[] = "WRONGTYPE";

    return reply->type == REDIS_REPLY_ERROR &&
           strncmp(reply->str, mark, sizeof(mark) - 1) == 0;
}

void store_plane_epoch_make(const char *id, int64_t turn,
                            char out[STORE_PLANE_EPOCH_MAX])
{
    uint64_t chance;

    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) !=
        (ssize_t)sizeof(chance))
        chance = (uint64_t)turn;
    snprintf(out, STORE_PLANE_EPOCH_MAX, "%.40s-%016" PRIx64, id, chance);
}

bool store_plane_epoch_read(const struct redisReply *reply,
                            char out[STORE_PLANE_EPOCH_MAX])
{
    if (!is_text(reply) || reply->len == 0 ||
        reply->len >= STORE_PLANE_EPOCH_MAX)
        return false;
    memcpy(out, reply->str, reply->len + 1);
    return true;
}

/* "host:port", without spaces. */
static bool is_address(const char *text, size_t len)
{
    const char *colon = memrchr(text, ':', len);
    int64_t port;

    if (colon == NULL || colon == text || memchr(text, ' ', len) != NULL)
        return false;
    const size_t port_len = (size_t)(text + len - colon) - 1;
    return port_len <= 5 && colon[1] != '0' &&
           store_number_read(colon + 1, port_len, &port) && port <= PORT_MAX;
}

/* Returns the length of the address in "<address> sessions=<n>"; 0 when it is
 * something else. */
static size_t read_backend_value(const redisReply *value, int64_t *sessions)
{
    const char *mark = strstr(value->str, sessions_mark);

    if (mark == NULL)
        return 0;
    const size_t len = (size_t)(mark - value->str);
    const char *number = mark + SESSIONS_MARK_LEN;
    if (!is_address(value->str, len) ||
        !store_number_read(number, strlen(number), sessions))
        return 0;
    if (*sessions > SESSIONS_MAX)
        *sessions = SESSIONS_MAX;
    return len;
}

/* Takes a field that is a backend's; copies its address to *text and moves
 * that behind it. */
static void read_field(const redisReply *field, const redisReply *value,
                       struct store_plane_beat *beat, char **text)
{
    int64_t sessions;

    if (beat->count == STORE_PLANE_BACKENDS_MAX || !is_text(field) ||
        !is_text(value) || field->len <= BACKEND_MARK_LEN ||
        memcmp(field->str, backend_mark, BACKEND_MARK_LEN) != 0)
        return;
    const size_t len = read_backend_value(value, &sessions);
    if (len == 0)
        return;
    memcpy(*text, value->str, len);
    (*text)[len] = '\0';
    beat->space[beat->count++] = (struct store_plane_backend){
        .id = field->str + BACKEND_MARK_LEN,
        .address = *text,
        .sessions = sessions,
    };
    *text += len + 1;
}

/* Whether a replica wrote this: then it has a turn and a start. */
static bool is_beat(const redisReply *reply)
{
    bool has_turn = false;
    bool has_start = false;
    int64_t number;

    for (size_t i = 0; i < reply->elements; i += 2) {
        const redisReply *field = reply->element[i];
        const redisReply *value = reply->element[i + 1];
        if (!is_text(field) || !is_text(value))
            continue;
        if (strcmp(field->str, "turn") == 0)
            has_turn = store_number_read(value->str, value->len, &number);
        else if (strcmp(field->str, "started") == 0)
            has_start = store_time_read(value->str, value->len, &number);
    }
    return has_turn && has_start;
}

bool store_plane_beat_read(const struct redisReply *reply,
                           struct store_plane_beat *beat)
{
    size_t size = 1;

    if (!is_hash(reply))
        return false;
    if (!is_beat(reply))
        return true;
    for (size_t i = 1; i < reply->elements; i += 2)
        size += is_text(reply->element[i]) ? reply->element[i]->len + 1 : 0;
    beat->space = calloc(STORE_PLANE_BACKENDS_MAX, sizeof(*beat->space));
    beat->text = malloc(size);
    if (beat->space == NULL || beat->text == NULL)
        return false;
    char *text = beat->text;
    for (size_t i = 0; i < reply->elements; i += 2)
        read_field(reply->element[i], reply->element[i + 1], beat, &text);
    beat->backends = beat->space;
    beat->is_valid = true;
    return true;
}

void store_plane_beat_fini(struct store_plane_beat *beat)
{
    free(beat->space);
    free(beat->text);
    *beat = (struct store_plane_beat){0};
}

/* Writes "field\nvalue\n"; false when others could not read it. */
static bool write_backend(const struct store_plane_backend *backend,
                          char out[FIELD_TEXT_MAX])
{
    const int64_t sessions = backend->sessions > 0 ? backend->sessions : 0;
    const size_t id_len = strlen(backend->id);
    const size_t address_len = strlen(backend->address);

    if (id_len == 0 || id_len + BACKEND_MARK_LEN > STORE_PLANE_FIELD_MAX ||
        address_len + SESSIONS_MARK_LEN + STORE_NUMBER_TEXT_MAX >
            STORE_PLANE_FIELD_MAX ||
        !store_plane_is_text(backend->id, id_len) ||
        !store_plane_is_text(backend->address, address_len) ||
        !is_address(backend->address, address_len))
        return false;
    const int len =
        snprintf(out, FIELD_TEXT_MAX, "%s%s\n%s%s%" PRId64 "\n", backend_mark,
                 backend->id, backend->address, sessions_mark, sessions);
    return len > 0 && len < FIELD_TEXT_MAX;
}

char *store_plane_beat_write(const struct store_plane_beat *beat)
{
    char field[FIELD_TEXT_MAX];
    char *out = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&out, &size);
    bool is_written;

    if (file == NULL)
        return NULL;
    if (store_plane_is_text(beat->version, strlen(beat->version)))
        fprintf(file, "version\n%s\n", beat->version);
    fprintf(file, "started\n%s\n", beat->started);
    for (size_t i = 0; i < beat->count && i < STORE_PLANE_BACKENDS_MAX; i++) {
        if (write_backend(&beat->backends[i], field))
            fprintf(file, "%s", field);
    }
    is_written = ferror(file) == 0;
    if (fclose(file) == 0 && is_written)
        return out;
    free(out);
    return NULL;
}

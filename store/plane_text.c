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
static const char sessions_mark[] = "sessions=";
static const char held_mark[] = "held=";
static const char closed_mark[] = "closed=";
static const char state_mark[] = "state=";
static const char why_mark[] = "why=";
static const char drain_word[] = "drain";

enum {
    BACKEND_MARK_LEN = sizeof(backend_mark) - 1,
    DRAIN_WORD_LEN = sizeof(drain_word) - 1,
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

/* "drain", or that and more behind a space; "" for anything else. */
static void read_word(const redisReply *reply, char out[STORE_PLANE_WORD_MAX])
{
    out[0] = '\0';
    if (reply->type != REDIS_REPLY_STRING || reply->len < DRAIN_WORD_LEN ||
        memcmp(reply->str, drain_word, DRAIN_WORD_LEN) != 0 ||
        (reply->len > DRAIN_WORD_LEN && reply->str[DRAIN_WORD_LEN] != ' '))
        return;
    if (reply->len < STORE_PLANE_WORD_MAX && is_text(reply))
        memcpy(out, reply->str, reply->len + 1);
    else
        snprintf(out, STORE_PLANE_WORD_MAX, "%s ?", drain_word);
}

bool store_plane_words_read(const struct redisReply *reply, size_t count,
                            char (*words)[STORE_PLANE_WORD_MAX])
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != count)
        return false;
    for (size_t i = 0; i < count; i++)
        read_word(reply->element[i], words[i]);
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

/* Cuts the next word off *at; NULL when there is none. */
static char *next_word(char **at)
{
    char *word = *at;

    if (word == NULL)
        return NULL;
    *at = strchr(word, ' ');
    if (*at != NULL)
        *(*at)++ = '\0';
    return word;
}

/* What stands behind `mark` in the word; NULL when it has another one. */
static char *behind(char *word, const char *mark)
{
    const size_t len = strlen(mark);

    return word != NULL && strncmp(word, mark, len) == 0 ? word + len : NULL;
}

static bool read_count(char *word, const char *mark, int64_t *count)
{
    const char *number = behind(word, mark);

    if (number == NULL || !store_number_read(number, strlen(number), count))
        return false;
    if (*count > SESSIONS_MAX)
        *count = SESSIONS_MAX;
    return true;
}

/* Reads "<address> sessions=<n>" and what may follow; words that mean nothing
 * here are skipped. False when it is something else. */
static bool read_backend_value(char *text, struct store_plane_backend *backend)
{
    char *word = next_word(&text);

    *backend = (struct store_plane_backend){
        .address = word, .held = -1, .state = "", .why = ""};
    if (!is_address(word, strlen(word)) ||
        !read_count(next_word(&text), sessions_mark, &backend->sessions))
        return false;
    while ((word = next_word(&text)) != NULL) {
        if (word[0] == '\0')
            return false;
        char *value = behind(word, state_mark);
        if (value != NULL && strlen(value) < STORE_PLANE_STATE_MAX)
            backend->state = value;
        value = behind(word, why_mark);
        if (value != NULL)
            backend->why = value;
        if (!read_count(word, held_mark, &backend->held))
            (void)read_count(word, closed_mark, &backend->closed);
    }
    return true;
}

/* Takes a field that is a backend's; copies its value to *text and moves that
 * behind it. */
static void read_field(const redisReply *field, const redisReply *value,
                       struct store_plane_beat *beat, char **text)
{
    struct store_plane_backend backend;

    if (beat->count == STORE_PLANE_BACKENDS_MAX || !is_text(field) ||
        !is_text(value) || field->len <= BACKEND_MARK_LEN ||
        memcmp(field->str, backend_mark, BACKEND_MARK_LEN) != 0)
        return;
    memcpy(*text, value->str, value->len + 1);
    if (!read_backend_value(*text, &backend))
        return;
    backend.id = field->str + BACKEND_MARK_LEN;
    beat->space[beat->count++] = backend;
    *text += value->len + 1;
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

/* Appends " <mark><text>" with '_' for each byte that is not visible, cut to
 * what has room. */
static size_t append_text(char *out, size_t len, const char *mark,
                          const char *text)
{
    const size_t room = STORE_PLANE_FIELD_MAX - len;

    if (text == NULL || text[0] == '\0' || strlen(mark) + 1 >= room)
        return len;
    const int mark_len = snprintf(out + len, room, " %s", mark);
    len += mark_len > 0 ? (size_t)mark_len : 0;
    for (; *text != '\0' && len < STORE_PLANE_FIELD_MAX - 1; text++)
        out[len++] = *text > 0x20 && *text < 0x7f ? *text : '_';
    out[len] = '\0';
    return len;
}

static size_t append_count(char *out, size_t len, const char *mark,
                           int64_t count)
{
    char text[STORE_NUMBER_TEXT_MAX];

    snprintf(text, sizeof(text), "%" PRId64, count);
    return append_text(out, len, mark, text);
}

/* Writes "field\nvalue\n"; false when others could not read it. */
static bool write_backend(const struct store_plane_backend *backend,
                          char out[FIELD_TEXT_MAX])
{
    const int64_t sessions = backend->sessions > 0 ? backend->sessions : 0;
    const size_t id_len = strlen(backend->id);
    const size_t address_len = strlen(backend->address);
    char value[STORE_PLANE_FIELD_MAX];

    if (id_len == 0 || id_len + BACKEND_MARK_LEN > STORE_PLANE_FIELD_MAX ||
        !store_plane_is_text(backend->id, id_len) ||
        !store_plane_is_text(backend->address, address_len) ||
        !is_address(backend->address, address_len))
        return false;
    int len = snprintf(value, sizeof(value), "%s %s%" PRId64, backend->address,
                       sessions_mark, sessions);
    if (len <= 0 || (size_t)len >= sizeof(value))
        return false;
    size_t end = append_text(value, (size_t)len, state_mark, backend->state);
    if (backend->state != NULL && backend->held >= 0) {
        end = append_count(value, end, held_mark, backend->held);
        end = append_count(value, end, closed_mark, backend->closed);
    }
    append_text(value, end, why_mark, backend->why);
    len = snprintf(out, FIELD_TEXT_MAX, "%s%s\n%s\n", backend_mark, backend->id,
                   value);
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

bool store_plane_copy(char *out, size_t size, const char *text)
{
    const int len = snprintf(out, size, "%s", text);

    return len >= 0 && (size_t)len < size;
}

/* ---- keys ---- */

void store_plane_gateway_key(const char *prefix, const char *id,
                             char out[STORE_PLANE_KEY_MAX])
{
    snprintf(out, STORE_PLANE_KEY_MAX, "%s:gateway:%s", prefix, id);
}

void store_plane_keys_write(const char *prefix, const char *id, bool is_cluster,
                            struct store_plane_keys *keys)
{
    store_plane_gateway_key(prefix, id, keys->own);
    snprintf(keys->set, sizeof(keys->set), "%s:gateways", prefix);
    snprintf(keys->admin, sizeof(keys->admin), "%s:admin", prefix);
    if (is_cluster)
        snprintf(keys->epoch, sizeof(keys->epoch), "%s:epoch:{%s:admin}",
                 prefix, prefix);
    else
        snprintf(keys->epoch, sizeof(keys->epoch), "%s:epoch", prefix);
}

void store_plane_keys_slots(const struct store_plane_keys *keys,
                            const struct store_client *client,
                            struct store_slots *slots)
{
    const char *shown_by[] = {keys->epoch, keys->own};
    struct store_slots shard;

    for (size_t i = 0; i < sizeof(shown_by) / sizeof(shown_by[0]); i++) {
        store_client_shard(
            client, store_slot_of(shown_by[i], strlen(shown_by[i])), &shard);
        store_slots_merge(slots, &shard);
    }
}

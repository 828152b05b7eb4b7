/* SPDX-License-Identifier: MIT */
/* Random calls of the cache against a plain list that does the same. */
#include "tests/unit/store_fixture.h"

#include "store/memory_private.h"
#include "store/siphash.h"

#include <stdlib.h>

enum { KEYS = 120, BOUND = 60, PART_COUNT = STORE_MEMORY_PARTS };

/* What the map should hold, expired entries that are not yet freed
 * included. */
struct model {
    bool is_there;
    unsigned backend;
    unsigned gateway; /* "gw-a" and on */
    unsigned client;  /* of `clients` */
    int64_t expires_ms;
    uint8_t mark;
    size_t part;
};

static struct model model[KEYS];
static unsigned seed;

static unsigned pick(unsigned end)
{
    seed = seed * 1103515245U + 12345U;
    return (seed >> 12) % end;
}

static struct store_key key_number(unsigned number)
{
    static char text[8];

    snprintf(text, sizeof(text), "key%u", number);
    return key_of(text);
}

static bool is_live(const struct model *entry)
{
    return entry->is_there && entry->expires_ms > clock_ms;
}

static size_t model_count(void)
{
    size_t total = 0;

    for (size_t i = 0; i < KEYS; i++)
        total += model[i].is_there;
    return total;
}

/* The entry of `part` that expires first; NULL when the part is empty. */
static struct model *first_of(size_t part)
{
    struct model *first = NULL;

    for (size_t i = 0; i < KEYS; i++) {
        struct model *entry = &model[i];

        if (entry->is_there && entry->part == part &&
            (first == NULL || entry->expires_ms < first->expires_ms))
            first = entry;
    }
    return first;
}

static void model_make_room(size_t part)
{
    struct model *first;

    for (size_t i = 0; i < PART_COUNT; i++) {
        first = first_of(i);
        if (first != NULL && !is_live(first)) {
            first->is_there = false;
            return;
        }
    }
    while ((first = first_of(part)) == NULL)
        part = (part + 1) % PART_COUNT;
    first->is_there = false;
}

/* A life that ends when nothing else does, so that an order is certain. */
static int64_t unique_life(void)
{
    int64_t life_ms = 1 + pick(400);

    for (size_t i = 0; i < KEYS; i++) {
        if (model[i].is_there && model[i].expires_ms == clock_ms + life_ms) {
            life_ms++;
            i = (size_t)-1;
        }
    }
    return life_ms;
}

static void model_set(unsigned number, struct model value)
{
    struct model *entry = &model[number];

    value.is_there = true;
    value.part = entry->part;
    if (!entry->is_there && model_count() == BOUND)
        model_make_room(entry->part);
    *entry = value;
    for (int i = 0; i < 2; i++) {
        struct model *first = first_of(entry->part);

        if (first != NULL && !is_live(first))
            first->is_there = false;
    }
}

static const char *const clients[] = {"", "203.0.113.1", "203.0.113.2",
                                      "203.0.113.23", "2001:db8::4"};

static struct store_record record_for(const struct model *value)
{
    char backend[] = {'n', (char)('0' + value->backend), '\0'};
    char gateway[] = {'g', 'w', '-', (char)('a' + value->gateway), '\0'};

    return with_client(with_gateway(record_of(backend), gateway),
                       clients[value->client]);
}

static void check_find(unsigned number)
{
    struct store_record got;
    struct store_record want = record_for(&model[number]);
    int64_t life_ms;
    bool is_found =
        store_memory_find(memory, key_number(number), &got, &life_ms);

    cr_assert_eq(is_found, is_live(&model[number]), "key%u", number);
    if (!is_found)
        return;
    cr_assert_arr_eq(&got, &want, sizeof(want));
    cr_assert_eq(life_ms, model[number].expires_ms - clock_ms);
}

static void check_counts(void)
{
    int backends[BACKENDS] = {0};
    int gateways[GATEWAYS] = {0};
    int addresses[CLIENTS] = {0};

    for (size_t i = 0; i < KEYS; i++) {
        if (!model[i].is_there)
            continue;
        backends[model[i].backend]++;
        gateways[(model[i].gateway + 1) % GATEWAYS]++;
        addresses[model[i].client]++;
    }
    cr_assert_eq(store_memory_count(memory), model_count());
    for (size_t i = 0; i < BACKENDS; i++)
        cr_assert_eq(counts[i], backends[i], "n%zu", i);
    for (size_t i = 0; i < GATEWAYS; i++)
        cr_assert_eq(gateway_counts[i], gateways[i], "gateway %zu", i);
    for (size_t i = 0; i < CLIENTS; i++)
        cr_assert_eq(client_counts[i], addresses[i], "client %zu", i);
}

static void check_walk(uint8_t mark)
{
    struct store_memory_walk walk = {0};
    struct store_memory_item items[5];
    bool is_met[KEYS] = {false};

    while (!walk.is_done) {
        size_t got = store_memory_collect(memory, &walk, mark, items, 5);

        for (size_t i = 0; i < got; i++) {
            unsigned long number;

            items[i].key[items[i].key_len] = '\0';
            number = strtoul(items[i].key + 3, NULL, 10);
            cr_assert_lt(number, KEYS);
            cr_assert_not(is_met[number], "key%lu twice", number);
            is_met[number] = true;
        }
    }
    for (unsigned i = 0; i < KEYS; i++)
        cr_assert_eq(is_met[i], is_live(&model[i]) && model[i].mark != mark,
                     "key%u", i);
}

static void turn_set(unsigned number, struct model value)
{
    struct store_record record = record_for(&value);
    int64_t life_ms = unique_life();

    value.expires_ms = clock_ms + life_ms;
    cr_assert(store_memory_set(memory, key_number(number), &record, life_ms,
                               value.mark));
    model_set(number, value);
}

/* As a store, the cache keeps a conflict and loses the mark. */
static void turn_put(unsigned number, struct model value)
{
    struct store_record record = record_for(&value);
    int64_t life_ms = unique_life();
    bool is_conflict =
        is_live(&model[number]) && model[number].backend != value.backend;

    value.expires_ms = clock_ms + life_ms;
    value.mark = 0;
    store_put(store, &request, key_number(number), &record, NULL, life_ms);
    cr_assert_eq(result.status, is_conflict ? STORE_CONFLICT : STORE_OK);
    if (!is_conflict)
        model_set(number, value);
}

static void turn_renew(unsigned number, const struct model *value)
{
    struct store_record record = record_for(value);
    struct model *entry = &model[number];
    int64_t life_ms = unique_life();
    bool is_renewed = is_live(entry) && entry->backend == value->backend;

    if (pick(4) == 0)
        memset(record.gateway, 0, sizeof(record.gateway));
    cr_assert_eq(
        store_memory_renew(memory, key_number(number), &record, life_ms),
        is_renewed);
    if (!is_renewed)
        return;
    entry->expires_ms = clock_ms + life_ms;
    if (record.gateway[0] != '\0')
        entry->gateway = value->gateway;
}

static void turn_drop(unsigned number, const struct model *value)
{
    struct store_record record = record_for(value);
    bool is_any = pick(2) == 0;
    bool is_dropped = is_live(&model[number]) &&
                      (is_any || model[number].backend == value->backend);

    cr_assert_eq(store_memory_drop(memory, key_number(number),
                                   is_any ? NULL : record.backend),
                 is_dropped);
    if (is_dropped)
        model[number].is_there = false;
}

static void turn_expire(void)
{
    size_t freed = 0;

    for (size_t i = 0; i < KEYS; i++) {
        freed += model[i].is_there && !is_live(&model[i]);
        model[i].is_there = is_live(&model[i]);
    }
    cr_assert_eq(store_memory_expire(memory), freed);
}

static void one_turn(void)
{
    unsigned number = pick(KEYS);
    struct model value = {.backend = pick(BACKENDS),
                          .gateway = pick(5),
                          .client = pick(5),
                          .mark = (uint8_t)pick(3)};

    switch (pick(16)) {
    case 0:
    case 1:
        turn_renew(number, &value);
        break;
    case 2:
        turn_drop(number, &value);
        break;
    case 3:
        turn_put(number, value);
        break;
    case 4:
        store_memory_mark(memory, key_number(number), value.mark);
        if (is_live(&model[number]))
            model[number].mark = value.mark;
        break;
    case 5:
        check_walk(value.mark);
        break;
    case 6:
        clock_ms += pick(30);
        break;
    case 7:
        if (pick(10) == 0)
            turn_expire();
        break;
    case 8:
        check_find(number);
        break;
    default:
        turn_set(number, value);
    }
}

Test(store_cache_model, random_calls)
{
    for (unsigned round = 1; round <= 20; round++) {
        seed = round;
        open_map(BOUND, true);
        memset(model, 0, sizeof(model));
        for (unsigned i = 0; i < KEYS; i++) {
            struct store_key key = key_number(i);

            model[i].part =
                store_siphash(memory->hash_key, key.ptr, key.len) >> 58;
        }
        for (int i = 0; i < 3000; i++) {
            one_turn();
            check_counts();
        }
        for (unsigned i = 0; i < KEYS; i++)
            check_find(i);
        close_store();
    }
}

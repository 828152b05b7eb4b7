/* SPDX-License-Identifier: MIT */
/* The embedded store call by call, in tables. */
#include "tests/unit/store_fixture.h"

#define DAY_MS ((int64_t)24 * 3600 * 1000)

/* A case is a list of calls, each with what it must give. */
enum op { END, PUT, GET, TOUCH, REMOVE, WAIT, EXPIRE };

struct step {
    enum op op;
    const char *key;
    const char *backend;
    const char *replaces;
    int64_t ms; /* life, or how long to wait */
    enum store_status status;
    const char *owner; /* the backend of the record given; NULL: no record */
    int64_t life_ms;   /* given with it */
    size_t freed;      /* by EXPIRE */
};

struct script {
    const char *name;
    size_t max_entries;
    struct step steps[12];
    size_t count;           /* entries at the end */
    int backends[BACKENDS]; /* sessions by backend at the end */
};

#define GIVES(who, left) .owner = (who), .life_ms = (left)

static const struct script scripts[] = {
    {"absent",
     8,
     {{GET, "a", .status = STORE_NOT_FOUND},
      {TOUCH, "a", "n1", .ms = 10, .status = STORE_NOT_FOUND},
      {REMOVE, "a", "n1", .status = STORE_NOT_FOUND}},
     .count = 0},
    {"put if free",
     8,
     {{PUT, "a", "n1", .ms = 100},
      {GET, "a", GIVES("n1", 100)},
      {GET, "b", .status = STORE_NOT_FOUND}},
     .count = 1,
     .backends = {0, 1}},
    {"conflict tells the owner and its life",
     8,
     {{PUT, "a", "n1", .ms = 100},
      {WAIT, .ms = 30},
      {PUT, "a", "n2", .ms = 100, .status = STORE_CONFLICT, GIVES("n1", 70)},
      {PUT, "a", "n2", .replaces = "n3", .ms = 100, .status = STORE_CONFLICT,
       GIVES("n1", 70)},
      {GET, "a", GIVES("n1", 70)}},
     .count = 1,
     .backends = {0, 1}},
    {"the same backend refreshes",
     8,
     {{PUT, "a", "n1", .ms = 100},
      {WAIT, .ms = 30},
      {PUT, "a", "n1", .ms = 100},
      {GET, "a", GIVES("n1", 100)}},
     .count = 1,
     .backends = {0, 1}},
    {"replaces the backend that is named",
     8,
     {{PUT, "a", "n1", .ms = 100},
      {PUT, "a", "n2", .replaces = "n1", .ms = 50},
      {GET, "a", GIVES("n2", 50)},
      {PUT, "a", "n1", .replaces = "n1", .ms = 50, .status = STORE_CONFLICT,
       GIVES("n2", 50)},
      {PUT, "b", "n3", .replaces = "n1", .ms = 50}},
     .count = 2,
     .backends = {0, 0, 1, 1}},
    {"touch is for the owner",
     8,
     {{PUT, "a", "n1", .ms = 100},
      {WAIT, .ms = 60},
      {TOUCH, "a", "n2", .ms = 500, .status = STORE_CONFLICT, GIVES("n1", 40)},
      {TOUCH, "a", "n1", .ms = 200},
      {WAIT, .ms = 100},
      {GET, "a", GIVES("n1", 100)},
      {TOUCH, "a", "n1", .ms = 5},
      {GET, "a", GIVES("n1", 5)},
      {WAIT, .ms = 5},
      {TOUCH, "a", "n1", .ms = 5, .status = STORE_NOT_FOUND}},
     .count = 1,
     .backends = {0, 1}},
    {"remove is for the owner",
     8,
     {{PUT, "a", "n1", .ms = 100},
      {REMOVE, "a", "n2", .status = STORE_CONFLICT, GIVES("n1", 100)},
      {REMOVE, "a", "n1", .status = STORE_OK},
      {REMOVE, "a", "n1", .status = STORE_NOT_FOUND},
      {GET, "a", .status = STORE_NOT_FOUND}},
     .count = 0},
    {"expired is absent",
     8,
     {{PUT, "a", "n1", .ms = 100},
      {WAIT, .ms = 99},
      {GET, "a", GIVES("n1", 1)},
      {WAIT, .ms = 1},
      {GET, "a", .status = STORE_NOT_FOUND},
      {REMOVE, "a", "n1", .status = STORE_NOT_FOUND},
      {EXPIRE, .freed = 1},
      {EXPIRE, .freed = 0}},
     .count = 0},
    {"expired is free for another backend",
     8,
     {{PUT, "a", "n1", .ms = 100},
      {WAIT, .ms = 100},
      {PUT, "a", "n2", .ms = 100},
      {GET, "a", GIVES("n2", 100)},
      {EXPIRE, .freed = 0}},
     .count = 1,
     .backends = {0, 0, 1}},
    {"the bound",
     2,
     {{PUT, "a", "n1", .ms = 100},
      {PUT, "b", "n1", .ms = 200},
      {PUT, "c", "n1", .ms = 100, .status = STORE_FULL},
      {PUT, "a", "n1", .ms = 100},
      {PUT, "a", "n2", .ms = 100, .status = STORE_CONFLICT, GIVES("n1", 100)},
      {PUT, "a", "n2", .replaces = "n1", .ms = 100},
      {REMOVE, "b", "n1", .status = STORE_OK},
      {PUT, "c", "n3", .ms = 100},
      {PUT, "d", "n1", .ms = 100, .status = STORE_FULL}},
     .count = 2,
     .backends = {0, 0, 1, 1}},
    {"at the bound expired entries give way",
     2,
     {{PUT, "a", "n1", .ms = 100},
      {PUT, "b", "n2", .ms = 200},
      {WAIT, .ms = 100},
      {PUT, "c", "n3", .ms = 200},
      {PUT, "d", "n3", .ms = 200, .status = STORE_FULL},
      {GET, "b", GIVES("n2", 100)},
      {GET, "c", GIVES("n3", 200)}},
     .count = 2,
     .backends = {0, 0, 1, 1}},
    {"an expired key at the bound takes its own place",
     1,
     {{PUT, "a", "n1", .ms = 100},
      {WAIT, .ms = 100},
      {PUT, "a", "n2", .ms = 100},
      {PUT, "b", "n2", .ms = 100, .status = STORE_FULL}},
     .count = 1,
     .backends = {0, 0, 1}},
    {"life is clamped",
     8,
     {{PUT, "a", "n1", .ms = 0},
      {GET, "a", GIVES("n1", 1)},
      {PUT, "b", "n1", .ms = -5},
      {GET, "b", GIVES("n1", 1)},
      {PUT, "c", "n1", .ms = INT64_MAX},
      {GET, "c", GIVES("n1", 30 * DAY_MS)},
      {TOUCH, "a", "n1", .ms = INT64_MAX},
      {GET, "a", GIVES("n1", 30 * DAY_MS)}},
     .count = 3,
     .backends = {0, 3}},
};

static void call(const struct step *step)
{
    struct store_key key = {step->key, step->key ? strlen(step->key) : 0};
    struct store_record record =
        record_of(step->backend != NULL ? step->backend : "");

    result = (struct result){0};
    switch (step->op) {
    case PUT:
        store_put(store, &request, key, &record, step->replaces, step->ms);
        break;
    case GET:
        store_get(store, &request, key);
        break;
    case TOUCH:
        store_touch(store, &request, key, &record, step->ms);
        break;
    case REMOVE:
        store_remove(store, &request, key, step->backend, NULL);
        break;
    case WAIT:
        clock_ms += step->ms;
        break;
    case EXPIRE:
        cr_expect_eq(store_memory_expire(memory), step->freed);
        break;
    case END:
        break;
    }
}

static void play(const struct script *script)
{
    open_store(script->max_entries);
    for (size_t i = 0; i < 12 && script->steps[i].op != END; i++) {
        const struct step *step = &script->steps[i];

        call(step);
        if (step->op == WAIT || step->op == EXPIRE)
            continue;
        cr_expect_eq(result.calls, 1, "%s, step %zu", script->name, i);
        cr_expect_eq(result.status, step->status, "%s, step %zu: %s",
                     script->name, i, store_status_text(result.status));
        cr_expect_eq(result.has_record, step->owner != NULL, "%s, step %zu",
                     script->name, i);
        if (step->owner == NULL)
            continue;
        cr_expect_str_eq(result.record.backend, step->owner, "%s, step %zu",
                         script->name, i);
        cr_expect_eq(result.life_ms, step->life_ms, "%s, step %zu: %ld",
                     script->name, i, (long)result.life_ms);
    }
    cr_expect_eq(store_memory_count(memory), script->count, "%s: %zu",
                 script->name, store_memory_count(memory));
    for (size_t i = 0; i < BACKENDS; i++)
        cr_expect_eq(counts[i], script->backends[i], "%s, n%zu: %d",
                     script->name, i, counts[i]);
    close_store();
}

Test(store_memory, scripts)
{
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
        play(&scripts[i]);
}

Test(store, status_texts)
{
    cr_expect_str_eq(store_status_text(STORE_OK), "ok");
    cr_expect_str_eq(store_status_text(STORE_NOT_FOUND), "not found");
    cr_expect_str_eq(store_status_text(STORE_CONFLICT),
                     "bound to another backend");
    cr_expect_str_eq(store_status_text(STORE_UNAVAILABLE), "unavailable");
    cr_expect_str_eq(store_status_text(STORE_FULL), "full");
}

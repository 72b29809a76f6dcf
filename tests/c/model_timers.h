/* tests/c/model_timers.h -- the timing wheel against a list that is searched for its least.
 *
 * Timers are set, cleared and made to expire as draw() says, which is whoever includes this file's; when they
 * fire they set and clear others.
 */
#ifndef IORA_TESTS_MODEL_TIMERS_H
#define IORA_TESTS_MODEL_TIMERS_H

#include "test.h"

#include "core/timers.h"

/* A number, all of whose bits may be anything. */
static uint64_t draw(void);

struct entry {
    struct iora__timer timer;
    int64_t due_ns;
    int order; /* in which they were set */
    bool live;
};

enum { MODEL_TIMERS = 48 };

static struct {
    struct iora__timers wheel;
    struct entry entries[MODEL_TIMERS];
    int64_t now_ns;
    int orders;
    int fired;
    uint64_t seed;
} model;

#define CHECK_MODEL(condition)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            test_fail(__FILE__, __LINE__, "seed %llu: %s", (unsigned long long)model.seed,         \
                      #condition);                                                                 \
    } while (0)

static struct entry *
model_first(void)
{
    struct entry *first = NULL;

    for (int i = 0; i < MODEL_TIMERS; i++) {
        struct entry *const entry = &model.entries[i];

        if (entry->live && (first == NULL || entry->due_ns < first->due_ns ||
                            (entry->due_ns == first->due_ns && entry->order < first->order)))
            first = entry;
    }
    return first;
}

/* Some way off, near or far, before or at the time reached, and often at the same instants. */
static int64_t
draw_deadline(void)
{
    const int bits = (int)(draw() % 45);
    const int64_t distance_ns = (int64_t)(draw() & ((UINT64_C(1) << bits) - 1));

    switch (draw() % 8) {
    case 0:
        return model.wheel.reached_ns - distance_ns;
    case 1:
        return model.wheel.reached_ns;
    case 2:
        return (model.wheel.reached_ns | 0xfffff) + 1;
    case 3:
        return INT64_MAX - 1 - (int64_t)(draw() % 3);
    default:
        return model.wheel.reached_ns + distance_ns;
    }
}

static void
model_set(struct entry *entry)
{
    const int64_t deadline_ns = draw_deadline();

    iora__timer_clear(&model.wheel, &entry->timer);
    iora__timer_set(&model.wheel, &entry->timer, deadline_ns);
    entry->due_ns = deadline_ns > model.wheel.reached_ns ? deadline_ns : model.wheel.reached_ns;
    entry->order = model.orders++;
    entry->live = true;
}

static void
model_clear(struct entry *entry)
{
    iora__timer_clear(&model.wheel, &entry->timer);
    entry->live = false;
}

static void
model_fire(struct iora__timer *timer)
{
    struct entry *const entry = iora__container_of(timer, struct entry, timer);

    CHECK_MODEL(entry == model_first());
    CHECK_MODEL(entry->due_ns <= model.now_ns);
    CHECK_MODEL(!iora__timer_is_set(timer));
    entry->live = false;
    model.fired++;
    if (draw() % 4 == 0)
        model_set(&model.entries[draw() % MODEL_TIMERS]);
    if (draw() % 4 == 0)
        model_clear(&model.entries[draw() % MODEL_TIMERS]);
}

/* Invariant 4 of timers.c, the count, and what next() promises. */
static void
check_wheel(void)
{
    const struct entry *const first = model_first();
    size_t count = 0;

    for (int i = 0; i < MODEL_TIMERS; i++) {
        count += model.entries[i].live;
        CHECK_MODEL(iora__timer_is_set(&model.entries[i].timer) == model.entries[i].live);
    }
    CHECK_MODEL(model.wheel.count == count);
    for (int level = 0; level < IORA__WHEEL_LEVELS; level++) {
        CHECK_MODEL((model.wheel.occupied[level] != 0) ==
                    (model.wheel.occupied_levels >> level & 1));
        for (int slot = 0; slot < IORA__WHEEL_SLOTS; slot++)
            CHECK_MODEL((model.wheel.occupied[level] >> slot & 1) !=
                        iora__list_is_empty(&model.wheel.slots[level][slot]));
    }
    if (first == NULL)
        CHECK_MODEL(iora__timers_next(&model.wheel) == INT64_MAX);
    else
        CHECK_MODEL(iora__timers_next(&model.wheel) <= first->due_ns);
}

/* Go where next() says until one has fired: a cascade a level at most. */
static void
go_to_the_first(void)
{
    const int fired = model.fired;

    for (int steps = 0; model.wheel.count > 0 && model.fired == fired; steps++) {
        const int64_t next_ns = iora__timers_next(&model.wheel);

        CHECK_MODEL(steps <= IORA__WHEEL_LEVELS);
        if (next_ns > model.now_ns)
            model.now_ns = next_ns;
        iora__timers_expire(&model.wheel, model.now_ns);
    }
}

static void
step(void)
{
    const uint64_t what = draw() % 16;
    struct entry *const entry = &model.entries[draw() % MODEL_TIMERS];

    if (what < 8) {
        model_set(entry);
    } else if (what < 11) {
        model_clear(entry);
    } else if (what < 15 || model.now_ns > INT64_MAX / 2) {
        if (model.now_ns < INT64_MAX / 2)
            model.now_ns += (int64_t)(draw() & ((UINT64_C(1) << draw() % 40) - 1));
        iora__timers_expire(&model.wheel, model.now_ns);
        CHECK_MODEL(model_first() == NULL || model_first()->due_ns > model.now_ns);
    } else {
        const struct entry *const first = model_first();

        if (first != NULL && first->due_ns < INT64_MAX / 2)
            go_to_the_first();
    }
}

/* Begin at an instant below INT64_MAX / 4. */
static void
begin_model(int64_t now_ns)
{
    memset(model.entries, 0, sizeof model.entries);
    for (int i = 0; i < MODEL_TIMERS; i++)
        model.entries[i].timer._fire = model_fire;
    model.now_ns = now_ns;
    iora__timers_init(&model.wheel, model.now_ns);
}

#endif

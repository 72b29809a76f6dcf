/* core/timers.c -- a hierarchical timing wheel with a resolution of one nanosecond.
 *
 * Words. The wheel has 11 *levels* of 64 *slots*. The wheel has *reached* a time; a deadline is
 * compared with that time in groups of six bits, and the highest group in which the two differ is
 * the timer's level, the deadline's own bits there its slot. A slot of level 0 is one nanosecond, one
 * of level 1 is 64, one of level 5 about a second.
 *
 *     set:    one xor, one count of leading zeros, one insertion at a slot's tail
 *     clear:  one removal
 *     expire: the first occupied slot of the lowest occupied level is the earliest of all; the wheel
 *             moves on to that slot's start, and its timers go to lower levels (*cascade*) or, at
 *             level 0, fire
 *
 * Invariants:
 * (1) A timer's level is right for the time reached: below it no slot of its level is reached.
 *     Moving on without passing the start of an occupied slot keeps that true of all timers.
 * (2) Timers fire in the order of their deadlines, and those with the same deadline in the order they
 *     were set: by (1) equal deadlines are always in the same slot, and slots and cascades are FIFO.
 *     A deadline before the time reached counts as that time.
 * (3) Nothing fires early: a slot of level 0 holds exactly one deadline.
 * (4) A bit of `occupied` is set iff its slot is not empty, a bit of `occupied_levels` iff one of its
 *     level's slots is.
 *
 * What it costs: a timer cascades at most once per level below its own, a few ns each. In exchange
 * setting allocates nothing and cannot fail, and clearing a random one of a million touches three
 * cache lines.
 *
 * Rejected: a 4-ary heap (as fast, docs/design/timers.md has both; but its array must grow, so that
 * sleeping could fail for want of memory); a pairing heap (no array, but one pop after a million insertions merges them all).
 * Cf. Varghese and Lauck 1987; tokio's time driver, which stops at a millisecond.
 */
#include "core/timers.h"

/* How many timers of one slot are looked at to find the first deadline among them. Beyond, the
 * slot's start is answered: the loop then wakes once to cascade it. */
enum { SCAN_MAX = 32 };

void
iora__timers_init(struct iora__timers *timers, int64_t now_ns)
{
    timers->reached_ns = now_ns;
    timers->count = 0;
    timers->occupied_levels = 0;
    for (int level = 0; level < IORA__WHEEL_LEVELS; level++) {
        timers->occupied[level] = 0;
        for (int slot = 0; slot < IORA__WHEEL_SLOTS; slot++)
            iora__list_init(&timers->slots[level][slot]);
    }
}

static int
level_of(int64_t reached_ns, int64_t deadline_ns)
{
    const uint64_t differing = (uint64_t)(reached_ns ^ deadline_ns) | (IORA__WHEEL_SLOTS - 1);

    return (63 - __builtin_clzll(differing)) / IORA__WHEEL_BITS;
}

static void
insert(struct iora__timers *timers, struct iora__timer *timer)
{
    const int64_t deadline_ns =
        timer->_deadline_ns > timers->reached_ns ? timer->_deadline_ns : timers->reached_ns;
    const int level = level_of(timers->reached_ns, deadline_ns);
    const int slot = (int)(deadline_ns >> (level * IORA__WHEEL_BITS)) & (IORA__WHEEL_SLOTS - 1);

    iora__list_push_tail(&timers->slots[level][slot], &timer->_link);
    timers->occupied[level] |= UINT64_C(1) << slot;
    timers->occupied_levels |= 1u << level;
}

static void
mark_empty(struct iora__timers *timers, int level, int slot)
{
    timers->occupied[level] &= ~(UINT64_C(1) << slot);
    if (timers->occupied[level] == 0)
        timers->occupied_levels &= ~(1u << level);
}

void
iora__timer_set(struct iora__timers *timers, struct iora__timer *timer, int64_t deadline_ns)
{
    timer->_deadline_ns = deadline_ns;
    timers->count++;
    insert(timers, timer);
}

void
iora__timer_clear(struct iora__timers *timers, struct iora__timer *timer)
{
    struct iora__link *const next = timer->_link._next;

    if (next == NULL)
        return;
    timers->count--;
    iora__list_remove(&timer->_link);
    /* The last of its slot leaves the head pointing to itself; only a head is in the table. A timer
     * that is about to fire is linked in no slot, and its neighbour is not in the table either. */
    const size_t offset = (uintptr_t)next - (uintptr_t)timers->slots;
    if (iora__list_is_empty(next) && offset < sizeof timers->slots) {
        const size_t index = offset / sizeof(struct iora__link);

        mark_empty(timers, (int)(index / IORA__WHEEL_SLOTS), (int)(index % IORA__WHEEL_SLOTS));
    }
}

void
iora__timers_clear_all(struct iora__timers *timers, void (*fire)(struct iora__timer *))
{
    for (int i = 0; i < IORA__WHEEL_LEVELS * IORA__WHEEL_SLOTS; i++) {
        const struct iora__link *const head =
            &timers->slots[i / IORA__WHEEL_SLOTS][i % IORA__WHEEL_SLOTS];
        struct iora__link *at = head->_next;

        while (at != head) {
            struct iora__timer *const timer = iora__container_of(at, struct iora__timer, _link);

            at = at->_next;
            if (timer->_fire == fire)
                iora__timer_clear(timers, timer);
        }
    }
}

/* The earliest occupied slot; false if there is none. */
static bool
find_first(const struct iora__timers *timers, int *level, int *slot, int64_t *start_ns)
{
    if (timers->occupied_levels == 0)
        return false;
    *level = __builtin_ctz(timers->occupied_levels);
    *slot = __builtin_ctzll(timers->occupied[*level]);

    const int shift = *level * IORA__WHEEL_BITS;
    const int shift_above = shift + IORA__WHEEL_BITS;
    const uint64_t above = shift_above >= 64 ? 0
                                             : (uint64_t)timers->reached_ns >> shift_above
                                                                                   << shift_above;
    *start_ns = (int64_t)(above | (uint64_t)*slot << shift);
    return true;
}

int64_t
iora__timers_next(const struct iora__timers *timers)
{
    int level, slot, scanned = 0;
    int64_t start_ns, first_ns = INT64_MAX;

    if (!find_first(timers, &level, &slot, &start_ns))
        return INT64_MAX;
    if (level == 0)
        return start_ns;

    const struct iora__link *const head = &timers->slots[level][slot];
    for (const struct iora__link *at = head->_next; at != head; at = at->_next) {
        const int64_t deadline_ns =
            iora__container_of(at, const struct iora__timer, _link)->_deadline_ns;

        if (++scanned > SCAN_MAX)
            return start_ns;
        if (deadline_ns < first_ns)
            first_ns = deadline_ns;
    }
    return first_ns;
}

/* Fire all of the list, which is linked to no slot any more. */
static void
fire_all(struct iora__timers *timers, struct iora__link *due)
{
    struct iora__link *link;

    while ((link = iora__list_pop(due)) != NULL) {
        struct iora__timer *const timer = iora__container_of(link, struct iora__timer, _link);

        timers->count--;
        timer->_fire(timer);
    }
}

void
iora__timers_expire(struct iora__timers *timers, int64_t now_ns)
{
    int level, slot;
    int64_t start_ns;

    while (find_first(timers, &level, &slot, &start_ns) && start_ns <= now_ns) {
        struct iora__link taken, *link;

        timers->reached_ns = start_ns;
        iora__list_take_all(&timers->slots[level][slot], &taken);
        mark_empty(timers, level, slot);
        if (level == 0) {
            fire_all(timers, &taken);
        } else {
            while ((link = iora__list_pop(&taken)) != NULL)
                insert(timers, iora__container_of(link, struct iora__timer, _link));
        }
    }
    if (now_ns > timers->reached_ns)
        timers->reached_ns = now_ns;
}

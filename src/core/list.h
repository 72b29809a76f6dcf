/* core/list.h -- the intrusive doubly linked ring.
 *
 * A ring is a head that is not an element; an empty ring's head points to itself. An element that is
 * in no ring is all zero, so that memory a user zeroed is ready for use and "is it linked?" is one
 * load. Removing needs no head.
 */
#ifndef IORA_CORE_LIST_H
#define IORA_CORE_LIST_H

#include <iora/base.h>

#define iora__container_of(pointer, type, member)                                                  \
    ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* What is so though it cannot be seen from here: told the analyzers (tests/analyze), and nobody else. */
#if defined(IORA_ANALYZE)
#define IORA__KNOWN(condition) ((condition) ? (void)0 : __builtin_trap())
#else
#define IORA__KNOWN(condition) ((void)sizeof(condition))
#endif

static inline void
iora__list_init(struct iora__link *head)
{
    head->_next = head;
    head->_prev = head;
}

static inline bool
iora__list_is_empty(const struct iora__link *head)
{
    return head->_next == head;
}

static inline bool
iora__link_is_linked(const struct iora__link *link)
{
    return link->_next != NULL;
}

static inline void
iora__list_insert_before(struct iora__link *at, struct iora__link *link)
{
    struct iora__link *const prev = at->_prev;

    link->_next = at;
    link->_prev = prev;
    prev->_next = link;
    at->_prev = link;
}

static inline void
iora__list_push_tail(struct iora__link *head, struct iora__link *link)
{
    iora__list_insert_before(head, link);
}

/* Take an element out of whatever ring it is in; it is unlinked afterwards. */
static inline void
iora__list_remove(struct iora__link *link)
{
    struct iora__link *const next = link->_next;
    struct iora__link *const prev = link->_prev;

    prev->_next = next;
    next->_prev = prev;
    link->_next = NULL;
}

/* Remove if linked. */
static inline void
iora__list_discard(struct iora__link *link)
{
    if (iora__link_is_linked(link))
        iora__list_remove(link);
}

/* Remove an element that is known to be the first: its predecessor need not be loaded to find out whose
 * link to change, which is what a switch between tasks waits for. */
static inline void
iora__list_remove_first(struct iora__link *head, struct iora__link *first)
{
    struct iora__link *const second = first->_next;

    head->_next = second;
    second->_prev = head;
    first->_next = NULL;
}

/* The first element, removed; NULL from an empty ring. */
static inline struct iora__link *
iora__list_pop(struct iora__link *head)
{
    struct iora__link *const first = head->_next;

    if (first == head)
        return NULL;
    iora__list_remove_first(head, first);
    return first;
}

/* Move all of `from` to the (empty) head `to`, in order. */
static inline void
iora__list_take_all(struct iora__link *from, struct iora__link *to)
{
    iora__list_init(to);
    if (iora__list_is_empty(from))
        return;
    to->_next = from->_next;
    to->_prev = from->_prev;
    to->_next->_prev = to;
    to->_prev->_next = to;
    iora__list_init(from);
}

#endif

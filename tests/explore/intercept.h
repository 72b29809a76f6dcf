/* explore/intercept.h -- what the library does between threads, handed to the explorer.
 *
 * The build puts this before every file of src/ but those of sys/ (gcc's -include), so that the library's sources
 * are explored as they stand. Atomic operations are caught where <stdatomic.h> comes down to the compiler's own
 * functions; a macro does not expand within itself, so the operation itself is still done. Mutexes, threads and
 * the calls that wait are replaced.
 *
 * There is a *point* before each operation, where another thread may go on. There is another one behind those that
 * other threads can see: from then on they may free what this one still touches.
 */
#ifndef IORA_EXPLORE_INTERCEPT_H
#define IORA_EXPLORE_INTERCEPT_H

#include "kernel.h"

/* ---- atomics ---------------------------------------------------------------------------------------- */

#define EXPLORE_BEFORE(what) explore__before(what, __FILE__, __LINE__)
#define EXPLORE_VOID(what, operation)                                                              \
    __extension__({                                                                                \
        EXPLORE_BEFORE(what);                                                                      \
        operation;                                                                                 \
        explore__after();                                                                          \
    })
#define EXPLORE_VALUE(what, operation)                                                             \
    __extension__({                                                                                \
        EXPLORE_BEFORE(what);                                                                      \
        __auto_type explore_value = operation;                                                     \
        explore__after();                                                                          \
        explore_value;                                                                             \
    })

#define __atomic_load(...) (EXPLORE_BEFORE("load"), __atomic_load(__VA_ARGS__))
#define __atomic_load_n(...) (EXPLORE_BEFORE("load"), __atomic_load_n(__VA_ARGS__))
#define __atomic_store(...) EXPLORE_VOID("store", __atomic_store(__VA_ARGS__))
#define __atomic_store_n(...) EXPLORE_VOID("store", __atomic_store_n(__VA_ARGS__))
#define __atomic_exchange(...) EXPLORE_VOID("exchange", __atomic_exchange(__VA_ARGS__))
#define __atomic_exchange_n(...) EXPLORE_VALUE("exchange", __atomic_exchange_n(__VA_ARGS__))
#define __atomic_compare_exchange(...)                                                             \
    EXPLORE_VALUE("compare-exchange", __atomic_compare_exchange(__VA_ARGS__))
#define __atomic_compare_exchange_n(...)                                                           \
    EXPLORE_VALUE("compare-exchange", __atomic_compare_exchange_n(__VA_ARGS__))
#define __atomic_fetch_add(...) EXPLORE_VALUE("add", __atomic_fetch_add(__VA_ARGS__))
#define __atomic_fetch_sub(...) EXPLORE_VALUE("subtract", __atomic_fetch_sub(__VA_ARGS__))
#define __atomic_fetch_or(...) EXPLORE_VALUE("or", __atomic_fetch_or(__VA_ARGS__))
#define __atomic_fetch_and(...) EXPLORE_VALUE("and", __atomic_fetch_and(__VA_ARGS__))

/* clang's names for the same. */
#define __c11_atomic_load(...) (EXPLORE_BEFORE("load"), __c11_atomic_load(__VA_ARGS__))
#define __c11_atomic_store(...) EXPLORE_VOID("store", __c11_atomic_store(__VA_ARGS__))
#define __c11_atomic_exchange(...) EXPLORE_VALUE("exchange", __c11_atomic_exchange(__VA_ARGS__))
#define __c11_atomic_compare_exchange_strong(...)                                                  \
    EXPLORE_VALUE("compare-exchange", __c11_atomic_compare_exchange_strong(__VA_ARGS__))
#define __c11_atomic_compare_exchange_weak(...)                                                    \
    EXPLORE_VALUE("compare-exchange", __c11_atomic_compare_exchange_weak(__VA_ARGS__))
#define __c11_atomic_fetch_add(...) EXPLORE_VALUE("add", __c11_atomic_fetch_add(__VA_ARGS__))
#define __c11_atomic_fetch_sub(...) EXPLORE_VALUE("subtract", __c11_atomic_fetch_sub(__VA_ARGS__))
#define __c11_atomic_fetch_or(...) EXPLORE_VALUE("or", __c11_atomic_fetch_or(__VA_ARGS__))
#define __c11_atomic_fetch_and(...) EXPLORE_VALUE("and", __c11_atomic_fetch_and(__VA_ARGS__))

/* ---- threads and what they wait for (kernel.c) ------------------------------------------------------- */

#define pthread_mutex_lock(mutex) (EXPLORE_BEFORE("lock"), explore__mutex_lock(mutex))
#define pthread_mutex_trylock(mutex) (EXPLORE_BEFORE("try to lock"), explore__mutex_trylock(mutex))
#define pthread_mutex_unlock(mutex) EXPLORE_VALUE("unlock", explore__mutex_unlock(mutex))
#define pthread_mutex_destroy(mutex) (EXPLORE_BEFORE("destroy"), explore__mutex_destroy(mutex))
#define pthread_self() explore__thread_self()

#define iora__sys_thread_start(...) EXPLORE_VALUE("start", explore__thread_start(__VA_ARGS__))
#define iora__sys_thread_join(...) (EXPLORE_BEFORE("join"), explore__thread_join(__VA_ARGS__))
#define iora__sys_thread_detach explore__thread_detach
#define iora__sys_thread_set_name explore__thread_set_name
#define iora__sys_processors explore__processors
#define iora__sys_futex_wait(...)                                                                  \
    (EXPLORE_BEFORE("futex wait"), explore__futex_wait(__VA_ARGS__))
#define iora__sys_futex_wake(...) EXPLORE_VOID("futex wake", explore__futex_wake(__VA_ARGS__))
#define iora__sys_relax explore__relax
#define iora__sys_give_way explore__give_way
#define iora__sys_clock_ns explore__clock_ns
#define iora__sys_epoll_wait(...)                                                                  \
    (EXPLORE_BEFORE("epoll wait"), explore__epoll_wait(__VA_ARGS__))
#define iora__sys_eventfd_signal(...)                                                              \
    EXPLORE_VALUE("eventfd signal", explore__eventfd_signal(__VA_ARGS__))
#define iora__sys_sigaction(...) EXPLORE_VALUE("sigaction", explore__sigaction(__VA_ARGS__))
#define iora__sys_block_signals(...)                                                               \
    (EXPLORE_BEFORE("block signals"), explore__block_signals(__VA_ARGS__))
#define iora__sys_restore_signals explore__restore_signals
#define iora__sys_at_fork explore__at_fork

#endif

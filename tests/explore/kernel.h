/* explore/kernel.h -- what stands in the place of mutexes, threads and calls that wait (theory in kernel.c).
 *
 * Each does what the call of its name does (pthread.h, sys/sys.h, sys/thread.h).
 */
#ifndef IORA_EXPLORE_KERNEL_H
#define IORA_EXPLORE_KERNEL_H

#include "sys/sys.h"
#include "sys/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* A point before an operation, and one behind an operation that others can see (schedule.c). */
void explore__before(const char *what, const char *file, int line);
void explore__after(void);

int explore__mutex_lock(pthread_mutex_t *mutex);
int explore__mutex_trylock(pthread_mutex_t *mutex);
int explore__mutex_unlock(pthread_mutex_t *mutex);
int explore__mutex_destroy(pthread_mutex_t *mutex);
pthread_t explore__thread_self(void);
int explore__thread_start(pthread_t *out, size_t stack_size, void *(*fn)(void *), void *arg);
void explore__thread_join(pthread_t thread);
void explore__thread_detach(pthread_t thread);
void explore__thread_set_name(const char *name);
unsigned explore__processors(void);
int explore__futex_wait(atomic_int *word, int expected, int64_t timeout_ns);
void explore__futex_wake(atomic_int *word);
void explore__relax(void);
void explore__give_way(void);
int64_t explore__clock_ns(void);
int explore__epoll_wait(int epoll, struct epoll_event *events, int max, int64_t timeout_ns);
int explore__eventfd_signal(int fd);
int explore__sigaction(int number, const struct sigaction *action, struct sigaction *old);
void explore__block_signals(sigset_t *before);
void explore__restore_signals(const sigset_t *before);
int explore__at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void));

#endif

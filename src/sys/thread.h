/* sys/thread.h -- threads, and sleeping until a word changes: the wrappers (thread.c).
 *
 * As in sys.h: each returns what the call does, or -errno.
 */
#ifndef IORA_SYS_THREAD_H
#define IORA_SYS_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Start a thread with all signals blocked, so that none that is the program's comes to it. stack_size 0: the
 * system's default. 0; -EAGAIN whatever the reason. */
int iora__sys_thread_start(pthread_t *out, size_t stack_size, void *(*fn)(void *), void *arg);
void iora__sys_thread_join(pthread_t thread);
void iora__sys_thread_detach(pthread_t thread);
/* Name this thread: 15 bytes at most. */
void iora__sys_thread_set_name(const char *name);
/* The smallest stack that a thread may be given. */
size_t iora__sys_thread_stack_min(void);
/* How many processors this process may use; 1 if that cannot be known. */
unsigned iora__sys_processors(void);

/* Sleep while *word is `expected`, for timeout_ns at most (negative: for ever): 0 when woken, -EAGAIN if the
 * word was another, -EINTR, -ETIMEDOUT. Wake one who sleeps there; the word's memory may be gone already, for
 * which somebody else may be woken without cause. */
int iora__sys_futex_wait(atomic_int *word, int expected, int64_t timeout_ns);
void iora__sys_futex_wake(atomic_int *word);

/* Tell the processor that we spin. */
static inline void
iora__sys_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

#endif

/* explore/models.h -- what models share: loops that say nothing, and threads with a remote. */
#ifndef IORA_EXPLORE_MODELS_H
#define IORA_EXPLORE_MODELS_H

#include "explore.h"

#include <errno.h>
#include <string.h>

/* Models may end by what the library reports: a deadlock that is meant. */
static inline void
model_hear_log(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static inline void
model_hear_error(void *arg, int code, const char *text)
{
    (void)arg;
    (void)code;
    (void)text;
}

static inline iora_loop *
model_loop(void)
{
    iora_loop_options options = IORA_LOOP_OPTIONS_INIT;
    iora_loop *loop;

    options.on_log = model_hear_log;
    options.on_error = model_hear_error;
    options.stack_size = 64 * 1024;
    CHECK_EQ(iora_loop_new(&options, &loop), 0);
    return loop;
}

static inline iora_remote *
model_remote(iora_loop *loop)
{
    iora_remote *remote;

    CHECK_EQ(iora_remote_open(loop, &remote), 0);
    return remote;
}

static inline iora_pool *
model_pool(unsigned threads, unsigned queue)
{
    iora_pool_options options = IORA_POOL_OPTIONS_INIT;
    iora_pool *pool;

    options.threads = threads;
    options.queue = queue;
    CHECK_EQ(iora_pool_new(&options, &pool), 0);
    return pool;
}

#endif

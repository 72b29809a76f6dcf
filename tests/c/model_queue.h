/* tests/c/model_queue.h -- the model of a queue, and workers that do what chance, or a fuzzer, draws.
 *
 * The model is a list in order of arrival, and a search for what goes out next. chance.h says how a model and
 * its workers are run.
 */
#ifndef IORA_TESTS_MODEL_QUEUE_H
#define IORA_TESTS_MODEL_QUEUE_H

#include "chance.h"

enum { ITEMS_MAX = 256, OPERATIONS = 30, KEYS = 4 };

struct item {
    int key, value;
};

static struct {
    iora_queue queue;
    int maxsize;
    bool shut_down;
    struct item items[ITEMS_MAX];
    int count, unfinished, last_value;
    struct line getters, putters, joiners;
} model;

static int
compare_items(const void *a, const void *b)
{
    return ((const struct item *)a)->key - ((const struct item *)b)->key;
}

static struct item
make_item(int value)
{
    return (struct item){value % KEYS, value};
}

static int
next_out(void)
{
    int best = 0;

    if (model.queue._kind == IORA__QUEUE_LIFO)
        return model.count - 1;
    for (int i = 1; model.queue._kind == IORA__QUEUE_PRIORITY && i < model.count; i++) {
        if (model.items[i].key < model.items[best].key)
            best = i;
    }
    return best;
}

static void
model_store(int value)
{
    MUST(model.count < ITEMS_MAX);
    model.items[model.count++] = make_item(value);
    model.unfinished++;
}

/* What a put returns now: 0, SHUTDOWN or -EAGAIN. */
static int
model_put(int value)
{
    struct worker *getter;

    if (model.shut_down)
        return IORA_E_SHUTDOWN;
    if ((getter = line_pop(&model.getters)) != NULL) {
        getter->got = value;
        model.unfinished++;
        worker_settled(getter, 0);
        return 0;
    }
    if (model.maxsize > 0 && model.count >= model.maxsize)
        return -EAGAIN;
    model_store(value);
    return 0;
}

static int
model_get(int *value)
{
    struct worker *putter;
    int at;

    if (model.count == 0)
        return model.shut_down ? IORA_E_SHUTDOWN : -EAGAIN;
    at = next_out();
    *value = model.items[at].value;
    model.count--;
    memmove(&model.items[at], &model.items[at + 1],
            (size_t)(model.count - at) * sizeof model.items[0]);
    if ((putter = line_pop(&model.putters)) != NULL) {
        model_store(putter->item);
        worker_settled(putter, 0);
    }
    return 0;
}

static void
settle_all(struct line *line, int rc)
{
    struct worker *worker;

    while ((worker = line_pop(line)) != NULL)
        worker_settled(worker, rc);
}

static void
leave_queue(struct worker *worker)
{
    MUST(line_remove(&model.getters, worker) || line_remove(&model.putters, worker) ||
         line_remove(&model.joiners, worker));
    worker_settled(worker, -ECANCELED);
}

static void
wait_in(struct line *line, struct worker *worker)
{
    worker_waits(worker);
    line_add(line, worker);
}

static void
put_at_random(struct worker *worker)
{
    const int value = ++model.last_value;
    const struct item item = make_item(value);
    int rc;

    if (one_in(10)) {
        MUST_EQ(CANCELLED(iora_queue_put(&model.queue, &item)), -ECANCELED);
        return;
    }
    worker->expected = model_put(value);
    if (one_in(4)) {
        MUST_EQ(iora_queue_put_nowait(&model.queue, &item), worker->expected);
        return;
    }
    worker->item = value;
    if (worker->expected == -EAGAIN)
        wait_in(&model.putters, worker);
    rc = IN_WORKERS_SCOPE(worker, iora_queue_put(&model.queue, &item));
    MUST(!worker->waits);
    MUST_EQ(rc, worker->expected);
}

static void
get_at_random(struct worker *worker)
{
    struct item item = {0, 0};
    int rc;

    if (one_in(10)) {
        MUST_EQ(CANCELLED(iora_queue_get(&model.queue, &item)), -ECANCELED);
        return;
    }
    worker->got = 0;
    worker->expected = model_get(&worker->got);
    if (one_in(4)) {
        rc = iora_queue_get_nowait(&model.queue, &item);
    } else {
        if (worker->expected == -EAGAIN)
            wait_in(&model.getters, worker);
        rc = IN_WORKERS_SCOPE(worker, iora_queue_get(&model.queue, &item));
    }
    MUST(!worker->waits);
    MUST_EQ(rc, worker->expected);
    MUST_EQ(item.value, rc == 0 ? worker->got : 0);
    MUST_EQ(item.key, item.value % KEYS);
}

static void
task_done_at_random(void)
{
    MUST_EQ(iora_queue_task_done(&model.queue), model.unfinished > 0 ? 0 : -EINVAL);
    if (model.unfinished > 0 && --model.unfinished == 0)
        settle_all(&model.joiners, 0);
}

static void
join_at_random(struct worker *worker)
{
    int rc;

    worker->expected = 0;
    if (model.unfinished > 0)
        wait_in(&model.joiners, worker);
    rc = IN_WORKERS_SCOPE(worker, iora_queue_join(&model.queue));
    MUST(!worker->waits);
    MUST_EQ(rc, worker->expected);
}

static void
shut_down_at_random(void)
{
    const bool immediately = one_in(2);

    model.shut_down = true;
    if (immediately) {
        model.unfinished -= model.count < model.unfinished ? model.count : model.unfinished;
        model.count = 0;
        if (model.unfinished == 0)
            settle_all(&model.joiners, 0);
    }
    settle_all(&model.putters, IORA_E_SHUTDOWN);
    settle_all(&model.getters, IORA_E_SHUTDOWN);
    iora_queue_shutdown(&model.queue, immediately);
}

static void
operate_queue(struct worker *worker)
{
    switch (below(12)) {
    case 0:
        MUST_EQ(iora_yield(), 0);
        break;
    case 1:
        cancel_somebody(worker, leave_queue);
        break;
    case 2:
        task_done_at_random();
        break;
    case 3:
        if (one_in(4))
            join_at_random(worker);
        break;
    case 4:
        if (one_in(20))
            shut_down_at_random();
        break;
    case 5:
    case 6:
    case 7:
        get_at_random(worker);
        break;
    default:
        put_at_random(worker);
    }
    MUST_EQ(iora_queue_size(&model.queue), model.count);
    MUST_EQ(iora_queue_is_full(&model.queue), model.maxsize > 0 && model.count >= model.maxsize);
}

static int
work_with_queue(struct worker *worker)
{
    for (int i = 0; i < OPERATIONS; i++)
        operate_queue(worker);
    chance.workers_live--;
    return 0;
}
IORA_ASYNC(work_with_queue, struct worker *);

static void
drain_queue(void)
{
    struct item item;
    int value;

    while (model.count > 0) {
        MUST_EQ(iora_queue_get_nowait(&model.queue, &item), 0);
        MUST_EQ(model_get(&value), 0);
        MUST_EQ(item.value, value);
    }
    MUST(iora_queue_is_empty(&model.queue));
    for (; model.unfinished > 0; model.unfinished--)
        MUST_EQ(iora_queue_task_done(&model.queue), 0);
    MUST_EQ(iora_queue_task_done(&model.queue), -EINVAL);
}

static int
try_queue(void)
{
    memset(&model, 0, sizeof model);
    model.maxsize = below(5);
    model.queue = (iora_queue)IORA__QUEUE_INIT((uint8_t)below(3), sizeof(struct item),
                                               (size_t)model.maxsize, compare_items);
    RUN_WORKERS(work_with_queue, leave_queue);
    drain_queue();
    MUST_EQ(iora_queue_destroy(&model.queue), 0);
    return 0;
}
IORA_ASYNC(try_queue);

#endif

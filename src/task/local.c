/* task/local.c -- task-local values.
 *
 * A *binding* is a key with its value. A task's bindings stand in a *table* that never changes: setting makes a
 * new one, a spawned task shares its parent's. Both are counted: a table by the tasks that have it, a binding by
 * the tables it stands in; the last who lets go of a binding calls its key's destructor.
 *
 * Invariants:
 * (1) A table has each key once. So a binding stands in a table only as long as somebody can see it, and binding
 *     anew, however often and whoever shares the old table, keeps nothing that nobody sees.
 * (2) A destructor runs when the task's new table is in place, and may bind values itself; a task that has ended
 *     binds none.
 *
 * Rejected: a chain of nodes that newer ones hide. What is hidden cannot go while others share what hides it, and
 * a server that binds a value for each client, who runs while the next one comes, grows without end.
 */
#include "task/task.h"

#include "sys/alloc.h"

struct binding {
    const iora_local *key;
    void *value;
    size_t references;
};

struct iora__locals {
    size_t references;
    size_t count;
    struct binding *bindings[];
};

static void
release(struct iora__locals *locals)
{
    if (locals == NULL || --locals->references > 0)
        return;
    while (locals->count > 0) {
        struct binding *const binding = locals->bindings[--locals->count];

        if (--binding->references > 0)
            continue;
        if (binding->key->destroy != NULL)
            binding->key->destroy(binding->value);
        iora__free(binding);
    }
    iora__free(locals);
}

/* The table `old` (NULL: empty) with the binding in it, in place of one of the same key; NULL without memory. */
static struct iora__locals *
table_with(const struct iora__locals *old, struct binding *binding)
{
    const size_t count = old != NULL ? old->count : 0;
    struct iora__locals *const table =
        iora__alloc(sizeof *table + (count + 1) * sizeof table->bindings[0]);

    if (table == NULL)
        return NULL;
    table->references = 1;
    table->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (old->bindings[i]->key == binding->key)
            continue;
        old->bindings[i]->references++;
        table->bindings[table->count++] = old->bindings[i];
    }
    table->bindings[table->count++] = binding;
    return table;
}

int
iora_local_set(const iora_local *key, void *value)
{
    struct iora__task *const task = iora__self();
    struct iora__locals *old, *table;
    struct binding *binding;

    if (task == NULL || task->state != IORA__TASK_RUNNING)
        return iora__enter_slowly(NULL);
    if ((binding = iora__alloc(sizeof *binding)) == NULL)
        return -ENOMEM;
    *binding = (struct binding){key, value, 1};
    old = task->locals;
    if ((table = table_with(old, binding)) == NULL) {
        iora__free(binding);
        return -ENOMEM;
    }
    task->locals = table;
    release(old);
    return 0;
}

void *
iora_local_get(const iora_local *key)
{
    const struct iora__task *const task = iora__self();
    const struct iora__locals *const locals = task != NULL ? task->locals : NULL;

    for (size_t i = 0; locals != NULL && i < locals->count; i++) {
        if (locals->bindings[i]->key == key)
            return locals->bindings[i]->value;
    }
    return NULL;
}

void
iora__locals_inherit(struct iora__task *child, const struct iora__task *parent)
{
    child->locals = parent->locals;
    child->locals->references++;
}

void
iora__locals_drop(struct iora__task *task)
{
    struct iora__locals *const locals = task->locals;

    task->locals = NULL;
    release(locals);
}

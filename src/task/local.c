/* task/local.c -- task-local values.
 *
 * A task's values are a chain of nodes that never change: setting pushes one in front, a spawned task shares
 * the chain as it is. Nodes are counted; the last one who lets go of a node calls its key's destructor. A
 * node that is hidden by a newer one of the same key stays until its chain goes: setting is rare, and walking
 * what others share is not ours to do.
 */
#include "task/task.h"

#include "sys/alloc.h"

struct iora__local_node {
    struct iora__local_node *next;
    const iora_local *key;
    void *value;
    size_t references;
};

static void
release(struct iora__local_node *node)
{
    while (node != NULL && --node->references == 0) {
        struct iora__local_node *const next = node->next;

        if (node->key->destroy != NULL)
            node->key->destroy(node->value);
        iora__free(node);
        node = next;
    }
}

int
iora_local_set(const iora_local *key, void *value)
{
    struct iora__task *const task = iora__self();
    struct iora__local_node *node;

    if (task == NULL)
        return iora__enter_slowly(NULL);
    if ((node = iora__alloc(sizeof *node)) == NULL)
        return -ENOMEM;
    *node = (struct iora__local_node){task->locals, key, value, 1};
    task->locals = node; /* the task's reference to the old chain is now the node's */
    return 0;
}

void *
iora_local_get(const iora_local *key)
{
    const struct iora__task *const task = iora__self();

    for (const struct iora__local_node *node = task != NULL ? task->locals : NULL; node != NULL;
         node = node->next) {
        if (node->key == key)
            return node->value;
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
    struct iora__local_node *const chain = task->locals;

    task->locals = NULL;
    release(chain);
}

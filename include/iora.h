/* iora.h -- asyncio in C. This header is all a program includes; each of these compiles alone too. */
#ifndef IORA_H
#define IORA_H

#include <iora/base.h>
#include <iora/executor.h>
#include <iora/future.h>
#include <iora/gen.h>
#include <iora/group.h>
#include <iora/loop.h>
#include <iora/net.h>
#include <iora/queue.h>
#include <iora/scope.h>
#include <iora/select.h>
#include <iora/server.h>
#include <iora/signal.h>
#include <iora/stream.h>
#include <iora/sync.h>
#include <iora/task.h>

#endif

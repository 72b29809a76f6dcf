// bench/peers/fiber/fiber.cpp -- the bench's rows on Boost.Fiber.
//
// One kernel thread with the scheduler that Boost.Fiber has by default, round_robin.  The fibers'
// stacks are its default too, 128 KiB from malloc, without guard pages; where one stack is used
// again and again a pooled allocator is the faster way, and that is used.  A fiber is launched
// by "dispatch", which runs it before its maker goes on, where that is the faster way
// (spawn_await), and else by "post", which queues it.
//
// What it has no word for is said with its nearest:
//
//   event set   the wait() of a future that is ready
//   generator   pull_type of Boost.Coroutine2, which switches without the scheduler
//
// It has no semaphore, and no timer apart from a sleeping fiber: those rows are left out.

#include "../../measure.h"

#include <boost/coroutine2/all.hpp>
#include <boost/fiber/all.hpp>
#include <boost/version.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

namespace fibers = boost::fibers;

namespace
{

constexpr std::uint32_t crowd = 10000;
constexpr std::uint32_t burst = 100000;
constexpr std::uint32_t million = 1000000;

// switch_yield: two fibers that yield to each other from different functions.

// Different in the two fibers, lest the compiler make one function of them.
volatile std::uint64_t lefts;
volatile std::uint64_t rights;

void
left(std::uint64_t steps)
{
    for (std::uint64_t i = 0; i < steps; i++) {
        lefts = lefts + 1;
        boost::this_fiber::yield();
    }
}

void
right(std::uint64_t steps)
{
    for (std::uint64_t i = 0; i < steps; i++) {
        rights = rights + 1;
        boost::this_fiber::yield();
    }
}

void
switch_between_two(std::uint64_t n)
{
    fibers::fiber a(left, n / 2);
    fibers::fiber b(right, n / 2);

    bench_start();
    a.join();
    b.join();
    bench_stop();
}

void
switch_yield()
{
    bench_loop(switch_between_two, 2);
}

// yield_10k: 10,000 fibers that yield, after each was woken in shuffled order.

struct gate {
    fibers::mutex mutex;
    fibers::condition_variable opened;
    bool open = false;

    void
    wait()
    {
        std::unique_lock<fibers::mutex> lock(mutex);
        opened.wait(lock, [this] { return open; });
    }

    void
    let_through()
    {
        std::unique_lock<fibers::mutex> lock(mutex);
        open = true;
        opened.notify_one();
    }
};

void
yield_in_a_crowd(std::uint64_t n)
{
    std::unique_ptr<std::uint32_t[], decltype(&std::free)> order(bench_shuffled(crowd), std::free);
    std::vector<gate> gates(crowd);
    std::vector<fibers::fiber> members;
    std::uint64_t steps = n / crowd;

    for (gate &gate : gates) {
        members.emplace_back([&gate, steps] {
            gate.wait();
            for (std::uint64_t i = 0; i < steps; i++)
                boost::this_fiber::yield();
        });
    }
    boost::this_fiber::yield();
    for (std::uint32_t i = 0; i < crowd; i++)
        gates[order[i]].let_through();

    bench_start();
    for (fibers::fiber &member : members)
        member.join();
    bench_stop();
}

void
yield_10k()
{
    bench_loop(yield_in_a_crowd, crowd);
}

// spawn_await: launch and join a fiber that returns at once.

void
spawn_and_join(std::uint64_t n)
{
    fibers::pooled_fixedsize_stack stacks;

    bench_start();
    for (std::uint64_t i = 0; i < n; i++)
        fibers::fiber(fibers::launch::dispatch, std::allocator_arg, stacks, [] {}).join();
    bench_stop();
}

void
spawn_await()
{
    bench_loop(spawn_and_join, 1);
}

// spawn_burst: 100,000 detached fibers at once, the first that this process makes.

void
spawn_burst()
{
    std::uint32_t left = burst;
    double before = bench_memory_kib();

    bench_start();
    for (std::uint32_t i = 0; i < burst; i++)
        fibers::fiber([&left] { left--; }).detach();
    while (left > 0)
        boost::this_fiber::yield();
    bench_stop();

    bench_report_span(burst);
    bench_report("KiB", (bench_peak_kib() - before) / burst);
}

// handoff: an item through unbuffered_channel.

void
pass_items(std::uint64_t n)
{
    fibers::unbuffered_channel<std::uint64_t> channel;
    std::uint64_t sum = 0;
    fibers::fiber producer([&channel, n] {
        for (std::uint64_t i = 0; i < n; i++)
            channel.push(i);
    });

    bench_start();
    for (std::uint64_t i = 0; i < n; i++)
        sum += channel.value_pop();
    bench_stop();
    producer.join();
    if (sum != n * (n - 1) / 2)
        bench_fail("items were lost");
}

void
handoff()
{
    bench_loop(pass_items, 1);
}

// lock_pair: a mutex that nobody else wants.

void
lock_and_unlock(std::uint64_t n)
{
    fibers::mutex mutex;

    bench_start();
    for (std::uint64_t i = 0; i < n; i++) {
        mutex.lock();
        mutex.unlock();
    }
    bench_stop();
}

void
lock_pair()
{
    bench_loop(lock_and_unlock, 1);
}

// event_set: the wait for what has happened already.

void
wait_for_the_past(std::uint64_t n)
{
    fibers::promise<void> promise;
    fibers::shared_future<void> future = promise.get_future().share();

    promise.set_value();
    bench_start();
    for (std::uint64_t i = 0; i < n; i++)
        future.wait();
    bench_stop();
}

void
event_set()
{
    bench_loop(wait_for_the_past, 1);
}

// generator_step: a coroutine and a loop over what it gives.

void
step_generator(std::uint64_t n)
{
    using coroutine = boost::coroutines2::coroutine<std::uint64_t>;
    std::uint64_t sum = 0;

    bench_start();
    coroutine::pull_type generator([n](coroutine::push_type &emit) {
        for (std::uint64_t i = 0; i < n; i++)
            emit(i);
    });
    for (std::uint64_t item : generator)
        sum += item;
    bench_stop();
    if (sum != n * (n - 1) / 2)
        bench_fail("items were lost");
}

void
generator_step()
{
    bench_loop(step_generator, 1);
}

// parked_million: fibers in line for a mutex that is never given up.

void
parked_million()
{
    static fibers::mutex never;
    std::uint32_t count = bench_fitting(million, 8);
    double before = bench_memory_kib();

    never.lock();
    for (std::uint32_t i = 0; i < count; i++)
        fibers::fiber([] { never.lock(); }).detach();
    boost::this_fiber::yield();
    bench_report("KiB", (bench_memory_kib() - before) / count);
    bench_report("tasks", count);
    bench_report("mappings", static_cast<double>(bench_mappings()));
    std::fflush(stdout);
    std::_Exit(0); // the scheduler would wait for them for ever
}

} // namespace

int
main(int argc, char **argv)
{
    static const bench_row rows[] = {
        {"switch_yield", switch_yield},
        {"yield_10k", yield_10k},
        {"spawn_await", spawn_await},
        {"spawn_burst", spawn_burst},
        {"handoff", handoff},
        {"lock_pair", lock_pair},
        {"event_set", event_set},
        {"generator_step", generator_step},
        {"parked_million", parked_million},
        {nullptr, nullptr},
    };

    return bench_main(argc, argv, "Boost.Fiber " BOOST_LIB_VERSION ", round_robin", rows);
}

"""redis-py's asyncio client and a real Redis."""

import asyncio

import redis.asyncio as redis
import services
from redis.exceptions import WatchError
from stage import ends, play, skipping_if_missing

PORT, PATH = 0, ""


def client(**kwargs):
    return redis.Redis(port=PORT, decode_responses=True, **kwargs)


async def values_of_all_sizes(say):
    async with client() as r:
        for size in 0, 1, 1000, 65536, 5_000_000:
            await r.set("value", "x" * size)
            say(size, len(await r.get("value")), await r.strlen("value"))
        say(await r.get("nothing"), await r.delete("value"), await r.exists("value"))
        say(await ends(r.incr("list-to-be") if await r.rpush("list-to-be", "a") else None))


async def pipelines_and_transactions(say):
    async with client() as r:
        async with r.pipeline(transaction=True) as pipe:
            say(await pipe.set("n", 1).incr("n").incrby("n", 40).get("n").execute())
        async with r.pipeline(transaction=False) as pipe:
            for i in range(3000):
                pipe.set(f"many:{i}", i)
            say(sum(await pipe.execute()))
        async with r.pipeline(transaction=False) as pipe:
            pipe.get("n").lpush("n", 1).get("n")
            said = await pipe.execute(raise_on_error=False)
            say(said[0], type(said[1]).__name__, said[2])
        say(len([key async for key in r.scan_iter("many:*", count=100)]))


async def a_watched_key_changes(say):
    async with client() as r, client() as other:
        await r.set("watched", 1)
        async with r.pipeline() as pipe:
            await pipe.watch("watched")
            await other.set("watched", 2)
            pipe.multi()
            pipe.set("watched", 3)
            try:
                await pipe.execute()
            except WatchError:
                say("changed meanwhile")
        say(await r.get("watched"))


async def publish_and_subscribe(say):
    async with client() as r, r.pubsub() as sub:
        say(await sub.get_message(timeout=0.01) if sub.subscribed else "not subscribed")
        await sub.subscribe("news")
        await sub.psubscribe("weather.*")
        say((await sub.get_message(timeout=5))["type"], (await sub.get_message(timeout=5))["type"])
        say(await sub.get_message(timeout=0.02))
        say(await r.publish("news", "one"), await r.publish("weather.rome", "fair"), await r.publish("sport", "-"))
        for _ in range(2):
            message = await sub.get_message(timeout=5)
            say(message["type"], message["channel"], message["data"])

        async def listen():
            said = []
            async for message in sub.listen():
                if message["type"] == "message":
                    said.append(message["data"])
                    if message["data"] == "last":
                        return said

        listener = asyncio.create_task(listen())
        for text in [*map(str, range(50)), "last"]:
            await r.publish("news", text)
        said = await listener
        say(len(said), said[0], said[-1])


async def a_listener_is_cancelled(say):
    async with client() as r:
        sub = r.pubsub()
        await sub.subscribe("quiet")
        await sub.get_message(timeout=5)
        task = asyncio.create_task(sub.get_message(timeout=None))
        await asyncio.sleep(0.05)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            say("cancelled", task.cancelled())
        await sub.aclose()
        await until_subscribers(r, "quiet", 0)
        say(await r.pubsub_numsub("quiet"))


async def until_subscribers(r, channel, n):
    while (await r.pubsub_numsub(channel))[0][1] != n:
        await asyncio.sleep(0.005)


async def blocking_pops(say):
    async with client() as r, client() as other:
        say(await r.blpop("jobs", timeout=0.05))
        pop = asyncio.create_task(r.blpop("jobs", timeout=10))
        await until_blocked(other, 1)
        await other.rpush("jobs", "a", "b")
        say(await pop, await r.brpop("jobs", timeout=1), await r.llen("jobs"))
        pops = [asyncio.create_task(r.blpop("jobs", timeout=10)) for _ in range(10)]
        await until_blocked(other, 10)
        await other.rpush("jobs", *range(10))
        say(sorted(int(value) for _, value in await asyncio.gather(*pops)))


async def until_blocked(r, n):
    while (await r.info("clients"))["blocked_clients"] != n:
        await asyncio.sleep(0.005)


async def a_deadline_passes_during_a_pop(say):
    async with client() as r:
        say(await ends(asyncio.wait_for(r.blpop("never", timeout=10), 0.05)))
        say(await r.ping(), await r.set("after", "deadline"), await r.get("after"))
    async with client(socket_timeout=0.05, retry=None) as r:
        say(await ends(r.blpop("never", timeout=10)))
        say(await ends(r.ping()))


async def a_command_is_cancelled(say):
    async with client(max_connections=2) as r:
        for i in range(20):
            await r.set(f"key:{i}", i)
        for delay in 0, 0, 0, 0.0001, 0.0002, 0.0005, 0.001, 0.002:
            task = asyncio.create_task(r.get("key:1"))
            await asyncio.sleep(delay)
            task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            assert result == "1" or isinstance(result, asyncio.CancelledError), result
            # Nobody must be given another's answer.
            assert await asyncio.gather(r.get("key:2"), r.get("key:3")) == ["2", "3"]
        say("answers go to whom they belong")


async def a_pool_under_gather(say):
    pool = redis.BlockingConnectionPool(port=PORT, max_connections=5, timeout=20, decode_responses=True)
    r = redis.Redis(connection_pool=pool)
    await asyncio.gather(*(r.set(f"pooled:{i}", i) for i in range(200)))
    got = await asyncio.gather(*(r.get(f"pooled:{i}") for i in range(200)))
    say(sum(map(int, got)), got == [str(i) for i in range(200)])
    say(0 < len(await r.client_list()) <= 5)
    await r.aclose()
    await pool.aclose()
    unbound = redis.Redis(port=PORT, max_connections=3)
    results = await asyncio.gather(*(unbound.blpop("never", timeout=0.2) for _ in range(6)), return_exceptions=True)
    say(sorted(type(result).__name__ for result in results))
    await unbound.aclose()


async def streams_and_groups(say):
    async with client() as r:
        await r.xgroup_create("log", "readers", id="0", mkstream=True)
        read = asyncio.create_task(r.xreadgroup("readers", "me", {"log": ">"}, count=10, block=10_000))
        async with client() as other:
            await until_blocked(other, 1)
            await other.xadd("log", {"n": 1}, id="1-1")
        say(await read)
        say(await r.xack("log", "readers", "1-1"), await r.xreadgroup("readers", "me", {"log": ">"}, block=10))


async def the_server_drops_a_connection(say):
    async with client(single_connection_client=True, retry=None) as r, client() as other:
        mine = await r.client_id()
        await other.client_kill_filter(_id=mine)
        say(await ends(r.ping()))
        say(await r.ping(), await r.client_id() != mine)
    async with client(host="127.0.0.1", retry=None) as r:
        pop = asyncio.create_task(r.blpop("never", timeout=10))
        await until_blocked(other, 1)
        await other.client_kill_filter(_type="normal", skipme=True)
        say(await ends(pop))
    await other.aclose()


async def locks_between_clients(say):
    async with client() as r:
        order = []

        async def work(i):
            async with r.lock("mutex", timeout=10, sleep=0.002):
                order.append("in")
                await asyncio.sleep(0.002)
                order.append("out")

        await asyncio.gather(*(work(i) for i in range(8)))
        say(order == ["in", "out"] * 8)


async def a_script_and_a_unix_socket(say):
    async with redis.Redis(unix_socket_path=PATH, decode_responses=True) as r:
        script = r.register_script("return {KEYS[1], ARGV[1], tonumber(ARGV[2]) + 1}")
        say(await script(keys=["k"], args=["a", 41]), await script(keys=["k"], args=["b", 1]))
        say(await ends(r.eval("return redis.error_reply('OH no')", 0)))


async def nobody_listens(say):
    async with redis.Redis(port=1, retry=None) as r:
        say(await ends(r.ping()))
    async with redis.Redis(unix_socket_path=PATH + ".not", retry=None) as r:
        say(await ends(r.ping()))


async def two_hundred_tasks_with_transactions(say):
    async with client(max_connections=50) as r:
        pool = asyncio.Semaphore(50)

        async def add(i):
            async with pool, r.pipeline(transaction=True) as pipe:
                return (await pipe.incrby("total", i).get(f"pooled:{i}").execute())[1]

        await r.delete("total")
        await asyncio.gather(*(r.set(f"pooled:{i}", i) for i in range(50)))
        got = await asyncio.gather(*(add(i % 50) for i in range(200)))
        say(await r.get("total"), got == [str(i % 50) for i in range(200)])


if __name__ == "__main__":
    with skipping_if_missing(), services.redis() as (PORT, PATH):
        play(values_of_all_sizes, pipelines_and_transactions, a_watched_key_changes, publish_and_subscribe,
             a_listener_is_cancelled, blocking_pops, a_deadline_passes_during_a_pop, a_command_is_cancelled,
             a_pool_under_gather, streams_and_groups, the_server_drops_a_connection, locks_between_clients,
             a_script_and_a_unix_socket, nobody_listens, two_hundred_tasks_with_transactions)

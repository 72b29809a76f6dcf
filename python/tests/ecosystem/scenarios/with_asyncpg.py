"""asyncpg and a real PostgreSQL."""

import asyncio
import contextlib
import hashlib
import io

import asyncpg
import services
from stage import ends, play, skipping_if_missing

PORT, FOLDER = 0, ""


def where(by="tcp"):
    return {"user": "iora", "database": "postgres", "port": PORT, "ssl": False,
            "host": "127.0.0.1" if by == "tcp" else FOLDER}


def pool(**kwargs):
    return asyncpg.create_pool(**where(), **kwargs)


@contextlib.asynccontextmanager
async def connection(by="tcp", **kwargs):
    con = await asyncpg.connect(**where(by), **kwargs)
    try:
        yield con
    finally:
        await con.close()


async def values_by_both_ways(say):
    for by in "tcp", "unix":
        async with connection(by) as con:
            say(by, await con.fetchval("SELECT $1::int + 1", 41), await con.fetchrow("SELECT 'a' AS a, NULL AS b"))
            say([tuple(row) for row in await con.fetch("SELECT i, i * i FROM generate_series(1, 4) i")])
            say(await con.fetchval("SELECT length($1)", "x" * 3_000_000), await con.execute("SELECT 1"))
            say(con.is_closed())
        say(con.is_closed())


async def many_rows(say):
    async with connection() as con:
        rows = await con.fetch("SELECT i, md5(i::text) AS text FROM generate_series(1, 50000) i")
        digest = hashlib.sha256("".join(row["text"] for row in rows).encode()).hexdigest()
        say(len(rows), digest)


async def transactions(say):
    async with connection() as con:
        await con.execute("CREATE TEMP TABLE t (n int PRIMARY KEY)")
        async with con.transaction():
            await con.execute("INSERT INTO t VALUES (1)")
            try:
                async with con.transaction():
                    await con.execute("INSERT INTO t VALUES (2)")
                    await con.execute("INSERT INTO t VALUES (1)")
            except asyncpg.UniqueViolationError as error:
                say(error.sqlstate, con.is_in_transaction())
            await con.execute("INSERT INTO t VALUES (3)")
        say([row["n"] for row in await con.fetch("SELECT n FROM t ORDER BY n")], con.is_in_transaction())
        with contextlib.suppress(ZeroDivisionError):
            async with con.transaction(isolation="serializable"):
                await con.execute("DELETE FROM t")
                raise ZeroDivisionError
        say(await con.fetchval("SELECT count(*) FROM t"))


async def prepared_statements(say):
    async with connection(statement_cache_size=4) as con:
        statement = await con.prepare("SELECT $1::text || $2::text")
        say(await statement.fetchval("a", "b"), await statement.fetchval("c", "d"))
        say([p.name for p in statement.get_parameters()], statement.get_attributes()[0].type.name)
        say(await ends(con.prepare("SELECT FROM WHERE")))
        say([await con.fetchval(f"SELECT {i % 7}") for i in range(30)] == [i % 7 for i in range(30)])
        await con.execute("CREATE TEMP TABLE t (n int, s text)")
        await con.executemany("INSERT INTO t VALUES ($1, $2)", [(i, str(i)) for i in range(2000)])
        say(await con.fetchval("SELECT sum(n) FROM t"))


async def cursors(say):
    async with connection() as con:
        async with con.transaction():
            seen = [row["i"] async for row in con.cursor("SELECT i FROM generate_series(1, 500) i", prefetch=7)]
            say(len(seen), sum(seen))
            cursor = await con.cursor("SELECT i FROM generate_series(1, 100) i")
            say(await cursor.forward(10), (await cursor.fetchrow())["i"], len(await cursor.fetch(50)))
        say(await ends(con.cursor("SELECT 1")))


async def copies_in_and_out(say):
    async with connection() as con:
        await con.execute("CREATE TEMP TABLE t (n int, s text)")
        say(await con.copy_records_to_table("t", records=((i, "x" * (i % 50)) for i in range(20000))))

        async def chunks():
            for i in range(1000):
                yield f"{i}\tline {i}\n".encode()
                if i % 100 == 0:
                    await asyncio.sleep(0)

        say(await con.copy_to_table("t", source=chunks()))
        out = io.BytesIO()
        say(await con.copy_from_query("SELECT * FROM t ORDER BY n, s", output=out))
        say(hashlib.sha256(out.getvalue()).hexdigest())
        sizes = []

        async def slowly(data):
            sizes.append(len(data))
            await asyncio.sleep(0)

        say(await con.copy_from_table("t", output=slowly, format="csv"), sum(sizes))

        async def fails():
            yield b"1\tone\n"
            raise LookupError

        say(await ends(con.copy_to_table("t", source=fails())))
        say(await ends(con.copy_to_table("t", source=io.BytesIO(b"no number\tx\n"))))
        say(await con.fetchval("SELECT count(*) FROM t"))


async def listen_and_notify(say):
    async with connection() as con, connection("unix") as other:
        heard = asyncio.Queue()
        await con.add_listener("news", lambda con, pid, channel, payload: heard.put_nowait((channel, payload)))
        for i in range(5):
            await other.execute("SELECT pg_notify('news', $1)", str(i))
        say([await asyncio.wait_for(heard.get(), 5) for _ in range(5)])
        async with other.transaction():
            await other.execute("NOTIFY news, 'in a transaction'")
            await asyncio.sleep(0.02)
            say(heard.qsize())
        say(await asyncio.wait_for(heard.get(), 5))
        con.add_log_listener(lambda con, message: heard.put_nowait(message.message))
        await con.execute("DO $$ BEGIN RAISE NOTICE 'noticed'; END $$")
        say(await asyncio.wait_for(heard.get(), 5))
        ended = asyncio.Event()
        con.add_termination_listener(lambda con: ended.set())
    await asyncio.wait_for(ended.wait(), 5)
    say("terminated")


async def a_query_is_cancelled(say):
    async with connection() as con, connection() as other:
        pid = con.get_server_pid()
        query = asyncio.create_task(con.fetchval("SELECT pg_sleep(30)"))
        await until_active(other, pid)
        query.cancel()
        say([type(result).__name__ for result in await asyncio.gather(query, return_exceptions=True)])
        say(await con.fetchval("SELECT 1"))
        say(await ends(con.fetchval("SELECT pg_sleep(30)", timeout=0.05)))
        say(await con.fetchval("SELECT 2"))
        say(await ends(asyncio.wait_for(con.execute("SELECT pg_sleep(30)"), 0.05)))
        say(await con.fetchval("SELECT 3"))
        query = asyncio.create_task(con.fetchval("SELECT pg_sleep(30)"))
        await until_active(other, pid)
        say(await ends(con.fetchval("SELECT 4")))
        say(await other.fetchval("SELECT pg_cancel_backend($1)", pid), await ends(query))


async def until_active(other, pid, wait="PgSleep"):
    while not await other.fetchval("SELECT wait_event = $2 FROM pg_stat_activity WHERE pid = $1", pid, wait):
        await asyncio.sleep(0.005)


async def cancelled_at_any_moment(say):
    async with pool(min_size=2, max_size=2) as p:
        for delay in 0, 0, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005:
            task = asyncio.create_task(p.fetchval("SELECT 'cancelled'"))
            await asyncio.sleep(delay)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # Nobody must be given another's answer.
            got = await asyncio.gather(p.fetchval("SELECT 'mine'"), p.fetchval("SELECT 'yours'"))
            assert got == ["mine", "yours"], got
        say("answers go to whom they belong")


async def a_pool_under_gather(say):
    async with pool(min_size=2, max_size=6, max_inactive_connection_lifetime=0.05) as p:
        got = await asyncio.gather(*(p.fetchval("SELECT $1::int * 2", i) for i in range(200)))
        say(got == [2 * i for i in range(200)], 0 < p.get_size() <= 6)
        pids = set()

        async def work(i):
            async with p.acquire() as con, con.transaction():
                pids.add(con.get_server_pid())
                return await con.fetchval("SELECT $1::int", i)

        say(sum(await asyncio.gather(*(work(i) for i in range(100)))), 0 < len(pids) <= 6)
        held = [await p.acquire() for _ in range(6)]
        say(await ends(p.acquire(timeout=0.02)))
        waits = asyncio.create_task(p.fetchval("SELECT 'in turn'"))
        await asyncio.sleep(0)
        await p.release(held.pop())
        say(await waits)
        for con in held:
            await p.release(con)
        closing = await p.acquire()
        await closing.close()
        await p.release(closing)
        say(await p.fetchval("SELECT 'still there'"))
    say(await ends(p.fetchval("SELECT 1")))


async def a_server_ends_a_connection(say):
    async with connection() as con, connection() as other:
        query = asyncio.create_task(con.fetchval("SELECT pg_sleep(30)"))
        await until_active(other, con.get_server_pid())
        await other.execute("SELECT pg_terminate_backend($1)", con.get_server_pid())
        say(await ends(query), con.is_closed())
        say(await ends(con.fetchval("SELECT 1")))


async def a_pool_is_terminated_in_use(say):
    p = await pool(min_size=1, max_size=3)
    con = await p.acquire()
    query = asyncio.create_task(con.fetchval("SELECT pg_sleep(30)"))
    async with connection() as other:
        await until_active(other, con.get_server_pid())
    p.terminate()
    say(await ends(query))
    say(await ends(asyncio.wait_for(p.close(), 5)))


async def nobody_listens(say):
    say(await ends(asyncpg.connect(**{**where(), "port": 1}, timeout=5)))
    say(await ends(asyncpg.connect(**{**where(), "host": FOLDER + "/not"}, timeout=5)))
    say(await ends(asyncpg.connect(**{**where(), "database": "none"}, timeout=5)))


async def locks_of_rows_are_waited_for(say):
    async with pool(min_size=3, max_size=3) as p:
        await p.execute("CREATE TABLE IF NOT EXISTS counter (n int)")
        await p.execute("TRUNCATE counter")
        await p.execute("INSERT INTO counter VALUES (0)")

        async def add(_):
            async with p.acquire() as con, con.transaction():
                n = await con.fetchval("SELECT n FROM counter FOR UPDATE")
                await asyncio.sleep(0.001)
                await con.execute("UPDATE counter SET n = $1", n + 1)

        async with asyncio.TaskGroup() as group:
            for i in range(60):
                group.create_task(add(i))
        say(await p.fetchval("SELECT n FROM counter"))


if __name__ == "__main__":
    with skipping_if_missing(), services.postgres() as (PORT, FOLDER):
        play(values_by_both_ways, many_rows, transactions, prepared_statements, cursors, copies_in_and_out,
             listen_and_notify, a_query_is_cancelled, cancelled_at_any_moment, a_pool_under_gather,
             a_server_ends_a_connection, a_pool_is_terminated_in_use, nobody_listens, locks_of_rows_are_waited_for)

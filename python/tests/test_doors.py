"""The ways in: run, Runner, install, python -m iora, import iora as asyncio; signals; forks."""

import asyncio
import fcntl
import os
import pty
import py_compile
import select
import selectors
import signal
import subprocess
import sys
import termios
import textwrap
import threading
import time
import zipfile

import pytest

import iora


def python(*arguments, code=None, **kwargs):
    if code is not None:
        arguments = ("-c", textwrap.dedent(code), *arguments)
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True,
                          timeout=60, check=False, **kwargs)


class Terminal:
    """The interpreter on a terminal of its own."""

    def __init__(self, *arguments, env):
        self.end, theirs = pty.openpty()
        self.process = subprocess.Popen([sys.executable, *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
                                        env=env, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        self.seen = ""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        os.close(self.end)

    def _read(self):
        """What comes next; None at the end, or if nothing does."""
        if not select.select([self.end], [], [], 60)[0]:
            return None
        try:
            return os.read(self.end, 1 << 16).decode(errors="replace")
        except OSError:  # EIO: nobody holds the other side any more
            return None

    def type(self, text):
        self.seen = ""
        os.write(self.end, text.encode())

    def wait_for(self, text):
        while text not in self.seen:
            more = self._read()
            assert more, f"{text!r} is not in {self.seen!r}"
            self.seen += more

    def status(self):
        while self._read():
            pass
        return self.process.wait(60)


async def which():
    return type(asyncio.get_running_loop())


def test_run_and_runner():
    assert iora.run(which()) is iora.EventLoop
    with iora.Runner() as runner:
        assert runner.run(which()) is iora.EventLoop
        assert isinstance(runner.get_loop(), iora.EventLoop)
    loops = []
    assert iora.run(which(), loop_factory=lambda: loops.append(1) or asyncio.new_event_loop()) \
        is not iora.EventLoop
    assert loops == [1]


def test_runner_takes_our_factory():
    with asyncio.Runner(loop_factory=iora.new_event_loop) as runner:
        assert runner.run(which()) is iora.EventLoop


def test_default_names_of_tasks_are_numbered_as_asyncios():
    code = """
        import asyncio, contextvars
        async def name():
            return asyncio.current_task().get_name()
        async def main():
            loop = asyncio.get_running_loop()
            async with asyncio.TaskGroup() as group:
                tasks = [asyncio.create_task(name()), asyncio.create_task(name(), name=None),
                         asyncio.create_task(name(), context=contextvars.copy_context()), loop.create_task(name()),
                         group.create_task(name(), context=None), asyncio.ensure_future(name()),
                         asyncio.create_task(name(), name="mine"), loop.create_task(name(), name=0)]
            print(await name(), [await task for task in tasks])
        asyncio.run(main())
    """
    stock, ours = python(code=code), python(code="import iora; iora.install()\n" + textwrap.dedent(code))
    assert stock.returncode == ours.returncode == 0, ours.stderr
    assert ours.stdout == stock.stdout


def test_install_and_uninstall():
    before = {name: getattr(asyncio, name) for name in dir(asyncio)}
    task, future = asyncio.Task, asyncio.Future
    iora.install()
    iora.install()
    try:
        assert asyncio.run(which()) is iora.EventLoop
        loop = asyncio.new_event_loop()
        assert type(loop) is iora.EventLoop
        loop.close()
        assert (asyncio.Task, asyncio.Future) == (task, future)
    finally:
        iora.uninstall()
    iora.uninstall()
    assert {name: getattr(asyncio, name) for name in dir(asyncio)} == before
    assert asyncio.run(which()) is not iora.EventLoop


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there are no policies")
def test_after_install_a_policy_of_the_programs_own_makes_its_loops():
    stock = asyncio.SelectorEventLoop
    before = asyncio.get_event_loop_policy()
    iora.install()
    try:
        class Policy(asyncio.DefaultEventLoopPolicy):
            _loop_factory = stock

        asyncio.set_event_loop_policy(Policy())
        assert asyncio.run(which()) is stock
        asyncio.set_event_loop_policy(None)
        assert asyncio.run(which()) is iora.EventLoop
    finally:
        iora.uninstall()
    assert asyncio.get_event_loop_policy() is before


def test_after_install_a_loop_is_made_with_a_selector():
    iora.install()
    try:
        with selectors.DefaultSelector() as selector:
            loop = asyncio.SelectorEventLoop(selector)
        assert type(loop) is iora.EventLoop
        loop.close()
    finally:
        iora.uninstall()


def test_iora_as_asyncio():
    import iora as ours
    assert ours.Task is asyncio.Task and ours.CancelledError is asyncio.CancelledError
    assert ours.sleep is iora.sleep and issubclass(ours.TaskGroup, asyncio.TaskGroup)
    assert "gather" in ours.__all__ and "gather" in dir(ours)
    with pytest.raises(AttributeError):
        ours.no_such_name


PROGRAM = """
import asyncio, sys
async def main():
    print(type(asyncio.get_running_loop()).__module__, sys.argv[1:], __name__)
asyncio.run(main())
"""


def test_python_m_iora_runs_a_file_or_a_module(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    by_file = python("-m", "iora", str(tmp_path / "program.py"), "a", "b")
    assert by_file.stdout == "iora._loop ['a', 'b'] __main__\n", by_file.stderr
    by_module = python("-m", "iora", "-m", "program", "a", "b", cwd=tmp_path)
    assert by_module.stdout == "iora._loop ['a', 'b'] __main__\n", by_module.stderr


LASTING = """
import atexit, os, pathlib, pickle, sys, threading, time
class Here:
    pass
def late():
    print(type(pickle.loads(pickle.dumps(Here()))) is Here, sys.modules["__main__"].Here is Here)
def later():
    threading.main_thread().join()
    late()
atexit.register(late)
threading.Thread(target=later).start()
print(__file__, sys.argv, sys.path[0], __name__, type(__loader__).__name__, __builtins__)
print(__spec__ and (__spec__.name, __spec__.origin), (lambda: 0).__code__.co_filename)
print(sorted(globals()))
os.chdir("/")
print(pathlib.Path(__file__).exists())
"""


@pytest.mark.parametrize("arguments", [["program.py"], ["-m", "program"], ["-m", "package"], ["directory"],
                                       ["archive.zip"], ["compiled.pyc"]], ids=" ".join)
def test_a_program_is_main_as_under_python_to_its_end(tmp_path, arguments):
    for folder in "package", "directory":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__main__.py").write_text(LASTING)
    (tmp_path / "program.py").write_text(LASTING)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", LASTING)
    py_compile.compile(tmp_path / "program.py", tmp_path / "compiled.pyc")
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    stock = python(*arguments, "an argument", cwd=tmp_path, env=env)
    ours = python("-m", "iora", *arguments, "an argument", cwd=tmp_path, env=env)
    assert stock.returncode == ours.returncode == 0, ours.stderr
    assert ours.stdout == stock.stdout and "True True\nTrue True\n" in ours.stdout


def test_python_m_iora_reads_a_program_from_a_pipe():
    done = subprocess.run([sys.executable, "-m", "iora", "/dev/stdin"], input="print('read')", capture_output=True,
                          text=True)
    assert done.stdout == "read\n", done.stderr


@pytest.mark.parametrize("arguments, status, message", [
    (["nowhere.py"], 2, "can't open file 'nowhere.py'"),
    (["-m"], 2, "-m needs a module"),
    (["-m", "nowhere"], 1, "No module named nowhere"),
    (["-m", "asyncio.nowhere"], 1, "No module named asyncio.nowhere"),
    (["-m", "nowhere.at.all"], 1, "No module named nowhere.at.all"),
    (["-x"], 2, "there is no option -x"),
])
def test_python_m_iora_says_what_is_wrong(arguments, status, message):
    done = python("-m", "iora", *arguments)
    assert done.returncode == status
    assert done.stderr.startswith(f"python -m iora: {message}") and done.stderr.count("\n") == 1


def test_python_m_iora_tells_of_an_error_as_python_does(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("import nowhere")
    (tmp_path / "program.py").write_text("import package.part")
    for arguments in ("program.py",), ("-m", "program"), ("-m", "package.part"):
        done = python("-m", "iora", *arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.endswith("ModuleNotFoundError: No module named 'nowhere'\n")


PROMPTED = ["await asyncio.sleep(0.001, 'slept')", "type(asyncio.get_running_loop())", "kept = 6",
            "await asyncio.create_task(asyncio.sleep(0, kept * 7))", "1 / 0", "asyncio.sleep.__module__, 'end'"]


def test_python_m_iora_has_a_prompt_at_which_await_works():
    done = subprocess.run([sys.executable, "-m", "iora"], input="\n".join(["import asyncio", *PROMPTED, ""]),
                          capture_output=True, text=True, timeout=60, check=False)
    for shown in "'slept'", "<class 'iora._loop.EventLoop'>", "42", "'end'":
        assert shown in done.stdout, done.stdout + done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("basic", ["1", ""])
def test_at_the_prompt_ctrl_c_ends_what_is_awaited(basic):
    """On a terminal, with the interpreter's newer prompt (3.13) too."""
    terminal = Terminal("-m", "iora", env=os.environ | {"TERM": "xterm", "PYTHON_BASIC_REPL": basic})
    with terminal:
        terminal.wait_for(">>> ")
        terminal.type("await asyncio.sleep(100 + 1)\r")
        terminal.wait_for("100 + 1)")
        time.sleep(0.3)  # until it is in the await; earlier, Ctrl-C is for the line
        terminal.type("\x03")
        terminal.wait_for("KeyboardInterrupt")
        terminal.type("await asyncio.sleep(0, 6 * 7)\r")
        terminal.wait_for("42")
        terminal.type("exit()\r")
        assert terminal.status() == 0


def test_ctrl_c_cancels_the_main_task_while_the_loop_waits():
    done = python(code="""
        import asyncio, iora, os, signal, threading
        async def main():
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                print("cancelled")
                raise
        try:
            iora.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """)
    assert done.stdout == "cancelled\ninterrupted\n", done.stderr


def test_a_second_ctrl_c_is_raised_at_once():
    done = python(code="""
        import asyncio, iora, os, signal, threading, time
        async def main():
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                print("deaf")
            await asyncio.sleep(60)
        try:
            iora.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """)
    assert done.stdout == "deaf\ninterrupted\n", done.stderr


def test_a_signal_handler_is_called_while_the_interpreters_is_another(run, loop):
    """uvicorn takes SIGINT over while it serves; the handlers of the program's loop heard nothing of it."""
    heard, others = [], []

    async def scene():
        loop.add_signal_handler(signal.SIGUSR1, heard.append, "ours")
        ours = signal.signal(signal.SIGUSR1, lambda *_: others.append("another"))
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.01)
        assert (heard, others) == (["ours"], ["another"])
        signal.signal(signal.SIGUSR1, ours)
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(0.01)
        assert heard == ["ours"] * 2
        signal.raise_signal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, lambda *_: None)  # once ours has been called, and before its byte is read
        await asyncio.sleep(0.01)
        assert heard == ["ours"] * 3
        assert loop.remove_signal_handler(signal.SIGUSR1)

    run(scene())


def test_a_signal_that_lands_on_another_thread_wakes_the_loop(loop):
    """The kernel may give it to any thread; Python runs the handler in the main one."""
    heard = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, heard.set_result, 1)
    release = threading.Event()
    other = threading.Thread(target=release.wait)
    other.start()
    loop.call_later(0.05, lambda: signal.pthread_kill(other.ident, signal.SIGUSR1))
    began = time.monotonic()
    assert loop.run_until_complete(asyncio.wait_for(heard, 20)) == 1
    assert time.monotonic() - began < 10
    assert loop.remove_signal_handler(signal.SIGUSR1)
    assert not loop.remove_signal_handler(signal.SIGUSR1)
    release.set()
    other.join()


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, iora.new_event_loop])
def test_a_signal_handler_that_was_removed_is_not_called_for_a_signal_that_came_before(new_event_loop):
    async def main():
        loop = asyncio.get_running_loop()
        for number in 1, 2:
            loop.add_signal_handler(signal.SIGUSR1, heard.append, number)
            os.kill(os.getpid(), signal.SIGUSR1)
            loop.remove_signal_handler(signal.SIGUSR1)
            await asyncio.sleep(0.01)
        loop.add_signal_handler(signal.SIGUSR1, heard.append, 3)
        os.kill(os.getpid(), signal.SIGUSR1)
        loop.add_signal_handler(signal.SIGUSR1, heard.append, 4)
        await asyncio.sleep(0.01)
        loop.set_exception_handler(lambda loop, context: heard.append(context["message"].partition("(")[0]))
        loop.add_signal_handler(signal.SIGUSR1, int, "no number")
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0.01)

    heard = []
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
    assert heard == [4, "Exception in callback int"]


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, iora.new_event_loop])
def test_a_loop_can_be_run_within_another_that_is_said_not_to_run(new_event_loop):
    async def inner():
        await iora.sleep(0.001)
        return asyncio.get_running_loop()

    async def main():
        loop = asyncio.get_running_loop()
        within = new_event_loop()
        asyncio._set_running_loop(None)
        try:
            ran_in = within.run_until_complete(inner())
        finally:
            asyncio._set_running_loop(loop)
            within.close()
        return ran_in is within, await iora.wait_for(inner(), 10) is loop, iora.get_running_loop() is loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(main()) == (True, True, True)


def test_the_wakeup_descriptor_is_given_back(loop):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    try:
        loop.run_until_complete(asyncio.sleep(0))
        assert signal.set_wakeup_fd(before) == writing
    finally:
        os.close(reading)
        os.close(writing)


def test_a_forked_child_has_no_running_loop_and_may_run_its_own(loop):
    async def main():
        pid = os.fork()
        if pid == 0:
            try:
                assert iora.run(which()) is iora.EventLoop
                os._exit(0)
            finally:
                os._exit(1)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        return status

    asyncio.events._set_running_loop(None)
    assert loop.run_until_complete(main()) == 0


def test_asynchronous_generators_are_closed_at_the_end():
    seen = []

    async def generator():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def main():
        held.append(generator())
        async for _ in held[0]:
            break

    held = []
    iora.run(main())
    assert seen == ["closed"]


def test_the_module_goes_with_its_last_user():
    done = python("-X", "dev", "-c", textwrap.dedent("""
        import asyncio, gc, sys, weakref
        import iora
        iora.run(asyncio.sleep(0.001))
        module = weakref.ref(sys.modules["iora._c"])
        for name in [name for name in sys.modules if name.partition(".")[0] == "iora"]:
            del sys.modules[name]
        del iora
        for kept in "_all_tasks", "_scheduled_tasks":  # asyncio's, until 3.13, and we are in them
            vars(getattr(asyncio.tasks, kept, asyncio)).pop("add", None)
        gc.collect()
        gc.collect()
        print(module())
        """))
    assert done.stdout == "None\n", done.stdout + done.stderr


def test_hooks_for_generators_come_back(loop):
    hooks = sys.get_asyncgen_hooks()
    loop.run_until_complete(asyncio.sleep(0))
    assert sys.get_asyncgen_hooks() == hooks


def test_names_of_numbers_need_no_thread(loop):
    async def main():
        infos = await loop.getaddrinfo("127.0.0.1", 80)
        assert infos[0][4] == ("127.0.0.1", 80)
        assert await loop.getaddrinfo("::1", "80")
        assert loop._default_executor is None
        assert await loop.getaddrinfo("localhost", 80)
        assert loop._default_executor is not None

    loop.run_until_complete(main())


@pytest.mark.parametrize("call", [
    lambda loop: loop.create_datagram_endpoint(asyncio.DatagramProtocol),
    lambda loop: loop.subprocess_exec(asyncio.SubprocessProtocol, "true"),
    lambda loop: loop.connect_read_pipe(asyncio.Protocol, None),
    lambda loop: loop.start_tls(None, None, None),
    lambda loop: loop.sendfile(None, None),
    lambda loop: loop.create_connection(asyncio.Protocol, "127.0.0.1", 1, ssl=True),
])
def test_what_is_not_there_yet_says_so(loop, call):
    with pytest.raises(NotImplementedError, match="iora has no"):
        loop.run_until_complete(call(loop))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs interpreters with their own GIL")
def test_a_subinterpreter_has_a_module_of_its_own():
    program = """
        import sys
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        made = interpreters.create()
        print(interpreters.run_string(made, sys.argv[1]))
        """
    if python("import asyncio", code=program).returncode != 0:
        pytest.skip("this interpreter crashes when a subinterpreter imports asyncio")
    done = python("import iora, asyncio; assert iora.run(asyncio.sleep(0, 5)) == 5", code=program)
    assert done.returncode == 0 and "Error" not in done.stdout, done.stdout + done.stderr

"""Servers that scenarios need, started in a temporary folder, and stopped: Redis and PostgreSQL.

Both listen on a free port of the loopback and on a Unix socket in their folder. PostgreSQL refuses to run as
root; then it runs as the user whom its package made.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from stage import Missing

START_LIMIT_S = 30
POSTGRES_USER = "postgres"


def _free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _find(program, *folders):
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *folders]))
    if found is None:
        raise Missing(f"there is no {program}")
    return found


def _listens(path):
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


def _takes_queries(data):
    """PostgreSQL listens some time before; the last line of its lock file says how far it is."""
    try:
        return Path(data, "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False


def _wait_until(is_ready, process):
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until and process.poll() is None:
        if is_ready():
            return
        time.sleep(0.02)
    raise Missing(f"{process.args[0]} did not start")


@contextlib.contextmanager
def _running(command, is_ready, stop, **kwargs):
    """A server, from when it is ready until it has ended."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True, **kwargs)
    try:
        _wait_until(is_ready, process)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def redis():
    """Yields its port and the path of its Unix socket."""
    program = _find("redis-server")
    with tempfile.TemporaryDirectory() as folder:
        port, path = _free_port(), f"{folder}/redis.sock"
        with _running([program, "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", path, "--save", "",
                       "--appendonly", "no", "--dir", folder], lambda: _listens(path), signal.SIGTERM):
            yield port, path


@contextlib.contextmanager
def postgres():
    """Yields its port and its folder, in which its Unix socket is; anybody may be the user "iora"."""
    folders = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    initdb, program = _find("initdb", *folders), _find("postgres", *folders)
    as_user = {"user": POSTGRES_USER, "group": POSTGRES_USER, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as folder:
        if as_user:
            try:
                shutil.chown(folder, POSTGRES_USER, pwd.getpwnam(POSTGRES_USER).pw_gid)
            except KeyError:
                raise Missing(f"there is no user {POSTGRES_USER}, and PostgreSQL does not run as root") from None
        made = subprocess.run([initdb, "-D", f"{folder}/data", "-U", "iora", "-A", "trust", "-N", "-E", "UTF8",
                               "--locale=C"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              cwd=folder, **as_user)
        if made.returncode != 0:
            raise Missing(f"initdb fails: {made.stderr.strip()}")
        port = _free_port()
        with _running([program, "-D", f"{folder}/data", "-p", str(port), "-c", "listen_addresses=127.0.0.1",
                       "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"],
                      lambda: _takes_queries(f"{folder}/data"), signal.SIGINT, cwd=folder, **as_user):
            yield port, folder

"""Each program of examples/ prints what stands in examples/expected/, and ends well. The web server and
the crawler are met by clients and servers that are not ours."""

import http.client
import http.server
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from conftest import EMULATOR, ROOT
from summary import timeless

def programs_of(folder):
    return sorted(str(path.relative_to(ROOT / "examples").with_suffix("")) for path in folder.glob("*.c"))


EXAMPLES = programs_of(ROOT / "examples")
GUESTS = programs_of(ROOT / "examples" / "guests")  # inside other loops, where these are installed

LATE_S = 5 if EMULATOR else 0.5  # how late a busy machine may be


@pytest.mark.parametrize("example", EXAMPLES + GUESTS)
def test_example_prints_what_is_expected(run, build_dir, root, example):
    program = build_dir / "examples" / example
    if example in GUESTS and not program.exists():
        pytest.skip("the library whose loop it lives in was not there when it was built")
    done = run(*EMULATOR, program)
    text, seconds = timeless(done.stdout)
    folder, name = program.relative_to(build_dir).parent, program.name
    expected_text, expected_seconds = timeless((root / folder / "expected" / f"{name}.txt").read_text())
    assert text == expected_text
    assert done.stderr == ""
    for actual, expected in zip(seconds, expected_seconds):
        assert expected <= actual <= expected + LATE_S


@pytest.mark.parametrize("guest", GUESTS)
def test_guest_sleeps_while_there_is_nothing_to_do(run, build_dir, guest):
    """The other loop is not kept awake: all that it takes is for the ticks of its own timer."""
    program = build_dir / "examples" / guest
    if not program.exists():
        pytest.skip("the library whose loop it lives in was not there when it was built")
    began = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    run(program)
    took = time.monotonic() - began[0]
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = ended.ru_utime + ended.ru_stime - began[1].ru_utime - began[1].ru_stime
    assert cpu < took / 2


@pytest.mark.parametrize("example", EXAMPLES + GUESTS)
def test_example_begins_with_its_title(root, example):
    """./run demo shows it."""
    first = (root / "examples" / f"{example}.c").read_text().splitlines()[0]
    assert re.fullmatch(r"/\* .*\.", first)


@pytest.mark.parametrize("folder, programs", [("examples", EXAMPLES), ("examples/guests", GUESTS)])
def test_every_expected_output_has_its_program(root, folder, programs):
    expected = sorted(path.stem for path in (root / folder / "expected").iterdir())
    assert expected == [Path(program).name for program in programs]


# ---- The web server -----------------------------------------------------------------------------

@pytest.fixture
def web_server(build_dir):
    """web_server(argument...): the process of a server on a free port, and that port."""
    started = []

    def web_server(*arguments):
        process = subprocess.Popen([build_dir / "examples" / "09_web_server", "0", *arguments],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return process, int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n",
                                         process.stdout.readline())[1])
    yield web_server
    for process in started:
        process.kill()
        process.communicate()


def stop(process):
    """Stop a server by SIGINT. Returns how many requests it says that it has answered."""
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return int(re.fullmatch(r"stopped, after (\d+) requests\n", rest)[1])


def talk(port, *pieces):
    """Send the pieces, and return all that comes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def statuses(answers):
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d+) ", answers, re.M)]


def test_web_server_keeps_connections(web_server):
    process, port = web_server()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    ours = connection.sock
    for method, path, sent, expected in [
            ("GET", "/", None, b'{"message":"Hello, World!"}\n'),
            ("GET", "/?a=b", None, b'{"message":"Hello, World!"}\n'),
            ("HEAD", "/", None, b""),
            ("GET", "/hello/Bob", None, b"Hello, Bob!\n"),
            ("POST", "/echo", b"x" * 16384, b"x" * 16384),
            ("POST", "/echo", b"", b"")]:
        connection.request(method, path, sent)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, expected)
        assert answer.getheader("Date").endswith(" GMT")
        assert connection.sock is ours
    connection.close()
    assert stop(process) == 6


def test_web_server_closes_when_asked(web_server):
    _, port = web_server()
    assert statuses(talk(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == [200]
    assert statuses(talk(port, b"GET / HTTP/1.0\r\n\r\n")) == [200]


def test_web_server_answers_in_order_however_requests_are_cut(web_server):
    _, port = web_server()
    requests = (b"GET /hello/Ann HTTP/1.1\r\nHost: x\r\n\r\n"
                b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab\r\n"
                b"\r\nGET /nowhere HTTP/1.1\r\nhost:x\r\n\r\n"
                b"GET /hello/Bob HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for pieces in [requests], [requests[i:i + 1] for i in range(len(requests))]:
        answers = talk(port, *pieces)
        assert statuses(answers) == [200, 200, 404, 200]
        assert [answers.index(text) for text in (b"Ann", b"ab\r\n", b"Bob")] == \
            sorted(answers.index(text) for text in (b"Ann", b"ab\r\n", b"Bob"))


HOST = b"Host: x\r\n"


@pytest.mark.parametrize("head, status", [
    (b"GET /\r\n" + HOST, 400),
    (b"GET / HTTP/1.1\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + HOST, 400),
    (b"GET  / HTTP/1.1\r\n" + HOST, 400),
    (b" GET / HTTP/1.1\r\n" + HOST, 400),
    (b"GET / HTTP/1.1 \r\n" + HOST, 505),
    (b"GET / HTTP/2.0\r\n" + HOST, 505),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\nC: d\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rC: d\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: \0\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"no header\r\n", 400),
    pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 8192 + b"\r\n", 431, id="long"),
    (b"POST /echo HTTP/1.1\r\n" + HOST, 411),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n", 411),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 1\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 16385\r\n", 413),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n", 413),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n", 405),
])
def test_web_server_refuses_and_hangs_up(web_server, head, status):
    """What follows might be a body, so it is not taken for a request."""
    process, port = web_server()
    assert statuses(talk(port, head + b"\r\n" + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")) == [status]
    assert stop(process) == 1


def test_web_server_says_no_to_a_method_and_goes_on(web_server):
    _, port = web_server()
    answers = talk(port, b"DELETE / HTTP/1.1\r\n" + HOST + b"\r\n",
                   b"GET /echo HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert statuses(answers) == [405, 405]
    assert re.findall(rb"Allow: (.*)\r\n", answers) == [b"GET, HEAD", b"POST"]


def test_web_server_refusal_reaches_who_still_sends(web_server):
    _, port = web_server()
    body = b"x" * 1_000_000
    head = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body)
    assert statuses(talk(port, head, body)) == [413]


def test_web_server_asks_for_a_body_that_is_held_back(web_server):
    _, port = web_server()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\n"
                           b"Content-Length: 2\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hi")
        assert connection.recv(1000).endswith(b"\r\n\r\nhi")


def test_web_server_deadline_is_for_all_of_a_request(web_server):
    """A byte now and then does not keep the connection."""
    _, port = web_server("0.5")
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=0.1) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        answer = b""
        while not answer:
            assert time.monotonic() < began + 20
            connection.sendall(b"x")
            try:
                answer = connection.recv(1000)
            except TimeoutError:
                pass
    assert statuses(answer) == [408]
    assert time.monotonic() - began >= 0.5


def test_web_server_stop_finishes_what_is_served(web_server):
    process, port = web_server()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as busy, \
            socket.create_connection(("127.0.0.1", port), timeout=30) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert statuses(idle.recv(1000)) == [200]
        busy.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
                     b"GET /sleep/300 HTTP/1.1\r\n" + HOST + b"\r\n")
        assert statuses(busy.recv(1000)) == [200] # so now it serves the other one
        assert stop(process) == 3
        answer = b"".join(iter(lambda: busy.recv(1000), b""))
        assert statuses(answer) == [200]
        assert b"Connection: close\r\n" in answer
        assert answer.endswith(b"Good morning!\n")
        assert idle.recv(1000) == b""


# ---- The crawler --------------------------------------------------------------------------------

class Site(http.server.ThreadingHTTPServer):
    """Pages by their paths: a text, or a function of how often it was asked for that returns a text,
    a status, or None to hang up."""

    daemon_threads = True

    def __init__(self, pages, protocol="HTTP/1.1"):
        class Handler(http.server.BaseHTTPRequestHandler):
            """Looks pages up in the dictionary."""
            protocol_version = protocol
            def do_GET(self):  # the base class wants this name
                self.server.serve_page(self)

            def log_message(self, *_):
                """Be quiet."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.asked, self.connections = pages, [], set()
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def serve_page(self, handler):
        with self.lock:
            self.asked.append(handler.path)
            self.connections.add(handler.client_address)
            self.now += 1
            self.most = max(self.most, self.now)
        page = self.pages.get(handler.path, 404)
        if callable(page):
            page = page(self.asked.count(handler.path))
        with self.lock:
            self.now -= 1
        if page is None:
            handler.close_connection = True
            return
        status, text = (200, page) if isinstance(page, str) else (page, "")
        handler.send_response(status)
        handler.send_header("Content-Type", "text/html; charset=utf-8")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text.encode())


@pytest.fixture
def crawl(run, build_dir):
    """crawl(site, word...): crawl it; returns what the crawler says of pages, bytes, retries, failures,
    and the lines before."""
    sites = []

    def crawl(site, *words):
        sites.append(site)
        threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01}).start()
        done = run(build_dir / "examples" / "08_crawler", *words, site.url)
        assert done.stderr == ""
        *lines, last = done.stdout.splitlines()
        return [int(n) for n in re.fullmatch(
            r"(\d+) pages, (\d+) bytes, (\d+) retried, (\d+) failed, \S+ m?s", last).groups()], lines
    yield crawl
    for site in sites:
        site.shutdown()
        site.server_close()


def links(*targets):
    return " ".join(f'<a href="{target}">link</a>' for target in targets)


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/1.1"])
def test_crawler_follows_links_of_all_forms(crawl, protocol):
    pages = {
        "/": links("a/b.html", "#top", "?q=1&amp;r=2", "//other.example/x", "https://127.0.0.1/y",
                   "http://127.0.0.1/other-port", "mailto:me", "javascript:void(0)", " /blank "),
        "/?q=1&r=2": "",
        "/a/b.html": "<A\nCLASS='x>y' HREF = ../c?/../d#e>link</A> <a href='.'>x</a> <a name=f>",
        "/c?/../d": "<!-- " + links("/comment") + " --><abbr href='/abbr'> <a href=/e><a href='/a b'>",
        "/a/": links("./../../f/./g/.."),
        "/e": "<a",
        "/f/": "<a href='/unfinished",
        "/blank": "",
    }
    site = Site(pages, protocol)
    (found, size, _, failed), lines = crawl(site)
    assert lines == []
    assert sorted(site.asked) == sorted(pages)
    assert (found, size, failed) == (len(pages), sum(map(len, pages.values())), 0)


def test_crawler_tries_again(crawl):
    site = Site({"/": links("/busy", "/hangs-up", "/broken"),
                 "/busy": lambda n: 503 if n < 3 else "",
                 "/hangs-up": lambda n: None if n < 3 else "",
                 "/broken": lambda n: 500})
    (found, _, retried, failed), lines = crawl(site, "--jobs", "3")
    assert (found, failed) == (3, 1)
    assert retried >= 2 + 1 + 3 # the end of a connection that was kept is no failure
    assert lines == ["  /broken: status 500"]
    assert site.asked.count("/broken") == 4


def test_crawler_follows_redirects_on_its_site(crawl):
    class Handler(http.server.BaseHTTPRequestHandler):
        """Leads from / to /there, and from there away."""
        def do_GET(self):  # the base class wants this name
            self.send_response(302 if self.path == "/" else 301)
            self.send_header("Location", "there" if self.path == "/" else "http://other.example/")
            self.end_headers()

        def log_message(self, *_):
            """Be quiet."""
    site = Site({})
    site.RequestHandlerClass = Handler
    assert crawl(site) == ([0, 0, 0, 0], [])


@pytest.mark.parametrize("words, most", [(["--jobs", "5"], 5), (["--sequential"], 1)])
def test_crawler_fetches_as_many_at_a_time_as_told(crawl, words, most):
    """Each page waits until as many are asked for, or for a while if there are no more."""
    together = threading.Barrier(most)

    def page(_):
        together.wait(timeout=30)
        return ""
    site = Site({"/": links(*(f"/{i}" for i in range(10))), **{f"/{i}": page for i in range(10)}})
    (found, *_), _ = crawl(site, *words)
    assert (found, site.most) == (11, most)
    assert len(site.connections) == most # kept


def test_crawler_reads_chunks_and_answers_without_an_end(crawl):
    class Handler(http.server.BaseHTTPRequestHandler):
        """/ comes in chunks of one byte, /end up to the end of the connection."""
        protocol_version = "HTTP/1.1"
        def do_GET(self):  # the base class wants this name
            text = links("/end", "/big")
            self.send_response(103)
            self.end_headers()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            if self.path == "/":
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for character in text:
                    self.wfile.write(f"1;name=value\r\n{character}\r\n".encode())
                self.wfile.write(b"000\r\nTrailer: x\r\n\r\n")
            elif self.path == "/end":
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(b"x" * 100000)
            else:
                self.send_header("Content-Length", "99999999999")
                self.end_headers()

        def log_message(self, *_):
            """Be quiet."""
    site = Site({})
    site.RequestHandlerClass = Handler
    (found, size, *_, failed), lines = crawl(site)
    assert (found, size, failed) == (2, len(links("/end", "/big")) + 100000, 1)
    assert lines == ["  /big: File too large"]


def test_crawler_says_what_it_cannot_reach(run, build_dir):
    with socket.socket() as taken: # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        done = run(build_dir / "examples" / "08_crawler",
                   f"http://127.0.0.1:{taken.getsockname()[1]}/", check=False)
    assert done.returncode == 1
    assert "fetching any page" in done.stderr
    assert done.stdout.startswith("  /: Connection refused\n0 pages, 0 bytes, 3 retried, 1 failed, ")


@pytest.mark.parametrize("words", [["ftp://127.0.0.1/"], ["http://"], ["http://127.0.0.1:x/"]])
def test_crawler_knows_what_it_cannot_crawl(run, build_dir, words):
    done = run(build_dir / "examples" / "08_crawler", *words, check=False)
    assert done.returncode == 1
    assert words[0] in done.stderr

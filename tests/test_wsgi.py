"""Any WSGI application: one request, one scope, in a context of its own."""

import contextvars
import gc
import io
import json
import os
import socketserver
import threading
import urllib.request
import weakref
from concurrent.futures import ThreadPoolExecutor
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    SecretContainer,
    SecretForbidden,
    StaticSecret,
    request_scope,
)
from pgp_config.scopes import Scope, open_scope
from pgp_config.wsgi import LoadMiddleware, ScopeMiddleware


class Service(SecretContainer):
    key = DynamicSecret("WSGI_KEY", str, freshness=EVERY_REQUEST)
    fixed = StaticSecret("WSGI_FIXED", str)


@pytest.fixture
def secrets(source, make):
    source.add("WSGI_KEY", "k1")
    source.add("WSGI_FIXED", "f1")
    return make(Service)


class Answer:
    """A server's side of one request."""

    def __init__(self, app, path="/", method="GET", **environ):
        self.environ = {"PATH_INFO": path, "REQUEST_METHOD": method, **environ}
        setup_testing_defaults(self.environ)
        self.status = self.headers = None
        self.body = app(self.environ, self._start)

    def _start(self, status, headers, exc_info=None):
        self.status, self.headers = status, dict(headers)

    def read(self):
        return b"".join(self.body).decode()

    def close(self):
        if hasattr(self.body, "close"):
            self.body.close()


class Streamed:
    """An application's iterable that notes in which scope it is used."""

    def __init__(self, *chunks, on_close=None):
        self.chunks = list(chunks)
        self.scopes = []
        self.closed = 0
        self._on_close = on_close

    def __call__(self, environ, start_response):
        self.scopes.append(open_scope())
        start_response("200 OK", [])
        return self

    def __iter__(self):
        self.scopes.append(open_scope())
        return self

    def __next__(self):
        self.scopes.append(open_scope())
        if not self.chunks:
            raise StopIteration
        return self.chunks.pop(0)

    def close(self):
        self.scopes.append(open_scope())
        self.closed += 1
        if self._on_close is not None:
            raise self._on_close

    @property
    def scope(self):
        """The one scope of all steps."""
        assert len({id(scope) for scope in self.scopes}) == 1
        assert self.scopes[0] is not None
        return self.scopes[0]


def test_call_steps_and_close_are_in_one_scope_that_ends_with_close():
    app = Streamed(b"a", b"b")
    answer = Answer(ScopeMiddleware(app))
    assert answer.read() == "ab"
    assert open_scope() is None
    assert not app.scope.closed
    answer.close()
    assert app.scope.closed
    assert len(app.scopes) == 6


def test_closing_twice_closes_the_application_once():
    app = Streamed()
    answer = Answer(ScopeMiddleware(app))
    answer.close()
    answer.close()
    assert app.closed == 1


def test_a_server_that_never_iterates_closes_the_scope():
    app = Streamed(b"a")
    Answer(ScopeMiddleware(app)).close()
    assert app.scope.closed


def test_a_server_that_stops_half_way_closes_the_scope():
    app = Streamed(b"a", b"b")
    answer = Answer(ScopeMiddleware(app))
    assert next(iter(answer.body)) == b"a"
    answer.close()
    assert app.scope.closed


def test_an_answer_that_is_thrown_away_is_closed():
    app = Streamed(b"a", b"b")
    answer = Answer(ScopeMiddleware(app))
    next(iter(answer.body))
    answer.body = None
    gc.collect()
    assert (app.closed, app.scope.closed) == (1, True)


def test_a_failing_close_still_closes_the_scope():
    app = Streamed(on_close=OSError("broken"))
    answer = Answer(ScopeMiddleware(app))
    with pytest.raises(OSError, match="broken"):
        answer.close()
    assert app.scope.closed
    answer.close()
    assert app.closed == 1


def test_an_application_that_raises_leaves_no_scope():
    seen = []

    def app(environ, start_response):
        seen.append(open_scope())
        raise KeyError("path")

    with pytest.raises(KeyError):
        Answer(ScopeMiddleware(app))
    assert seen[0].closed
    assert open_scope() is None


def test_a_generator_that_starts_late_and_fails_is_in_the_scope():
    seen = []

    def app(environ, start_response):
        seen.append(open_scope())
        start_response("200 OK", [("X-Late", "yes")])
        yield b"a"
        raise OSError("broken")

    answer = Answer(ScopeMiddleware(app))
    assert answer.status is None
    steps = iter(answer.body)
    assert next(steps) == b"a"
    assert answer.headers == {"X-Late": "yes"}
    with pytest.raises(OSError, match="broken"):
        next(steps)
    answer.close()
    assert seen[0].closed


def test_an_abandoned_generator_ends_in_its_scope():
    seen = []

    def app(environ, start_response):
        try:
            yield b"a"
        finally:
            seen.append(open_scope())

    answer = Answer(ScopeMiddleware(app))
    next(iter(answer.body))
    answer.body = None
    gc.collect()
    assert seen[0].closed


def test_iterating_an_iterator_goes_on_where_it_was():
    class Again:
        def __iter__(self):
            return iter([b"a", b"b"])

    answer = Answer(ScopeMiddleware(lambda environ, start_response: Again()))
    steps = iter(answer.body)
    assert next(steps) == b"a"
    assert list(iter(steps)) == [b"b"]
    answer.close()


def test_an_iterable_without_close_needs_none():
    seen = []

    class Plain:
        def __iter__(self):
            seen.append(open_scope())
            return iter([b"a"])

    answer = Answer(ScopeMiddleware(lambda environ, start_response: Plain()))
    assert answer.read() == "a"
    answer.close()
    assert seen[0].closed


def test_a_close_in_another_thread_while_a_step_runs_still_closes_the_scope():
    entered, released = threading.Event(), threading.Event()
    seen = []

    def app(environ, start_response):
        seen.append(open_scope())
        entered.set()
        assert released.wait(30)
        yield b"a"

    answer = Answer(ScopeMiddleware(app))
    with ThreadPoolExecutor(1) as pool:
        step = pool.submit(answer.read)
        assert entered.wait(30)
        with pytest.raises(RuntimeError):
            answer.close()
        assert seen[0].closed
        released.set()
        assert step.result(30) == "a"


def test_nothing_that_the_application_sets_reaches_the_servers_context():
    variable = contextvars.ContextVar("variable", default="unset")

    def app(environ, start_response):
        variable.set("set")
        yield variable.get().encode()

    answer = Answer(ScopeMiddleware(app))
    assert answer.read() == "set"
    assert variable.get() == "unset"
    answer.close()


@pytest.mark.parametrize("body", [[b"a", b"b"], (b"a", b"b")])
def test_a_list_is_given_as_it_is_and_its_scope_is_over(body):
    seen = []

    def app(environ, start_response):
        seen.append(open_scope())
        return body

    assert Answer(ScopeMiddleware(app)).body is body
    assert seen[0].closed


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_plain_file_is_left_to_the_servers_sendfile(tmp_path, buffering):
    path = tmp_path / "file"
    path.write_bytes(b"content")

    def app(environ, start_response):
        return environ["wsgi.file_wrapper"](path.open("rb", buffering))

    answer = Answer(ScopeMiddleware(app), **{"wsgi.file_wrapper": FileWrapper})
    assert type(answer.body) is FileWrapper
    assert answer.read() == "content"
    answer.close()


def test_a_file_of_the_applications_own_code_is_read_in_the_scope():
    seen = []

    class Decrypting(io.BytesIO):
        def read(self, size=-1):
            seen.append(open_scope())
            return super().read(size)

    def app(environ, start_response):
        seen.append(open_scope())
        return environ["wsgi.file_wrapper"](Decrypting(b"content"))

    answer = Answer(ScopeMiddleware(app), **{"wsgi.file_wrapper": FileWrapper})
    assert answer.read() == "content"
    answer.close()
    assert len({id(scope) for scope in seen}) == 1


# promise 2
def test_a_new_scope_is_opened_whatever_the_servers_context_holds(secrets, source):
    secrets.load()
    app = ScopeMiddleware(lambda environ, start_response: [secrets.key().encode()])
    with request_scope():
        assert secrets.key() == "k1"
        source.add("WSGI_KEY", "k2")
        assert Answer(app).read() == "k2"
        assert secrets.key() == "k1"
    stale = contextvars.copy_context()
    assert stale.run(Answer, app).read() == "k2"


def test_a_tests_values_reach_the_application(secrets):
    def app(environ, start_response):
        yield secrets.key().encode()

    with request_scope(values={"WSGI_KEY": "given"}):
        answer = Answer(ScopeMiddleware(app))
    assert answer.read() == "given"
    answer.close()


def test_it_keeps_the_rules_of_wsgi():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Streamed(b"a")

    answer = Answer(validator(ScopeMiddleware(validator(app))), QUERY_STRING="", SCRIPT_NAME="")
    assert [chunk for chunk in answer.body if chunk] == [b"a"]
    answer.close()


class _Threaded(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = False


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


# promise 1
def test_a_real_threaded_server_streams_in_one_scope(secrets, source):
    secrets.load()

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        for number in range(2, 5):
            yield f"{secrets.key()} ".encode()
            source.add("WSGI_KEY", f"k{number}")

    server = make_server("127.0.0.1", 0, ScopeMiddleware(app), _Threaded, _Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        texts = []
        for _ in range(2):
            with urllib.request.urlopen(url, timeout=30) as answer:
                texts.append(answer.read().decode())
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()
    assert texts == ["k1 k1 k1 ", "k4 k4 k4 "]


# -- the load before the first request -----------------------------------------------------------


def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]


def test_the_first_request_loads_and_the_next_ones_do_not(secrets, source):
    app = LoadMiddleware(hello, secrets)
    assert source.calls == []
    assert [Answer(app).read(), Answer(app).read()] == ["hello", "hello"]
    assert sorted(source.calls) == [("WSGI_FIXED", "latest"), ("WSGI_KEY", "latest")]


def test_a_failed_load_is_answered_with_503_and_tried_again(secrets, source, caplog):
    app = LoadMiddleware(hello, secrets)
    source.fail("WSGI_FIXED", SecretForbidden("the cause-canary", remedy="Grant it."))
    answer = Answer(app)
    assert answer.status == "503 Service Unavailable"
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.read()
    assert int(answer.headers["Content-Length"]) == len(body)
    assert json.loads(body) == {"error": "temporarily unavailable"}
    assert "WSGI_FIXED in Service: the cause-canary" in caplog.text
    assert caplog.text.rstrip().endswith("(pgp-config explain StartupError SecretForbidden)")
    source.fail("WSGI_FIXED", None)
    assert Answer(app).read() == "hello"


def test_a_refused_head_request_has_no_body(secrets, source):
    source.fail("WSGI_FIXED", SecretForbidden("no", remedy="Grant it."))
    answer = Answer(LoadMiddleware(hello, secrets), method="HEAD")
    assert answer.status.startswith("503 ")
    assert answer.read() == ""


def test_an_exempt_path_is_served_without_the_load(secrets, source):
    app = LoadMiddleware(hello, secrets, exempt=["/healthz"])
    assert Answer(app, "/healthz").read() == "hello"
    assert source.calls == []


def test_requests_that_wait_for_a_load_share_what_comes_of_it(secrets, source):
    app, lock, others = LoadMiddleware(hello, secrets), threading.Lock(), []
    source.fail("WSGI_FIXED", SecretForbidden("no", remedy="Grant it."))

    class Overtaken:
        """Held by another request, whose load fails while this one waits."""

        def __enter__(self):
            app._lock = lock
            others.append(Answer(app).status[:3])
            lock.acquire()

        def __exit__(self, *_):
            lock.release()

    app._lock = Overtaken()
    assert Answer(app).status[:3] == "503"
    assert others == ["503"]
    assert source.count("WSGI_FIXED") == 1


def test_the_lost_race_for_the_load_costs_nothing(secrets, source):
    app = LoadMiddleware(hello, secrets)
    Answer(app)
    assert app._load() is None
    assert len(source.calls) == 2


# promise 12
def test_the_load_is_outside_the_scope_that_a_test_opened(secrets):
    def app(environ, start_response):
        return [secrets.fixed().encode(), secrets.key().encode()]

    with request_scope(values={"WSGI_KEY": "given"}):
        assert Answer(LoadMiddleware(ScopeMiddleware(app), secrets)).read() == "f1given"


# promise 16
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_each_process_loads_and_what_was_loaded_before_the_fork_stays(secrets, source):
    app = LoadMiddleware(hello, secrets)
    Answer(app)
    app._lock.acquire()  # as if another thread loaded at the moment of the fork
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        try:
            told = f"{app._loaded} {Answer(app).read()} {app._loaded} {len(source.calls)}"
        except BaseException as error:  # noqa: BLE001  told to the parent
            told = repr(error)
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == "False hello True 2"
    os.waitpid(child, 0)
    app._lock.release()


def test_a_fault_that_is_not_a_secrets_is_the_servers_to_answer(secrets):
    class Faulty:
        status, aload, close = secrets.status, secrets.aload, secrets.close
        announce = secrets.announce

        def load(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Answer(LoadMiddleware(hello, Faulty()))


def test_something_else_in_place_of_a_container_is_refused():
    with pytest.raises(DeclarationError, match="the class Service was given"):
        LoadMiddleware(hello, Service)
    with pytest.raises(DeclarationError, match="a dict was given"):
        LoadMiddleware(hello, {})


@pytest.mark.parametrize("body", [[b"a"], iter([b"a"])])
def test_what_a_request_has_read_is_freed_without_the_garbage_collector(body):
    class Held:
        """Kept in the scope."""

    def app(environ, start_response):
        held = open_scope()["held"] = Held()
        seen.append(weakref.ref(held))
        start_response("200 OK", [])
        return body

    def scopes():
        return sum(type(one) is Scope for one in gc.get_objects())

    seen = []
    gc.collect()
    before = scopes()
    gc.disable()
    try:
        answer = ScopeMiddleware(app)({}, lambda *_: None)
        list(answer)
        getattr(answer, "close", lambda: None)()
        del answer
        assert seen[0]() is None
        assert scopes() == before
    finally:
        gc.enable()

"""An attempt of a thread ends in time, whatever its server does; the time is a clock's that the servers turn."""

import socket
import threading
from contextlib import closing
from decimal import Decimal

import httpcore
import httpx
import pytest

from pgp_services.clients import deadlines
from pgp_services.clients.changenow import ChangeNowClient, ChangeNowUnavailable, Pair
from pgp_services.clients.connections import HttpConnections
from pgp_services.clients.deadlines import Deadline
from pgp_services.clients.retries import RetryPolicy

PAIR = Pair("usdt", "xmr", "xmr", Decimal(10))

#: Seconds of the attempts here, by a clock that stands still unless a server turns it: nothing waits so long.
LONG = 3000.0


class Raw:
    """A server on the loopback that runs one function with each of its connections, once a request has come.

    Attributes:
        over: Set when the call under test has ended: until then the connections stay open.
    """

    def __init__(self, serve):
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.over = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _run(self):
        connection, _ = self._listener.accept()
        with connection:
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(4096)
            self._serve(connection)
            self.over.wait(10)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._thread.join()
        self._listener.close()


@pytest.fixture
def client(rotating_key, key, clock):
    clients = []

    def make(url):
        policy = RetryPolicy(budget=LONG, attempt=LONG, retries=0, clock=clock)
        clients.append(ChangeNowClient(rotating_key(key), url, policy))
        return clients[-1]

    yield make
    for made in clients:
        made.close()


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"", b"HTTP/1.1 200 OK\r\nX-A: a"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n", b" "),
    ],
    ids=["headers", "interim answers", "size of a chunk", "body"],
)
def test_an_answer_that_trickles_in_ends_with_the_attempt(client, clock, beginning, piece):
    def serve(connection):
        connection.sendall(beginning)
        for _ in range(4):
            clock.now += LONG / 3
            connection.sendall(piece)

    with Raw(serve) as server:
        with pytest.raises(
            ChangeNowUnavailable, match=r"\((ReadTimeout|WriteTimeout|TimeoutError)\)"
        ):
            client(server.url).estimate(PAIR)
        assert not server.over.is_set()


def test_each_step_has_what_is_left_and_no_more_than_its_own(clock):
    deadline = Deadline(clock.now + 5, clock)
    assert deadline.bound(2.0, TimeoutError) == 2.0
    assert deadline.bound(None, TimeoutError) == 5.0
    clock.now += 4
    assert deadline.bound(2.0, TimeoutError) == 1.0
    clock.now += 1
    with pytest.raises(TimeoutError):
        deadline.bound(2.0, TimeoutError)


class Stream(httpcore.NetworkStream):
    """Records what each step may take."""

    def __init__(self):
        self.limits = []

    def read(self, max_bytes, timeout=None):
        self.limits.append(("read", timeout))
        return b""

    def write(self, buffer, timeout=None):
        self.limits.append(("write", timeout))

    def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        self.limits.append(("start_tls", timeout))
        return self

    def close(self):
        self.limits.append("closed")

    def get_extra_info(self, info):
        return info


@pytest.fixture
def attempt(clock):
    """The context of an attempt of 5 s."""
    token = deadlines.current.set(Deadline(clock.now + 5, clock))
    yield
    deadlines.current.reset(token)


@pytest.mark.usefixtures("attempt")
def test_reads_writes_and_handshakes_end_with_the_attempt(clock):
    inner = Stream()
    stream = deadlines._Stream(inner)
    stream.read(1, 9)
    clock.now += 1
    stream.write(b"x", 9)
    clock.now += 1
    secured = stream.start_tls(None, "host", 9)
    clock.now += 1
    secured.read(1, 9)
    assert inner.limits == [("read", 5), ("write", 4), ("start_tls", 3), ("read", 2)]
    clock.now += 2
    for step, late in [
        (lambda: secured.read(1, 9), httpcore.ReadTimeout),
        (lambda: secured.write(b"x", 9), httpcore.WriteTimeout),
        (lambda: secured.start_tls(None, "host", 9), httpcore.ConnectTimeout),
    ]:
        with pytest.raises(late):
            step()
    assert secured.get_extra_info("socket") == "socket"
    secured.close()
    assert inner.limits[-1] == "closed"


@pytest.fixture
def addresses(monkeypatch):
    """What a name stands for."""
    found = [f"127.0.0.{number}" for number in range(2, 8)]

    def getaddrinfo(host, port, **_):
        assert host == "api.example"
        places = [(2, 1, 6, "", (address, port)) for address in found]
        return places + places

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return found


@pytest.fixture
def connects(monkeypatch, clock, addresses):
    """The connections that are tried: each takes all its time, but for those to the last address."""
    tried = []

    def connect_tcp(self, host, port, timeout, local_address, socket_options):
        tried.append((host, timeout))
        if host == addresses[-1]:
            return Stream()
        clock.now += timeout
        raise httpcore.ConnectTimeout

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_tcp)
    return tried


@pytest.mark.usefixtures("attempt")
def test_all_addresses_of_a_host_share_the_attempts_time(connects, addresses):
    with pytest.raises(httpcore.ConnectTimeout):
        deadlines._Backend().connect_tcp("api.example", 443, 2)
    assert connects == [(addresses[0], 2), (addresses[1], 2), (addresses[2], 1)]


@pytest.mark.usefixtures("attempt")
def test_the_first_address_that_answers_is_taken(connects, addresses):
    del addresses[1:5]
    assert deadlines._Backend().connect_tcp("api.example", 443, 2).get_extra_info("it") == "it"
    assert connects == [(addresses[0], 2), (addresses[1], 2)]


@pytest.mark.usefixtures("attempt", "connects")
def test_a_host_without_an_address(addresses):
    addresses.clear()
    with pytest.raises(httpcore.ConnectError):
        deadlines._Backend().connect_tcp("api.example", 443, 2)


@pytest.mark.usefixtures("attempt")
def test_a_name_that_nobody_knows(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(httpcore.ConnectError):
        deadlines._Backend().connect_tcp("api.example", 443, 2)


def test_a_look_up_that_hangs_ends_with_the_attempt(client, monkeypatch):
    over = threading.Event()

    def hang(*_, **__):
        over.wait(10)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    asked = client("https://api.example")
    asked._policy = RetryPolicy(budget=0.1, attempt=0.1, retries=0)
    with pytest.raises(ChangeNowUnavailable, match="ConnectTimeout"):
        asked.estimate(PAIR)
    assert not over.is_set()
    over.set()


def test_an_address_is_not_looked_up(client, monkeypatch, unused_port):
    monkeypatch.delattr(deadlines, "_look_up")
    for host in ("127.0.0.1", "[::1]"):
        with pytest.raises(ChangeNowUnavailable, match="ConnectError"):
            client(f"http://{host}:{unused_port}").estimate(PAIR)


def test_requests_by_way_of_a_proxy_are_bounded_too(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    connections = HttpConnections()
    with closing(connections):
        client = connections.to(httpx.URL("https://api.example"))
        transports = {client._transport, *filter(None, client._mounts.values())}
        assert len(transports) == 2
        for transport in transports:
            assert isinstance(transport._pool._network_backend, deadlines._Backend)


def test_a_proxy_that_is_no_http_transport_is_left_alone():
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
        deadlines.bounded(client)
        assert client.get("https://api.example").status_code == 200

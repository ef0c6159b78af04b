"""What every adapter of a web framework promises, however its application is reached."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeAlias

import pytest

from pgp_config.errors import RejectedVersion, SecretForbidden
from pgp_config.policy import EVERY_REQUEST
from pgp_config.providers import DynamicSecret, SecretContainer, StaticSecret
from pgp_config.scopes import open_scope, request_scope
from pgp_config.testing.contracts.abilities import needs
from pgp_config.testing.source import FakeSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from pgp_config.scopes import Scope

#: What not every application can do.
#:
#: - `"async"`: its handlers may be coroutines: `/atwice` and `/astream`;
#: - `"stream"`: it sends bodies piece by piece: `/stream` and `/astream`;
#: - `"concurrent"`: it serves several requests at once;
#: - `"in_process"`: its handlers run in the context of whoever calls `get`;
#: - `"load"`: the adapter loads the container;
#: - `"unavailable"`: the adapter answers 503 where a handler raises this library's errors;
#: - `"health"`: the adapter serves `/healthz` and `/readyz`.
AdapterAbility: TypeAlias = Literal[
    "async", "stream", "concurrent", "in_process", "load", "unavailable", "health"
]

#: Seconds that a held request waits at most; a guard, not a pace.
PATIENCE = 30


class StageSecrets(SecretContainer):
    """What the application under test reads."""

    key = DynamicSecret("ADAPTER_KEY", freshness=EVERY_REQUEST)
    fixed = StaticSecret("ADAPTER_FIXED")


class Stage:
    """What the handlers of an application under test do, and what they saw.

    Attributes:
        source: Where its secrets are.
        secrets: The container that the adapter is given. Nothing of it is loaded.
        answers: By path, what a handler returns: a list, to be sent as JSON, or a coroutine of one.
        streams: By path, what makes the pieces of a streamed body, as text: an iterator, or an
            asynchronous one.
        scopes: The scope of each read.
        entered: Set when `/hold` has come.
        released: Lets `/hold` go on.
    """

    def __init__(self) -> None:
        self.source = FakeSource({"ADAPTER_KEY": "canary-0", "ADAPTER_FIXED": "canary-fixed"})
        self.secrets = StageSecrets(source=self.source)
        self.answers: dict[str, Callable[[], Any]] = {
            "/twice": self.twice,
            "/atwice": self.atwice,
            "/hold": self.hold,
            "/fail": self.fail,
            "/reject": self.reject,
            "/sealed": self.sealed,
        }
        self.streams: dict[str, Callable[[], Any]] = {
            "/stream": self.stream,
            "/astream": self.astream,
        }
        self.scopes: list[Scope | None] = []
        self.entered = threading.Event()
        self.released = threading.Event()

    def rotate(self) -> None:
        """Add a version that nobody had before."""
        self.source.add("ADAPTER_KEY", f"canary-{self.source.count('ADAPTER_KEY') + 100}")

    def read(self) -> str:
        """What this request sees."""
        self.scopes.append(open_scope())
        return self.secrets.key().get_secret_value()

    async def aread(self) -> str:
        """As `read`, from a coroutine."""
        self.scopes.append(open_scope())
        return (await self.secrets.key.async_()).get_secret_value()

    def twice(self) -> list[str]:
        """Read before and after a rotation."""
        first = self.read()
        self.rotate()
        return [first, self.read()]

    async def atwice(self) -> list[str]:
        """As `twice`, then from a coroutine and from a thread at once."""
        first = await self.aread()
        self.rotate()
        return [first, *await asyncio.gather(self.aread(), asyncio.to_thread(self.read))]

    def hold(self) -> list[str]:
        """Read before and after what others do meanwhile."""
        first = self.read()
        self.entered.set()
        self.released.wait(PATIENCE)
        return [first, self.read()]

    def stream(self) -> Iterator[str]:
        """As `twice`, in two pieces."""
        yield self.read() + "\n"
        self.rotate()
        yield self.read() + "\n"

    async def astream(self) -> AsyncIterator[str]:
        """As `stream`, from a coroutine."""
        yield await self.aread() + "\n"
        self.rotate()
        yield await self.aread() + "\n"

    def fail(self) -> NoReturn:
        """A secret cannot be had."""
        raise SecretForbidden("the cause-canary", remedy="A remedy.", secret="ADAPTER_KEY")

    def reject(self) -> NoReturn:
        """A secret came, and may not be served."""
        raise RejectedVersion("version 3 the cause-canary", secret="ADAPTER_KEY")

    def sealed(self) -> list[str]:
        """Read what is static."""
        return [self.secrets.fixed().get_secret_value()]


class Reply(NamedTuple):
    """What an application answered.

    Attributes:
        status: Such as 200.
        headers: Found by the names that HTTP gives them, such as "Retry-After".
        text: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:  # noqa: ANN401  whatever it is
        """The body, taken as JSON."""
        return json.loads(self.text)


class AdapterBackend:
    """The test's side of an adapter: an application that uses it, and a way to reach that.

    Attributes:
        lacks: What it cannot do, with the reason, which the skipped tests give.
    """

    lacks: Mapping[AdapterAbility, str] = MappingProxyType({})

    def get(self, path: str) -> Reply | tuple[int, Mapping[str, str], str]:
        """Ask for a page, from any thread, and wait for the whole answer."""
        raise NotImplementedError(f"{type(self).__name__} needs a method `get` for {path}")

    def stop(self) -> None:
        """End the application; what it was started with ends too."""


class AdapterContract:
    """The promises of an adapter. A subclass gives the fixture `backend`.

    ```text
    class TestMine(AdapterContract):
        @pytest.fixture
        def backend(self, stage):
            return MyBackend(stage)  # an application with stage.answers and stage.streams
    ```
    """

    @pytest.fixture
    def stage(self) -> Iterator[Stage]:
        """What the handlers do; the container is closed at the end."""
        stage = Stage()
        yield stage
        stage.secrets.close()
        assert all(scope is not None and scope.closed for scope in stage.scopes)

    @pytest.fixture
    def backend(self, stage: Stage) -> AdapterBackend:  # noqa: ARG002  whoever overrides it wants that
        """What is under test; a subclass overrides it."""
        pytest.fail(f"{type(self).__name__} has to override the fixture `backend`", pytrace=False)

    @pytest.fixture
    def get(self, backend: AdapterBackend) -> Iterator[Callable[[str], Reply]]:
        """Asks the application, which is stopped at the end."""
        yield lambda path: Reply(*backend.get(path))
        backend.stop()

    # promise 1
    @pytest.mark.parametrize("path", ["/twice", "/atwice"])
    def test_a_request_sees_one_value_and_the_next_one_the_newest(
        self, backend: AdapterBackend, get: Callable[[str], Reply], path: str
    ) -> None:
        _needs_path(backend, path)
        first, second = get(path).json, get(path).json
        assert set(first) == {"canary-0"}
        assert len(set(second)) == 1
        assert second != first

    # promise 1
    @pytest.mark.parametrize("path", ["/stream", "/astream"])
    def test_a_streamed_body_is_inside_the_scope(
        self, backend: AdapterBackend, get: Callable[[str], Reply], path: str
    ) -> None:
        needs(backend, "stream")
        _needs_path(backend, path)
        status, _, text = get(path)
        assert (status, text.split()) == (200, ["canary-0", "canary-0"])
        assert "canary-0" not in get(path).text

    # promise 2
    def test_each_request_has_a_scope_of_its_own(
        self, stage: Stage, get: Callable[[str], Reply]
    ) -> None:
        get("/twice")
        get("/twice")
        assert len({id(scope) for scope in stage.scopes}) == 2

    # promise 2
    def test_concurrent_requests_are_independent(
        self, backend: AdapterBackend, get: Callable[[str], Reply], stage: Stage
    ) -> None:
        needs(backend, "concurrent")
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(get, "/hold")
            assert stage.entered.wait(PATIENCE)
            stage.rotate()
            between = get("/twice").json
            stage.released.set()
            assert held.result(PATIENCE).json == ["canary-0", "canary-0"]
        assert "canary-0" not in between

    def test_a_tests_values_reach_the_handlers(
        self, backend: AdapterBackend, get: Callable[[str], Reply]
    ) -> None:
        needs(backend, "in_process")
        with request_scope(values={"ADAPTER_KEY": "given"}):
            assert get("/twice").json == ["given", "given"]
            for path in _supported(backend, "/atwice"):
                assert set(get(path).json) == {"given"}
            for path in _supported(backend, "/stream", "/astream"):
                assert get(path).text == "given\ngiven\n"
        assert "given" not in get("/twice").json

    # promise 12
    def test_static_secrets_are_loaded_before_the_first_request(
        self, backend: AdapterBackend, get: Callable[[str], Reply], stage: Stage
    ) -> None:
        needs(backend, "load")
        assert get("/sealed").json == ["canary-fixed"]
        assert stage.source.count("ADAPTER_FIXED") == 1

    @pytest.mark.parametrize("path", ["/fail", "/reject"])
    def test_an_unusable_secret_is_answered_with_503_and_no_cause(
        self,
        backend: AdapterBackend,
        get: Callable[[str], Reply],
        path: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        needs(backend, "unavailable")
        reply = get(path)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.json == {"error": "temporarily unavailable"}
        assert "the cause-canary" in caplog.text

    # promise 15
    def test_the_health_pages_show_names_and_versions_and_ask_for_nothing(
        self, backend: AdapterBackend, get: Callable[[str], Reply], stage: Stage
    ) -> None:
        needs(backend, "health")
        get("/twice")
        calls = stage.source.count()
        for path in ("/healthz", "/readyz"):
            reply = get(path)
            assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
            assert reply.headers["Content-Type"].startswith("application/json")
            assert "canary" not in reply.text
            found = [(row["name"], row["version"]) for row in reply.json["secrets"]]
            assert found == [("ADAPTER_FIXED", 1), ("ADAPTER_KEY", 1)]
        assert stage.source.count() == calls


def _needs_path(backend: AdapterBackend, path: str) -> None:
    if path in ("/atwice", "/astream"):
        needs(backend, "async")


def _supported(backend: AdapterBackend, *paths: str) -> list[str]:
    """Those pages that the application can have."""
    lacking = {"/atwice": {"async"}, "/stream": {"stream"}, "/astream": {"async", "stream"}}
    return [path for path in paths if not lacking[path] & set(backend.lacks)]

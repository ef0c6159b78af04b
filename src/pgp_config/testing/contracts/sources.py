"""What every source promises, and what those that can do more promise besides."""

from __future__ import annotations

import copy
import os
import pickle
import traceback
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NoReturn, TypeAlias

import google_crc32c
import pytest

from pgp_config.errors import (
    DeclarationError,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
)
from pgp_config.sources.base import Source
from pgp_config.testing.contracts.abilities import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

#: What not every backend can do.
#:
#: - `"binary"`: it stores any bytes, and not only text;
#: - `"consecutive"`: versions are numbered 1, 2, …, for each secret apart;
#: - `"versions"`: older versions are kept and can be asked for by number;
#: - `"disable"`, `"destroy"`, `"forbid"`, `"outage"`: it has the method of that name.
Ability: TypeAlias = Literal[
    "binary", "consecutive", "versions", "disable", "destroy", "forbid", "outage"
]

CANARY = "canary-4711"
NEXT = "canary-4712"


class SourceBackend:
    """The test's side of a source: it stores what the source is to find.

    A subclass has `source` and `add`, and those of the other methods that its backend can do.

    Attributes:
        source: The source under test.
        lacks: What the backend cannot do, with the reason, which the skipped tests give.
    """

    source: Source
    lacks: Mapping[Ability, str] = MappingProxyType({})

    def add(self, name: str, data: bytes) -> object:
        """Add a version, and the secret if it is new; the next fetch of `latest` has to find it."""
        self._lack_nothing("add", name, data)

    def disable(self, name: str, version: int) -> object:
        """Make a version unreadable until it is enabled again."""
        self._lack_nothing("disable", name, version)

    def enable(self, name: str, version: int) -> object:
        """Make a disabled version readable again."""
        self._lack_nothing("enable", name, version)

    def destroy(self, name: str, version: int) -> object:
        """Forget a version's value for good."""
        self._lack_nothing("destroy", name, version)

    def forbid(self, name: str) -> AbstractContextManager[object]:
        """While it is open, the source's identity may not read the secret."""
        self._lack_nothing("forbid", name)

    def outage(self) -> AbstractContextManager[object]:
        """While it is open, the backend answers nothing of use: it is down, unreachable or failing."""
        self._lack_nothing("outage")

    def _lack_nothing(self, method: str, *_: object) -> NoReturn:
        ability = "disable" if method == "enable" else method
        excuse = "" if method == "add" else f', or say why not: lacks = {{"{ability}": "…"}}'
        raise NotImplementedError(f"{type(self).__name__} needs a method `{method}`{excuse}")


class SourceContract:
    """The promises of a source. A subclass gives the fixture `backend`.

    ```text
    class TestVault(SourceContract):
        @pytest.fixture
        def backend(self):
            with VaultBackend() as backend:
                yield backend
    ```

    Its tests store values that begin with "canary", and look for them where none may be.
    """

    @pytest.fixture
    def backend(self) -> SourceBackend:
        """What is under test; a subclass overrides it."""
        pytest.fail(f"{type(self).__name__} has to override the fixture `backend`", pytrace=False)

    def test_it_is_a_source(self, backend: SourceBackend) -> None:
        assert isinstance(backend.source, Source)

    def test_it_hands_out_the_text_as_it_is_stored(self, backend: SourceBackend) -> None:
        text = " { café = '1'\t}\r\n\n".encode()
        backend.add("TEXT", text)
        assert backend.source.fetch("TEXT").data == text

    def test_it_hands_out_the_bytes_as_they_are_stored(self, backend: SourceBackend) -> None:
        needs(backend, "binary")
        backend.add("RAW", b"\xff caf\xc3\xa9\r\n")
        assert backend.source.fetch("RAW").data == b"\xff caf\xc3\xa9\r\n"

    def test_a_checksum_that_comes_along_is_right(self, backend: SourceBackend) -> None:
        backend.add("KEY", CANARY.encode())
        right = google_crc32c.value(CANARY.encode())
        assert backend.source.fetch("KEY").crc32c in (None, right)

    def test_a_secret_that_is_not_there_is_named(self, backend: SourceBackend) -> None:
        backend.add("OTHER", CANARY.encode())
        with pytest.raises(SecretNotFound) as caught:
            backend.source.fetch("MISSING")
        assert caught.value.secret == "MISSING"
        assert caught.value.remedy

    def test_an_unchanged_secret_keeps_its_version(self, backend: SourceBackend) -> None:
        backend.add("KEY", CANARY.encode())
        (version,) = {backend.source.fetch("KEY").version for _ in range(3)}
        assert isinstance(version, int)
        assert version >= 1

    def test_the_next_fetch_sees_a_new_version(self, backend: SourceBackend) -> None:
        backend.add("KEY", CANARY.encode())
        first = backend.source.fetch("KEY")
        backend.add("KEY", NEXT.encode())
        second = backend.source.fetch("KEY")
        assert (first.data, second.data) == (CANARY.encode(), NEXT.encode())
        assert second.version > first.version

    def test_versions_are_counted_from_one_for_each_secret(self, backend: SourceBackend) -> None:
        needs(backend, "consecutive")
        for number in (1, 2):
            backend.add("ONE", f"{CANARY}-{number}".encode())
            assert backend.source.fetch("ONE").version == number
        backend.add("TWO", CANARY.encode())
        assert backend.source.fetch("TWO").version == 1

    def test_the_newest_version_can_be_asked_for_by_its_number(
        self, backend: SourceBackend
    ) -> None:
        backend.add("KEY", CANARY.encode())
        newest = backend.source.fetch("KEY")
        again = backend.source.fetch("KEY", newest.version)
        assert (again.data, again.version) == (newest.data, newest.version)

    def test_a_version_that_is_not_there_is_not_found(self, backend: SourceBackend) -> None:
        backend.add("KEY", CANARY.encode())
        with pytest.raises(SecretNotFound) as caught:
            backend.source.fetch("KEY", 99)
        assert caught.value.secret == "KEY"
        assert "99" in str(caught.value)

    @pytest.mark.parametrize("version", [0, -1, True, 1.0, "", "1", "newest", None])
    def test_a_version_that_cannot_be_is_refused(
        self, backend: SourceBackend, version: int
    ) -> None:
        backend.add("KEY", CANARY.encode())
        with pytest.raises(DeclarationError):
            backend.source.fetch("KEY", version)

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "../KEY", "a/KEY", "/etc/hostname", ".hidden", "KEY\0", "K\nY"]
    )
    def test_a_name_that_cannot_be_is_not_found(self, backend: SourceBackend, name: str) -> None:
        backend.add("KEY", CANARY.encode())
        with pytest.raises(SecretNotFound):
            backend.source.fetch(name)

    def test_many_threads_at_once(self, backend: SourceBackend) -> None:
        backend.add("KEY", CANARY.encode())
        start = Barrier(8)

        def fetch(_: int) -> tuple[bytes, int]:
            start.wait(30)
            answer = backend.source.fetch("KEY")
            return answer.data, answer.version

        with ThreadPoolExecutor(8) as pool:
            ((data, _),) = set(pool.map(fetch, range(8)))
        assert data == CANARY.encode()

    def test_closing_it_where_it_can_be_leaves_it_usable(self, backend: SourceBackend) -> None:
        backend.add("KEY", CANARY.encode())
        close: Callable[[], object] = getattr(backend.source, "close", lambda: None)
        close()
        backend.source.fetch("KEY")
        close()
        close()
        assert backend.source.fetch("KEY").data == CANARY.encode()

    # promise 16
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_child_fetches_and_so_does_its_parent(self, backend: SourceBackend) -> None:
        backend.add("KEY", CANARY.encode())
        backend.source.fetch("KEY")
        assert fetched_in_child(backend.source, "KEY") == CANARY.encode()
        assert backend.source.fetch("KEY").data == CANARY.encode()

    # promise 15
    def test_no_value_shows(self, backend: SourceBackend) -> None:
        backend.add("KEY", CANARY.encode())
        payload = backend.source.fetch("KEY")
        for shown in (repr(backend.source), f"{backend.source}", repr(payload)):
            assert "canary" not in shown

    # promise 15
    def test_no_value_shows_in_an_error_with_all_its_frames(self, backend: SourceBackend) -> None:
        backend.add("KEY", CANARY.encode())
        backend.source.fetch("KEY")
        with pytest.raises(SecretNotFound) as caught:
            backend.source.fetch("KEY", 99)
        assert "canary" not in everything_shown(caught.value)

    # promise 15
    def test_it_is_neither_pickled_nor_copied(self, backend: SourceBackend) -> None:
        backend.add("KEY", CANARY.encode())
        backend.source.fetch("KEY")
        leaks: list[Callable[[Source], object]] = [pickle.dumps, copy.copy, copy.deepcopy]
        for leak in leaks:
            with pytest.raises(TypeError):
                leak(backend.source)

    def test_an_older_version_can_be_asked_for(self, backend: SourceBackend) -> None:
        needs(backend, "versions")
        backend.add("KEY", CANARY.encode())
        first = backend.source.fetch("KEY").version
        backend.add("KEY", NEXT.encode())
        old = backend.source.fetch("KEY", first)
        assert (old.data, old.version) == (CANARY.encode(), first)

    def test_latest_is_the_newest_in_any_state(self, backend: SourceBackend) -> None:
        needs(backend, "versions", "disable")
        backend.add("KEY", CANARY.encode())
        first = backend.source.fetch("KEY").version
        backend.add("KEY", NEXT.encode())
        backend.disable("KEY", backend.source.fetch("KEY").version)
        with pytest.raises(SecretDisabled) as caught:
            backend.source.fetch("KEY")
        assert caught.value.secret == "KEY"
        assert backend.source.fetch("KEY", first).data == CANARY.encode()

    def test_a_version_that_was_enabled_again_is_readable(self, backend: SourceBackend) -> None:
        needs(backend, "disable")
        backend.add("KEY", CANARY.encode())
        version = backend.source.fetch("KEY").version
        backend.disable("KEY", version)
        backend.enable("KEY", version)
        assert backend.source.fetch("KEY").data == CANARY.encode()

    def test_a_destroyed_version_stays_destroyed(self, backend: SourceBackend) -> None:
        needs(backend, "destroy")
        backend.add("KEY", CANARY.encode())
        number = backend.source.fetch("KEY").version
        backend.destroy("KEY", number)
        for version in ("latest", number):
            with pytest.raises(SecretDisabled):
                backend.source.fetch("KEY", version)
        backend.add("KEY", NEXT.encode())
        assert backend.source.fetch("KEY").version > number

    # promise 15
    def test_no_value_shows_in_the_error_for_a_disabled_version(
        self, backend: SourceBackend
    ) -> None:
        needs(backend, "disable")
        backend.add("KEY", CANARY.encode())
        backend.disable("KEY", backend.source.fetch("KEY").version)
        with pytest.raises(SecretDisabled) as caught:
            backend.source.fetch("KEY")
        assert "canary" not in everything_shown(caught.value)

    def test_a_secret_that_may_not_be_read_says_so(self, backend: SourceBackend) -> None:
        needs(backend, "forbid")
        backend.add("KEY", CANARY.encode())
        with backend.forbid("KEY"), pytest.raises(SecretForbidden) as caught:
            backend.source.fetch("KEY")
        assert caught.value.secret == "KEY"
        assert caught.value.remedy
        assert backend.source.fetch("KEY").data == CANARY.encode()

    def test_an_outage_is_no_answer_and_passes(self, backend: SourceBackend) -> None:
        needs(backend, "outage")
        backend.add("KEY", CANARY.encode())
        backend.source.fetch("KEY")
        with backend.outage(), pytest.raises(SecretUnavailable) as caught:
            backend.source.fetch("KEY")
        # Either would be taken for what is so: the last good value would be given up.
        assert not isinstance(caught.value, SecretNotFound | SecretDisabled)
        assert "canary" not in everything_shown(caught.value)
        assert backend.source.fetch("KEY").data == CANARY.encode()


def everything_shown(error: BaseException) -> str:
    """What a crash reporter with locals would send of an error and all it drags along."""
    # The test's own frame may know the value.
    inner = error.__traceback__ and error.__traceback__.tb_next
    report = traceback.TracebackException.from_exception(
        error.with_traceback(inner), capture_locals=True
    )
    return "".join(report.format())


def fetched_in_child(source: Source, name: str) -> bytes:
    """The bytes that a forked child fetches, or its error; nothing if it hangs: an alarm ends it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        import signal  # noqa: PLC0415  what forks has alarms

        signal.alarm(20)
        try:
            os.write(writing, source.fetch(name).data)
        except BaseException as error:  # noqa: BLE001  told to the parent
            os.write(writing, repr(error).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        data = answer.read()
    os.waitpid(child, 0)
    return data

"""The pytest plugin: fixtures for tests of services, and detectors of what a test left behind.

It is a package of its own, because pytest loads it in every run of an environment in which pgp-config is installed:
importing `pgp_config` takes a while, and would come before a `conftest.py` that lets gevent patch the process. Nothing
of it is imported before a test asks for something.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pgp_config.emulator import SecretManagerEmulator
    from pgp_config.testing import FakeClock, LeakWatch
    from pgp_config.testing.prepared import Maker
    from pgp_config_pytest.watching import Watching

# Whoever runs a contract should see why an assertion failed.
pytest.register_assert_rewrite("pgp_config.testing.contracts")

MARKERS = (
    "secret_values(values, **values): first versions for the containers of `make_secrets`, by name",
    "secret_leaks(*canaries): fail if the test leaves a scope or a container open, or writes a secret's value or a canary",
    'allow_secret_leaks(*kinds): do not; of the kinds "scopes", "containers", "output", or of all',
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of an ini file."""
    parser.addini(
        "secret_leaks",
        "Look for open scopes, open containers and secret values after each test.",
        "bool",
        default=False,
    )
    parser.addini(
        "secret_canaries",
        "Texts that no test may write, besides the values of secrets; where secret_leaks looks.",
        "linelist",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture
def secret_clock() -> FakeClock:
    """The clock of the containers that `make_secrets` makes: `secret_clock.advance(5)`."""
    from pgp_config.testing import FakeClock  # noqa: PLC0415  see the module

    return FakeClock()


@pytest.fixture
def make_secrets(request: pytest.FixtureRequest, secret_clock: FakeClock) -> Iterator[Maker]:
    """Makes containers with values: `make_secrets(MyContainer, {"NAME": "value"})`; closed after the test.

    See `pgp_config.testing.prepare`. Values of `secret_values` markers are for each of them.
    """
    from pgp_config.testing.prepared import Maker  # noqa: PLC0415  see the module

    with ExitStack() as ends:
        yield Maker(ends.callback, _marked_values(request.node), secret_clock)


@pytest.fixture
def secret_manager() -> Iterator[SecretManagerEmulator]:
    """A local Secret Manager, started; `GoogleSecretManager("local", endpoint=….endpoint)` reads it."""
    from pgp_config.testing.emulated import emulator  # noqa: PLC0415  see the module

    with emulator() as manager:
        yield manager


@pytest.fixture
def secret_leaks(request: pytest.FixtureRequest) -> LeakWatch:
    """Has the test looked after as the marker does; `secret_leaks.look_for("canary")`."""
    return request.config.stash[_CURRENT].watch


def _marked_values(item: pytest.Item) -> dict[str, str | bytes]:
    """Of all markers, that of the class before that of the module, and that of the test before both."""
    values: dict[str, str | bytes] = {}
    for marker in reversed(list(item.iter_markers("secret_values"))):
        for given in (*marker.args, marker.kwargs):
            if not isinstance(given, Mapping):
                kind = type(given).__name__
                pytest.fail(f"secret_values takes values by name, not a {kind}", pytrace=False)
            values.update(given)
    return values


# -- leaks -----------------------------------------------------------------------------------

#: Who looks after a test, and who looks after the one that runs now.
_WATCHING: pytest.StashKey[Watching] = pytest.StashKey()
_CURRENT: pytest.StashKey[Watching] = pytest.StashKey()


def _is_asked(item: pytest.Item) -> bool:
    return (
        bool(item.config.getini("secret_leaks"))
        or item.get_closest_marker("secret_leaks") is not None
        or "secret_leaks" in getattr(item, "fixturenames", ())
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Begin to look after a test that is to be."""
    if _is_asked(item):
        from pgp_config_pytest.watching import Watching  # noqa: PLC0415  see the module

        item.stash[_WATCHING] = item.config.stash[_CURRENT] = Watching(item)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """What a fixture of a class, a module or the session opens is not the test's."""
    watching = request.config.stash.get(_CURRENT, None)
    if watching is None or fixturedef.scope == "function":
        return (yield)
    with watching.watch.paused():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Tell what the test left behind, after all that tears it down."""
    watching = item.stash.get(_WATCHING, None)
    if watching is None:
        return (yield)
    try:
        result = yield
    finally:
        del item.config.stash[_CURRENT]
        watching.end()
    watching.fail_if_any()
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show no value in a report."""
    watching = item.stash.get(_WATCHING, None)
    if watching is None:
        return (yield)
    watching.look_at_captured()
    report = yield
    watching.scrub(report)
    return report

"""Libraries that give a value which lives as long as a request, each as its documentation says.

Most of them hand out an object that *is* the scope, and that a request carries along; it is read there,
in hand. Ours, and those of that-depends, anydi, Flask and diwire's injection, are found through the
context. What is measured of each is the shortest way that its documentation shows.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anydi
import dishka
import diwire
import modern_di
import rodi
import svcs
import that_depends
import wireup
from flask import Flask, g

from bench.harness import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from bench.harness import Body, Prepare


class Key:
    """What they make once a request: they find it by its type."""


def make() -> Key:
    """As cheap as it gets."""
    return Key()


@dataclass(frozen=True)
class Way:
    """How one works with a library, as source text.

    Attributes:
        name: Of the library, as the results page shows it.
        opening: What stands behind `with`, or `async with`.
        read: Reads the value in the scope, which is called `scope` there.
        names: What both may use.
        awaited: Whether the scope is asynchronous, and `read` too unless it says so otherwise.
        first: Reads the value for the first time in a scope, where that is written otherwise.
    """

    name: str
    opening: str
    read: str
    names: Mapping[str, object]
    awaited: bool = False
    first: str | None = None

    @property
    def open_close(self) -> Statement:
        """Opens a scope and closes it."""
        return Statement(f"{self._with}:\n    pass", **self.names)

    @property
    def open_read_close(self) -> Statement:
        """Opens a scope, reads the value for the first time, and closes it."""
        return Statement(f"{self._with} as scope:\n    {self.first or self.read}", **self.names)

    @property
    def _with(self) -> str:
        return f"{'async ' if self.awaited else ''}with {self.opening}"

    def reading(self) -> Prepare:
        """A scope that is open, in which the value was read."""
        return self._reading_async if self.awaited else self._reading

    @contextmanager
    def _reading(self) -> Iterator[Body]:
        with eval(self.opening, dict(self.names)) as scope:  # noqa: S307  our own text
            _run(self.first or self.read, self.names, scope)
            yield Statement(self.read, scope=scope, **self.names)

    @asynccontextmanager
    async def _reading_async(self) -> AsyncIterator[Body]:
        async with eval(self.opening, dict(self.names)) as scope:  # noqa: S307  our own text
            yield Statement(self.read, scope=scope, **self.names)

    def prepared(self, statement: Statement) -> Prepare:
        """A statement that needs nothing else, in the kind of loop that it needs."""

        @contextmanager
        def prepare() -> Iterator[Body]:
            yield statement

        @asynccontextmanager
        async def prepare_async() -> AsyncIterator[Body]:
            yield statement

        return prepare_async if self.awaited else prepare


def _run(source: str, names: Mapping[str, object], scope: object) -> None:
    exec(source, {**names, "scope": scope})  # noqa: S102  our own text


def ways() -> list[Way]:
    """All synchronous ones."""
    return [
        _dishka(awaited=False),
        _svcs(awaited=False),
        _wireup(awaited=False),
        _that_depends(awaited=False),
        _modern_di(awaited=False),
        _anydi(awaited=False),
        _diwire(awaited=False),
        _rodi(),
        _flask(),
    ]


def async_ways() -> list[Way]:
    """All that have an asynchronous one."""
    return [
        _dishka(awaited=True),
        _svcs(awaited=True),
        _wireup(awaited=True),
        _that_depends(awaited=True),
        _modern_di(awaited=True),
        _anydi(awaited=True),
        _diwire(awaited=True),
    ]


def _dishka(*, awaited: bool) -> Way:
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    provider.provide(make)
    make_container = dishka.make_async_container if awaited else dishka.make_container
    names = {"container": make_container(provider), "Key": Key}
    return Way("dishka", "container()", _await("scope.get(Key)", awaited), names, awaited)


def _svcs(*, awaited: bool) -> Way:
    registry = svcs.Registry()
    registry.register_factory(Key, make)
    read = "await scope.aget(Key)" if awaited else "scope.get(Key)"
    names = {"svcs": svcs, "registry": registry, "Key": Key}
    return Way("svcs", "svcs.Container(registry)", read, names, awaited)


def _wireup(*, awaited: bool) -> Way:
    made = wireup.injectable(lifetime="scoped")(make)
    create = wireup.create_async_container if awaited else wireup.create_sync_container
    names = {"container": create(injectables=[made]), "Key": Key}
    return Way(
        "wireup", "container.enter_scope()", _await("scope.get(Key)", awaited), names, awaited
    )


def _that_depends(*, awaited: bool) -> Way:
    def key() -> Iterator[Key]:
        yield Key()

    class RequestKeys(that_depends.BaseContainer):  # type: ignore[misc]  # Any
        """Its scope is entered by the container and the kind of scope."""

        default_scope = that_depends.ContextScopes.REQUEST
        key_of_request = that_depends.providers.ContextResource(key)

    opening = "container_context(Container, scope=request)"
    read = "await key.resolve()" if awaited else "key.resolve_sync()"
    names = {
        "container_context": that_depends.container_context,
        "Container": RequestKeys,
        "request": that_depends.ContextScopes.REQUEST,
        "key": RequestKeys.key_of_request,
    }
    return Way("that-depends", opening, read, names, awaited)


def _modern_di(*, awaited: bool) -> Way:
    class Keys(modern_di.Group):  # type: ignore[misc]  # Any
        """One factory that is cached for a request."""

        key = modern_di.providers.Factory(make, scope=modern_di.Scope.REQUEST, cache=True)

    container = modern_di.Container(groups=[Keys])
    container.open()
    names = {"container": container, "request": modern_di.Scope.REQUEST, "Key": Key}
    # Its `resolve` is synchronous in both.
    opening = "container.build_child_container(scope=request)"
    return Way("modern-di", opening, "scope.resolve(Key)", names, awaited)


def _anydi(*, awaited: bool) -> Way:
    container = anydi.Container()
    container.provider(scope="request")(make)
    container.build()
    opening = "container.arequest_context()" if awaited else "container.request_context()"
    read = "await container.aresolve(Key)" if awaited else "container.resolve(Key)"
    return Way("anydi", opening, read, {"container": container, "Key": Key}, awaited)


def _diwire(*, awaited: bool) -> Way:
    container = diwire.Container()
    container.add_factory(make, scope=diwire.Scope.REQUEST, lifetime=diwire.Lifetime.SCOPED)
    read = "await scope.aresolve(Key)" if awaited else "scope.resolve(Key)"
    names = {"container": container, "Key": Key}
    return Way("diwire", "container.enter_scope()", read, names, awaited)


def _rodi() -> Way:
    container = rodi.Container()
    container.add_scoped(Key)
    names = {"services": container.build_provider(), "Key": Key}
    return Way("rodi", "services.create_scope()", "services.get(Key, scope)", names)


def _flask() -> Way:
    names = {"app": Flask("bench"), "g": g, "make": make}
    # As in the documentation: `if "key" not in g: g.key = …`.
    first = 'if "key" not in g: g.key = make()'
    return Way("Flask g", "app.app_context()", "g.key", names, first=first)


def _await(call: str, awaited: bool) -> str:
    return f"await {call}" if awaited else call

"""The adapters of libraries with a request scope: a page to which five of its objects are given.

Each as its documentation shows it. that-depends has none for Flask; modern-di's is not on the list.
"""
# No `from __future__ import annotations`: the libraries read the annotations of the pages.

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import dishka
import dishka.integrations.fastapi
import dishka.integrations.flask
import modern_di
import modern_di_fastapi
import svcs
import that_depends
import that_depends.integrations.fastapi
import wireup
import wireup.integration.fastapi
import wireup.integration.flask
from dishka import FromDishka
from fastapi import APIRouter, Depends, FastAPI
from flask import Flask
from svcs.fastapi import DepContainer
from wireup import Injected

from bench.peers.applications import PATH, answer, fastapi_of, flask_of


class A:
    """One of five that are made once a request."""


class B:
    """As A."""


class C:
    """As A."""


class D:
    """As A."""


class E:
    """As A."""


FIVE = (A, B, C, D, E)


def flask_adapters() -> dict[str, Callable[[], Flask]]:
    """Makes an application, by the library's name."""
    return {"dishka": dishka_on_flask, "svcs": svcs_on_flask, "wireup": wireup_on_flask}


def fastapi_adapters() -> dict[str, Callable[[], FastAPI]]:
    """As `flask_adapters`."""
    return {
        "dishka": dishka_on_fastapi,
        "svcs": svcs_on_fastapi,
        "wireup": wireup_on_fastapi,
        "that-depends": that_depends_on_fastapi,
        "modern-di": modern_di_on_fastapi,
    }


def _dishka_provider() -> Any:  # noqa: ANN401  peers are Any
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    for kind in FIVE:
        provider.provide(kind)
    return provider


def dishka_on_flask() -> Flask:
    """Flask with the adapter of dishka."""

    @dishka.integrations.flask.inject  # type: ignore[untyped-decorator]  # Any
    def page(
        a: FromDishka[A], b: FromDishka[B], c: FromDishka[C], d: FromDishka[D], e: FromDishka[E]
    ) -> dict[str, int]:
        return answer(a, b, c, d, e)

    app = flask_of(page)
    container = dishka.make_container(_dishka_provider())
    dishka.integrations.flask.setup_dishka(container, app)
    return app


def dishka_on_fastapi() -> FastAPI:
    """FastAPI with the adapter of dishka."""

    @dishka.integrations.fastapi.inject  # type: ignore[untyped-decorator]  # Any
    async def page(
        a: FromDishka[A], b: FromDishka[B], c: FromDishka[C], d: FromDishka[D], e: FromDishka[E]
    ) -> dict[str, int]:
        return answer(a, b, c, d, e)

    app = fastapi_of(page)
    container = dishka.make_async_container(_dishka_provider())
    dishka.integrations.fastapi.setup_dishka(container, app)
    return app


def svcs_on_flask() -> Flask:
    """Flask with the adapter of svcs."""

    def page() -> dict[str, int]:
        return answer(*svcs.flask.get(A, B, C, D, E))

    app = svcs.flask.init_app(flask_of(page))
    for kind in FIVE:
        svcs.flask.register_factory(app, kind, kind)
    made: Flask = app
    return made


def svcs_on_fastapi() -> FastAPI:
    """FastAPI with the adapter of svcs."""

    @svcs.fastapi.lifespan  # type: ignore[untyped-decorator]  # Any
    async def lifespan(_: FastAPI, registry: Any) -> AsyncIterator[None]:  # noqa: ANN401  peers are Any
        for kind in FIVE:
            registry.register_factory(kind, kind)
        yield

    app = FastAPI(openapi_url=None, lifespan=lifespan)

    @app.get(PATH)
    async def page(services: DepContainer) -> dict[str, int]:
        return answer(*await services.aget(A, B, C, D, E))

    return app


def _wireup_made() -> list[Any]:
    return [wireup.injectable(lifetime="scoped")(kind) for kind in FIVE]


def wireup_on_flask() -> Flask:
    """Flask with the adapter of wireup."""

    def page(
        a: Injected[A], b: Injected[B], c: Injected[C], d: Injected[D], e: Injected[E]
    ) -> dict[str, int]:
        return answer(a, b, c, d, e)

    app = flask_of(page)
    container = wireup.create_sync_container(injectables=_wireup_made())
    wireup.integration.flask.setup(container, app)
    return app


def wireup_on_fastapi() -> FastAPI:
    """FastAPI with the adapter of wireup."""

    async def page(
        a: Injected[A], b: Injected[B], c: Injected[C], d: Injected[D], e: Injected[E]
    ) -> dict[str, int]:
        return answer(a, b, c, d, e)

    app = FastAPI(openapi_url=None)
    # Its documentation advises it: FastAPI otherwise looks into the parameters that are not its own.
    app.router.route_class = wireup.integration.fastapi.WireupRoute
    app.get(PATH)(page)
    container = wireup.create_async_container(injectables=_wireup_made())
    wireup.integration.fastapi.setup(container, app)
    return app


def _in_context(kind: type) -> Any:  # noqa: ANN401  peers are Any
    async def made() -> AsyncIterator[object]:
        yield kind()

    return that_depends.providers.ContextResource(made).with_config(
        scope=that_depends.ContextScopes.REQUEST
    )


class Resources(that_depends.BaseContainer):  # type: ignore[misc]  # Any
    """Five that are made once a request."""

    default_scope = that_depends.ContextScopes.REQUEST
    a, b, c, d, e = map(_in_context, FIVE)


def that_depends_on_fastapi() -> FastAPI:
    """FastAPI with the adapter of that-depends."""
    route = that_depends.integrations.fastapi.create_fastapi_route_class(
        Resources, scope=that_depends.ContextScopes.REQUEST
    )
    router = APIRouter(route_class=route)

    @router.get(PATH)
    async def page(
        a: Annotated[object, Depends(Resources.a)],
        b: Annotated[object, Depends(Resources.b)],
        c: Annotated[object, Depends(Resources.c)],
        d: Annotated[object, Depends(Resources.d)],
        e: Annotated[object, Depends(Resources.e)],
    ) -> dict[str, int]:
        return answer(a, b, c, d, e)

    app = FastAPI(openapi_url=None)
    app.include_router(router)
    return app


class Factories(modern_di.Group):  # type: ignore[misc]  # Any
    """Five that are made once a request."""

    a, b, c, d, e = (
        modern_di.providers.Factory(kind, scope=modern_di.Scope.REQUEST, cache=True)
        for kind in FIVE
    )


def modern_di_on_fastapi() -> FastAPI:
    """FastAPI with the adapter of modern-di."""
    from_di = modern_di_fastapi.FromDI

    async def page(
        a: Annotated[A, from_di(A)],
        b: Annotated[B, from_di(B)],
        c: Annotated[C, from_di(C)],
        d: Annotated[D, from_di(D)],
        e: Annotated[E, from_di(E)],
    ) -> dict[str, int]:
        return answer(a, b, c, d, e)

    app = fastapi_of(page)
    modern_di_fastapi.setup_di(app, modern_di.Container(groups=[Factories]))
    return app

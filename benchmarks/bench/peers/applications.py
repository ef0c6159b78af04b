"""Applications with one page that reads five values: bare ones, where they are constants, and ours.

A server of the row `servers` imports this module, so it imports no peer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from flask import Flask

import pgp_config_fastapi
import pgp_config_flask
from bench.peers.ours import VALUE
from pgp_config import DynamicSecret, Memory, SecretContainer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Where the page is.
PATH = "/values"

NAMES = tuple(f"VALUE_{number}" for number in range(5))

#: What a bare application reads: the values are constants, in a module's dictionary.
CONSTANTS = dict.fromkeys(NAMES, VALUE)


class Five(SecretContainer):
    """Five secrets that may change."""

    a = DynamicSecret("VALUE_0", str)
    b = DynamicSecret("VALUE_1", str)
    c = DynamicSecret("VALUE_2", str)
    d = DynamicSecret("VALUE_3", str)
    e = DynamicSecret("VALUE_4", str)


def answer(*values: object) -> dict[str, int]:
    """What the page says: how many values it has read."""
    return {"read": len(values)}


def flask_of(page: Callable[..., dict[str, int]]) -> Flask:
    """A Flask application with the page."""
    app = Flask("bench")
    app.add_url_rule(PATH, "page", page)
    return app


def fastapi_of(page: Callable[..., Awaitable[dict[str, int]]]) -> FastAPI:
    """A FastAPI application with the page, and without pages about itself."""
    app = FastAPI(openapi_url=None)
    app.get(PATH)(page)
    return app


def flask_bare() -> Flask:
    """Flask alone."""

    def page() -> dict[str, int]:
        k = CONSTANTS
        return answer(k["VALUE_0"], k["VALUE_1"], k["VALUE_2"], k["VALUE_3"], k["VALUE_4"])

    return flask_of(page)


def flask_ours() -> Flask:
    """Flask with our adapter, as installed by default."""
    secrets = Five(source=Memory(CONSTANTS))

    def page() -> dict[str, int]:
        return answer(secrets.a(), secrets.b(), secrets.c(), secrets.d(), secrets.e())

    app = flask_of(page)
    pgp_config_flask.install(app, secrets)
    return app


def fastapi_bare() -> FastAPI:
    """FastAPI alone."""

    async def page() -> dict[str, int]:
        k = CONSTANTS
        return answer(k["VALUE_0"], k["VALUE_1"], k["VALUE_2"], k["VALUE_3"], k["VALUE_4"])

    return fastapi_of(page)


def fastapi_ours() -> FastAPI:
    """FastAPI with our adapter, as installed by default."""
    secrets = Five(source=Memory(CONSTANTS))

    async def page() -> dict[str, int]:
        return answer(
            await secrets.a.async_(),
            await secrets.b.async_(),
            await secrets.c.async_(),
            await secrets.d.async_(),
            await secrets.e.async_(),
        )

    app = fastapi_of(page)
    pgp_config_fastapi.install(app, secrets)
    return app


def fastapi_ours_plain() -> FastAPI:
    """As `fastapi_ours`, with plain reads: they need no wait once the service has started."""
    secrets = Five(source=Memory(CONSTANTS))

    async def page() -> dict[str, int]:
        return answer(secrets.a(), secrets.b(), secrets.c(), secrets.d(), secrets.e())

    app = fastapi_of(page)
    pgp_config_fastapi.install(app, secrets)
    return app

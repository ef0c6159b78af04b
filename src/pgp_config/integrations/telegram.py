"""python-telegram-bot: one update, one scope; the container's life is the application's."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from telegram.ext import SimpleUpdateProcessor

from pgp_config.health import refuse_non_container
from pgp_config.integrations.lifetimes import lifetime
from pgp_config.scopes import request_scope

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from pgp_config.providers import SecretContainer


class ScopeProcessor(SimpleUpdateProcessor):
    """Opens a new scope for each update: around all groups of handlers, and the error handlers.

    `Application.builder().token(…).concurrent_updates(ScopeProcessor(secrets)).build()`

    The container is loaded by `Application.initialize()`, and closed by `Application.shutdown()`.

    What outlives the update has no part in its scope: handlers with `block=False` and jobs of the job queue
    need `pgp_config.scoped`. `Application.process_update()`, called by a webhook of one's own, passes by
    every processor; there the web framework's scope is the update's.

    Args:
        container: An instance of a `SecretContainer`.
        max_concurrent_updates: How many updates are handled at a time, from 1.

    Raises:
        DeclarationError: If the container is none.
    """

    def __init__(self, container: SecretContainer, max_concurrent_updates: int = 1) -> None:
        refuse_non_container(container)
        super().__init__(max_concurrent_updates)
        self._container = container
        self._life = AsyncExitStack()

    async def initialize(self) -> None:
        """The application's hook: load.

        Raises:
            StartupError: If the load finds faults; all are named, and the application does not start.
        """
        await self._life.enter_async_context(lifetime(self._container))

    async def shutdown(self) -> None:
        """The application's hook: close."""
        await self._life.aclose()

    async def do_process_update(self, update: object, coroutine: Awaitable[Any]) -> None:  # noqa: ARG002  the application's hook
        """The application's hook: handle an update."""
        # Reset at the end: without concurrent updates all are handled in one task and one context.
        with request_scope():
            await coroutine

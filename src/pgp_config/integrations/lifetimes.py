"""Loads a container before, and closes it after, in a framework's event loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pgp_config.providers import SecretContainer


@asynccontextmanager
async def lifetime(container: SecretContainer) -> AsyncIterator[None]:
    """Around the life of an application.

    Args:
        container: What is loaded. It is closed at the end, and where the load fails.

    Raises:
        StartupError: If the load finds faults; all are named.
    """
    try:
        # In an empty context: a test's request_scope around the client is not the application's.
        loading = asyncio.get_running_loop().create_task(container.aload(), context=Context())
        await loading
        yield
    finally:
        await container.aclose()

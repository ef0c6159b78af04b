"""gRPC servers: one call, one scope, unary and streaming, in threads and in asyncio.

Load the container before the server starts, and close it after the server has stopped: gRPC tells an
interceptor of neither.
"""

from __future__ import annotations

import inspect
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc  # type: ignore[import-untyped]  # grpcio has no types
import grpc.aio  # type: ignore[import-untyped]  # as above

from pgp_config.errors import PgpConfigError, RejectedVersion, SecretUnavailable
from pgp_config.jobs import scoped
from pgp_config.scopes import request_scope

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    #: What a servicer's method is: of a request or an iterator of them, and of the call's context.
    _Behaviour: TypeAlias = Callable[[Any, Any], Any]

_logger = logging.getLogger("pgp_config")

#: What a caller is told in place of the error, which names secrets and causes.
_TOLD = "temporarily unavailable"


class ScopeInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpcio has no types
    """Opens a new scope for each call of a `grpc.server`, and closes it after the last response.

    An uncaught `SecretUnavailable` or `RejectedVersion` ends the call with `UNAVAILABLE`.

    `grpc.server(pool, interceptors=[ScopeInterceptor()])`: the first interceptor is the outermost.
    """

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """GRPC's hook: what handles a call, with a scope around it."""
        return _surrounded(continuation(handler_call_details), _in_thread)


class AsyncScopeInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpcio has no types
    """As `ScopeInterceptor`, for a `grpc.aio.server`.

    Methods that are no coroutines run in the server's threads, and have a scope too.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """GRPC's hook: what handles a call, with a scope around it."""
        return _surrounded(await continuation(handler_call_details), _in_loop)


def _surrounded(
    handler: grpc.RpcMethodHandler | None, wrap: Callable[[_Behaviour, bool], _Behaviour]
) -> grpc.RpcMethodHandler | None:
    if handler is None:  # no such method
        return None
    shape = "_".join(
        "stream" if streams else "unary"
        for streams in (handler.request_streaming, handler.response_streaming)
    )
    make = getattr(grpc, f"{shape}_rpc_method_handler")
    return make(
        wrap(getattr(handler, shape), handler.response_streaming),
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def _in_thread(behaviour: _Behaviour, streams: bool) -> _Behaviour:
    @scoped
    def call(argument: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401  the service's messages
        try:
            return behaviour(argument, context)
        except (SecretUnavailable, RejectedVersion) as error:
            _tell(error)
            context.abort(grpc.StatusCode.UNAVAILABLE, _TOLD)

    @scoped
    def stream(argument: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: ANN401  as above
        try:
            yield from behaviour(argument, context)
        except (SecretUnavailable, RejectedVersion) as error:
            _tell(error)
            context.abort(grpc.StatusCode.UNAVAILABLE, _TOLD)

    return stream if streams else call


def _in_loop(behaviour: _Behaviour, streams: bool) -> _Behaviour:
    if not (inspect.iscoroutinefunction(behaviour) or inspect.isasyncgenfunction(behaviour)):
        return _in_thread(behaviour, streams)  # as gRPC itself tells them apart

    # gRPC gives each call a task, and so a context, of its own. A stream is written here and not passed on,
    # for gRPC does not close the generator of a call that was cancelled.
    async def call(argument: Any, context: grpc.aio.ServicerContext) -> Any:  # noqa: ANN401  as above
        with request_scope():
            try:
                if inspect.isasyncgenfunction(behaviour):
                    return await _write(behaviour(argument, context), context)
                return await behaviour(argument, context)
            except (SecretUnavailable, RejectedVersion) as error:
                _tell(error)
                await context.abort(grpc.StatusCode.UNAVAILABLE, _TOLD)

    return call


async def _write(responses: AsyncGenerator[Any, None], context: grpc.aio.ServicerContext) -> None:
    async with aclosing(responses):
        async for response in responses:
            await context.write(response)


def _tell(error: PgpConfigError) -> None:
    _logger.error("Ended a call with UNAVAILABLE: %s (%s)", error, error.explained_by)

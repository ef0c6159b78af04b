"""One call, one scope: jobs, messages, callbacks, and all that no middleware surrounds."""

from __future__ import annotations

import functools
import inspect
import types
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from pgp_config.errors import DeclarationError
from pgp_config.scopes import request_scope

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
    from contextvars import Context
    from typing import TypeAlias

    #: What a step of a generator or of a coroutine is made of.
    _Stepping: TypeAlias = Generator[Any, Any, Any] | Coroutine[Any, Any, Any]

F = TypeVar("F", bound="Callable[..., Any]")
T = TypeVar("T")

#: What a call gives that has yet to run.
_YET_TO_RUN = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)


def scoped(function: F) -> F:
    """Open a new scope for each call of a function: a decorator.

    For functions, coroutine functions, generator functions and asynchronous generator functions. The
    scope of a generator is open from its first step to its last, or until it is closed, and the code
    between the steps sees nothing of it. The scope of the caller, if there is one, is not used.

    Args:
        function: The job, the message's or the event's handler. Its name and signature stay.

    Raises:
        DeclarationError: When the call gives a coroutine or a generator and the function is none that Python
            marks as such, such as a lambda: what it gives would run outside the scope.
    """
    surround = next((wrap for is_one, wrap in _WRAPS if _has_kind(function, is_one)), _call)
    return functools.wraps(function)(surround(function))  # type: ignore[return-value]  # of the same signature


def _has_kind(function: Any, is_one: Callable[[object], bool]) -> bool:  # noqa: ANN401  a function, or an object that is called
    return is_one(function) or is_one(function.__call__)


def _call(function: Callable[..., T]) -> Callable[..., T]:
    def call(*args: Any, **kwargs: Any) -> T:  # noqa: ANN401  the function's own
        with request_scope():
            result = function(*args, **kwargs)
        if isinstance(result, _YET_TO_RUN):
            _refuse_to_end_early(function, result)
        return result

    return call


def _refuse_to_end_early(function: object, result: Any) -> None:  # noqa: ANN401  one of three types
    if not isinstance(result, types.AsyncGeneratorType):
        result.close()  # else Python warns of a coroutine that nobody awaited
    name = getattr(function, "__qualname__", type(function).__name__)
    raise DeclarationError(
        f"scoped() surrounds {name}, which returned a {type(result).__name__} that runs after the scope",
        remedy="Decorate the function that is written with async def or yield.",
    )


def _coroutine(function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    async def call(*args: Any, **kwargs: Any) -> T:  # noqa: ANN401  the function's own
        with request_scope():
            return await function(*args, **kwargs)

    return call


def _each_step(
    function: Callable[..., Generator[Any, Any, T]],
) -> Callable[..., Generator[Any, Any, T]]:
    def steps(*args: Any, **kwargs: Any) -> Generator[Any, Any, T]:  # noqa: ANN401  the function's own
        context, scope = copy_context(), request_scope()
        context.run(scope.settle)
        try:
            result: T = yield from run_steps(context, function(*args, **kwargs))
            return result
        finally:
            scope.close()

    return steps


def _each_step_async(
    function: Callable[..., AsyncGenerator[T, Any]],
) -> Callable[..., AsyncGenerator[T, Any]]:
    async def steps(*args: Any, **kwargs: Any) -> AsyncGenerator[T, Any]:  # noqa: ANN401  the function's own
        context, scope = copy_context(), request_scope()
        context.run(scope.settle)
        inner = function(*args, **kwargs)
        try:
            step: Awaitable[T] = inner.asend(None)
            while True:
                try:
                    part = await run_async(context, step)
                except StopAsyncIteration:
                    return
                try:
                    step = inner.asend((yield part))
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001  it is raised inside
                    step = inner.athrow(error)
        finally:
            try:
                await run_async(context, inner.aclose())
            finally:
                scope.close()

    return steps


_WRAPS: tuple[tuple[Callable[[object], bool], Callable[..., Any]], ...] = (
    (inspect.isasyncgenfunction, _each_step_async),
    (inspect.iscoroutinefunction, _coroutine),
    (inspect.isgeneratorfunction, _each_step),
)


def run_steps(context: Context, inner: _Stepping) -> Generator[Any, Any, Any]:
    """As `yield from inner`, each step of it in a context that what is between the steps does not see."""
    step = functools.partial(inner.send, None)
    while True:
        try:
            part = context.run(step)
        except StopIteration as end:
            return end.value
        try:
            sent = yield part
        except GeneratorExit:
            context.run(inner.close)
            raise
        except BaseException as error:  # noqa: BLE001  it is raised inside
            step = functools.partial(inner.throw, error)
        else:
            step = functools.partial(inner.send, sent)


@types.coroutine
def run_async(context: Context, awaitable: Awaitable[T]) -> Generator[Any, Any, T]:
    """Await something in a context, in the task that runs; a task of its own would be cancelled apart."""
    inner: Any = awaitable.__await__()
    result: T = yield from run_steps(context, inner)
    return result

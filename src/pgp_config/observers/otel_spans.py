"""Fetches as OpenTelemetry spans, through its API only."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.trace import Link, SpanKind, StatusCode

from pgp_config.observers.otel import SCOPE

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer

    from pgp_config.errors import PgpConfigError
    from pgp_config.events import Event


class OpenTelemetrySpans:
    """One span for each fetch of a secret: `fetch NAME`, of the kind CLIENT.

    It has `pgp_config.container`, `pgp_config.secret` and `pgp_config.secret.version`, or `error.type` and the status
    ERROR; never a text of an error. It is the child of the span of whoever set the fetch off and waits for it: a
    read, `load()`, `refresh()`. A refresh in the background, which nobody waits for, begins a trace of its own
    with a link to the span that set it off. Whoever waits for a fetch that another one set off is linked to it too.

    In the thread of the fetch it is the current span, until everybody was told: those that an instrumentation of gRPC or requests makes are
    its children, and have the attributes of their protocol.

    Args:
        tracer: By default that of the global provider.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or trace.get_tracer(SCOPE, version_of("pgp-config"))

    def __call__(self, event: Event) -> None:
        """Nothing: it follows fetches."""

    def trace_fetch(self, container: str, secret: str, *, awaited: bool) -> _FetchSpan:
        """A fetch is set off; see `pgp_config.observing.FetchObserver`."""
        return _FetchSpan(self._tracer, container, secret, awaited=awaited)


class _FetchSpan:
    """The span of one fetch, which begins when a thread takes it up."""

    def __init__(self, tracer: Tracer, container: str, secret: str, *, awaited: bool) -> None:
        self._tracer = tracer
        self._name = f"fetch {secret}"
        self._attributes = {"pgp_config.container": container, "pgp_config.secret": secret}
        self._parent: Context = context.get_current() if awaited else context.Context()
        self._links = [] if awaited else _current()
        self._span: Span | None = None
        self._token: Token[Context] | None = None

    def join(self) -> None:
        span = self._span
        if span is None:
            self._links += _current()
        elif span.is_recording():
            for joined in _current():
                span.add_link(joined)

    def begin(self) -> None:
        span = self._span = self._tracer.start_span(
            self._name,
            self._parent,
            SpanKind.CLIENT,
            self._attributes,
            [Link(joined) for joined in self._links],
        )
        self._token = context.attach(trace.set_span_in_context(span, self._parent))

    def end(self, version: int | None, error: PgpConfigError | None) -> None:
        if self._span is None:
            return
        if version is not None:
            self._span.set_attribute("pgp_config.secret.version", version)
        if error is not None:
            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def leave(self) -> None:
        # Until here the lines of the log, of what the fetch brought, belong to its trace.
        if self._token is not None:
            context.detach(self._token)


def _current() -> list[SpanContext]:
    """The context of the current span, if there is one."""
    found = trace.get_current_span().get_span_context()
    return [found] if found.is_valid else []

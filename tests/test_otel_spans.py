"""The spans of fetches, read with OpenTelemetry's own SDK."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from pgp_config import DynamicSecret, SecretContainer, SecretUnavailable, request_scope
from pgp_config.events import Loaded
from pgp_config.observers.otel_spans import OpenTelemetrySpans

CANARY = "canary-7f3a"


class Split2(SecretContainer):
    key = DynamicSecret("KEY")
    url = DynamicSecret("URL")


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test")
    provider.shutdown()


@pytest.fixture
def secrets(make, source, tracer):
    source.add("KEY", f"{CANARY}-1")
    source.add("URL", f"{CANARY}-url")
    return make(Split2, observers=[OpenTelemetrySpans(tracer)])


@pytest.fixture
def fetches(exporter, secrets):
    """The spans of fetches that have ended, by name; a background refresh may be waited for."""

    def read():
        for entry in secrets.key._cache._entries.values():
            if entry.flight is not None:
                entry.flight.outcome.result(30)
        spans = exporter.get_finished_spans()
        assert CANARY not in "".join(span.to_json() for span in spans)
        return sorted(
            (span for span in spans if span.name.startswith("fetch")),
            key=lambda span: (span.name, span.start_time),
        )

    return read


def links_of(span):
    return [link.context.span_id for link in span.links]


def test_a_fetch_that_a_request_waits_for_is_a_child_of_its_span(secrets, tracer, fetches):
    with tracer.start_as_current_span("request") as request, request_scope():
        secrets.key()
        secrets.key()
    (span,) = fetches()
    assert (span.name, span.kind) == ("fetch KEY", SpanKind.CLIENT)
    assert span.attributes == {
        "pgp_config.container": "Split2",
        "pgp_config.secret": "KEY",
        "pgp_config.secret.version": 1,
    }
    assert span.parent.span_id == request.get_span_context().span_id
    assert links_of(span) == []
    assert span.status.status_code is StatusCode.UNSET


async def test_from_a_coroutine_as_well(secrets, tracer, fetches):
    with tracer.start_as_current_span("request") as request:
        async with request_scope():
            await secrets.key.async_()
    (span,) = fetches()
    assert span.parent.span_id == request.get_span_context().span_id


def test_what_nobody_waits_for_begins_its_own_trace_and_is_linked(secrets, tracer, clock, fetches):
    secrets.load()
    for secret in (secrets.key, secrets.url):
        secret()
    clock.advance(4.5)  # past the soft age, within max_age
    with tracer.start_as_current_span("request") as request, request_scope():
        secrets.key()
    _, key, _, url = fetches()
    for span in (key, url):  # the other secret in use goes along
        assert span.parent is None
        assert span.context.trace_id != request.get_span_context().trace_id
        assert links_of(span) == [request.get_span_context().span_id]


def test_at_start_up_fetches_are_children_of_what_loads_or_begin_a_trace(
    secrets, tracer, make, source, fetches
):
    with tracer.start_as_current_span("start") as start:
        secrets.load()
    for span in fetches():
        assert span.parent.span_id == start.get_span_context().span_id
    other = make(Split2, observers=[OpenTelemetrySpans(tracer)])
    other.load()
    assert [span.parent for span in fetches()].count(None) == 2


def test_whoever_waits_for_the_fetch_of_another_is_linked(secrets, source, tracer, fetches):
    hold = source.hold("KEY")
    cache = secrets.key._cache

    def read(name):
        with tracer.start_as_current_span(name) as span:
            secrets.key()
            return span.get_span_context().span_id

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(read, "first")
        hold.entered.wait(30)
        second = pool.submit(read, "second")
        (entry, _) = cache._entries.values()
        while int(entry.reads.coalesced) < 1 or not entry.flight.traces._traces[0]._span.links:
            pass
        hold.release()
    (span,) = fetches()
    assert span.parent.span_id == first.result()
    assert links_of(span) == [second.result()]


def test_one_that_joins_before_it_begins_or_after_it_ended(tracer, exporter):
    spans = OpenTelemetrySpans(tracer)
    spans(Loaded("Split2", "KEY", 1))  # events are nothing to it
    one = spans.trace_fetch("Split2", "KEY", awaited=True)
    with tracer.start_as_current_span("early") as early:
        one.join()
    one.join()  # outside of any span
    one.begin()
    one.end(7, None)
    one.leave()
    with tracer.start_as_current_span("late"):
        one.join()
    (span,) = (span for span in exporter.get_finished_spans() if span.name == "fetch KEY")
    assert links_of(span) == [early.get_span_context().span_id]


def test_a_fetch_that_fails_has_the_class_of_its_error_and_no_text(
    secrets, source, clock, fetches
):
    source.fail("KEY", SecretUnavailable(f"is down ({CANARY})", remedy="Wait."))
    with pytest.raises(SecretUnavailable):
        secrets.key()
    (span,) = fetches()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert span.attributes["error.type"] == "SecretUnavailable"
    assert "pgp_config.secret.version" not in span.attributes
    assert span.events == ()


def test_in_the_thread_of_the_fetch_it_is_the_current_span(secrets, source, tracer, fetches):
    answer, seen = source.fetch, []

    def fetch(name, version="latest"):
        seen.append(trace.get_current_span().get_span_context().span_id)
        return answer(name, version)

    source.fetch = fetch
    secrets.key()
    secrets.key.at_version(1)
    assert seen == [span.context.span_id for span in fetches()]
    with ThreadPoolExecutor(1) as pool:  # and not afterwards
        assert not pool.submit(trace.get_current_span).result().get_span_context().is_valid


def test_a_tracer_that_fails_disturbs_neither_the_fetch_nor_the_others(
    make, source, tracer, exporter, caplog
):
    class Broken:
        def __init__(self, at):
            self.at = at

        def __call__(self, event):
            pass

        def trace_fetch(self, container, secret, *, awaited):
            self.fail("start")
            return self

        def fail(self, at):
            if self.at == at:
                raise RuntimeError(at)

        def begin(self):
            self.fail("begin")

        def end(self, version, error):
            self.fail("end")

        def leave(self):
            self.fail("leave")

    source.add("KEY", f"{CANARY}-1")
    broken = [Broken(at) for at in ("start", "begin", "end", "leave")]
    secrets = make(Split2, observers=[*broken, OpenTelemetrySpans(tracer)])
    assert secrets.key().get_secret_value() == f"{CANARY}-1"
    secrets.close()  # its threads have come to their end
    assert caplog.text.count("Broken failed") == 4
    assert [span.name for span in exporter.get_finished_spans()] == ["fetch KEY"]


def test_one_that_never_began_does_not_end(tracer, exporter):
    one = OpenTelemetrySpans(tracer).trace_fetch("Split2", "KEY", awaited=True)
    one.end(1, None)
    one.leave()
    assert exporter.get_finished_spans() == ()


def test_the_lines_of_the_log_belong_to_the_trace_of_the_fetch(make, source, tracer, exporter):
    lines = []

    def observer(event):
        lines.append((type(event).__name__, trace.get_current_span().get_span_context().span_id))

    source.add("KEY", f"{CANARY}-1")
    make(Split2, observers=[observer, OpenTelemetrySpans(tracer)]).key()
    (span,) = exporter.get_finished_spans()
    assert lines == [("Fetched", span.context.span_id), ("Loaded", span.context.span_id)]


def test_without_a_tracer_it_takes_the_global_one():
    one = OpenTelemetrySpans().trace_fetch("Split2", "KEY", awaited=False)
    one.begin()
    one.leave()

"""Promise 15, for the whole process: known values are scrubbed from what any library logs, warns of or raises."""

import asyncio
import copy
import gc
import io
import json
import logging
import logging.handlers
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from pgp_config.redaction import (
    Redaction,
    RedactionFilter,
    install_redaction,
    redactor,
    scrub_event,
    structlog_processor,
)
from pgp_config.redaction.records import scrub_record

CANARY = "canary-7f3a-91bd"
NAME = "[REDACTED_KEY]"


@pytest.fixture(autouse=True)
def _known():
    redactor.learn("REDACTED_KEY", (CANARY,))


@pytest.fixture
def installed():
    with install_redaction() as redaction:
        yield redaction


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def handler(stream):
    """That of a foreign logger, which does not propagate."""
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("foreign.library")
    logger.addHandler(handler)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.propagate = True


@pytest.fixture
def foreign(handler):
    return logging.getLogger("foreign.library.child")


@pytest.fixture
def written(capsys):
    """What was written to stdout and stderr."""

    def read():
        captured = capsys.readouterr()
        return captured.out + captured.err

    return read


class Handed(logging.Handler):
    """Keeps the records that it is handed; it makes no text of them."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def handed(foreign):
    keeping = Handed()
    foreign.addHandler(keeping)
    yield keeping.records
    foreign.removeHandler(keeping)


class Unprintable:
    def __str__(self):
        raise LookupError(CANARY)

    __repr__ = __str__


# -- logging ---------------------------------------------------------------------------------


def test_message_and_arguments_are_scrubbed(installed, foreign, stream):
    foreign.warning("using %s now", CANARY)
    foreign.warning(f"using {CANARY} now")
    foreign.warning("using %(key)s now", {"key": SecretStr(CANARY).get_secret_value()})
    foreign.warning(ValueError(CANARY))
    foreign.warning("nothing to hide: %d", 7)
    assert stream.getvalue().splitlines() == [
        *[f"using {NAME} now"] * 3,
        NAME,
        "nothing to hide: 7",
    ]


def test_a_handler_that_is_added_later_and_one_of_a_logger_that_does_not_propagate(installed):
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    logger = logging.Logger("own")  # noqa: LOG001  not to be kept
    logger.propagate = False
    logger.addHandler(handler)
    logger.error(CANARY)
    assert out.getvalue() == f"{NAME}\n"


def test_the_handler_of_last_resort(installed, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(out))
    logging.Logger("own").error(CANARY)  # noqa: LOG001  as above
    assert out.getvalue() == f"{NAME}\n"


def test_tracebacks_causes_and_stacks_are_scrubbed(installed, foreign, stream):
    try:
        try:
            raise KeyError(CANARY)  # noqa: TRY301  to be caught
        except KeyError as fault:
            raise ValueError("canary-7f3a-91bd in the source") from fault
    except ValueError:
        foreign.exception("it failed", stack_info=True)
    text = stream.getvalue()
    assert "canary-7f3a-91bd" not in text
    assert f"KeyError: '{NAME}'" in text
    assert f"ValueError: {NAME} in the source" in text
    assert "Traceback (most recent call last)" in text
    assert "Stack (most recent call last)" in text


def test_handlers_that_make_no_text_get_no_value_either(installed, foreign, handed):
    nested = {"headers": [("authorization", f"Bearer {CANARY}")]}
    try:
        raise ValueError(CANARY)  # noqa: TRY301  to be caught
    except ValueError:
        foreign.exception("failed with %s", CANARY, extra={"request": nested, "count": 7})
    foreign.info("level is off")
    foreign.warning("not shown: %(shown)s", {"shown": 1, "hidden": CANARY})
    first, second = handed
    assert first.getMessage() == f"failed with {NAME}"
    assert first.request == {"headers": [("authorization", f"Bearer {NAME}")]}
    assert first.count == 7
    assert (first.exc_info[0].__name__, str(first.exc_info[1])) == ("ValueError", NAME)
    assert second.args == {"shown": 1, "hidden": NAME}
    assert nested["headers"][0][1] == f"Bearer {CANARY}"  # the caller's own is left alone


def test_a_record_that_goes_through_a_queue_and_over_a_socket(installed, foreign, stream):
    sent = queue.SimpleQueue()
    queued = logging.handlers.QueueHandler(sent)
    foreign.addHandler(queued)
    try:
        raise ValueError(CANARY)  # noqa: TRY301  to be caught
    except ValueError:
        foreign.exception("failed")
    finally:
        foreign.removeHandler(queued)
    record = sent.get()
    packed = logging.handlers.SocketHandler("localhost", 0).makePickle(copy.copy(record))
    assert CANARY not in record.getMessage()
    assert CANARY.encode() not in packed


def test_a_formatter_of_its_own_is_scrubbed_and_keeps_its_form(
    installed, foreign, handler, stream
):
    class OneLine(logging.Formatter):
        def formatException(self, exc_info):  # noqa: N802  logging's name
            frame = exc_info[2].tb_frame
            return json.dumps({"locals": {k: str(v) for k, v in frame.f_locals.items()}})

    handler.setFormatter(OneLine())
    key = CANARY
    try:
        raise ValueError  # noqa: TRY301  to be caught
    except ValueError:
        foreign.exception("failed")
    text = stream.getvalue()
    assert f'"key": "{NAME}"' in text
    assert key not in text


def test_a_broken_record_is_logged_all_the_same(installed, foreign, stream, written):
    foreign.warning("%d %d", CANARY)
    foreign.warning("%s of %s", Unprintable(), CANARY)
    foreign.warning("at the end")
    wrong, unprintable, last = stream.getvalue().splitlines()
    assert wrong == f"%d %d ('{NAME}',)"
    assert unprintable.startswith("%s of %s <tuple that cannot be shown: LookupError>")
    assert last == "at the end"
    assert written() == ""


def test_a_record_that_cannot_be_scrubbed_says_so_and_nothing_else():
    deep = CANARY
    for _ in range(2000):
        deep = [deep]
    record = logging.makeLogRecord({"msg": CANARY, "args": (), "deep": deep})
    scrub_record(record)
    assert record.getMessage() == "<a record that could not be scrubbed: RecursionError>"
    assert record.deep is None


def test_what_logs_while_it_is_shown_is_scrubbed_too(installed, foreign, stream):
    class Talkative:
        def __str__(self):
            foreign.warning("inside: %s", CANARY)
            return CANARY

    foreign.warning("outside: %s", Talkative())
    lines = stream.getvalue().splitlines()
    assert f"inside: {NAME}" in lines
    assert lines[-1] == f"outside: {NAME}"


def test_a_signal_handler_that_logs(installed, foreign, stream):
    before = signal.signal(signal.SIGUSR1, lambda *_: foreign.warning("signal: %s", CANARY))
    try:
        with redactor._lock:  # as in a thread that works new values in
            redactor.learn("REDACTED_OTHER", ("canary-other",))
            os.kill(os.getpid(), signal.SIGUSR1)
            foreign.warning("canary-other")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert stream.getvalue().splitlines() == [f"signal: {NAME}", "[REDACTED_OTHER]"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_was_forked_while_a_thread_held_the_lock(installed):
    held, done = threading.Event(), threading.Event()

    def hold():
        with redactor._lock:
            redactor.learn("REDACTED_OTHER", ("canary-other",))
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        text = redactor.redact(f"{CANARY} canary-other")
        os._exit(0 if text == f"{NAME} [REDACTED_OTHER]" else 1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


async def test_what_asyncio_logs_of_a_task_that_nobody_awaited(installed, caplog):
    async def fail():
        key = CANARY
        raise ValueError(key)

    task = asyncio.create_task(fail())
    await asyncio.wait({task})
    del task
    gc.collect()
    assert "Task exception was never retrieved" in caplog.text
    assert f"ValueError: {NAME}" in caplog.text
    assert CANARY not in caplog.text


# -- one handler -----------------------------------------------------------------------------


def test_a_filter_scrubs_what_one_handler_writes(foreign, handler, stream):
    handler.addFilter(RedactionFilter())
    foreign.warning("using %s now", CANARY)
    try:
        raise ValueError("canary-7f3a-91bd")  # noqa: TRY301  the line is the test, to be caught
    except ValueError:
        foreign.exception("it failed", stack_info=True)
    assert f"ValueError: {NAME}" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_a_text_that_was_made_before_is_scrubbed():
    record = logging.makeLogRecord({"exc_text": CANARY, "stack_info": CANARY, "exc_info": None})
    RedactionFilter().filter(record)
    assert (record.exc_text, record.stack_info) == (NAME, NAME)


# -- warnings --------------------------------------------------------------------------------


@pytest.fixture
def shown():
    """What a function warns of, as it is shown."""

    def show(warn):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with install_redaction():
                warn()
        (told,) = seen
        where = (told.filename, told.lineno, told.line)
        return warnings.formatwarning(told.message, told.category, *where)

    return show


def test_warnings_are_scrubbed(shown):
    text = shown(lambda: warnings.warn(f"using {CANARY}", stacklevel=1))
    assert f"UserWarning: using {NAME}\n" in text
    assert 'warnings.warn(f"using {CANARY}", stacklevel=1)' in text
    text = shown(lambda: warnings.warn(DeprecationWarning(f"not {CANARY}"), stacklevel=1))
    assert f"DeprecationWarning: not {NAME}\n" in text
    assert "nothing" in shown(lambda: warnings.warn("nothing to hide", stacklevel=1))


def test_the_line_of_source_is_scrubbed(shown):
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    number = 1 + next(at for at, line in enumerate(lines) if line.startswith("CANARY = "))
    text = shown(lambda: warnings.warn_explicit("x", UserWarning, __file__, number))
    assert text.endswith(f'  CANARY = "{NAME}"\n')
    line = f"key = '{CANARY}'"
    text = shown(lambda: warnings.showwarning("x", UserWarning, "file", 1, None, line))
    assert text.endswith(f"  key = '{NAME}'\n")


def test_installing_it_again_mends_what_others_have_put_back(shown):
    with warnings.catch_warnings():
        first = install_redaction()
    text = shown(lambda: warnings.warn(f"using {CANARY}", stacklevel=1))
    first.uninstall()
    assert f"UserWarning: using {NAME}\n" in text


def test_a_warning_of_a_program():
    done = run("import warnings; warnings.warn(f'using {key}')")
    assert (
        f": UserWarning: using {NAME}\n" in done.stderr
    )  # from 3.13 on the line of source follows


def test_warnings_that_go_to_the_log_are_scrubbed(caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        try:
            with install_redaction():
                warnings.warn(f"using {CANARY}", stacklevel=1)
        finally:
            logging.captureWarnings(capture=False)
    assert f"using {NAME}" in caplog.text
    assert CANARY not in caplog.text


# -- what nobody caught ----------------------------------------------------------------------


def run(program):
    prelude = """
        import logging, sys, threading
        from pgp_config.redaction import install_redaction, redactor
        install_redaction()
        key = "".join(["canary-", "7f3a-91bd"])
        redactor.learn("REDACTED_KEY", (key,))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert CANARY not in done.stdout + done.stderr
    return done


def test_a_program_that_ends_with_an_error():
    done = run("raise ValueError(key) from KeyError(key)")
    assert done.returncode == 1
    assert done.stderr.startswith(f"KeyError: '{NAME}'\n\nThe above exception was the direct")
    assert done.stderr.endswith(f"ValueError: {NAME}\n")


def test_a_thread_that_ends_with_an_error():
    done = run(
        """
        def fail():
            raise ValueError(key)
        thread = threading.Thread(target=fail, name="worker")
        thread.start()
        thread.join()
        silent = threading.Thread(target=sys.exit)
        silent.start()
        silent.join()
        """
    )
    assert done.stderr.startswith("Exception in thread worker:\nTraceback (most recent call last)")
    assert done.stderr.endswith(f"ValueError: {NAME}\n")


def test_a_finaliser_that_fails():
    done = run(
        """
        class Resource:
            def __repr__(self):
                return f"<Resource of {key}>"
            def __del__(self):
                raise ValueError(key)
        resource = Resource()
        del resource
        """
    )
    assert "Exception ignored" in done.stderr
    assert done.stderr.endswith(f"ValueError: {NAME}\n")


@pytest.fixture
def hooks(monkeypatch):
    """What the hooks of another library are given."""
    seen = []
    monkeypatch.setattr(sys, "excepthook", lambda *told: seen.append(told))
    monkeypatch.setattr(threading, "excepthook", seen.append)
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    with install_redaction(logs=False, warnings=False):
        yield seen


def test_the_hooks_of_other_libraries_are_given_what_is_scrubbed(hooks):
    error = ValueError(CANARY)
    sys.excepthook(ValueError, error, None)
    threading.excepthook(threading.ExceptHookArgs((ValueError, error, None, None)))
    sys.unraisablehook(Told(ValueError, error, None, f"in {CANARY}", None))
    of_program, of_thread, of_finaliser = hooks
    assert (of_program[0].__name__, str(of_program[1])) == ("ValueError", NAME)
    assert (of_thread.exc_type.__name__, str(of_thread.exc_value)) == ("ValueError", NAME)
    assert (str(of_finaliser.exc_value), of_finaliser.err_msg) == (NAME, f"in {NAME}")


class Told:
    def __init__(self, *parts):
        self.exc_type, self.exc_value, self.exc_traceback, self.err_msg, self.object = parts


def test_what_has_nothing_to_hide_is_handed_on_as_it_is(hooks):
    error = ValueError("plain")
    sys.excepthook(ValueError, error, None)
    sys.excepthook(KeyboardInterrupt, None, None)
    sys.unraisablehook(Told(ValueError, error, None, None, None))
    assert hooks[:2] == [(ValueError, error, None), (KeyboardInterrupt, None, None)]
    assert (hooks[2].exc_value, hooks[2].err_msg) == (error, None)


def test_pythons_own_hooks(monkeypatch, written):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    error = ValueError(CANARY)
    with install_redaction():
        sys.excepthook(ValueError, error, None)
        threading.excepthook(threading.ExceptHookArgs((ValueError, error, None, None)))
        threading.excepthook(
            threading.ExceptHookArgs((SystemExit, SystemExit(CANARY), None, None))
        )
        sys.unraisablehook(Told(ValueError, error, None, None, Unprintable()))
        text = written()
        monkeypatch.setattr(sys, "stderr", None)
        sys.excepthook(ValueError, error, None)
    assert text.count(f"ValueError: {NAME}\n") == 3
    assert f"Exception in thread {threading.get_ident()}:\n" in text
    assert "Exception ignored in: <Unprintable that cannot be shown: LookupError>" in text
    assert CANARY not in text


# -- installing it ---------------------------------------------------------------------------


def places():
    return [
        logging.Logger.callHandlers,
        logging.Handler.format,
        warnings.showwarning,
        sys.excepthook,
        threading.excepthook,
        sys.unraisablehook,
    ]


def test_it_can_be_undone_and_installed_twice(foreign, stream):
    before = places()
    first = install_redaction()
    wrapped = places()
    second = install_redaction()
    assert places() == wrapped
    first.uninstall()
    first.uninstall()
    foreign.warning(CANARY)
    second.uninstall()
    foreign.warning("and now: %s", CANARY)
    assert places() == before
    assert stream.getvalue() == f"{NAME}\nand now: {CANARY}\n"


def test_each_part_is_installed_by_itself():
    before = places()
    with install_redaction(logs=False, excepthook=False) as redaction:
        assert isinstance(redaction, Redaction)
        changed = [now is not then for now, then in zip(places(), before, strict=True)]
    assert changed == [False, False, True, False, False, False]


def test_undone_below_what_another_library_put_on_top_it_only_hands_on(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "excepthook", lambda *told: seen.append(told))
    with install_redaction():
        mine = sys.excepthook

        def theirs(*told):
            mine(*told)

        monkeypatch.setattr(sys, "excepthook", theirs)
    assert sys.excepthook is theirs
    error = ValueError(CANARY)
    sys.excepthook(ValueError, error, None)
    with install_redaction():  # on top of both
        sys.excepthook(ValueError, error, None)
    (_, first, _), (_, second, _) = seen
    assert (first, str(second)) == (error, NAME)


# -- structlog and Sentry --------------------------------------------------------------------


def test_structlog(foreign, stream):
    out = io.StringIO()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[
            structlog.processors.format_exc_info,
            structlog_processor,
            structlog.processors.JSONRenderer(),
        ],
    )
    try:
        raise ValueError(CANARY)  # noqa: TRY301  to be caught
    except ValueError:
        logger.exception("failed", key=CANARY, headers={"authorization": f"Bearer {CANARY}"})
    event = json.loads(out.getvalue())
    assert event["key"] == NAME
    assert event["headers"] == {"authorization": f"Bearer {NAME}"}
    assert event["exception"].endswith(f"ValueError: {NAME}")
    assert structlog_processor(None, "info", f"key={CANARY}") == f"key={NAME}"


def test_structlog_through_the_standard_log(installed, foreign, handler, stream):
    render = structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer())
    handler.setFormatter(render)
    logger = structlog.wrap_logger(
        foreign,
        processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logger.warning("using it", key=CANARY)
    assert json.loads(stream.getvalue()) == {"event": "using it", "key": NAME}


def test_what_sentry_would_send_is_scrubbed():
    event, crumb = {"extra": {"key": CANARY}}, {"message": "plain"}
    assert scrub_event(event, {"exc_info": None}) == {"extra": {"key": NAME}}
    assert scrub_event(crumb) is crumb


def test_sentry_sends_no_value_of_a_local():
    done = run(
        """
        import sentry_sdk
        from pydantic import SecretStr
        from sentry_sdk.transport import Transport
        from pgp_config.redaction import scrub_event

        class Recorded(Transport):
            def capture_envelope(self, envelope):
                print(envelope.serialize().decode())

        sentry_sdk.init(
            dsn="https://public@sentry.invalid/1",
            transport=Recorded(),
            auto_enabling_integrations=False,
            before_send=scrub_event,
            before_breadcrumb=scrub_event,
            before_send_log=scrub_event,
            enable_logs=True,
        )

        def ask():
            plain, held, nested = key, SecretStr(key), {"headers": [f"Bearer {key}"]}
            raise ValueError(f"refused: {plain}", held, nested)

        logging.warning("about to ask with %s", key, extra={"key": key})
        try:
            ask()
        except ValueError as error:
            sentry_sdk.capture_exception(error)
        logging.error("it failed with %s", key, extra={"key": key})
        sentry_sdk.flush()
        """
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines() if '"event_id"' in line]
    error, logged = [event for event in events if "level" in event]
    (raised,) = error["exception"]["values"]
    local = raised["stacktrace"]["frames"][-1]["vars"]
    assert raised["value"].startswith(f"('refused: {NAME}', SecretStr('**********')")
    assert local["plain"] == f"'{NAME}'"
    assert local["held"] == "SecretStr('**********')"
    assert local["nested"] == {"headers": [f"'Bearer {NAME}'"]}
    assert error["breadcrumbs"]["values"][-1]["message"] == f"about to ask with {NAME}"
    assert logged["logentry"]["message"] == f"it failed with {NAME}"
    assert logged["extra"]["key"] == NAME

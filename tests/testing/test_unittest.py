"""The helpers for unittest, run by unittest itself; and the block that they are made of."""

import contextlib
import io
import logging
import sys
import threading
import unittest
import warnings

import pytest

from pgp_config import (
    EVERY_REQUEST,
    DeclarationError,
    DynamicSecret,
    KeyRing,
    Keys,
    Memory,
    SecretContainer,
    request_scope,
)
from pgp_config.testing import SecretLeak, SecretsTestMixin, no_secret_leaks, prepare


class Service(SecretContainer):
    key = DynamicSecret("CASE_KEY")
    ring = KeyRing("CASE_RING")


VALUES = {"CASE_KEY": "canary-1", "CASE_RING": "canary-ring"}


def outcome_of(case):
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    for _, text in (*result.failures, *result.errors):
        assert "canary" not in text.replace("canary 1", "").replace('canary-1")', "")
    return result


def seen(secrets):
    with request_scope():
        return secrets.key().get_secret_value()


def test_a_case_makes_containers_and_closes_them():
    made = []

    class Case(SecretsTestMixin, unittest.TestCase):
        def setUp(self):
            self.forbid_secret_leaks()
            made.append(self.make_secrets(Service, VALUES))

        def test_it(self):
            made[0].rotate("CASE_KEY", "canary-2")
            self.assertEqual(seen(made[0].secrets), "canary-2")  # noqa: PT009  unittest's own

    assert outcome_of(Case).wasSuccessful()
    assert made[0].store.closed == 1


def test_an_asynchronous_case_as_well():
    class Case(SecretsTestMixin, unittest.IsolatedAsyncioTestCase):
        def setUp(self):
            self.forbid_secret_leaks()
            self.made = self.make_secrets(Service, VALUES)

        async def test_it(self):
            await self.made.arotate("CASE_KEY", "canary-2")
            async with request_scope():
                value = await self.made.secrets.key.async_()
            self.assertEqual(value.get_secret_value(), "canary-2")  # noqa: PT009  as above

        async def test_leak(self):
            await request_scope().__aenter__()

    result = outcome_of(Case)
    assert [(test.id().rpartition(".")[2]) for test, _ in result.failures] == ["test_leak"]
    assert result.errors == []


def test_a_case_that_leaks_fails():
    class Case(SecretsTestMixin, unittest.TestCase):
        def setUp(self):
            self.forbid_secret_leaks()
            self.secrets = self.make_secrets(Service, VALUES).secrets

        def test_it(self):
            print(seen(self.secrets))

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        ((_, text),) = outcome_of(Case).failures
    assert "stdout shows the value of CASE_KEY, in line 1: [CASE_KEY]" in text
    assert shown.getvalue() == "[CASE_KEY]\n"


def test_a_case_has_a_local_secret_manager():
    class Case(SecretsTestMixin, unittest.TestCase):
        def test_it(self):
            manager = self.start_secret_manager()
            made = self.make_secrets(Service, VALUES, manager=manager, freshness=EVERY_REQUEST)
            manager.add("CASE_KEY", "canary-2")
            self.assertEqual(seen(made.secrets), "canary-2")  # noqa: PT009  as above

    assert outcome_of(Case).wasSuccessful()


@pytest.fixture
def made():
    with prepare(Service, VALUES) as made:
        yield made


def test_a_block_that_leaves_nothing_passes(made):
    with no_secret_leaks() as watch:
        seen(made.secrets)
    assert "canary" not in repr(watch) + repr(watch.values)


def leak_of(block, *canaries, **options):
    with pytest.raises(SecretLeak) as caught, no_secret_leaks(*canaries, **options):
        block()
    assert "canary-" not in str(caught.value)
    return str(caught.value)


def test_an_error_of_the_block_goes_first(made):
    def block():
        print(seen(made.secrets))
        return 1 / 0

    with pytest.raises(ZeroDivisionError), no_secret_leaks():
        block()


def test_streams_are_looked_at_and_put_back(made, capsys):
    out, err = sys.stdout, sys.stderr
    told = leak_of(lambda: print(seen(made.secrets), file=sys.stderr))
    assert told.endswith("Left behind: stderr shows the value of CASE_KEY, in line 1: [CASE_KEY]")
    assert (sys.stdout, sys.stderr) == (out, err)
    assert capsys.readouterr().err == "[CASE_KEY]\n"


def test_a_stream_that_was_replaced_meanwhile_is_left_alone(monkeypatch):
    other = io.StringIO()
    with no_secret_leaks():
        print("fine", flush=True)
        monkeypatch.setattr(sys, "stdout", other)
    assert sys.stdout is other


def test_warnings_are_looked_at_and_a_replaced_hook_is_left_alone(made, monkeypatch):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        told = leak_of(lambda: warnings.warn(seen(made.secrets), stacklevel=1))
        with no_secret_leaks():
            warnings.warn("harmless", stacklevel=1)
            monkeypatch.setattr(warnings, "showwarning", print)
        assert warnings.showwarning is print
    assert "a UserWarning from" in told
    assert [str(each.message) for each in shown] == ["[CASE_KEY]", "harmless"]


def test_a_log_line_that_cannot_be_written_is_looked_at(made, monkeypatch):
    # Other handlers would say so on stderr, and pytest's fails the test.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    told = leak_of(lambda: logging.getLogger().error("no %d", seen(made.secrets)))
    assert "in line 1: no %d ('[CASE_KEY]',)" in told


def test_a_traceback_in_the_log_is_looked_at(made):
    def log():
        try:
            int(seen(made.secrets))
        except ValueError:
            logging.getLogger().exception("failed")

    assert "'[CASE_KEY]'" in leak_of(log)


@pytest.mark.parametrize("given", ["canary-given", ("canary-given", "canary-before")])
def test_keys_that_a_test_gives_are_looked_for(made, given):
    def give():
        with request_scope(values={"CASE_RING": given}):
            made.secrets.ring()
        print("canary-given")

    assert "the value of CASE_RING" in leak_of(give)


def test_keys_that_are_given_as_such_are_looked_for(made):
    def give():
        with request_scope(values={"CASE_RING": made.secrets.ring()}):
            assert isinstance(made.secrets.ring(), Keys)
        print("canary-ring")

    assert "the value of CASE_RING" in leak_of(give)


@pytest.mark.parametrize("written", ['a"b\\c/d é', "two\nlines"])
def test_a_value_is_found_as_others_write_it(make_secrets, written):
    import json
    from urllib.parse import quote

    make_secrets(Service, {**VALUES, "CASE_KEY": written})
    for text in (
        written,
        repr([written]),
        json.dumps({"k": written}),
        "?k=" + quote(written, safe=""),
    ):
        told = leak_of(lambda text=text: print(text))
        assert "the value of CASE_KEY" in told


def test_a_long_line_is_cut_around_the_value(made):
    told = leak_of(lambda: print("x" * 500 + seen(made.secrets) + "y" * 500))
    assert "x[CASE_KEY]y" in told
    assert len(told) < 300


def test_many_scopes_are_not_all_remembered_and_the_open_one_is():
    def block():
        request_scope().__enter__()
        for _ in range(3000):
            with request_scope():
                pass

    import contextvars

    told = contextvars.copy_context().run(leak_of, block)
    assert told.count("a scope is open") == 1


def test_a_scope_that_a_library_opened_is_told_with_that_place(monkeypatch):
    import contextvars

    program = compile("opened.__enter__()", f"{sys.prefix}/site-packages/lib.py", "exec")

    def block():
        exec(program, {"__name__": "lib", "opened": request_scope()})  # noqa: S102  a module of a library

    assert "test_unittest.py" in contextvars.copy_context().run(leak_of, block)


def test_a_container_that_stays_open_is_told():
    kept = []

    def block():
        kept.append(Service(source=Memory(VALUES)))
        kept[0].load()

    assert "Service was not closed" in leak_of(block)
    kept[0].close()


def test_kinds_can_be_allowed(made):
    with no_secret_leaks("canary", allow=["output"]):
        print("canary")
    with pytest.raises(DeclarationError, match=r"'outputs' .* scopes, containers, output\."):
        no_secret_leaks(allow=["outputs"]).__enter__()
    with no_secret_leaks("canary", allow="output"):
        print("canary")


def test_a_listener_that_nobody_ended_is_told():
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait, args=[30], name="pgp-config-pubsub")
    assert "a PubSubListener still listens" in leak_of(thread.start)
    ended.set()
    thread.join(30)


def test_short_values_are_not_looked_for(make_secrets):
    make_secrets(Service, {**VALUES, "CASE_KEY": "k-1"})
    with no_secret_leaks():
        print("k-1")


def test_a_scope_that_only_libraries_know_of_is_told_with_the_innermost_of_them():
    known = {"__name__": "lib", "request_scope": request_scope}
    program = "KEPT = []\ndef opens():\n    KEPT.append(request_scope().__enter__())\n"
    exec(compile(program, f"{sys.prefix}/site-packages/lib.py", "exec"), known)  # noqa: S102  as above

    def block():
        thread = threading.Thread(target=known["opens"])
        thread.start()
        thread.join(30)

    assert "site-packages/lib.py:3 in opens" in leak_of(block)

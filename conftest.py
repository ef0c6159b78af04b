"""Runs the examples of README.md and docs/ as tests, each document from its top."""

import os
import signal
from contextlib import ExitStack

import pytest
from dependency_injector.containers import DynamicContainer
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser


def _close(namespace):
    for kind in (
        DynamicContainer,
        ExitStack,
    ):  # the containers first: they use what the other ends
        for value in namespace.values():
            if isinstance(value, kind):
                value.close()


if hasattr(os, "register_at_fork"):
    # A child that hangs, in whatever library was forked with it, fails its test and not the whole run.
    os.register_at_fork(after_in_child=lambda: signal.alarm(120))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell starts what it runs in the background; tests send it, to themselves and to programs.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md"],
    # The example of the first waits at a prompt; services/tests runs it with an answer. Those of the second are
    # files of tests; tests/testing runs them.
    excludes=["services/README.md", "docs/testing.md"],
    # Flask looks for the module of its `__name__`.
    setup=lambda namespace: namespace.update(__name__="readme"),
    teardown=_close,
).pytest()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """The random order stops at documents: an example builds on those above it."""
    places = [index for index, item in enumerate(items) if isinstance(item, SybilItem)]
    examples = [items[index] for index in places]
    examples.sort(key=lambda item: (item.example.document.path, item.example.line))
    for index, example in zip(places, examples, strict=True):
        items[index] = example

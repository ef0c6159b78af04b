"""Tests of tests: each is written to a folder and run by a pytest of its own."""

from contextvars import copy_context

import pytest


@pytest.fixture
def run(pytester):
    """Runs a test file, in this process, with this library's plugin and few others."""

    def run(program, *options):
        pytester.makepyfile(test_it=program)
        without = ("randomly", "asyncio", "anyio", "hypothesispytest", "cacheprovider")
        flags = [flag for name in without for flag in ("-p", f"no:{name}")]
        # A scope that is left open stays in there.
        return copy_context().run(pytester.runpytest_inprocess, *flags, *options)

    return run

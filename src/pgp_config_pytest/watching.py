"""Looks after one test: what it leaves open, what pytest captured of it, and what its reports show."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from pgp_config.errors import DeclarationError
from pgp_config.redaction.installed import installed
from pgp_config.testing.leaks import KINDS, LeakWatch, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Watching:
    """Started when it is made.

    Args:
        item: The test.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._reports: list[pytest.TestReport] = []
        self._fault = ""
        try:
            self.watch = LeakWatch(_canaries(item), _allowed(item))
        except DeclarationError as fault:
            # Told at the end: pytest's own plugins do not bear a set-up that fails before theirs.
            self.watch, self._fault = LeakWatch(), str(fault)
        self.watch.start()
        self._patch = pytest.MonkeyPatch()
        read = pytest.CaptureFixture.readouterr
        self._patch.setattr(pytest.CaptureFixture, "readouterr", self._seeing(read))
        for handler in _handlers(item):
            # Pytest's own last longer than the test, which may put a filter for redaction on whatever handlers there are:
            # it would hide the leaks of all later tests. So would what it installs.
            self._patch.setattr(handler, "filters", list(handler.filters))
        self._installed = installed()

    def _seeing(self, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """What a test reads of its own output, pytest does not see."""

        def seen(capture: Any) -> Any:  # noqa: ANN401  of text or of bytes
            result = read(capture)
            for name in ("out", "err"):
                text = getattr(result, name)
                text = text.decode(errors="replace") if isinstance(text, bytes) else text
                self.watch.see(f"std{name}, which the test read,", text)
            return result

        return seen

    def end(self) -> None:
        """The test is over, and all that was set up for it is torn down."""
        self._patch.undo()
        self.watch.stop()
        for redaction in installed() - self._installed:
            redaction.uninstall()
        self.look_at_captured()

    def look_at_captured(self) -> None:
        """Take what pytest captured since, and leave the text without values in its place."""
        sections = self._item._report_sections  # noqa: SLF001  no public name, since pytest 2.8
        for index, (when, name, text) in enumerate(sections):
            # Records are looked at themselves: here they are as they were before a program's filter.
            if name != "log":
                self.watch.see(f"captured {name} of the test's {when}", text)
            sections[index] = (when, name, self.watch.values.scrub(text))

    def scrub(self, report: pytest.TestReport) -> None:
        """Take the values out of a report, and out of those before: the test may have told of more since."""
        self._reports.append(report)
        for each in self._reports:
            _scrub(each, self.watch.values.scrub)

    def fail_if_any(self) -> None:
        """Fail the test if it left something behind, or asked for what there is not."""
        if self._fault:
            pytest.fail(self._fault, pytrace=False)
        found = self.watch.found()
        self.watch.close_scopes()
        if found:
            pytest.fail(report(found), pytrace=False)


def _handlers(item: pytest.Item) -> list[logging.Handler]:
    """Those in which pytest captures records."""
    plugin = item.config.pluginmanager.get_plugin("logging-plugin")
    parts = [] if plugin is None else vars(plugin).values()
    return [part for part in parts if isinstance(part, logging.Handler)]


def _scrub(report: pytest.TestReport, scrub: Callable[[str], str]) -> None:
    report.sections = _scrubbed(report.sections, scrub)
    report.longrepr = _scrubbed(report.longrepr, scrub)
    if scrub(report.longreprtext) != report.longreprtext:
        # A value of several lines, each of which is a part of its own.
        report.longrepr = scrub(report.longreprtext)


def _scrubbed(part: Any, scrub: Callable[[str], str]) -> Any:  # noqa: ANN401  pytest's reports have many kinds of parts
    """The texts in a report's parts without values; pytest's own objects are changed in place."""
    if isinstance(part, str):
        return scrub(part)
    if isinstance(part, list | tuple):
        return type(part)(_scrubbed(each, scrub) for each in part)
    if type(part).__module__ == "_pytest._code.code":
        for name, value in vars(part).items():
            setattr(part, name, _scrubbed(value, scrub))
    return part


def _canaries(item: pytest.Item) -> Iterable[str]:
    marked = [text for marker in item.iter_markers("secret_leaks") for text in marker.args]
    return dict.fromkeys([*item.config.getini("secret_canaries"), *marked])


def _allowed(item: pytest.Item) -> Iterable[Any]:
    markers = item.iter_markers("allow_secret_leaks")
    return [kind for marker in markers for kind in (marker.args or KINDS)]

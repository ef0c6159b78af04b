"""The status page as HTML: complete without its script, which only goes on to change the texts in it."""

from __future__ import annotations

import base64
import hashlib
import pkgutil
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The columns of the table: their fields and headings. The first one heads its row.
_COLUMNS = {
    "name": "Secret",
    "state": "State",
    "version": "Version",
    "age": "Age",
    "change": "Last change",
    "error": "Last error",
    "calls": "Calls",
}

#: What is said of the process, by field.
_FACTS = {
    "source": "Source",
    "freshness": "Freshness",
    "push": "Push",
    "process": "Process",
    "watched": "Watched",
}

#: Seconds between two reloads of a page without scripts whose reader asked for them.
RELOAD_EVERY = 10


def _asset(name: str) -> str:
    data = pkgutil.get_data(__name__, name) or b""
    # As a browser hashes it.
    return data.decode().replace("\r\n", "\n")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Rendering:
    """Makes the page from its three files, which are read once.

    Attributes:
        policy: The Content-Security-Policy: this style, this script, and the data of this origin; else nothing.
    """

    def __init__(self) -> None:
        style, script = _asset("page.css"), _asset("page.js")
        self._template = Template(_asset("page.html"))
        self._fixed = {"style": style, "script": script, "heads": _heads(), "blank": _row({})}
        self.policy = "; ".join(
            [
                "default-src 'none'",
                f"style-src {_hash(style)}",
                f"script-src {_hash(script)}",
                "connect-src 'self'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        )

    def page(self, words: Mapping[str, Any], *, every: float, reloads: bool) -> str:
        """The whole page.

        Args:
            words: What `words_of` gives.
            every: Seconds between two polls of the script.
            reloads: Whether a page without scripts reloads itself.
        """
        fields = {name: escape(text) for name, text in words["fields"].items()}
        reload = f'<meta http-equiv="refresh" content="{RELOAD_EVERY}">' if reloads else ""
        return self._template.substitute(
            self._fixed,
            **fields,
            facts=_facts(fields),
            rows="".join(map(_row, words["secrets"])),
            events="".join(map(_event, reversed(words["events"]))),
            every=f"{every:g}",
            reload=reload,
            reload_every=RELOAD_EVERY,
        )


def _heads() -> str:
    return "".join(
        f'<th scope="col" role="columnheader">{heading}</th>' for heading in _COLUMNS.values()
    )


def _facts(fields: Mapping[str, str]) -> str:
    return "".join(
        f'<div><dt>{heading}</dt><dd data-of="{name}">{fields[name]}</dd></div>'
        for name, heading in _FACTS.items()
    )


def _row(secret: Mapping[str, str]) -> str:
    fields = {name: escape(text) for name, text in secret.items()}
    cells = "".join(_cell(name, heading, fields) for name, heading in _COLUMNS.items())
    return f'<tr role="row" data-tone="{fields.get("tone", "")}">{cells}</tr>\n'


def _cell(name: str, heading: str, fields: Mapping[str, str]) -> str:
    sign = _span("span", "sign", fields, ' aria-hidden="true"') if name == "state" else ""
    content = f"{sign}{_span('span', name, fields)} {_span('small', f'{name}_note', fields)}"
    if name == "name":
        return f'<th scope="row" role="rowheader">{content}</th>'
    return f'<td role="cell" data-label="{heading}">{content}</td>'


def _span(tag: str, name: str, fields: Mapping[str, str], more: str = "") -> str:
    return f'<{tag} data-of="{name}"{more}>{fields.get(name, "")}</{tag}>'


def _event(event: Mapping[str, Any]) -> str:
    when = f'<time datetime="{escape(event["at"])}">{escape(event["time"])}</time>'
    level = f'<span class="level">{escape(event["level"])}</span>'
    text = f'<span class="text">{escape(event["text"])}</span>'
    return f'<li data-level="{escape(event["level"])}" data-seq="{event["seq"]}">{when} {level} {text}</li>\n'

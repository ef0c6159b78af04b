"""What each error means: the sections of errors.md, as text for a terminal."""

from __future__ import annotations

import re
from importlib import resources

_SECTION = re.compile(r"^## (\w+)\n+(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\(([^ )]+)\)")
#: A page of the documentation, with its title: whoever installed the package has no file of it.
_PAGE = re.compile(r"\[([^\]]+)\]\(\S+ \"([^\"]+)\"\)")


def explanations() -> dict[str, str]:
    """Every explanation, by the name of the error, in the order of the page."""
    page = resources.files("pgp_config").joinpath("errors.md").read_text("utf-8")
    return {name: _plain(body) for name, body in _SECTION.findall(page)}


def _plain(body: str) -> str:
    """Markdown as one reads it in a terminal: examples indented, links written out, no marks."""
    text = _EXAMPLE.sub(
        lambda found: re.sub(r"^", "    ", found[1].rstrip(), flags=re.MULTILINE), body
    )
    text = _PAGE.sub(lambda found: _page(found[1], found[2]), text)
    text = _LINK.sub(r"\1 (\2)", text)
    text = re.sub(r"^### (.+)$", r"\1:", text, flags=re.MULTILINE)
    return text.replace("**", "").strip("\n")


def _page(words: str, title: str) -> str:
    """A link as a reader finds the page: by its title, which the words of the link may be already."""
    where = f"the documentation, '{title}'"
    return where if words == title else f"{words} ({where})"

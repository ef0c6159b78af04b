"""The documentation site: `scripts/docs` builds it, with warnings as errors.

The source folder is the repository, so that a link between two Markdown files is the same for a reader of
GitHub and for the site, and README.md, CONTRIBUTING.md and the READMEs of the parts are pages whose links are
checked like those of docs/. The network is not asked for anything, but by `scripts/docs --links`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "pgp_config"
author = "the pgp_config contributors"
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]

root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "adapters/*/README.md",
    "benchmarks/README.md",
    "deploy/**/README.md",
    "deploy/README.md",
    "services/README.md",
]
exclude_patterns = [".*", "build", "dist", "requirements", "src", "tests", "**/tests", "**/src"]

nitpicky = True
suppress_warnings = [
    # A page that GitHub shows begins where its author likes; the READMEs of the parts have no heading below the first.
    "myst.header",
]
nitpick_ignore_regex = [
    # Types of Python and of other libraries: their inventories are on the network, which a build does not ask.
    (r"py:.*", r"(?!pgp_config).*"),
    # Types of ours that no user writes: what is public is shown at its front door, see `_at_the_front_door`.
    (r"py:.*", r"pgp_config(_\w+)?\..*"),
]

# -- Markdown, as GitHub reads it -----------------------------------------------------------------

myst_heading_anchors = 4

# -- the API reference ----------------------------------------------------------------------------

default_role = "code"  # docstrings write `name`, as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_display_short_literal_types = True
add_module_names = False

# -- scripts/docs --links -------------------------------------------------------------------------

linkcheck_ignore = [r"http://127\.0\.0\.1\b"]  # what a reader has started
linkcheck_anchors = False  # many sites make theirs by a script
linkcheck_timeout = 20  # seconds

# -- the pages ------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "pgp_config"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_extra_path = ["_site/root"]  # the address of the site leads to docs/index.html
html_copy_source = False  # a page has no link to a source
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": False}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp"

_PUBLIC = ("pgp_config", "pgp_config.status", "pgp_config.testing", "pgp_config.redaction")


def _at_the_front_door(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """A name that is defined in a module of ours, and public under another."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not re.match(r"pgp_config\b|[A-Z]\w+$", target):
        return None
    python = env.domains.python_domain
    name = target.rpartition(".")[2]
    for module in _PUBLIC:
        if f"{module}.{name}" in python.objects:
            return python.resolve_xref(
                env, node["refdoc"], app.builder, "obj", f"{module}.{name}", node, content
            )
    return None


def _markdown_to_rst(*arguments: Any) -> None:  # noqa: ANN401  of six, only the lines matter
    """The fenced blocks of docstrings."""
    lines: list[str] = arguments[-1]
    inside = False
    for number, line in enumerate(lines):
        indent = line[: len(line) - len(line.lstrip())]
        if line.lstrip().startswith("```"):
            inside = not inside
            lines[number] = (
                f"{indent}.. code-block:: {line.strip('` ') or 'text'}\n" if inside else ""
            )
        elif inside:
            lines[number] = f"   {line}"
    lines[:] = "\n".join(lines).split("\n")


def _errors_on_their_page(_: Sphinx, docname: str, source: list[str]) -> None:
    """The sections of errors are a file of the package, to which GitHub's readers go; here they are on docs/errors.md."""
    if docname.startswith("docs/"):
        source[0] = source[0].replace("](../src/pgp_config/errors.md#", "](errors.md#")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _markdown_to_rst)
    app.connect("source-read", _errors_on_their_page)
    app.connect("missing-reference", _at_the_front_door)
    return {"parallel_read_safe": True}

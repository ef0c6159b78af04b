"""The site is built without a warning; its links lead somewhere, its words are spelt right, and nothing public is missing."""

import html
import importlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from pgp_config.explanations import explanations

from .conftest import DOCS

ROOT = DOCS.parent
#: Modules whose `__all__` is their front door.
PUBLIC = [
    "pgp_config",
    "pgp_config.emulator",
    "pgp_config.redaction",
    "pgp_config.status",
    "pgp_config.testing",
    "pgp_config.testing.contracts",
    "pgp_config_aws",
    "pgp_config_fastapi",
    "pgp_config_flask",
    "pgp_config_vault",
]
MARKDOWN = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "*/README.md", "*/*/README.md", "src/pgp_config/*.md")
    for page in ROOT.glob(pattern)
    if not page.is_relative_to(ROOT / ".venv")
)


class Page(HTMLParser):
    """The places of a page, and where its links lead."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.images = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "img":
            self.images.append(given)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site, as scripts/docs builds it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "sphinx",
                "-c",
                "docs",
                "-b",
                "html",
                "-n",
                "-W",
                "--keep-going",
            ),
            *("-q", "-d", str(folder / "doctrees"), ".", str(folder / "html")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {
        path: Page(path.read_text())
        for path in site.rglob("*.html")
        if path.name not in {"genindex.html", "py-modindex.html", "search.html"}
    }


def test_scripts_docs_builds_it_the_same_way():
    script = (ROOT / "scripts" / "docs").read_text()
    assert "-c docs -b html -n -W --keep-going -q" in script


def test_scripts_docs_asks_for_external_links_where_it_is_told_to():
    script = (ROOT / "scripts" / "docs").read_text()
    assert re.search(r"--links\)\n +sphinx-build -c docs -b linkcheck -q ", script)


def test_its_address_leads_to_the_first_page(site):
    assert "url=docs/index.html" in (site / "index.html").read_text()
    assert (site / "docs" / "index.html").is_file()


def test_every_internal_link_and_place_exists(site, pages):
    def has_place(target, place):
        return target not in pages or place in pages[target].ids

    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists() or (
                parts.fragment and not has_place(target, unquote(parts.fragment))
            ):
                broken.append((path.name, link))
    assert broken == []


def test_pictures_have_a_text(pages):
    assert [
        (path.name, image.get("src"))
        for path, page in pages.items()
        for image in page.images
        if not (image.get("alt") or "").strip()
    ] == []


def test_nothing_is_loaded_from_elsewhere(site):
    for path in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:[^"]+)"', path.read_text()
        )
        assert loaded == [], path.name


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_the_markdown_are_of_a_good_form(page):
    """As GitHub reads them; what is on the network is looked at for its form only."""
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme in {"https", "http"}, target
            assert re.fullmatch(r"[\w.-]+(:\d+)?", parts.netloc), target
            assert parts.scheme == "https" or parts.netloc.startswith("127."), target
        elif parts.path:
            assert (page.parent / unquote(parts.path)).exists(), target


def places_on_github(page):
    """The fragments that GitHub has of a page: of its headings, and what an `id` names."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower() for title in titles]
    slugs = [re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in plain]
    return {*slugs, *re.findall(r'\bid="([^"]+)"', text)}


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_a_place_in_a_page_arrive_on_github_too(page):
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for path, place in re.findall(r"\]\((?!https?:)([^)#\s]*\.md|)#([^)\s]+)\)", text):
        target = (page.parent / path).resolve() if path else page
        assert place in places_on_github(target), f"{path}#{place}"


def test_the_page_of_errors_leads_to_each_section():
    """GitHub does not include it."""
    assert set(re.findall(r"\[(\w+)\]\([^)]+#", (DOCS / "errors.md").read_text())) == {
        *explanations()
    }


def test_words_are_spelt_right():
    program = Path(sys.executable).with_name("codespell")
    looked_at = [
        *(str(page) for page in MARKDOWN),
        *(
            "adapters",
            "benchmarks",
            "deploy",
            "docs/conf.py",
            "scripts",
            "services",
            "src",
            "tests",
        ),
    ]
    looked = subprocess.run(
        [program, *looked_at], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (looked.stdout, looked.returncode) == ("", 0)


@pytest.mark.parametrize("module", PUBLIC)
def test_everything_public_is_in_the_reference(site, module):
    reference = {
        found
        for path in (site / "docs" / "api").glob("*.html")
        for found in re.findall(r'id="([\w.]+)"', path.read_text())
    }
    named = "".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    for name in importlib.import_module(module).__all__:
        whole = f"{module}.{name}"
        assert whole in reference or f" {whole}\n" in named, whole


def test_every_page_can_be_reached_from_the_first_one(site):
    text = html.unescape((site / "docs" / "index.html").read_text())
    for page in DOCS.glob("*.md"):
        if page.name != "index.md":
            assert f'href="{page.stem}.html"' in text or f"/{page.stem}.html" in text, page.name


def test_every_test_that_the_security_model_names_exists():
    text = (DOCS / "security.md").read_text()
    named = re.findall(r"`((?:services/)?tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 15
    for file, test in named:
        source = (ROOT / file).read_text()
        assert not test or f"def {test}(" in source, f"{file}::{test}"


def test_the_comparison_is_dated_and_has_its_sources():
    text = (DOCS / "comparison.md").read_text()
    assert "As of **November 2026**" in text
    rows = [line for line in text.partition("## Caches")[2].splitlines() if line.startswith("| ")]
    for row in rows:
        assert "https://" in row or "pgp_config 0.1" in row or row.startswith(("| | ", "| |")), row


def test_the_picture_of_the_flow_explains_itself():
    text = (DOCS / "flow.svg").read_text()
    assert '<title id="t">' in text
    assert '<desc id="d">' in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")

"""What docs/status.md shows: `scripts/screenshots` writes these files there, and they are looked at."""

import os
import pathlib
import re
from types import SimpleNamespace

import pytest

from pgp_config.status import snapshot

from . import pictures

#: Where they are kept; else nowhere.
FOLDER = os.environ.get("PGP_CONFIG_SCREENSHOTS")

WIDE, PHONE = {"width": 1200, "height": 1080}, {"width": 390, "height": 1400}
SHOTS = {
    "light": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light"},
    "phone-dark": {"viewport": PHONE, "color_scheme": "dark"},
}


def test_each_picture_is_shown():
    docs = pathlib.Path(__file__).parents[2] / "docs"
    shown = re.findall(r"\]\(status/([\w-]+)\.png\)", (docs / "status.md").read_text())
    assert set(shown) == {*SHOTS} == {path.stem for path in (docs / "status").glob("*.png")}


@pytest.fixture
def same_process(monkeypatch):
    """So that the pictures change only where the page does."""
    monkeypatch.setenv("K_REVISION", "payments-00042-xyz")
    process = SimpleNamespace(getpid=lambda: 17, environ=os.environ)
    monkeypatch.setattr(snapshot, "os", process)


@pytest.mark.parametrize("name", SHOTS)
def test_screenshots(name, same_process, stage, serve, open_page):
    stage.befall()
    page = open_page(serve(stage.app), reduced_motion="reduce", **SHOTS[name])
    picture = page.screenshot()
    assert pictures.size_of(picture) == SHOTS[name]["viewport"]
    assert len(picture) > 20_000  # an empty page has some hundred
    if FOLDER:
        pathlib.Path(FOLDER, f"{name}.png").write_bytes(pictures.compressed(picture))

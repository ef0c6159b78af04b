"""`pgp-config graph`: the same facts in each format, and nothing in a name is syntax."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

from pgp_config.providers import SecretContainer

SVG = "{http://www.w3.org/2000/svg}"

#: Names that would be syntax, were they not escaped.
NASTY = 'A"]<b>&#x;--> \\ `x`\u202e\x1b'


@pytest.fixture
def nasty(folder):
    """A container with such names."""
    (folder / "nasty.py").write_text(
        "from dependency_injector import providers\n"
        "from pgp_config import DynamicSecret, SecretContainer\n"
        f"NAME = {NASTY!r}\n"
        "def make(key): pass\n"
        "make.__name__ = NAME\n"
        "class C(SecretContainer):\n"
        "    a = DynamicSecret(''.join(filter(str.isprintable, NAME)))\n"
        "    b = providers.Factory(make, a)\n"
    )


def svg_of(ran):
    assert ran.exit_code == 0
    return ET.fromstring(ran.stdout)  # noqa: S314  what we have just drawn


def texts(root):
    return [each.text for each in root.iter(f"{SVG}text")]


def test_the_facts_are_the_containers_secrets_and_clients(document):
    found = document("graph", "shop:Shop", "till=shop:Till")
    assert found["containers"] == [
        {"service": "Shop", "container": "Shop"},
        {"service": "till", "container": "Till"},
    ]
    secrets = {each["name"]: each for each in found["secrets"]}
    assert secrets["API_KEY"] == {
        "id": "secret:API_KEY",
        "name": "API_KEY",
        "kind": "dynamic",
        "class": "dynamic",
        "type": "SecretStr",
        "services": ["Shop", "till"],
    }
    assert {name: each["kind"] for name, each in secrets.items()} == {
        "API_KEY": "dynamic",
        "DATABASE_PASSWORD": "static",
        "FEE": "dynamic",
        "UNUSED": "dynamic",
        "WEBHOOK_SECRET": "key ring",
    }
    names = {each["id"]: each["name"] for each in found["clients"]}
    assert {each["made_by"] for each in found["clients"]} == {"Client", "make_pool", "dict"}
    named = {(names.get(edge["from"], edge["from"]), names[edge["to"]]) for edge in found["edges"]}
    assert named == {
        ("secret:API_KEY", "client"),
        ("secret:API_KEY", "handler"),
        ("secret:DATABASE_PASSWORD", "pool"),
        ("secret:FEE", "client"),
        ("secret:WEBHOOK_SECRET", "handler"),
        ("client", "handler"),
        ("pool", "handler"),
    }


def test_json_is_a_format_too(run):
    one, other = run("graph", "shop:Shop", "--format", "json"), run("graph", "shop:Shop", "--json")
    assert json.loads(one.stdout) == json.loads(other.stdout)


def test_an_instance_is_drawn_as_its_class(run):
    one, other = run("graph", "shop:stored"), run("graph", "shop:Alone")
    assert one.stdout == other.stdout


def test_mermaid_tells_static_from_dynamic_by_shape_and_words(run):
    shown = run("graph", "shop:Shop").stdout
    assert shown.startswith("flowchart LR\n  accTitle: Secrets and clients of Shop\n")
    assert '(["API_KEY<br/>dynamic · SecretStr"])' in shown
    assert '[["DATABASE_PASSWORD<br/>static · SecretStr"]]' in shown
    assert '{{"WEBHOOK_SECRET<br/>key ring · SecretStr"}}' in shown
    assert '[("pool<br/>make_pool, one a version")]' in shown


def test_a_secret_that_no_client_takes_points_at_its_container(run):
    shown = run("graph", "shop:Till").stdout
    assert re.search(r"s1 -\.-> c0$", shown, re.MULTILINE)
    assert "UNUSED: dynamic · SecretStr · read by name" in {
        each.text
        for each in svg_of(run("graph", "shop:Till", "--format", "svg")).iter(f"{SVG}title")
    }


def test_the_svg_is_one_file_that_tells_a_screen_reader_everything(run):
    root = svg_of(run("graph", "shop:Shop", "till=shop:Till", "--format", "svg"))
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "pgp-title pgp-desc"
    assert root.find(f"{SVG}title").text == "Secrets and clients of Shop, till (Till)"
    told = root.find(f"{SVG}desc").text
    assert "Shop: 1 static and 3 dynamic secrets." in told
    assert "DATABASE_PASSWORD (static) is given to pool." in told
    assert "client is given to handler." in told
    assert "UNUSED (dynamic) is given to nothing in the container." in told
    assert "API_KEY" in texts(root)
    assert "dynamic · SecretStr · in 2 containers" in texts(root)
    whole = ET.tostring(root, encoding="unicode")
    assert "href" not in whole
    assert "url(" not in whole
    assert "@import" not in whole


def test_static_and_dynamic_differ_in_shape(run):
    root = svg_of(run("graph", "shop:Shop", "--format", "svg"))
    shapes = {}
    for group in root.iter(f"{SVG}g"):
        box = next((each for each in group if each.get("class") == "box"), None)
        if box is not None:
            shapes.setdefault(group.get("class"), set()).add((box.tag, box.get("rx")))
    assert {kind: len(shape) for kind, shape in shapes.items()} == dict.fromkeys(shapes, 1)
    assert len({next(iter(shape)) for shape in shapes.values()}) == len(shapes) == 5


def test_no_box_covers_another_and_all_are_within(run):
    for container in ("shop:Shop", "shop:Nothing"):
        root = svg_of(run("graph", container, "--format", "svg"))
        frame = next(each for each in root.iter(f"{SVG}rect") if each.get("class") == "frame")
        group = root.findall(f"{SVG}g")[-1]
        boxes = [
            [float(each.get(key)) for key in ("x", "y", "width", "height")]
            for each in group.iter(f"{SVG}rect")
            if each.get("class") == "box"
        ]
        for x, y, width, height in boxes:
            assert x + width <= float(frame.get("width"))
            assert y + height <= float(frame.get("height"))
        for one in boxes:
            for other in boxes:
                apart = one[0] + one[2] <= other[0] or one[1] + one[3] <= other[1]
                assert (
                    one is other
                    or apart
                    or other[0] + other[2] <= one[0]
                    or (other[1] + other[3] <= one[1])
                )


def test_in_a_browser_every_text_is_within_its_box(run, folder):
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    run("graph", "shop:Shop", "shop:Till", "--format", "svg", "-o", "g.svg")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"file://{folder}/g.svg")
        outside = page.evaluate(
            """() => [...document.querySelectorAll("g > .box")].flatMap(box => {
                const frame = box.getBBox();
                return [...box.parentNode.querySelectorAll("text")].filter(text => {
                    const inner = text.getBBox();
                    return inner.x < frame.x || inner.x + inner.width > frame.x + frame.width
                        || inner.y < frame.y || inner.y + inner.height > frame.y + frame.height;
                }).map(text => text.textContent);
            })"""
        )
        drawn = page.evaluate("""() => document.querySelectorAll("g > .box").length""")
        browser.close()
    assert outside == []
    assert drawn > 10


def test_many_containers_are_counted_in_the_title(run):
    containers = ("shop:Shop", "shop:Till", "shop:Odd", "shop:Alone")
    root = svg_of(run("graph", *containers, "--format", "svg"))
    assert root.find(f"{SVG}title").text == "Secrets and clients of 4 containers"


@pytest.mark.usefixtures("nasty")
def test_nothing_in_a_name_is_syntax(run):
    root = svg_of(run("graph", "nasty:C", "--format", "svg"))
    assert 'A"]<b>&#x;--> \\ `x`\ufffd\ufffd' in texts(root)
    mermaid = run("graph", "nasty:C").stdout
    labels = re.findall(r'"(.*)"', mermaid)
    assert all(re.fullmatch(r"([\w .,:·()/-]|#\d+;|<br/>)*", label) for label in labels)
    assert "`" not in mermaid
    dot = run("graph", "nasty:C", "--format", "dot").stdout
    assert r"A\"]<b>&#x;--> \\ `x`" in dot
    assert "\x1b" not in mermaid + dot
    json.loads(run("graph", "nasty:C", "--json").stdout)


def test_dot_is_what_graphviz_reads(run):
    shown = run("graph", "shop:Shop", "--format", "DOT").stdout
    assert shown.startswith("digraph secrets {")
    assert '"secret:API_KEY" [shape=box, style="rounded", label="API_KEY\\ndynamic' in shown
    program = shutil.which("dot")
    if program:  # not every machine has it
        subprocess.run([program, "-Tsvg"], input=shown, text=True, check=True, capture_output=True)


def test_it_is_written_to_a_file(run, folder):
    for format_ in ("svg", "json", "mermaid", "dot"):
        ran = run("graph", "shop:Shop", "--format", format_, "-o", f"g.{format_}")
        assert (ran.exit_code, ran.stdout) == (0, "")
        assert "API_KEY" in (folder / f"g.{format_}").read_text("utf-8")
    json.loads((folder / "g.json").read_text("utf-8"))


def test_a_file_that_cannot_be_written_is_told(run):
    ran = run("graph", "shop:Shop", "-o", "nowhere/g.svg")
    assert ran.exit_code == 1
    assert "cannot be written (No such file or directory)" in ran.stderr


def test_providers_that_only_lead_to_others_are_not_drawn(document, folder):
    (folder / "leads.py").write_text(
        "from dependency_injector import containers, providers\n"
        "from pgp_config import DynamicSecret, KeyRing, SecretContainer\n"
        "class Inner(containers.DeclarativeContainer):\n"
        "    key = DynamicSecret('INNER')\n"
        "class C(SecretContainer):\n"
        "    a, again = DynamicSecret('A'), DynamicSecret('A')\n"
        "    inner = providers.Container(Inner)\n"
        "    plain = providers.Object(3)\n"
        "    settings = providers.Singleton(dict, x=plain)\n"
        "    ring = KeyRing('A')\n"
        "    parts = providers.List(a, a, settings.provided.x)\n"
        "    one = providers.Singleton(list, parts)\n"
        "    two = providers.Factory(providers.Callable(print).provider, again, one)\n"
        "    three = providers.Singleton(tuple, inner.key)\n"
    )
    found = document("graph", "leads:C")
    assert [each["name"] for each in found["secrets"]] == ["A", "INNER"]
    assert found["secrets"][0]["services"] == ["C"]
    assert {each["name"] for each in found["clients"]} == {"one", "two", "three"}


def test_a_container_needs_no_source(run):
    assert run("graph", "shop:Nothing").exit_code == 0
    assert issubclass(SecretContainer, object)

"""docs/tutorial.md: every file and every command but pip's, as they stand there; only the ports are free ones."""

import json
import re
import tomllib

import pytest

from .conftest import DOCS, FENCE, free_ports

TEXT = (DOCS / "tutorial.md").read_text()
FASTAPI = "8. The same with FastAPI"


@pytest.fixture(params=["flask", "fastapi"])
def framework(request):
    return request.param


@pytest.fixture
def steps(terminals, framework):
    """The blocks of each step; its files are written, those for FastAPI in the place of Flask's."""
    text = TEXT
    for port, free in zip(("8000", "8085", "8086"), free_ports(3), strict=True):
        text = text.replace(port, str(free))
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0]
        if heading == FASTAPI and framework != "fastapi":
            continue
        for kind, body in FENCE.findall(part):
            name = re.match(r"# ([\w.]+)\n", body)
            if name:
                terminals.folder.joinpath(name[1]).write_text(body)
            else:
                found.setdefault(heading, []).append((kind, body))
    terminals.folder.joinpath("secrets.json").write_text(found["2. Secrets, locally"].pop(0)[1])
    if framework == "fastapi":
        terminals.folder.joinpath("wsgi.py").rename(terminals.folder / "asgi.py")
    return found


def test_a_new_service(terminals, steps):
    ((_, emulator),) = steps["2. Secrets, locally"]
    first = terminals.open(emulator, until="No place for real secrets")
    (_, serve), (_, ask), (_, answer) = steps["3. The service"]
    if FASTAPI in steps:
        ((_, serve),) = steps[FASTAPI]
        second = terminals.open(serve, until="Uvicorn running on")
    else:
        second = terminals.open(serve, until="Listening at")
    said = terminals.run(ask)
    assert '"status":"ready"' in said
    assert said.rstrip().endswith(answer.rstrip())

    ((_, test),) = steps["4. A test"]
    assert "3 passed" in terminals.run(test)

    ((_, rotate),) = steps["5. Rotate, without a restart"]
    said = terminals.run(f". ./local.sh\n{rotate}")
    assert '"key_version":2' in said
    assert "Done: version 2 is served, version 1 is disabled." in said
    second.wait_for("Hot-reloaded PARTNER_API_KEY version 1 -> 2")

    ((_, look),) = steps["6. The status page"]
    said = terminals.run(f". ./local.sh\n{look}")
    document, _, _ = said.partition("\n")
    (key,) = [
        each for each in json.loads(document)["secrets"] if each["name"] == "PARTNER_API_KEY"
    ]
    assert (key["version"], key["state"]) == (2, "fresh")
    assert re.search(r"PARTNER_API_KEY +dynamic +2 ", said)
    page = re.search(r"http://\S+/_secrets(?=/data)", look)[0]
    assert f"Open <{re.sub(r':[0-9]+', ':8000', page)}> in a browser" in TEXT
    said = terminals.run(f"curl -sS --fail -u status:token-1 {page}")
    assert "<!doctype html>" in said.lower()
    assert "Estimates" in said
    assert "PARTNER_API_KEY" in said
    assert not re.search(r"key-[12]|token-1", said)

    first.interrupt()
    ((_, find_out),) = steps["7. Why is it stale?"]
    answer, document, *explained = filter(None, terminals.run(find_out).split("\n"))
    assert json.loads(answer)["key_version"] == 2
    (key,) = [
        each for each in json.loads(document)["secrets"] if each["name"] == "PARTNER_API_KEY"
    ]
    assert key["state"] == "stale"
    assert "UNAVAILABLE" in key["last_error"]["text"]
    assert explained[0] == "SecretUnavailable"
    second.wait_for("Could not fetch PARTNER_API_KEY")
    second.wait_for("Served stale PARTNER_API_KEY version 2")
    assert not re.search(r"key-[12]|token-1", second.said)


def test_what_is_installed_is_what_there_is():
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    named = set(re.findall(r"\[([\w,]+)\]' pgp-config-flask gunicorn", TEXT))
    assert named
    for extras in named:
        assert set(extras.split(",")) <= set(project["optional-dependencies"])

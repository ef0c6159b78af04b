"""What README.md has a newcomer do works."""

import builtins
import json
import re
import time
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr

from pgp_services.split2 import flask_app
from pgp_services.split2.container import Split2
from pgp_services.tokens import EstimateRequest, sign

README = Path(__file__).parents[1] / "README.md"


def a_request(key):
    claims = EstimateRequest(
        user_id=1,
        closed_channel_id=-2,
        wallet_address="0x1",
        payout_currency="xmr",
        payout_network="xmr",
        adjusted_amount=Decimal(1),
        swap_currency="eth",
        payout_mode="instant",
        actual_eth_amount=Decimal(1),
        timestamp=int(time.time()),
    )
    return json.dumps({"token": sign(claims, SecretStr(key))})


def test_the_pilot_runs_with_the_stand_ins_and_what_they_print(monkeypatch, capsys):
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    answers = []

    def use(_):
        environ = dict(pair.split("=", 1) for pair in capsys.readouterr().out.split())
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        secrets = Split2.deployed()
        client = flask_app.create_app(secrets).test_client()
        body = a_request(environ["SUCCESS_URL_SIGNING_KEY"])
        answers.append(client.post("/", data=body).status_code)
        secrets.handler().close()
        secrets.close()

    monkeypatch.setattr(builtins, "input", use)
    exec(compile(code, str(README), "exec"), {})  # noqa: S102  our own README
    assert answers == [200]


def test_every_variable_is_in_the_readme():
    source = "".join(path.read_text() for path in (README.parent / "src").rglob("settings.py"))
    for name in re.findall(r'"([A-Z]+_[A-Z_]+)"', source):
        assert f"`{name}`" in README.read_text()

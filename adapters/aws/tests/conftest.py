"""moto's server, which can be down or answer from a script, and what an operator does with it."""

import contextlib
import os
import threading
from functools import cache

import boto3
import pytest
import requests
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

REGION = "eu-west-1"


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


class Moto:
    """AWS on this machine; `script` holds answers that come before its own: (status, body) or "stall"."""

    def __init__(self):
        self._aws = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._app, True, request_handler=Quiet)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.asked = []
        self.script = []
        self.released = threading.Event()

    def _app(self, environ, start):
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        self.asked.append(target)
        if self.script:
            step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if step == "stall":
                self.released.wait(60)
                step = 503, b"{}"
            if step is not None:
                return Response(step[1], step[0])(environ, start)
        return self._aws(environ, start)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @cache  # noqa: B019  one server a run, and making a client takes long
    def client(self, service="secretsmanager"):
        return boto3.Session("testing", "testing").client(
            service, region_name=REGION, endpoint_url=self.endpoint
        )

    def put(self, name, value, *stages, create=True):
        """Add a version, and the secret if it is new; its id."""
        what = {"SecretString": value} if isinstance(value, str) else {"SecretBinary": value}
        aws = self.client()
        if create:
            with contextlib.suppress(aws.exceptions.ResourceExistsException):
                return aws.create_secret(Name=name, **what)["VersionId"]
        labels = {"VersionStages": list(stages)} if stages else {}
        return aws.put_secret_value(SecretId=name, **what, **labels)["VersionId"]

    def move(self, name, to, away, stage="AWSCURRENT"):
        self.client().update_secret_version_stage(
            SecretId=name, VersionStage=stage, MoveToVersionId=to, RemoveFromVersionId=away
        )

    @contextlib.contextmanager
    def identity(self, *actions):
        """The session of a user who may do only this; permissions are looked at while it is open."""
        iam = self.client("iam")
        name = f"user-{len(self.asked)}"
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        if actions:
            allowed = ", ".join(f'"{action}"' for action in actions)
            statement = f'{{"Effect": "Allow", "Action": [{allowed}], "Resource": "*"}}'
            iam.put_user_policy(
                UserName=name,
                PolicyName="read",
                PolicyDocument=f'{{"Version": "2012-10-17", "Statement": [{statement}]}}',
            )
        with self.permissions():
            yield lambda: boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])

    @contextlib.contextmanager
    def permissions(self):
        reset = f"{self.endpoint}/moto-api/reset-auth"
        requests.post(reset, data=b"0", timeout=30)
        try:
            yield
        finally:
            requests.post(reset, data=b"inf", timeout=30)


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.fixture(scope="session")
def moto_server():
    with Moto() as server:
        yield server


@pytest.fixture
def moto(moto_server):
    requests.post(f"{moto_server.endpoint}/moto-api/reset", timeout=30)
    moto_server.released.clear()
    yield moto_server
    moto_server.released.set()
    moto_server.script, moto_server.asked[:] = [], []


@pytest.fixture
def once(monkeypatch):
    """Has the first attempt be the last: no time is left that is worth another."""
    monkeypatch.setattr("pgp_config.sources.retries.LEAST_ATTEMPT", 30)

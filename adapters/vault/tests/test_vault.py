"""What users of Vault expect, against a real OpenBao: keys, states, namespaces, signing in, TLS."""

import json
import logging
import subprocess
import sys
import threading
from decimal import Decimal

import pytest
from pydantic import BaseModel

from pgp_config import (
    DeclarationError,
    DynamicSecret,
    Freshness,
    RejectedVersion,
    SecretContainer,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
    StaticSecret,
    request_scope,
    source_from_url,
)
from pgp_config.testing.contracts.sources import everything_shown
from pgp_config_vault import AppRole, Kubernetes, Token, Vault, leases
from pgp_config_vault.connection import Connection
from pgp_config_vault.sending import Sender

#: More than any machine needs: what is tested here does not depend on time.
AMPLE = {"attempt_timeout": 30, "total_timeout": 30}


@pytest.fixture
def vault(bao, prefix, reader):
    source = Vault(bao.address, prefix=prefix, auth=Token(bao.token(reader)), **AMPLE)
    yield source
    source.close()


@pytest.fixture
def calls(monkeypatch):
    """What is sent, as "VERB path"."""
    sent = []

    def send(self, verb, path, *args, really=Sender.send, **options):
        sent.append(f"{verb} {path}")
        return really(self, verb, path, *args, **options)

    monkeypatch.setattr(Sender, "send", send)
    return sent


class Time:
    """The clock of leases, which passes when a test says so."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(leases, "time", Time())
    return leases.time


# -- which key of the object ---------------------------------------------------------------------


def test_the_value_is_what_the_key_value_holds(vault, bao, prefix):
    bao.put(f"{prefix}split2/changenow", value="k-1", note="of the shop")
    payload = vault.fetch("split2/changenow")
    assert (payload.data, payload.version, payload.crc32c) == (b"k-1", 1, None)


def test_a_name_can_say_which_key(vault, bao, prefix):
    bao.put(f"{prefix}db", user="split2", password="p-1")
    assert vault.fetch("db#user").data == b"split2"
    assert vault.fetch("db#password").data == b"p-1"


def test_a_source_can_say_which_key(bao, prefix):
    bao.put(f"{prefix}db", user="split2", password="p-1")
    source = Vault(bao.address, prefix=prefix, key="password", auth=Token(bao.root), **AMPLE)
    assert source.fetch("db").data == b"p-1"
    source.close()


class Database(BaseModel):
    user: str
    port: int
    fee: Decimal


def test_all_keys_are_one_json_secret(vault, bao, prefix):
    bao.put(f"{prefix}db", user="spl\u00eft2", port=5432, fee=0.5)

    class Service(SecretContainer):
        database = DynamicSecret("db#*", Database)

    secrets = Service(source=vault)
    secrets.load()
    assert secrets.database() == Database(user="spl\u00eft2", port=5432, fee=Decimal("0.5"))
    assert json.loads(vault.fetch("db#*").data) == {
        "user": "spl\u00eft2",
        "port": 5432,
        "fee": 0.5,
    }
    secrets.close()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("true", b"true"),
        ("17", b"17"),
        ("3.10", b"3.10"),
        ("0.12345678901234567890", b"0.12345678901234567890"),
        ('["a", 1]', b'["a",1]'),
        ('{"b": {"c": 2.5}, "a": null}', b'{"a":null,"b":{"c":2.5}}'),
        ('""', b""),
    ],
)
def test_what_is_no_text_is_handed_out_as_json(scripted, written, read):
    metadata = '"metadata": {"version": 3}'
    scripted.script = [
        (403, b""),
        (200, f'{{"data": {{"data": {{"value": {written}}}, {metadata}}}}}'.encode()),
    ]
    payload = Vault(scripted.address, auth=Token("t"), **AMPLE).fetch("KEY")
    assert (payload.data, payload.version) == (read, 3)


def test_a_key_that_is_not_there_is_no_value_and_none_is_guessed(vault, bao, prefix):
    bao.put(f"{prefix}db", password="canary-p")
    with pytest.raises(RejectedVersion, match="has 1 keys, and none is 'value'") as caught:
        vault.fetch("db")
    assert caught.value.secret == "db"
    assert "'NAME#KEY'" in caught.value.remedy
    assert "canary" not in everything_shown(caught.value)


def test_a_null_is_no_value(vault, bao, prefix):
    bao.put(f"{prefix}KEY", value=None)
    with pytest.raises(RejectedVersion, match="'value' of version 1 is null"):
        vault.fetch("KEY")


@pytest.mark.parametrize("name", ["KEY#a#b", "KEY#", "#value", "a//b", "a/", 7, None])
def test_a_name_that_cannot_be_is_not_found(vault, name):
    with pytest.raises(SecretNotFound, match="cannot be named") as caught:
        vault.fetch(name)
    assert "PATH#KEY" in caught.value.remedy


def test_any_text_can_be_a_path(vault, bao, prefix):
    bao.put(f"{prefix}caf%C3%A9%3F%20%25", value="v")
    assert vault.fetch("café? %").data == b"v"


# -- versions ------------------------------------------------------------------------------------


def test_one_fetch_is_one_access(vault, bao, prefix, calls):
    bao.put(f"{prefix}KEY", value="v")
    vault.connect()
    del calls[:]
    vault.fetch("KEY")
    vault.fetch("KEY", 1)
    path = f"GET secret/data/{prefix}KEY"
    assert calls == [path, f"{path}?version=1"]


def test_a_deleted_and_a_destroyed_version_say_so(vault, bao, prefix):
    path = f"{prefix}KEY"
    bao.put(path, value="canary-1")
    bao.call("DELETE", f"secret/data/{path}")
    with pytest.raises(SecretDisabled, match="version 1 is deleted") as caught:
        vault.fetch("KEY")
    assert "bao kv undelete -versions=1" in caught.value.remedy
    bao.call("POST", f"secret/destroy/{path}", {"versions": [1]})
    with pytest.raises(SecretDisabled, match="version 1 is destroyed"):
        vault.fetch("KEY")


class Service(SecretContainer):
    key = DynamicSecret("KEY", str, freshness=Freshness(3600))
    fixed = StaticSecret("FIXED", str)


def read(secrets):
    secrets.key.refresh()
    with request_scope():
        return secrets.key(), secrets.key.version()


def test_a_service_sees_a_rotation_and_a_rollback(vault, bao, prefix):
    bao.put(f"{prefix}FIXED", value="f")
    bao.put(f"{prefix}KEY", value="v1")
    secrets = Service(source=vault)
    secrets.load()
    assert read(secrets) == ("v1", 1)
    bao.put(f"{prefix}KEY", value="v2")
    assert read(secrets) == ("v2", 2)
    bao.call("DELETE", f"secret/data/{prefix}KEY")  # the newest was wrong
    assert read(secrets) == ("v1", 1)
    bao.put(f"{prefix}KEY", value="v3")
    assert read(secrets) == ("v3", 3)
    secrets.close()


# -- what is not there ---------------------------------------------------------------------------


def test_an_engine_of_version_1_has_no_versions_and_is_told_of(bao, prefix):
    mount = f"kv1-{prefix[:-1]}"
    bao.call("POST", f"sys/mounts/{mount}", {"type": "kv"})
    bao.call("POST", f"{mount}/KEY", {"value": "v"})
    source = Vault(bao.address, mount=mount, auth=Token(bao.root), **AMPLE)
    with pytest.raises(SecretNotFound, match=f"mount {mount}") as caught:
        source.fetch("KEY")
    assert "a KV engine of version 2" in caught.value.remedy
    source.close()


def test_a_mount_that_is_not_there_is_told_with_what_vault_says(bao):
    source = Vault(bao.address, mount="kv/nowhere", auth=Token(bao.root), **AMPLE)
    with pytest.raises(SecretNotFound) as caught:
        source.fetch("KEY")
    assert "no handler for route" in str(caught.value.__cause__)
    source.close()


def test_a_namespace_has_secrets_of_its_own(bao, prefix, monkeypatch):
    team = prefix[:-1]
    bao.call("POST", f"sys/namespaces/{team}", {})
    bao.call("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}}, namespace=team)
    bao.call("POST", "kv/data/KEY", {"data": {"value": "of the team"}}, namespace=team)
    source = Vault(bao.address, mount="/kv/", namespace=team, auth=Token(bao.root), **AMPLE)
    assert source.fetch("KEY").data == b"of the team"
    assert f"namespace='{team}'" in repr(source)
    source.close()
    monkeypatch.setenv("VAULT_NAMESPACE", "nobody")
    source = Vault(bao.address, mount="kv", auth=Token(bao.root), **AMPLE)
    with pytest.raises(SecretNotFound, match="namespace nobody"):
        source.fetch("KEY")
    source.close()


# -- signing in ----------------------------------------------------------------------------------


def test_a_policy_that_does_not_allow_it_is_told_from_a_token_that_ended(vault, bao, prefix):
    bao.put("elsewhere/KEY", value="v")
    source = Vault(bao.address, auth=vault._auth, **AMPLE)
    with pytest.raises(SecretForbidden, match="this identity may not read it") as caught:
        source.fetch("elsewhere/KEY")
    assert 'path "secret/data/elsewhere/KEY" { capabilities = ["read"] }' in caught.value.remedy
    bao.revoke(vault._auth.token)
    with pytest.raises(SecretForbidden, match="the token is expired or revoked, or may not"):
        source.fetch("elsewhere/KEY")
    source.close()


def test_a_token_is_taken_from_the_environment_or_from_vaults_own_file(
    bao, prefix, tmp_path, monkeypatch
):
    bao.put(f"{prefix}KEY", value="v")
    source = Vault(bao.address, prefix=prefix, **AMPLE)
    with pytest.raises(SecretForbidden, match="nothing to sign in with") as caught:
        source.fetch("KEY")
    assert "VAULT_TOKEN" in caught.value.remedy
    assert ".vault-token gives no token (FileNotFoundError)" in str(caught.value.__cause__)
    tmp_path.joinpath(".vault-token").write_text(f"{bao.root}\n")
    assert source.fetch("KEY").data == b"v"
    source.close()
    tmp_path.joinpath(".vault-token").write_text("")
    with pytest.raises(SecretForbidden, match="nothing to sign in with"):
        source.fetch("KEY")
    monkeypatch.setenv("VAULT_TOKEN", bao.root)
    assert source.fetch("KEY").data == b"v"
    source.close()


def test_a_token_in_a_file_is_read_anew_when_the_old_one_ends(bao, prefix, reader, tmp_path):
    bao.put(f"{prefix}KEY", value="v")
    sink = tmp_path / "sink"
    sink.write_text(bao.token(reader))
    source = Vault(bao.address, prefix=prefix, auth=Token(file=sink), **AMPLE)
    assert source.fetch("KEY").data == b"v"
    bao.revoke(sink.read_text())
    sink.write_text(bao.token(reader))  # as a Vault Agent does
    assert source.fetch("KEY").data == b"v"
    source.close()


def test_a_token_without_the_default_policy_reads_all_the_same(bao, prefix, reader):
    bao.put(f"{prefix}KEY", value="v")
    token = bao.token(reader, no_default_policy=True)
    source = Vault(bao.address, prefix=prefix, auth=Token(token), **AMPLE)
    assert source.fetch("KEY").data == b"v"
    with pytest.raises(SecretForbidden, match="expired or revoked, or may not read"):
        Vault(bao.address, auth=Token(token), **AMPLE).fetch("elsewhere")
    source.close()


def test_an_approle_signs_in_once_and_renews_its_token(bao, prefix, reader, calls, clock):
    bao.put(f"{prefix}KEY", value="v")
    role_id, secret_id = bao.role(
        prefix[:-1], reader, token_ttl="1h", token_max_ttl="24h", secret_id_num_uses=1
    )
    source = Vault(bao.address, prefix=prefix, auth=AppRole(role_id, secret_id), **AMPLE)
    reads = f"GET secret/data/{prefix}KEY"
    source.fetch("KEY")
    source.fetch("KEY")
    assert calls == ["POST auth/approle/login", reads, reads]
    del calls[:]
    clock.now += 2401  # two thirds of an hour
    source.fetch("KEY")
    source.fetch("KEY")
    # The secret id is used up: a new sign-in would have failed.
    assert calls == ["POST auth/token/renew-self", reads, reads]
    source.close()


def test_an_approle_whose_token_was_revoked_signs_in_again(bao, prefix, reader, tmp_path, calls):
    bao.put(f"{prefix}KEY", value="v")
    role_id, secret_id = bao.role(prefix[:-1], reader)
    file = tmp_path / "secret-id"
    file.write_text(secret_id)
    source = Vault(bao.address, prefix=prefix, auth=AppRole(role_id, secret_id_file=file), **AMPLE)
    source.fetch("KEY")
    bao.revoke(source._connection.get()._lease.token)
    file.write_text(bao.secret_id(prefix[:-1]))
    del calls[:]
    assert source.fetch("KEY").data == b"v"
    reads = f"GET secret/data/{prefix}KEY"
    assert calls == [
        reads,
        "GET auth/token/lookup-self",
        "POST auth/approle/login",
        reads,
    ]
    source.close()


def test_a_secret_id_that_is_refused_is_told_and_not_shown(bao, prefix, reader):
    role_id, _ = bao.role(prefix[:-1], reader)
    source = Vault(bao.address, auth=AppRole(role_id, "canary-secret-id"), **AMPLE)
    for ask in (lambda: source.fetch("KEY"), source.connect):
        with pytest.raises(SecretForbidden, match="refuses to let this process sign in") as caught:
            ask()
        assert "invalid role or secret ID" in str(caught.value.__cause__)
        assert "canary" not in everything_shown(caught.value)
    source.close()


def test_a_role_that_needs_no_secret_id_signs_in_without(bao, prefix, reader):
    bao.put(f"{prefix}KEY", value="v")
    role_id, _ = bao.role(
        prefix[:-1], reader, bind_secret_id=False, token_bound_cidrs=["127.0.0.1/32"]
    )
    source = Vault(bao.address, prefix=prefix, auth=AppRole(role_id), **AMPLE)
    assert source.fetch("KEY").data == b"v"
    source.close()


@pytest.fixture
def kubernetes(bao, bao_with_tls, prefix, reader, scripted):
    """An auth method that asks a Kubernetes; the mount, and the token of a service account."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    account = {"namespace": "default", "serviceaccount": {"name": "split2", "uid": "u-1"}}
    user = {"username": "system:serviceaccount:default:split2", "uid": "u-1", "groups": []}
    review = {"status": {"authenticated": True, "user": user, "audiences": ["vault"]}}
    scripted.script = [(201, json.dumps(review).encode())]
    mount = f"k8s-{prefix[:-1]}"
    bao.call("POST", f"sys/auth/{mount}", {"type": "kubernetes"})
    bao.call(
        "POST",
        f"auth/{mount}/config",
        {
            "kubernetes_host": scripted.address,
            "disable_local_ca_jwt": True,
            "kubernetes_ca_cert": bao_with_tls.ca.read_text(),  # any: it has to have one
            "token_reviewer_jwt": jwt.encode({"sub": "reviewer"}, key, "ES256"),
        },
    )
    bao.call(
        "POST",
        f"auth/{mount}/role/split2",
        {
            "bound_service_account_names": ["split2"],
            "bound_service_account_namespaces": ["default"],
            "audience": "vault",
            "token_policies": [reader],
        },
    )
    claims = {
        "kubernetes.io": account,
        "aud": ["vault"],
        "nbf": 1,
        "iat": 1,
        "exp": 4_000_000_000,
    }
    return mount, jwt.encode(claims | {"sub": user["username"]}, key, "ES256")


def test_a_kubernetes_service_account_signs_in(bao, prefix, kubernetes, tmp_path):
    mount, account = kubernetes
    bao.put(f"{prefix}KEY", value="v")
    file = tmp_path / "token"
    file.write_text(account)
    source = Vault(bao.address, prefix=prefix, auth=Kubernetes("split2", file, mount), **AMPLE)
    assert source.fetch("KEY").data == b"v"
    source.close()


class NotText:
    def login(self):
        raise UnicodeDecodeError("utf-8", b"canary", 0, 1, "canary")


def test_an_auth_of_ones_own_that_fails_is_an_outage_that_shows_nothing(bao):
    source = Vault(bao.address, auth=NotText(), **AMPLE)
    with pytest.raises(SecretUnavailable, match="UnicodeDecodeError") as caught:
        source.fetch("KEY")
    assert "canary" not in everything_shown(caught.value)


class Gone:
    def login(self):
        raise SecretForbidden("the badge is gone", remedy="Get another.")


def test_an_auth_of_ones_own_says_itself_what_is_wrong(bao):
    with pytest.raises(SecretForbidden, match=r"KEY: the badge is gone\. Get another"):
        Vault(bao.address, auth=Gone(), **AMPLE).fetch("KEY")


def test_a_file_of_bytes_that_are_no_text_is_not_shown(bao, tmp_path):
    file = tmp_path / "token"
    file.write_bytes(b"canary \xff")
    with pytest.raises(SecretForbidden) as caught:
        Vault(bao.address, auth=Token(file=file), **AMPLE).fetch("KEY")
    assert "gives no token (UnicodeDecodeError)" in str(caught.value.__cause__)
    assert "canary" not in everything_shown(caught.value)


# -- TLS -----------------------------------------------------------------------------------------


def test_a_certificate_is_checked_against_the_ca(bao_with_tls, monkeypatch):
    bao_with_tls.put("KEY", value="v")
    options = {"auth": Token(bao_with_tls.root), **AMPLE}
    source = Vault(bao_with_tls.address, **options)
    with pytest.raises(SecretUnavailable, match="certificate is not trusted") as caught:
        source.fetch("KEY")
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value.__cause__)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    trusting = Vault(bao_with_tls.address, ca=bao_with_tls.ca, **options)
    assert trusting.fetch("KEY").data == b"v"
    monkeypatch.setenv("VAULT_CACERT", str(bao_with_tls.ca))
    assert Vault(bao_with_tls.address, **options).fetch("KEY").data == b"v"


# -- secrecy -------------------------------------------------------------------------------------


# promise 15
def test_nothing_secret_is_in_the_logs_of_any_library(bao, prefix, reader, caplog, clock):
    bao.put(f"{prefix}KEY", value="canary-value")
    role_id, secret_id = bao.role(prefix[:-1], reader, token_ttl="1h", token_max_ttl="2h")
    source = Vault(bao.address, prefix=prefix, auth=AppRole(role_id, secret_id), **AMPLE)
    with caplog.at_level(logging.DEBUG):
        source.fetch("KEY")
        clock.now += 2401
        source.fetch("KEY")
        with pytest.raises(SecretForbidden):
            Vault(bao.address, auth=AppRole(role_id, secret_id), **AMPLE).fetch("KEY")
        token = source._connection.get()._lease.token
    shown = "".join(map(repr, map(vars, caplog.records))) + caplog.text
    assert f"{prefix}KEY" in shown
    for secret in ("canary", token, secret_id):
        assert secret not in shown
    source.close()


# promise 15
def test_credentials_and_tokens_show_in_no_repr_and_are_not_pickled(bao, prefix, reader):
    import copy

    bao.put(f"{prefix}KEY", value="canary-value")
    for auth in (Token("canary-t"), AppRole("role", "canary-s")):
        assert "canary" not in repr(auth)
        with pytest.raises(TypeError, match="not pickled or copied"):
            copy.copy(auth)
    login = AppRole("role", "canary-s").login()
    assert "canary" not in repr(login)
    source = Vault(bao.address, prefix=prefix, auth=Token(bao.token(reader)), **AMPLE)
    assert repr(source) == f"Vault('{bao.address}', mount='secret', prefix='{prefix}')"
    source.close()


# promise 15
@pytest.mark.parametrize("code", [200, 400, 403, 404, 500])
def test_an_answer_that_is_none_of_vaults_is_not_shown(scripted, code, once):
    scripted.script = [(code, b'{"data": {"data": {"value": "canary"}}, "canary": ')]
    source = Vault(scripted.address, auth=Token("canary-t"), **AMPLE)
    with pytest.raises(SecretUnavailable) as caught:
        source.fetch("KEY")
    assert "canary" not in everything_shown(caught.value)


# -- processes -----------------------------------------------------------------------------------


GREEN = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from pgp_config_vault import Token, Vault

source = Vault(sys.argv[1], auth=Token(sys.argv[2]), attempt_timeout=20, total_timeout=20)
jobs = [gevent.spawn(source.fetch, "GREEN") for _ in range(8)]
gevent.joinall(jobs)
print({job.get().data for job in jobs})
source.close()
"""


# promise 16
def test_greenlets_fetch_at_once(bao):
    bao.put("GREEN", value="v")
    ran = subprocess.run(
        [sys.executable, "-c", GREEN, bao.address, bao.root],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stdout == "{b'v'}\n", ran.stderr


# -- the budget (promise 8) ----------------------------------------------------------------------

FOUND = (200, b'{"data": {"data": {"value": "v"}, "metadata": {"version": 1}}}')
LIFE = (200, b'{"data": {"ttl": 0}}')


@pytest.mark.parametrize("code", [412, 429, 500, 502, 503, 504])
def test_a_fault_that_may_pass_is_asked_again(scripted, code):
    scripted.script = [LIFE, (code, b""), FOUND]
    assert Vault(scripted.address, auth=Token("t"), **AMPLE).fetch("KEY").version == 1
    assert len(scripted.asked) == 3


@pytest.mark.parametrize(
    ("code", "body", "error", "said"),
    [
        (400, b'{"errors": ["bad"]}', SecretUnavailable, "calls the request invalid"),
        (404, b'{"errors": []}', SecretNotFound, "does not exist in mount secret"),
        (404, b'{"data": {"data": null, "metadata": 7}}', SecretNotFound, "does not exist"),
        (307, b"", SecretUnavailable, "sends to another one"),
    ],
)
def test_any_other_fault_is_not(scripted, code, body, error, said):
    scripted.script = [LIFE, (code, body)]
    with pytest.raises(error, match=said):
        Vault(scripted.address, auth=Token("t"), **AMPLE).fetch("KEY")
    assert len(scripted.asked) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"data": []}',
        b'{"data": {"metadata": {"version": 1}}}',
        b'{"data": {"data": {}, "metadata": {"version": "1"}}}',
    ],
)
def test_an_answer_that_is_none_is_asked_for_again(scripted, body):
    scripted.script = [LIFE, (200, body), FOUND]
    assert Vault(scripted.address, auth=Token("t"), **AMPLE).fetch("KEY").version == 1


def test_what_is_no_object_of_keys_is_rejected(scripted):
    scripted.script = [LIFE, (200, b'{"data": {"data": ["v"], "metadata": {"version": 1}}}')]
    for name in ("KEY", "KEY#*"):
        with pytest.raises(RejectedVersion, match="version 1 is no object of keys"):
            Vault(scripted.address, auth=Token("t"), **AMPLE).fetch(name)


def test_an_exhausted_quota_says_so(scripted, once):
    scripted.script = [(429, b'{"errors": ["request path: rate limit quota exceeded"]}')]
    with pytest.raises(SecretUnavailable, match="rate limit quota of Vault is exhausted"):
        Vault(scripted.address, auth=Token("t"), **AMPLE).fetch("KEY")


def test_a_server_that_does_not_answer_is_a_time_out(scripted):
    scripted.script = ["stall"]
    source = Vault(scripted.address, auth=Token("t"), attempt_timeout=0.05, total_timeout=0.05)
    for ask in (lambda: source.fetch("KEY"), source.connect):
        with pytest.raises(SourceTimeout, match=r"did not answer within 0\.05 s"):
            ask()


def test_a_server_that_is_not_there_is_an_outage(once):
    source = Vault("http://127.0.0.1:9", auth=Token("t"), **AMPLE)
    with pytest.raises(SecretUnavailable, match=r"could not answer.*unreachable") as caught:
        source.fetch("KEY")
    assert "ConnectionError" in str(caught.value.__cause__)


def test_a_request_that_times_out_by_itself_is_a_time_out(scripted):
    from pgp_config_vault.faults import VaultFault
    from pgp_config_vault.sending import Deadline

    scripted.script = ["stall"]
    sender = Sender(scripted.address, namespace=None, ca=None, is_local=True)
    with pytest.raises(VaultFault, match="no answer in time: ReadTimeout"):
        sender.send("GET", "x", Deadline(0))


def test_an_answer_that_does_not_end_is_not_read_to_its_end(scripted, monkeypatch, once):
    from pgp_config_vault import sending

    monkeypatch.setattr(sending, "MOST_BYTES", 40)
    scripted.script = [(200, b"x" * 41)]
    with pytest.raises(SecretUnavailable) as caught:
        Vault(scripted.address, auth=Token("t"), **AMPLE).fetch("KEY")
    assert "more than 40 bytes" in str(caught.value.__cause__)


# -- the life of a token -------------------------------------------------------------------------


class Script:
    """A sender that answers from a script of (code, document)."""

    def __init__(self, *script):
        self.script = list(script)
        self.sent = []

    def send(self, verb, path, deadline, *, token=None, body=None):
        from pgp_config_vault.faults import VaultFault
        from pgp_config_vault.sending import Answer

        self.sent.append((path.rpartition("/")[2], token))
        step = self.script.pop(0)
        if isinstance(step, str):
            raise VaultFault(step, "scripted")
        return Answer(*step)


def made(token, life=90, *, renewable=True):
    found = {"client_token": token, "lease_duration": life, "renewable": renewable}
    return 200, {"auth": found}


OK = (200, {})


def connection_of(*script):
    sender = Script(*script)
    return Connection(sender, AppRole("role")), sender


def test_a_token_that_cannot_be_renewed_gives_way_to_another(clock):
    connection, sender = connection_of(made("t1", renewable=False), OK, made("t2"), OK)
    connection.read("KEY", 1)
    clock.now += 60
    connection.read("KEY", 1)
    assert sender.sent == [("login", None), ("KEY", "t1"), ("login", None), ("KEY", "t2")]


@pytest.mark.parametrize("renewed", [made("t1", 44), (400, {}), (403, {}), (200, {})])
def test_a_token_whose_longest_life_ends_gives_way_to_another(clock, renewed):
    connection, sender = connection_of(made("t1"), OK, renewed, made("t2"), OK)
    connection.read("KEY", 1)
    clock.now += 60
    connection.read("KEY", 1)
    assert [path for path, _ in sender.sent] == ["login", "KEY", "renew-self", "login", "KEY"]


@pytest.mark.parametrize("fault", ["unreachable", (403, {})])
def test_a_token_that_is_still_good_is_used_on_where_none_is_to_be_had(clock, fault):
    script = ["unreachable"] if fault == "unreachable" else [(403, {}), (403, {})]
    connection, sender = connection_of(made("t1"), OK, *script, OK, OK, made("t1"), OK)
    connection.read("KEY", 1)
    clock.now += 60
    connection.read("KEY", 1)
    connection.read("KEY", 1)  # it is not tried at each read
    clock.now += 8
    connection.read("KEY", 1)
    assert sender.sent[-2:] == [("renew-self", "t1"), ("KEY", "t1")]
    assert sender.script == []


def test_a_token_that_is_over_is_not_used(clock):
    connection, sender = connection_of(made("t1"), OK, "unreachable", made("t2"), OK)
    connection.read("KEY", 1)
    clock.now += 90
    with pytest.raises(Exception, match="unreachable"):
        connection.read("KEY", 1)
    connection.read("KEY", 1)
    assert sender.sent[-2:] == [("login", None), ("KEY", "t2")]


def test_a_token_that_does_not_expire_is_never_renewed(clock):
    connection, sender = connection_of(made("t1", 0), OK, OK)
    connection.read("KEY", 1)
    clock.now += 1e9
    connection.read("KEY", 1)
    assert len(sender.sent) == 3


@pytest.mark.parametrize("answer", [(200, {}), (200, {"auth": {"client_token": "t"}}), (200, [])])
def test_a_sign_in_without_a_token_is_an_odd_answer(answer):
    answer = (answer[0], answer[1] or {})
    connection, _ = connection_of(answer)
    with pytest.raises(Exception, match="odd answer"):
        connection.sign_in(1)


def test_who_refuses_a_sign_in_may_not_repeat_what_was_sent():
    sender = Script((400, {"errors": ["no role canary-role", "else"]}))
    with pytest.raises(Exception, match="no role …; else"):
        Connection(sender, AppRole("canary-role", "")).sign_in(1)


def test_one_signs_in_for_all_who_wait_and_each_waits_within_its_time(clock):
    connection, sender = connection_of()
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def login(self):
            begun.set()
            assert go_on.wait(30)
            return AppRole("role").login()

    sender.script = [made("t1"), OK, OK]
    connection._auth = Slow()
    first = threading.Thread(target=connection.read, args=("KEY", 30))
    first.start()
    assert begun.wait(30)
    with pytest.raises(Exception, match="another thread is still signing in"):
        connection.read("KEY", 0)
    second = threading.Thread(target=connection.read, args=("KEY", 30))
    second.start()
    go_on.set()
    for thread in (first, second):
        thread.join(30)
    assert [path for path, _ in sender.sent] == ["login", "KEY", "KEY"]


# -- arguments and URLs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"address": None}, "given no address"),
        ({"address": "vault.example:8200"}, "the address of Vault is none"),
        ({"address": "https://user:canary@vault.example"}, "the address of Vault is none"),
        ({"address": "https://vault.example/v1"}, "the address of Vault is none"),
        ({"address": "https://[vault"}, "the address of Vault is none"),
        ({"address": "http://vault.example:8200"}, "not on this machine and not encrypted"),
        ({"mount": ""}, "the mount of Vault's KV engine is ''"),
        ({"mount": "a//b"}, "the mount"),
        ({"mount": None}, "the mount"),
        ({"key": ""}, "the key of Vault's secrets is ''"),
        ({"namespace": "a b"}, "the namespace of Vault is 'a b'"),
        ({"ca": "/nowhere/ca.pem"}, "does not exist"),
        ({"attempt_timeout": 3}, "attempt_timeout is 3 s and total_timeout 2 s"),
    ],
)
def test_an_argument_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(DeclarationError, match=said) as caught:
        Vault(**{"address": "https://vault.example", **wrong})
    assert "canary" not in str(caught.value)
    assert caught.value.remedy


def test_two_of_a_kind_are_refused():
    with pytest.raises(DeclarationError, match="a token and a file"):
        Token("t", "f")
    with pytest.raises(DeclarationError, match="a secret_id and a secret_id_file"):
        AppRole("role", "s", "f")


def test_another_machine_without_encryption_has_to_be_asked_for():
    assert Vault("http://vault.example:8200", plain_http=True)
    assert Vault("http://localhost:8200")
    assert Vault("http://[::1]:8200")


def test_a_url_makes_a_source(bao, prefix, monkeypatch):
    bao.put(f"{prefix}db", password="p-1")
    monkeypatch.setenv("VAULT_TOKEN", bao.root)
    host = bao.address.removeprefix("http://")
    source = source_from_url(f"vault://{host}/secret?tls=off&prefix={prefix}&key=password")
    source._budget.attempt_timeout = source._budget.total_timeout = 30
    assert source.fetch("db").data == b"p-1"
    source.close()
    monkeypatch.setenv("VAULT_ADDR", bao.address)
    assert repr(source_from_url("vault:///kv/live")) == f"Vault('{bao.address}', mount='kv/live')"
    assert "mount='secret'" in repr(source_from_url("vault://vault.example"))


def auth_of(options):
    return source_from_url(f"vault://vault.example/secret?{options}")._auth


def test_a_url_says_how_to_sign_in(monkeypatch):
    assert auth_of("auth=token&token_file=/run/sink").file == "/run/sink"
    approle = auth_of("auth=approle&role_id=r&secret_id_file=/run/id&auth_mount=apps")
    assert (approle.role_id, approle.secret_id_file, approle.mount) == ("r", "/run/id", "apps")
    monkeypatch.setenv("VAULT_SECRET_ID", "s")
    assert auth_of("auth=approle&role_id=r").secret_id == "s"
    account = auth_of("auth=kubernetes&role=split2&jwt_file=/run/jwt&auth_mount=k8s")
    assert (account.role, account.jwt_file, account.mount) == ("split2", "/run/jwt", "k8s")
    assert auth_of("auth=kubernetes&role=split2").jwt_file.startswith("/var/run/secrets/")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("vault://u:canary@vault.example/secret", "has credentials or a fragment"),
        ("vault://vault.example/secret#canary", "has credentials or a fragment"),
        ("vault://vault.example?token=canary", "unknown options: token"),
        ("vault://vault.example?tls=canary", "unknown tls"),
        ("vault://vault.example?auth=canary", "unknown auth"),
        ("vault://vault.example?auth=approle", "has no role_id"),
        ("vault://vault.example?auth=kubernetes", "has no role"),
        ("vault://vault.example?role=canary", "options of another auth than token: role"),
        ("vault://vault.example?prefix=", "empty or repeated options: prefix"),
        ("vault:///secret", "given no address"),
    ],
)
def test_a_url_that_does_not_fit_is_refused_and_not_shown(url, said):
    with pytest.raises(DeclarationError, match=said) as caught:
        source_from_url(url)
    assert "canary" not in str(caught.value)

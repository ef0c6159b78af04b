"""What users of AWS Secrets Manager expect: labels, rollbacks, permissions, JSON keys."""

import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from pgp_config import (
    DeclarationError,
    DynamicSecret,
    Freshness,
    KeyRing,
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
from pgp_config_aws import AwsSecretsManager

#: More than any machine needs: what is tested here does not depend on time.
AMPLE = {"attempt_timeout": 30, "total_timeout": 30}
REGION = "eu-west-1"


@pytest.fixture
def aws(moto):
    source = AwsSecretsManager(REGION, endpoint=moto.endpoint, **AMPLE)
    yield source
    source.close()


# -- values --------------------------------------------------------------------------------------


def test_a_text_and_a_binary_are_handed_out_as_they_are(aws, moto):
    moto.put("split2/text", "café\n")
    moto.put("split2/binary", b"\xff\x00")
    assert aws.fetch("split2/text").data == "café\n".encode()
    assert aws.fetch("split2/binary").data == b"\xff\x00"
    assert aws.fetch("split2/binary").crc32c is None


def test_a_name_can_have_a_prefix_and_an_arn_is_one_too(aws, moto):
    moto.put("split2/KEY", "v")
    prefixed = AwsSecretsManager(REGION, prefix="split2/", endpoint=moto.endpoint, **AMPLE)
    assert prefixed.fetch("KEY").data == b"v"
    arn = moto.client().describe_secret(SecretId="split2/KEY")["ARN"]
    assert prefixed.fetch(arn).data == b"v"
    prefixed.close()


@pytest.mark.parametrize(
    ("key", "data"),
    [
        ("password", b"p-1"),
        ("port", b"5432"),
        ("fee", b"0.12345678901234567890"),
        ("hosts", b'[1.5,"b"]'),
        ("tls", b"true"),
        ("empty", b""),
    ],
)
def test_a_name_can_say_which_key_of_the_json_it_means(aws, moto, key, data):
    moto.put(
        "db",
        '{"password": "p-1", "port": 5432, "fee": 0.12345678901234567890, "hosts": [1.5, "b"], '
        '"tls": true, "empty": ""}',
    )
    assert aws.fetch(f"db#{key}").data == data


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("canary", "is no JSON object, so it has no key 'password'"),
        ("[1]", "is no JSON object"),
        (b"\xff", "is no JSON object"),
        ('{"canary": 1, "b": 2}', "has 2 keys, and none is 'password'"),
        ('{"password": null}', "has 1 keys, and none is 'password' .or it is null"),
    ],
)
def test_a_key_that_is_not_there_is_no_value(aws, moto, stored, said):
    moto.put("db", stored)
    with pytest.raises(RejectedVersion, match=said) as caught:
        aws.fetch("db#password")
    assert caught.value.secret == "db#password"
    assert "canary" not in everything_shown(caught.value)


@pytest.mark.parametrize("name", ["a#b#c", "a#", "#b", "a b", "arn:a b", "", 7, None])
def test_a_name_that_cannot_be_is_not_found(aws, name):
    with pytest.raises(SecretNotFound, match="cannot be named"):
        aws.fetch(name)


# -- versions ------------------------------------------------------------------------------------


def test_one_fetch_is_one_access_and_a_new_version_costs_a_list(aws, moto):
    moto.put("KEY", "v1")
    moto.put("KEY", "v2")
    del moto.asked[:]
    assert aws.fetch("KEY").version == 2
    assert moto.asked == ["GetSecretValue", "ListSecretVersionIds"]
    del moto.asked[:]
    assert aws.fetch("KEY").version == 2
    assert aws.fetch("KEY", 1).data == b"v1"
    assert moto.asked == ["GetSecretValue", "GetSecretValue"]


def test_a_version_that_is_pending_is_not_in_use_before_it_is_current(aws, moto):
    first = moto.put("KEY", "v1")
    pending = moto.put("KEY", "canary-v2", "AWSPENDING", create=False)
    assert aws.fetch("KEY").version == 1
    with pytest.raises(
        SecretDisabled, match="version 2 is not in use: AWSCURRENT is at version 1"
    ) as caught:
        aws.fetch("KEY", 2)
    assert f"--move-to-version-id {pending}" in caught.value.remedy
    assert "canary" not in everything_shown(caught.value)
    moto.move("KEY", pending, first)
    assert (aws.fetch("KEY").data, aws.fetch("KEY").version) == (b"canary-v2", 2)


def test_moving_the_label_back_disables_the_newer_version(aws, moto):
    first, second = moto.put("KEY", "v1"), moto.put("KEY", "v2")
    assert aws.fetch("KEY").version == 2
    moto.move("KEY", first, second)
    with pytest.raises(SecretDisabled, match="version 2 is not in use"):
        aws.fetch("KEY", 2)  # before anybody asked for the newest
    assert (aws.fetch("KEY").data, aws.fetch("KEY").version) == (b"v1", 1)
    moto.move("KEY", second, first)
    assert aws.fetch("KEY", 2).data == b"v2"


class Service(SecretContainer):
    key = DynamicSecret("KEY", str, freshness=Freshness(3600))
    fixed = StaticSecret("FIXED", str)


def read(secrets):
    secrets.key.refresh()
    with request_scope():
        return secrets.key(), secrets.key.version()


# promise 7
def test_a_service_sees_a_rotation_and_a_rollback(aws, moto):
    moto.put("FIXED", "f")
    first = moto.put("KEY", "v1")
    secrets = Service(source=aws)
    secrets.load()
    assert read(secrets) == ("v1", 1)
    second = moto.put("KEY", "v2")
    assert read(secrets) == ("v2", 2)
    moto.move("KEY", first, second)
    assert read(secrets) == ("v1", 1)
    third = moto.put("KEY", "v3", "AWSPENDING", create=False)  # as a rotation does
    assert read(secrets) == ("v1", 1)
    moto.move("KEY", third, first)
    assert read(secrets) == ("v3", 3)
    secrets.close()


# promise 7
def test_an_answer_that_lags_takes_no_newer_version_away():
    source, fake = source_on(Fake("a", "b"))
    secrets = Service(source=source)
    secrets.load()
    assert read(secrets) == ("b", 2)
    fake.lagging = "a"  # AWSCURRENT as it was; by its id the newer one says what it is
    assert read(secrets) == ("b", 2)
    secrets.close()


def test_a_key_ring_has_the_version_before(aws, moto):
    class Rings(SecretContainer):
        keys = KeyRing("KEY", grace=3600)

    moto.put("KEY", "v1")
    moto.put("KEY", "v2")
    secrets = Rings(source=aws)
    secrets.load()
    with request_scope():
        assert (secrets.keys().version, secrets.keys().previous_version) == (2, 1)
    secrets.close()


def test_a_label_of_ones_own_pins_a_version(moto):
    first = moto.put("KEY", "v1")
    moto.put("KEY", "v2")
    moto.client().update_secret_version_stage(
        SecretId="KEY", VersionStage="LIVE", MoveToVersionId=first
    )
    source = AwsSecretsManager(REGION, stage="LIVE", endpoint=moto.endpoint, **AMPLE)
    assert (source.fetch("KEY").data, source.fetch("KEY").version) == (b"v1", 1)
    assert "stage='LIVE'" in repr(source)
    with pytest.raises(SecretDisabled, match="LIVE is at version 1"):
        source.fetch("KEY", 2)
    source.close()


def test_a_secret_that_was_made_anew_goes_on_with_its_numbers(aws, moto):
    moto.put("KEY", "v1")
    assert aws.fetch("KEY").version == 1
    moto.client().delete_secret(SecretId="KEY", ForceDeleteWithoutRecovery=True)
    with pytest.raises(SecretNotFound):
        aws.fetch("KEY")
    moto.put("KEY", "v2")
    assert (aws.fetch("KEY").data, aws.fetch("KEY").version) == (b"v2", 2)


def test_a_secret_that_is_marked_for_deletion_is_disabled(aws, moto):
    moto.put("KEY", "v1")
    moto.client().delete_secret(SecretId="KEY")
    with pytest.raises(SecretDisabled, match="marked for deletion in region eu-west-1") as caught:
        aws.fetch("KEY")
    assert "restore-secret" in caught.value.remedy
    moto.client().restore_secret(SecretId="KEY")
    assert aws.fetch("KEY").data == b"v1"


def test_a_secret_without_a_value_is_not_found(aws, moto):
    moto.client().create_secret(Name="KEY")
    for version in ("latest", 1):
        with pytest.raises(SecretNotFound, match=r"has no version|does not exist"):
            aws.fetch("KEY", version)


class Fake:
    """boto3's client and session, with versions by id; each is a value and made a minute after the one before."""

    def __init__(self, *ids, page=100):
        self.ids = list(ids)
        self.current = self.ids[-1]
        self.lagging = None
        self.hidden = set()
        self.page = page
        self.fault = None
        self.lists = 0

    def client(self, *_, **__):
        return self

    def close(self):
        pass

    def get_secret_value(self, SecretId, VersionId=None, VersionStage=None):  # noqa: N803  AWS's names
        if self.fault is not None:
            raise self.fault
        found = VersionId or self.lagging or self.current
        stages = ["AWSCURRENT"] if found == self.current else []
        return {"VersionId": found, "VersionStages": stages, "SecretString": found}

    def list_secret_version_ids(self, NextToken="0", **_):  # noqa: N803  as above
        self.lists += 1
        begin = int(NextToken)
        made = datetime(2026, 1, 1, tzinfo=UTC)
        versions = [
            {
                "VersionId": one,
                "CreatedDate": made + timedelta(minutes=place),
                "VersionStages": ["AWSCURRENT"] if one == self.current else [],
            }
            for place, one in enumerate(self.ids)
            if one not in self.hidden
        ]
        page = versions[::-1][begin : begin + self.page]
        more = {"NextToken": str(begin + self.page)} if begin + self.page < len(versions) else {}
        return {"Versions": page, **more}


def source_on(fake, **options):
    return AwsSecretsManager(session_factory=lambda: fake, **{**AMPLE, **options}), fake


def test_versions_are_counted_from_the_oldest_in_whatever_order_they_are_listed():
    source, fake = source_on(Fake("a", "b", "c", "d", "e", page=2))
    assert source.fetch("KEY").version == 5
    assert fake.lists == 3
    assert [source.fetch("KEY", number).data for number in (1, 2, 3)] == [b"a", b"b", b"c"]


def test_numbers_stay_when_aws_removes_old_versions():
    source, fake = source_on(Fake("a", "b", "c"))
    assert source.fetch("KEY").version == 3
    fake.ids = ["b", "c", "d"]
    fake.current = "d"
    assert source.fetch("KEY").version == 4
    assert source.fetch("KEY", 2).data == b"b"


def test_a_version_that_the_list_does_not_show_yet_is_the_next():
    source, fake = source_on(Fake("a", "b"))
    fake.hidden = {"b"}
    assert source.fetch("KEY").version == 2
    fake.hidden = set()
    fake.ids.append("c")
    fake.current = "c"
    assert source.fetch("KEY").version == 3
    assert source.fetch("KEY", 2).data == b"b"


def test_a_number_that_may_mean_another_version_is_refused():
    source, _ = source_on(Fake(*map(str, range(100))))
    with pytest.raises(SecretUnavailable, match="a number is not certain") as caught:
        source.fetch("KEY", 7)
    assert "a label of your own" in caught.value.remedy
    assert source.fetch("KEY").version == 100  # from here on this process knows what it means
    assert source.fetch("KEY", 7).data == b"6"


def test_without_the_label_no_version_is_in_use():
    source, fake = source_on(Fake("a"))
    fake.current = None
    with pytest.raises(SecretDisabled, match="AWSCURRENT is at none"):
        source.fetch("KEY", 1)


# -- permissions and credentials -----------------------------------------------------------------


def test_two_actions_are_enough_and_each_is_needed(moto):
    moto.put("KEY", "v1")
    value, listing = "secretsmanager:GetSecretValue", "secretsmanager:ListSecretVersionIds"
    for actions, missing in [((), value), ((value,), listing), ((value, listing), None)]:
        with moto.identity(*actions) as session:
            source = AwsSecretsManager(
                REGION, endpoint=moto.endpoint, session_factory=session, **AMPLE
            )
            if missing is None:
                assert source.fetch("KEY").version == 1
            else:
                with pytest.raises(SecretForbidden, match="may not read it in region") as caught:
                    source.fetch("KEY")
                assert missing in caught.value.remedy
            source.close()


def test_without_credentials_it_says_where_they_come_from(moto, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    source = AwsSecretsManager(REGION, endpoint=moto.endpoint, **AMPLE)
    with pytest.raises(SecretForbidden, match="no AWS credentials were found") as caught:
        source.fetch("KEY")
    assert "AWS_PROFILE" in caught.value.remedy
    source.close()


def test_a_profile_has_region_and_credentials(moto, tmp_path, monkeypatch):
    tmp_path.joinpath("config").write_text(f"[profile live]\nregion = {REGION}\n")
    tmp_path.joinpath("credentials").write_text(
        "[live]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
    )
    moto.put("KEY", "v1")
    source = AwsSecretsManager(profile="live", endpoint=moto.endpoint, **AMPLE)
    assert source.fetch("KEY").data == b"v1"
    source.close()


@pytest.mark.parametrize(
    ("options", "said"), [({}, "NoRegionError"), ({"profile": "gone"}, "ProfileNotFound")]
)
def test_what_boto3_lacks_is_told_at_start_up(options, said):
    source = AwsSecretsManager(**options)
    for ask in (source.connect, lambda: source.fetch("KEY")):
        with pytest.raises(DeclarationError, match="boto3 cannot make a client") as caught:
            ask()
        assert said in str(caught.value.__cause__)


def test_connecting_makes_the_client_of_this_process(aws):
    aws.connect()
    aws.connect()


# -- faults (promise 8) --------------------------------------------------------------------------


def refused(code, message="as it is", status=400):
    answer = {"Error": {"Code": code, "Message": message}}
    return boto.ClientError(
        answer | {"ResponseMetadata": {"HTTPStatusCode": status}}, "GetSecretValue"
    )


REQUEST = {"endpoint_url": "https://aws.test", "error": "canary"}


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (refused("ThrottlingException"), SecretUnavailable, "quota of Secrets Manager"),
        (refused("ExpiredTokenException"), SecretForbidden, "does not accept the credentials"),
        (refused("AccessDeniedException"), SecretForbidden, "may not read it"),
        (refused("403", status=403), SecretForbidden, "may not read it"),
        (refused("DecryptionFailure"), SecretUnavailable, "with its KMS key"),
        (refused("InvalidRequestException"), SecretUnavailable, "InvalidRequestException"),
        (refused("InvalidParameterException"), SecretUnavailable, "InvalidParameterException"),
        (refused("InternalServiceError", status=500), SecretUnavailable, "server error"),
        (refused("Whatever", status=503), SecretUnavailable, "server error"),
        (boto.ClientError({}, "GetSecretValue"), SecretUnavailable, "could not answer"),
        (boto.ConnectTimeoutError(**REQUEST), SourceTimeout, "did not answer"),
        (boto.ReadTimeoutError(**REQUEST), SourceTimeout, "did not answer"),
        (boto.EndpointConnectionError(**REQUEST), SecretUnavailable, "cannot be reached"),
        (
            boto.SSLError(endpoint_url="x", error="CERTIFICATE_VERIFY_FAILED"),
            SecretUnavailable,
            "certificate is not trusted",
        ),
        (
            boto.CredentialRetrievalError(provider="p", error_msg="canary"),
            SecretForbidden,
            "no AWS",
        ),
        (ResponseParserError("canary"), SecretUnavailable, "odd answer"),
        (KeyError("canary"), SecretUnavailable, "odd answer"),
        (RuntimeError("canary"), SecretUnavailable, "RuntimeError"),
    ],
)
def test_what_boto3_raises_becomes_ours(fault, error, said, once):
    source, fake = source_on(Fake("a"))
    fake.fault = fault
    with pytest.raises(error, match=said) as caught:
        source.fetch("KEY")
    assert type(caught.value) is error
    assert caught.value.remedy
    text = everything_shown(caught.value)
    assert "canary" not in text or isinstance(fault, boto.ConnectionError)


def test_a_thread_that_cannot_start_is_an_outage(monkeypatch):
    def no_thread(_):
        raise RuntimeError("can't start new thread")

    source, _ = source_on(Fake("a"))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(SecretUnavailable, match="RuntimeError"):
            source.fetch("KEY")
    assert source.fetch("KEY").data == b"a"


def test_a_fault_that_may_pass_is_asked_again_and_another_is_not(aws, moto):
    moto.put("KEY", "v1")
    aws.fetch("KEY")
    del moto.asked[:]
    moto.script = [(500, b"{}"), (503, b""), None]
    assert aws.fetch("KEY").data == b"v1"
    assert len(moto.asked) == 3
    del moto.asked[:]
    moto.script = []
    with pytest.raises(SecretNotFound):
        aws.fetch("MISSING")
    assert moto.asked == ["GetSecretValue"]


DAMAGED = [b"", b"canary", b"[]", b'{"canary": 1}', b'{"SecretString": "canary"}']


@pytest.mark.parametrize("body", DAMAGED)
def test_an_answer_that_is_none_is_asked_for_again(aws, moto, body):
    moto.put("KEY", "v1")
    moto.script = [(200, body), None]
    assert aws.fetch("KEY").data == b"v1"


@pytest.mark.parametrize("body", DAMAGED)
def test_an_answer_that_is_none_is_not_shown(aws, moto, body, once):
    moto.script = [(200, body)]
    with pytest.raises(SecretUnavailable, match="odd answer") as caught:
        aws.fetch("KEY")
    assert "canary" not in everything_shown(caught.value)


def test_a_server_that_does_not_answer_is_a_time_out(moto):
    source = AwsSecretsManager(
        REGION, endpoint=moto.endpoint, attempt_timeout=0.05, total_timeout=0.05
    )
    moto.script = ["stall"]
    with pytest.raises(SourceTimeout, match=r"did not answer within 0\.05 s"):
        source.fetch("KEY")
    source.close()


def test_whoever_waits_for_a_slow_search_for_credentials_does_so_in_time():
    begun, go_on = threading.Event(), threading.Event()

    def search():
        begun.set()
        assert go_on.wait(30)
        return Fake("a")

    source = AwsSecretsManager(session_factory=search, attempt_timeout=0.05, total_timeout=0.05)
    first = threading.Thread(target=source.connect)
    first.start()
    assert begun.wait(30)
    with pytest.raises(SourceTimeout) as caught:
        source.fetch("KEY")
    assert "another thread was still connecting" in str(caught.value.__cause__)
    go_on.set()
    first.join(30)


# -- secrecy (promise 15) ------------------------------------------------------------------------


def test_nothing_secret_is_in_the_logs_of_any_library(moto, caplog):
    moto.put("KEY", "canary-value")
    source = AwsSecretsManager(
        REGION,
        endpoint=moto.endpoint,
        session_factory=lambda: boto3.Session("AKIA", "canary-secret", "canary-session"),
        **AMPLE,
    )
    with caplog.at_level(logging.DEBUG):
        source.fetch("KEY")
        source.fetch("KEY", 1)
        moto.script = [(400, b'{"__type": "InternalFailure", "message": "m"}'), None]
        source.fetch("KEY")
        ours = caplog.text + "".join(map(repr, map(vars, caplog.records)))
        caplog.clear()
        moto.client().get_secret_value(SecretId="KEY")
        theirs = caplog.text
    assert "canary" not in ours
    assert "canary-value" in theirs  # the calls of others are logged as before
    source.close()


# -- processes (promise 16) ----------------------------------------------------------------------


GREEN = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from pgp_config_aws import AwsSecretsManager

source = AwsSecretsManager("eu-west-1", endpoint=sys.argv[1], attempt_timeout=20, total_timeout=20)
jobs = [gevent.spawn(source.fetch, "GREEN") for _ in range(8)]
gevent.joinall(jobs)
print({job.get().data for job in jobs})
source.close()
"""


def test_greenlets_fetch_at_once(moto):
    moto.put("GREEN", "v")
    ran = subprocess.run(
        [sys.executable, "-c", GREEN, moto.endpoint],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stdout == "{b'v'}\n", ran.stderr


# -- arguments and URLs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"region": "Ireland"}, "the AWS region is 'Ireland'"),
        ({"region": 7}, "the AWS region is 7"),
        ({"endpoint": "http://aws.test"}, "no https URL"),
        ({"endpoint": "https://u:canary@aws.test"}, "no https URL"),
        ({"endpoint": "https://[aws"}, "no https URL"),
        ({"endpoint": "127.0.0.1:5000"}, "no https URL"),
        ({"stage": ""}, "the staging label is ''"),
        ({"prefix": "a b"}, "can begin with 'a b'"),
        ({"profile": "p", "session_factory": boto3.Session}, "a session_factory and a profile"),
        ({"total_timeout": 0.5}, "attempt_timeout is 1 s and total_timeout 0.5 s"),
    ],
)
def test_an_argument_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(DeclarationError, match=said) as caught:
        AwsSecretsManager(**wrong)
    assert "canary" not in str(caught.value)
    assert caught.value.remedy


def test_an_endpoint_may_be_https_or_of_this_machine():
    for endpoint in (
        "https://vpce-1.secretsmanager.eu-west-1.vpce.amazonaws.com",
        "http://localhost:1",
    ):
        assert f"endpoint='{endpoint}'" in repr(AwsSecretsManager(REGION, endpoint=endpoint))


def test_a_url_makes_a_source(moto):
    moto.put("split2/KEY", "v1")
    source = source_from_url(f"aws://eu-west-1?prefix=split2/&endpoint={moto.endpoint}")
    source._budget.attempt_timeout = source._budget.total_timeout = 30
    assert source.fetch("KEY").data == b"v1"
    assert (
        repr(source)
        == f"AwsSecretsManager('eu-west-1', prefix='split2/', endpoint='{moto.endpoint}')"
    )
    source.close()
    assert repr(source_from_url("aws:")) == "AwsSecretsManager()"
    assert "stage='LIVE'" in repr(source_from_url("aws://us-gov-west-1?stage=LIVE&profile=p"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("aws://u:canary@eu-west-1", "names more than a region"),
        ("aws://eu-west-1/canary", "names more than a region"),
        ("aws://eu-west-1#canary", "names more than a region"),
        ("aws://eu-west-1?secret=canary", "unknown options: secret"),
        ("aws://canary", "the AWS region is 'canary'"),
    ],
)
def test_a_url_that_does_not_fit_is_refused(url, said):
    with pytest.raises(DeclarationError, match=said):
        source_from_url(url)

"""The catalogue: counted against the fleet's list, its types, and the policy that comes from it."""

from decimal import Decimal

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from pgp_config import DeclarationError, DynamicSecret, KeyRing, ReloadPolicy, StaticSecret
from pgp_services import catalogue
from pgp_services.catalogue import (
    CATALOGUE,
    CRITICAL,
    Dynamic,
    Row,
    Static,
    policy_of,
    secrets_of,
)
from pgp_services.fleet import Fleet
from pgp_services.names import Service

#: The fleet's list: name, category, kind, reload.
LISTED = """\
CHANGENOW_API_KEY,api key,secret,dynamic
NOWPAYMENTS_API_KEY,api key,secret,dynamic
ETHEREUM_RPC_URL_API,api key,secret,dynamic
TELEGRAM_BOT_API_TOKEN,api key,secret,dynamic
TELEGRAM_BOT_USERNAME,api key,text,dynamic
PGP_ORCHESTRATOR_URL,service url,https url,dynamic
PGP_SPLIT1_URL,service url,https url,dynamic
PGP_SPLIT2_URL,service url,https url,dynamic
PGP_HOSTPAY1_URL,service url,https url,dynamic
PGP_HOSTPAY2_URL,service url,https url,dynamic
PGP_HOSTPAY3_URL,service url,https url,dynamic
PGP_INVITE_URL,service url,https url,dynamic
PGP_SERVER_URL,service url,https url,dynamic
PGP_NOTIFICATION_URL,service url,https url,dynamic
PGP_ACCUMULATOR_URL,service url,https url,dynamic
PGP_SCHEDULER_URL,service url,https url,dynamic
PGP_BROADCAST_URL,service url,https url,dynamic
PGP_BOTCOMMAND_URL,service url,https url,dynamic
PGP_ORCHESTRATOR_QUEUE,queue,queue id,dynamic
PGP_SPLIT1_ESTIMATE_QUEUE,queue,queue id,dynamic
PGP_SPLIT1_RESPONSE_QUEUE,queue,queue id,dynamic
PGP_SPLIT2_SWAP_QUEUE,queue,queue id,dynamic
PGP_SPLIT2_RESPONSE_QUEUE,queue,queue id,dynamic
PGP_HOSTPAY_TRIGGER_QUEUE,queue,queue id,dynamic
PGP_HOSTPAY2_QUEUE,queue,queue id,dynamic
PGP_HOSTPAY3_QUEUE,queue,queue id,dynamic
PGP_HOSTPAY1_RESPONSE_QUEUE,queue,queue id,dynamic
PGP_INVITE_QUEUE,queue,queue id,dynamic
PGP_NOTIFICATION_QUEUE,queue,queue id,dynamic
PGP_ACCUMULATOR_QUEUE,queue,queue id,dynamic
PGP_BATCHPROCESSOR_QUEUE,queue,queue id,dynamic
PGP_SCHEDULER_QUEUE,queue,queue id,dynamic
PGP_BROADCAST_QUEUE,queue,queue id,dynamic
NOWPAYMENTS_IPN_SECRET,webhook,secret,dynamic
SUCCESS_URL_SIGNING_KEY_SECONDARY,webhook,secret,dynamic
TPS_HOSTPAY_SIGNING_KEY_SECONDARY,webhook,secret,dynamic
CLOUDFLARE_WEBHOOK_SECRET,webhook,secret,dynamic
TP_FLAT_FEE,application config,percentage decimal,dynamic
PGP_SUCCESS_URL,application config,https url,dynamic
PGP_FAILURE_URL,application config,https url,dynamic
SERVICE_ENVIRONMENT,application config,enum prod|staging,dynamic
ALERTING_ENABLED,application config,bool,dynamic
LOG_LEVEL,application config,enum DEBUG|INFO|WARNING|ERROR,dynamic
PGP_BATCHPROCESSOR_URL,service url,https url,dynamic
HOST_WALLET_PRIVATE_KEY,private key,secret,static
SUCCESS_URL_SIGNING_KEY,signing key,secret,static
TPS_HOSTPAY_SIGNING_KEY,signing key,secret,static
DATABASE_PASSWORD_SECRET,database,secret,static
CLOUD_SQL_CONNECTION_NAME,database,text project:region:instance,static
DATABASE_NAME_SECRET,database,text,static
DATABASE_USER_SECRET,database,text,static
CLOUD_TASKS_PROJECT_ID,infrastructure,text,static
CLOUD_TASKS_LOCATION,infrastructure,text,static
JWT_SECRET_KEY,signing key,secret,static
SIGNUP_SECRET_KEY,signing key,secret,static
"""

#: The fleet's table: service; static secrets; dynamic secrets besides the common three.
TABLE = """\
PGP_SPLIT2_v1; SUCCESS_URL_SIGNING_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET CLOUD_TASKS_PROJECT_ID CLOUD_TASKS_LOCATION; CHANGENOW_API_KEY PGP_SPLIT1_RESPONSE_QUEUE PGP_SPLIT1_URL PGP_BATCHPROCESSOR_QUEUE PGP_BATCHPROCESSOR_URL
PGP_ORCHESTRATOR_v1; SUCCESS_URL_SIGNING_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET CLOUD_TASKS_PROJECT_ID CLOUD_TASKS_LOCATION; PGP_INVITE_QUEUE PGP_INVITE_URL PGP_SPLIT1_ESTIMATE_QUEUE PGP_SPLIT1_URL PGP_ACCUMULATOR_QUEUE PGP_ACCUMULATOR_URL SUCCESS_URL_SIGNING_KEY_SECONDARY
PGP_HOSTPAY1_v1; TPS_HOSTPAY_SIGNING_KEY SUCCESS_URL_SIGNING_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET CLOUD_TASKS_PROJECT_ID CLOUD_TASKS_LOCATION; CHANGENOW_API_KEY PGP_HOSTPAY1_URL PGP_HOSTPAY1_RESPONSE_QUEUE PGP_HOSTPAY2_QUEUE PGP_HOSTPAY2_URL PGP_HOSTPAY3_QUEUE PGP_HOSTPAY3_URL TPS_HOSTPAY_SIGNING_KEY_SECONDARY
PGP_HOSTPAY3_v1; HOST_WALLET_PRIVATE_KEY SUCCESS_URL_SIGNING_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET CLOUD_TASKS_PROJECT_ID CLOUD_TASKS_LOCATION; ETHEREUM_RPC_URL_API PGP_HOSTPAY1_RESPONSE_QUEUE PGP_HOSTPAY1_URL PGP_HOSTPAY3_QUEUE PGP_HOSTPAY3_URL
PGP_SERVER_v1; TPS_HOSTPAY_SIGNING_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET; TELEGRAM_BOT_API_TOKEN TELEGRAM_BOT_USERNAME NOWPAYMENTS_API_KEY NOWPAYMENTS_IPN_SECRET CLOUDFLARE_WEBHOOK_SECRET PGP_SCHEDULER_URL PGP_SCHEDULER_QUEUE PGP_BROADCAST_URL PGP_BROADCAST_QUEUE PGP_BOTCOMMAND_URL
PGP_SPLIT1_v1; SUCCESS_URL_SIGNING_KEY TPS_HOSTPAY_SIGNING_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET CLOUD_TASKS_PROJECT_ID CLOUD_TASKS_LOCATION; TP_FLAT_FEE PGP_SPLIT2_SWAP_QUEUE PGP_SPLIT2_RESPONSE_QUEUE PGP_SPLIT2_URL PGP_HOSTPAY_TRIGGER_QUEUE PGP_HOSTPAY1_URL
PGP_HOSTPAY2_v1; SUCCESS_URL_SIGNING_KEY CLOUD_TASKS_PROJECT_ID CLOUD_TASKS_LOCATION; CHANGENOW_API_KEY PGP_HOSTPAY1_RESPONSE_QUEUE PGP_HOSTPAY1_URL
PGP_NOTIFICATIONS_v1; DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET; TELEGRAM_BOT_API_TOKEN
PGP_INVITE_v1; SUCCESS_URL_SIGNING_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET; TELEGRAM_BOT_API_TOKEN
PGP_ACCUMULATOR_v1; SUCCESS_URL_SIGNING_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET CLOUD_TASKS_PROJECT_ID CLOUD_TASKS_LOCATION; TP_FLAT_FEE PGP_SPLIT2_SWAP_QUEUE PGP_SPLIT2_URL PGP_HOSTPAY_TRIGGER_QUEUE PGP_HOSTPAY1_URL
PGP_BATCHPROCESSOR_v1; SUCCESS_URL_SIGNING_KEY TPS_HOSTPAY_SIGNING_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET CLOUD_TASKS_PROJECT_ID CLOUD_TASKS_LOCATION; PGP_SPLIT1_ESTIMATE_QUEUE PGP_SPLIT1_URL
PGP_BROADCAST_v1; JWT_SECRET_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET; TELEGRAM_BOT_API_TOKEN TELEGRAM_BOT_USERNAME
PGP_NP_IPN_v1; DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET CLOUD_TASKS_PROJECT_ID CLOUD_TASKS_LOCATION; NOWPAYMENTS_IPN_SECRET PGP_ORCHESTRATOR_QUEUE PGP_ORCHESTRATOR_URL PGP_NOTIFICATION_QUEUE PGP_NOTIFICATION_URL
PGP_MICROBATCHPROCESSOR_v1; SUCCESS_URL_SIGNING_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET CLOUD_TASKS_PROJECT_ID CLOUD_TASKS_LOCATION; CHANGENOW_API_KEY PGP_HOSTPAY_TRIGGER_QUEUE PGP_HOSTPAY1_URL
PGP_WEBAPI_v1; JWT_SECRET_KEY SIGNUP_SECRET_KEY DATABASE_PASSWORD_SECRET CLOUD_SQL_CONNECTION_NAME DATABASE_NAME_SECRET DATABASE_USER_SECRET; PGP_SUCCESS_URL PGP_FAILURE_URL PGP_SERVER_URL
PGP_WEB_v1; ; PGP_SUCCESS_URL PGP_FAILURE_URL
PGP_BOTCOMMAND_v1; ; TELEGRAM_BOT_API_TOKEN TELEGRAM_BOT_USERNAME PGP_ORCHESTRATOR_URL PGP_ORCHESTRATOR_QUEUE
"""
COMMON = {"SERVICE_ENVIRONMENT", "LOG_LEVEL", "ALERTING_ENABLED"}
SERVICES = [line.split("; ") for line in TABLE.splitlines()]
ROWS = [line.split(",") for line in LISTED.splitlines()]


def read(row: Row, text):
    """As pgp_config reads a payload."""
    return TypeAdapter(row.declared).validate_strings(text)


def test_the_catalogue_has_the_listed_rows_and_no_others():
    assert list(CATALOGUE) == [name for name, *_ in ROWS]


def test_there_are_43_dynamic_secrets_and_the_pilots_fifth_and_11_static_ones():
    dynamic = [row.name for row in CATALOGUE.values() if row.reload_class == "dynamic"]
    static = [row.name for row in CATALOGUE.values() if row.reload_class == "static"]
    assert len([name for name in dynamic if name != "PGP_BATCHPROCESSOR_URL"]) == 43
    assert len(static) == 11


def test_all_seventeen_services_are_in_the_table():
    assert [name for name, *_ in SERVICES] == list(Service)
    assert Service.NP_IPN.short == "NP_IPN"


@pytest.mark.parametrize(("name", "static", "dynamic"), SERVICES)
def test_a_service_may_read_what_the_table_says_in_its_class_and_nothing_else(
    name, static, dynamic
):
    given = {row.name: row.reload_class for row in secrets_of(Service(name))}
    wanted = dict.fromkeys(static.split() if static != "-" else [], "static")
    wanted |= dict.fromkeys({*dynamic.split(), *COMMON}, "dynamic")
    assert given == wanted
    assert policy_of(Service(name)).allowed == wanted


@pytest.mark.parametrize("service", list(Service))
def test_a_container_cannot_declare_what_its_service_may_not_read(service):
    foreign = [row for row in CATALOGUE.values() if service not in row.readers]
    for row in foreign:
        with pytest.raises(DeclarationError, match=row.name):
            declare(service, row.secret())


@pytest.mark.parametrize("service", list(Service))
def test_a_container_cannot_declare_a_secret_in_another_class(service):
    for row in secrets_of(service):
        other = {"static": DynamicSecret, "dynamic": StaticSecret}[row.reload_class]
        with pytest.raises(DeclarationError, match=row.name):
            declare(service, other(row.name, row.declared))


def declare(service, secret):
    return type("Careless", (Fleet,), {"reload_policy": policy_of(service), "secret": secret})


def test_the_two_exceptions_say_why():
    reasons = {
        row.name: row.exception for row in CATALOGUE.values() if getattr(row, "exception", "")
    }
    assert reasons == dict.fromkeys(
        ["SUCCESS_URL_SIGNING_KEY_SECONDARY", "TPS_HOSTPAY_SIGNING_KEY_SECONDARY"],
        "verification only, never signs",
    )
    assert policy_of(Service.ORCHESTRATOR).exceptions == {
        "SUCCESS_URL_SIGNING_KEY_SECONDARY": "verification only, never signs"
    }


def test_the_critical_four_read_their_key_as_a_static_one():
    assert {service: row.name for service, row in CRITICAL.items()} == {
        Service.ORCHESTRATOR: "SUCCESS_URL_SIGNING_KEY",
        Service.HOSTPAY1: "TPS_HOSTPAY_SIGNING_KEY",
        Service.HOSTPAY3: "HOST_WALLET_PRIVATE_KEY",
        Service.SERVER: "TPS_HOSTPAY_SIGNING_KEY",
    }
    for service, row in CRITICAL.items():
        assert policy_of(service).allowed[row.name] == "static"


def test_a_row_does_not_repeat_its_type_in_its_repr():
    assert repr(catalogue.CHANGENOW_API_KEY) == (
        "Dynamic(name='CHANGENOW_API_KEY', category='api key', kind='secret', exception='')"
    )


def test_the_webhook_key_may_be_a_ring():
    assert isinstance(catalogue.NOWPAYMENTS_IPN_SECRET.key_ring(), KeyRing)
    assert catalogue.NOWPAYMENTS_IPN_SECRET.key_ring().name == "NOWPAYMENTS_IPN_SECRET"


@pytest.mark.parametrize(("name", "category", "kind", "reload"), ROWS)
def test_each_row_is_as_listed(name, category, kind, reload):
    row = CATALOGUE[name]
    assert getattr(catalogue, name) is row
    assert (row.category, row.kind, row.reload_class) == (category, kind, reload)
    assert isinstance(row, {"dynamic": Dynamic, "static": Static}[reload])
    if kind == "secret":
        assert isinstance(read(row, good_key(name)), SecretStr)
    if kind == "https url":
        assert read(row, "https://a.example/") == "https://a.example"
    if kind.startswith("enum"):
        assert [read(row, choice) for choice in kind.removeprefix("enum ").split("|")]
        with pytest.raises(ValidationError):
            read(row, "other")


def good_key(name):
    if name == "ETHEREUM_RPC_URL_API":
        return "aB3-_" + "x" * 27
    if name == "TELEGRAM_BOT_API_TOKEN":
        return "123456789:AAabc_DEF-ghi"
    return "5f" * 32


def test_a_row_declares_a_secret_of_its_class():
    dynamic, static = catalogue.CHANGENOW_API_KEY, catalogue.SUCCESS_URL_SIGNING_KEY
    assert isinstance(dynamic.secret(), DynamicSecret)
    assert isinstance(static.secret(), StaticSecret)
    assert dynamic.secret() is not dynamic.secret()
    assert dynamic.secret().name == "CHANGENOW_API_KEY"


def test_no_dynamic_row_has_a_protected_name_but_for_the_exceptions():
    policy = ReloadPolicy()
    dynamic = [row for row in CATALOGUE.values() if isinstance(row, Dynamic)]
    assert [row.name for row in dynamic if policy.fault_of(row.name) and not row.exception] == []


GOOD = [
    ("CHANGENOW_API_KEY", "aF" * 32),
    ("PGP_SPLIT1_URL", "https://split1-abc123-uc.a.run.app"),
    ("PGP_SPLIT1_URL", "https://split1.example:8443/"),
    ("PGP_SPLIT1_RESPONSE_QUEUE", "q" * 100),
    ("CLOUD_SQL_CONNECTION_NAME", "pgp-live:us-central1:main"),
    ("CLOUD_SQL_CONNECTION_NAME", "example.com:pgp-live:us-central1:main"),
    ("CLOUD_TASKS_PROJECT_ID", "example.com:pgp-live"),
    ("CLOUD_TASKS_LOCATION", "us-central1"),
    ("DATABASE_NAME_SECRET", "telepay db"),
    ("ALERTING_ENABLED", "true"),
    ("ALERTING_ENABLED", "false"),
    ("DATABASE_PASSWORD_SECRET", " anything at all "),
    ("NOWPAYMENTS_API_KEY", "ABC1234-DEF5678-GHJ9012-KLM3456"),
    ("TELEGRAM_BOT_USERNAME", "@PayGateBot"),
    ("SIGNUP_SECRET_KEY", "two words\n" * 4),
    ("TP_FLAT_FEE", "0"),
    ("TP_FLAT_FEE", "100"),
    ("TP_FLAT_FEE", "2.75"),
]

BAD = [
    ("CHANGENOW_API_KEY", "aF" * 31),
    ("CHANGENOW_API_KEY", "zz" * 32),
    ("SUCCESS_URL_SIGNING_KEY", "5f" * 32 + "\n"),
    ("PGP_SPLIT1_URL", "http://split1.example"),
    ("PGP_SPLIT1_URL", "https://split1.example/usdt-eth-estimate"),
    ("PGP_SPLIT1_URL", "https://split1.example//"),
    ("PGP_SPLIT1_URL", "https://user:pass@split1.example"),
    ("PGP_SPLIT1_URL", "https://split1.example?x=1"),
    ("PGP_SPLIT1_URL", "https://split1.example#x"),
    ("PGP_SPLIT1_URL", "https://split1.example:99999"),
    ("PGP_SPLIT1_URL", "https://split1.example:"),
    ("PGP_SPLIT1_URL", "https://[::1"),
    ("PGP_SPLIT1_URL", "https://"),
    ("PGP_SPLIT1_URL", "https://sp lit1.example"),
    ("PGP_SPLIT1_URL", "split1.example"),
    ("PGP_SPLIT1_RESPONSE_QUEUE", "q" * 101),
    ("PGP_SPLIT1_RESPONSE_QUEUE", "queue_1"),
    ("PGP_SPLIT1_RESPONSE_QUEUE", "queue\n"),
    ("PGP_SPLIT1_RESPONSE_QUEUE", "projects/p/locations/l/queues/q"),
    ("CLOUD_SQL_CONNECTION_NAME", "main"),
    ("CLOUD_TASKS_PROJECT_ID", "a/b"),
    ("CLOUD_TASKS_LOCATION", "us central1"),
    ("DATABASE_USER_SECRET", " user"),
    ("DATABASE_USER_SECRET", "user\n"),
    ("ALERTING_ENABLED", "1"),
    ("NOWPAYMENTS_API_KEY", "two words"),
    ("NOWPAYMENTS_API_KEY", "key\n"),
    ("ETHEREUM_RPC_URL_API", "x" * 31),
    ("ETHEREUM_RPC_URL_API", "x" * 31 + "/"),
    ("TELEGRAM_BOT_API_TOKEN", "AAabc"),
    ("TELEGRAM_BOT_API_TOKEN", "12:a/b"),
    ("TELEGRAM_BOT_USERNAME", "@@PayGateBot"),
    ("TELEGRAM_BOT_USERNAME", "Bot"),
    ("TP_FLAT_FEE", "nan"),
    ("TP_FLAT_FEE", "inf"),
    ("TP_FLAT_FEE", "-1"),
    ("TP_FLAT_FEE", "100.01"),
    ("TP_FLAT_FEE", "1e1"),
    ("TP_FLAT_FEE", "3%"),
    ("TP_FLAT_FEE", ""),
    ("TP_FLAT_FEE", "1_0"),
    ("HOST_WALLET_PRIVATE_KEY", "0x" + "5f" * 32),
    ("JWT_SECRET_KEY", "x" * 31),
    ("SIGNUP_SECRET_KEY", "x"),
    ("SIGNUP_SECRET_KEY", "x" * 31),
    ("ALERTING_ENABLED", "True"),
    ("ALERTING_ENABLED", "yes"),
    ("LOG_LEVEL", "debug"),
    ("SERVICE_ENVIRONMENT", "production"),
]


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_what_a_type_takes(name, text):
    read(CATALOGUE[name], text)


@pytest.mark.parametrize(("name", "text"), BAD)
def test_what_a_type_refuses(name, text):
    with pytest.raises(ValidationError):
        read(CATALOGUE[name], text)


def test_a_url_is_served_without_its_closing_slash():
    assert read(CATALOGUE["PGP_SPLIT1_URL"], "https://Split1.Example/") == "https://split1.example"


def test_flags_are_booleans():
    assert read(CATALOGUE["ALERTING_ENABLED"], "false") is False


def test_a_fee_is_a_decimal_and_a_user_name_comes_without_its_at():
    assert read(CATALOGUE["TP_FLAT_FEE"], "2.75") == Decimal("2.75")
    assert read(CATALOGUE["TELEGRAM_BOT_USERNAME"], "@PayGateBot") == "PayGateBot"
    assert read(CATALOGUE["TELEGRAM_BOT_USERNAME"], "PayGateBot") == "PayGateBot"

"""NOWPayments: invoices, and notifications checked as JavaScript would."""

import asyncio
import hashlib
import hmac
import json
import traceback
from decimal import Decimal, localcontext

import pytest
from pydantic import SecretStr, ValidationError

from pgp_config import Keys
from pgp_services.clients.javascript import as_number, parse, stringify
from pgp_services.clients.nowpayments import (
    MAX_IPN,
    SIGNATURE,
    NewInvoice,
    NowPaymentsClient,
    NowPaymentsRefused,
    verify_ipn,
)
from pgp_services.failures import BadRequest, BadSignature, TooLarge
from pgp_services.lookalikes import NowPaymentsServer
from pgp_services.lookalikes.http import Fault

INVOICE = NewInvoice(
    price_amount=Decimal("19.99"),
    price_currency="usd",
    order_id="PGP-1|-1001",
    order_description="A channel",
    ipn_callback_url="https://np-ipn.example/",
    success_url="https://success.example",
    cancel_url="https://failure.example",
)

# -- invoices --------------------------------------------------------------------------------


@pytest.fixture(params=["sync", "async"])
def create(request, nowpayments_server, rotating_key, key, clock):
    client = NowPaymentsClient(rotating_key(key), nowpayments_server.url)

    async def go(new):
        try:
            return await client.create_invoice_async(new)
        finally:
            await client.aclose()

    yield client.create_invoice if request.param == "sync" else lambda new: asyncio.run(go(new))
    client.close()


def test_an_invoice(create, nowpayments_server):
    invoice = create(INVOICE)
    assert invoice.id == "4522625843"
    assert invoice.invoice_url == "https://nowpayments.io/payment/?iid=4522625843"
    assert nowpayments_server.invoices[invoice.id] == {
        **INVOICE.model_dump(),
        "price_amount": 19.99,
    }
    seen = nowpayments_server.seen[0]
    assert (seen.method, seen.path, seen.status) == ("POST", "/v1/invoice", 201)
    assert b'"price_amount":19.99,' in seen.body


def test_an_id_may_be_a_number(create, nowpayments_server):
    answer = {"id": 4522625843, "order_id": INVOICE.order_id, "invoice_url": "https://n.example/x"}
    nowpayments_server.fail(Fault(200, json.dumps(answer).encode()))
    assert create(INVOICE).id == "4522625843"


def test_an_invoice_of_another_order_is_refused(create, nowpayments_server):
    """One whose order_id was cut short would bring an IPN of another order."""
    answer = {"id": "1", "order_id": INVOICE.order_id[:-1], "invoice_url": "https://n.example/x"}
    nowpayments_server.fail(Fault(200, json.dumps(answer).encode()))
    with pytest.raises(NowPaymentsRefused, match="not to what was asked"):
        create(INVOICE)


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "1"},
        {"invoice_url": "https://n.example"},
        {"id": "", "invoice_url": "https://n.example"},
        {"id": True, "invoice_url": "https://n.example"},
        {"id": 1.5, "invoice_url": "https://n.example"},
        {"id": None, "invoice_url": "https://n.example"},
        {"id": "1", "invoice_url": "http://n.example"},
        {"id": "1", "invoice_url": "javascript:alert(1)"},
        {"id": "1", "invoice_url": "https://n.example/ x"},
    ],
    ids=range(9),
)
def test_an_unusable_invoice_is_refused(create, nowpayments_server, answer):
    told = {"order_id": INVOICE.order_id, **answer}
    nowpayments_server.fail(Fault(201, json.dumps(told).encode()))
    with pytest.raises(NowPaymentsRefused, match="unusable: "):
        create(INVOICE)


@pytest.mark.parametrize("amount", [19.99, True, None])
def test_an_amount_that_is_not_exact_is_no_invoice(amount):
    with pytest.raises(ValidationError):
        NewInvoice(**{**INVOICE.model_dump(), "price_amount": amount})


@pytest.mark.parametrize("amount", ["0", "-1", "nan", "Infinity", "0.1234567890123456"])
def test_an_amount_that_javascript_would_not_keep_is_no_invoice(amount):
    with pytest.raises(ValidationError):
        NewInvoice(**{**INVOICE.model_dump(), "price_amount": Decimal(amount)})


@pytest.mark.parametrize(
    ("amount", "written"),
    [("1E+3", b"1000"), ("0.00000012", b"1.2e-7"), ("123456789.012345", b"123456789.012345")],
)
def test_an_amount_keeps_all_its_digits(amount, written):
    new = NewInvoice(**{**INVOICE.model_dump(), "price_amount": Decimal(amount)})
    assert b'"price_amount":' + written + b"," in new.body()
    assert Decimal(written.decode()) == new.price_amount


def test_the_stand_in_says_what_is_wrong(nowpayments_server, create):
    with pytest.raises(NowPaymentsRefused, match="400"):
        create(NewInvoice(**{**INVOICE.model_dump(), "price_currency": ""}))


def test_the_stand_in_knows_one_path(nowpayments_server, rotating_key, key):
    client = NowPaymentsClient(rotating_key(key), nowpayments_server.url)
    with client._connections.to(client.at("/")) as http:
        assert http.get(client.at("/v1/elsewhere")).status_code == 404


# -- notifications ---------------------------------------------------------------------------

#: What Node.js writes for a number of JSON, by `JSON.stringify(JSON.parse(…))`.
NUMBERS = [
    ("0", "0"),
    ("-0", "0"),
    ("0.0", "0"),
    ("1.0", "1"),
    ("1e-7", "1e-7"),
    ("0.0000001", "1e-7"),
    ("0.00000012", "1.2e-7"),
    ("0.000001", "0.000001"),
    ("0.0000012", "0.0000012"),
    ("1e21", "1e+21"),
    ("1e20", "100000000000000000000"),
    ("123456789012345680000", "123456789012345680000"),
    ("1e22", "1e+22"),
    ("1.5e300", "1.5e+300"),
    ("5e-324", "5e-324"),
    ("0.1", "0.1"),
    ("14.8106", "14.8106"),
    ("0.09853637216235617", "0.09853637216235617"),
    ("12345678901234567890", "12345678901234567000"),
    ("9007199254740993", "9007199254740992"),
    ("100", "100"),
    ("1e2", "100"),
    ("2.50", "2.5"),
    ("-1e-7", "-1e-7"),
    ("-3.25", "-3.25"),
    ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ("0.1000000000000000055", "0.1"),
    ("4.35", "4.35"),
    ("1e-6", "0.000001"),
    ("1234.5678e-10", "1.2345678e-7"),
]

#: Bodies, and what NOWPayments' own example for Node.js makes of them with the key "ipn-secret".
SIGNED = [
    (
        b'{"payment_id":5077125051,"payment_status":"finished","pay_address":"address","price_amount":1,"price_currency":"usd","pay_amount":0.00000012,"actually_paid":1e-7,"outcome_amount":14.8106,"order_id":"PGP-1|-1001","purchase_id":"5312822613","fee":{"currency":"btc","depositFee":0.09853637216235617,"withdrawalFee":0,"serviceFee":0}}',
        "b4fee36af62306be06af12dd31a9ee3d865f3090e94efd0cab8a9aae3487360ab8421c8c88931ffaff40cd05d33a10b795a5c5c0a2d145741cd5a01eba7eaffc",
    ),
    (
        b'{"b":1.0,"a":"\\u00fc/\\u20ac\\ud83d\\ude00\\u2028","c":null,"d":true,"z":{"y":"\\"\\\\\\n\\u0001\\u007f","10":1,"9":2,"01":3,"x":{"q":[1,2.50,{"b":1,"a":2}]}},"e":[]}',
        "10e75a5c3c283229b7b750686ab2bc6c72c7e09da042ad33c2e676f2f375870a71b4e5cc8dc0f50922dd623011d955fbfdd58f8c79da047f49bf2835fe9173e7",
    ),
    (
        b'{"\\uff61":1,"\\ud83d\\ude00":2,"s":"\\ud800","4294967294":1,"4294967295":2}',
        "d14eeabbdac7f60fc3042de6070151ffef0c705d3aee7eedef456a8eba81e7402d15ac78293629bbe03c4188439a23c3c32de759c396a4263b80cb6c78acdd94",
    ),
]

KEY = SecretStr("ipn-secret")
PAYMENT = {
    "payment_id": 5077125051,
    "payment_status": "finished",
    "price_amount": 1,
    "pay_amount": Decimal("0.00000012"),
    "order_id": "PGP-1|-1001",
    "payment_extra_ids": [2, 1],
    "fee": {"currency": "btc", "depositFee": Decimal("0.09853637216235617"), "a": None},
}


def signature_of(text, key="ipn-secret"):
    return hmac.new(key.encode(), text, hashlib.sha512).hexdigest()


@pytest.mark.parametrize(("text", "written"), NUMBERS)
def test_numbers_are_written_as_javascript_does(text, written):
    assert stringify(parse(text)).decode() == written
    with localcontext(prec=3):
        assert stringify(parse(text)).decode() == written


@pytest.mark.parametrize(("body", "signature"), SIGNED, ids=["payment", "texts", "order"])
def test_what_nodejs_signed_is_genuine(body, signature):
    content = verify_ipn(body, signature, (KEY,))
    assert content.keys() == json.loads(body).keys()


def test_what_pythons_writer_would_make_of_it_is_another_text():
    body, signature = SIGNED[0]
    pythons = json.dumps(json.loads(body), separators=(",", ":"), sort_keys=True)
    assert signature_of(pythons.encode()) != signature


def test_the_numbers_given_are_those_that_were_signed():
    text = b'{"a":0.1,"b":1,"c":12345678901234567000}'
    body = b'{"a":0.1000000000000000000001,"b":1.0,"c":12345678901234567890}'
    content = verify_ipn(body, signature_of(text), (KEY,))
    assert content == {"a": Decimal("0.1"), "b": 1, "c": 12345678901234567000}
    assert [type(value) for value in content.values()] == [Decimal, int, int]


def test_arrays_may_be_signed_as_they_are_or_as_nodejs_example_has_them():
    body = b'{"b":[{"d":1,"c":[]}],"a":2}'
    for text in (b'{"a":2,"b":[{"c":[],"d":1}]}', b'{"a":2,"b":{"0":{"c":{},"d":1}}}'):
        assert verify_ipn(body, signature_of(text), (KEY,)) == {"b": [{"d": 1, "c": []}], "a": 2}


def test_what_is_inside_of_objects_must_be_signed():
    body = b'{"a":1,"fee":{"depositFee":2}}'
    with pytest.raises(BadSignature):
        verify_ipn(body, signature_of(b'{"a":1,"fee":{}}'), (KEY,))


@pytest.mark.parametrize(("body", "signature"), SIGNED[:1], ids=["payment"])
def test_the_stand_in_signs_as_nodejs_does(body, signature, key):
    """Its writer is not the one that checks it."""
    with NowPaymentsServer(key, "ipn-secret") as server:
        ipn = server.ipn(json.loads(body, parse_float=Decimal))
    assert ipn.headers[SIGNATURE] == signature
    assert json.loads(ipn.body) == json.loads(body)


@pytest.mark.parametrize(("text", "written"), NUMBERS)
def test_the_stand_in_writes_numbers_as_nodejs_does(text, written, nowpayments_server):
    ipn = nowpayments_server.ipn({"a": [Decimal(text), True, "ü"]})
    assert ipn.body.decode() == f'{{"a":[{written},true,"ü"]}}'


@pytest.mark.parametrize("version", [1, 2])
def test_the_current_and_the_previous_key_verify(nowpayments_server, ipn_key, new_key, version):
    newer = new_key()
    assert nowpayments_server.rotate_ipn_key(newer) == 2
    ipn = nowpayments_server.ipn(PAYMENT, version)
    current, previous = SecretStr(newer), SecretStr(ipn_key)
    for keys in ((current, previous), Keys(current, 2, previous, 1)):
        assert verify_ipn(ipn.body, ipn.headers[SIGNATURE], keys) == PAYMENT
    assert ipn_key not in repr(nowpayments_server) + repr(ipn)


def test_the_newest_key_signs(nowpayments_server, new_key):
    newer = new_key()
    nowpayments_server.rotate_ipn_key(newer)
    ipn = nowpayments_server.ipn(PAYMENT)
    assert verify_ipn(ipn.body, ipn.headers[SIGNATURE], (SecretStr(newer),)) == PAYMENT


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "é",
        "\ud800",
        "0" * 127,
        "0" * 129,
        "g" * 128,
        "٣" * 128,
        signature_of(b"{}").upper(),
    ],
    ids=range(9),
)
def test_without_a_signature_nothing_is_read(signature, monkeypatch):
    monkeypatch.delattr("pgp_services.clients.nowpayments.parse")
    with pytest.raises(BadSignature, match="has no signature"):
        verify_ipn(b"{}", signature, (KEY,))


def test_a_signature_may_have_blanks_around_it():
    assert verify_ipn(b"{}", f" {signature_of(b'{}')}\n", (KEY,)) == {}


def test_a_body_that_is_too_long_is_not_read(monkeypatch):
    longest = b'{"a":"' + b"x" * (MAX_IPN - 8) + b'"}'
    assert verify_ipn(longest, signature_of(longest), (KEY,))
    monkeypatch.delattr("pgp_services.clients.nowpayments.parse")
    with pytest.raises(TooLarge):
        verify_ipn(longest + b" ", signature_of(longest), (KEY,))


@pytest.mark.parametrize("signature", ["0" * 128, signature_of(b"{}", "other")])
def test_another_signature_is_none(signature, shown_by):
    body = b'{"a":"CANARYBODY"}'
    with pytest.raises(BadSignature) as caught:
        verify_ipn(body, signature, (KEY, KEY))
    shown = shown_by(caught.value)
    assert "CANARYBODY" not in shown
    assert "ipn-secret" not in shown
    assert caught.value.status == 401


def test_no_key_is_no_signature():
    with pytest.raises(BadSignature):
        verify_ipn(b"{}", signature_of(b"{}", ""), ())


@pytest.mark.parametrize("keys", [(SecretStr(""),), Keys(SecretStr(""), 1)])
def test_an_empty_key_verifies_nothing(keys):
    with pytest.raises(BadSignature):
        verify_ipn(b"{}", signature_of(b"{}", ""), keys)


@pytest.mark.parametrize("ended", [KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("where", ["hmac.new", "hmac.compare_digest", "stringify"])
def test_whatever_ends_a_check_shows_nothing(ended, where, monkeypatch):
    def end(*_, **__):
        raise ended(*["CANARYBODY"] * (ended is MemoryError))

    monkeypatch.setattr(f"pgp_services.clients.nowpayments.{where}", end)
    expected = RuntimeError if ended is MemoryError else ended
    keys = (SecretStr("CANARYKEY"),)
    with pytest.raises(expected) as caught:
        verify_ipn(b'{"a":"CANARYBODY"}', "0" * 128, keys)
    assert caught.value.__context__ is None
    frames = [
        f"{frame.f_locals}"
        for frame, _ in traceback.walk_tb(caught.value.__traceback__)
        if frame.f_code.co_filename.endswith("nowpayments.py")
    ]
    assert not [canary for canary in ("CANARYKEY", "CANARYBODY") if canary in "".join(frames)]
    assert "CANARY" not in str(caught.value)


def test_a_key_that_is_no_text_verifies_nothing_and_is_not_shown(shown_by, key):
    with pytest.raises(BadSignature) as caught:
        verify_ipn(b"{}", "0" * 128, (SecretStr("\udcff" + key),))
    assert key not in shown_by(caught.value)


@pytest.mark.parametrize("change", ["body", "key"])
def test_a_changed_body_or_another_key_is_refused(nowpayments_server, ipn_key, new_key, change):
    ipn = nowpayments_server.ipn(PAYMENT)
    body = ipn.body.replace(b"5077125051", b"5077125052") if change == "body" else ipn.body
    key = new_key() if change == "key" else ipn_key
    with pytest.raises(BadSignature):
        verify_ipn(body, ipn.headers[SIGNATURE], (SecretStr(key),))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"CANARYBODY",
        b"[]",
        b"null",
        b'"text"',
        b"1",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":-Infinity}',
        b'{"a":' + b"1" * 5000 + b"}",
        b'{"a":' + b"[" * 60000 + b"]" * 60000 + b"}",
        b'{"a":' + b"[" * 700 + b"]" * 700 + b"}",
        "{}".encode("utf-16"),
    ],
    ids=range(15),
)
def test_what_is_no_json_object_is_a_bad_request(body, shown_by):
    with pytest.raises(BadRequest) as caught:
        verify_ipn(body, signature_of(b"{}"), (KEY,))
    assert caught.value.__context__ is None
    assert "CANARYBODY" not in shown_by(caught.value)


def test_keys_that_are_array_indices_come_first():
    text = b'{"9":1,"10":2,"01":3,"4294967295":4,"a":5}'
    body = b'{"a":5,"4294967295":4,"01":3,"10":2,"9":1}'
    assert verify_ipn(body, signature_of(text), (KEY,))["9"] == 1


def test_a_negative_zero_is_zero():
    assert as_number(-0.0) == "0"

"""One request to Vault's API, and its answer."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.adapters import HTTPAdapter

from pgp_config_vault import faults
from pgp_config_vault.faults import VaultFault

if TYPE_CHECKING:
    from collections.abc import Mapping

P = TypeVar("P")

#: Bytes of an answer at most: Vault stores 1 MiB in an entry.
MOST_BYTES = 4 * 1024 * 1024

#: Connections that are kept.
MOST_CONNECTIONS = 32

#: Seconds that a request gets at least: 0 would mean no time-out.
LEAST_TIMEOUT = 0.05

_SERVER_ERRORS = range(500, 600)
_REDIRECTS = range(300, 400)


class Deadline:
    """When an attempt has to be over.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, never none."""
        return max(self._at - time.monotonic(), LEAST_TIMEOUT)


class Number(float):
    """A JSON number with a fraction that remembers how it was written: money has more digits than a float."""

    __slots__ = ("written",)

    written: str

    @classmethod
    def of(cls, written: str) -> Number:
        """The number written so."""
        number = cls(written)
        number.written = written
        return number


class Answer:
    """What came back; never shown.

    Attributes:
        code: HTTP's status.
        document: The JSON object; an empty one if there is none.
    """

    def __init__(self, code: int, document: Mapping[str, Any]) -> None:
        self.code = code
        self.document = document

    @property
    def is_ok(self) -> bool:
        """Whether it says so."""
        return self.code == requests.codes.ok

    @property
    def reason(self) -> str:
        """What Vault says is wrong."""
        errors = self.document.get("errors")
        return f"{self.code} {'; '.join(map(str, errors)) if isinstance(errors, list) else ''}".strip()


class Sender:
    """Sends requests with a session; threads may share it.

    Args:
        address: Such as `"https://vault.example:8200"`.
        namespace: Sent along, if any.
        ca: The file of the CA that signs the server's certificate; None for those that the system trusts.
        is_local: Whether the address is on this machine: neither a proxy nor a .netrc is asked then.
    """

    def __init__(
        self, address: str, *, namespace: str | None, ca: str | None, is_local: bool
    ) -> None:
        self._base = f"{address}/v1"
        # Given with each request: as a session's attribute, REQUESTS_CA_BUNDLE would override it.
        self._verify = ca or True
        self._session = requests.Session()
        # More than attempts at once: urllib3 warns of each connection that it has no place for.
        self._session.mount(
            address, HTTPAdapter(pool_connections=1, pool_maxsize=MOST_CONNECTIONS)
        )
        self._session.trust_env = not is_local
        self._session.auth = _as_it_is  # else requests would send the password of a .netrc
        self._session.headers.update({"User-Agent": "pgp-config-vault", "X-Vault-Request": "true"})
        if namespace:
            self._session.headers["X-Vault-Namespace"] = namespace

    def send(
        self,
        verb: str,
        path: str,
        deadline: Deadline,
        *,
        token: str | None = None,
        body: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request.

        Raises:
            VaultFault: If there is no answer, or one that is not Vault's own; with neither the token nor the body.
        """
        try:
            with self._session.request(
                verb,
                f"{self._base}/{path}",
                headers=None if token is None else {"X-Vault-Token": token},
                json=body,
                timeout=deadline.left(),
                verify=self._verify,
                stream=True,
                allow_redirects=False,
            ) as response:
                answer = Answer(response.status_code, _document_of(_body_of(response)))
        except requests.RequestException as fault:
            failure = _unanswered(fault)
        else:
            outside = _fault_of(answer)
            if outside is None:
                return answer
            failure = outside
        # Raised here, where no exception with the request, and so with a token, is in flight.
        raise failure

    def close(self) -> None:
        """End the connections."""
        self._session.close()


def _as_it_is(request: P) -> P:
    return request


def _body_of(response: requests.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_content(MOST_BYTES):
        body += piece
        if len(body) > MOST_BYTES:
            raise requests.RequestException(f"an answer of more than {MOST_BYTES} bytes")
    return bytes(body)


def _document_of(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body or b"{}", parse_float=Number.of)
    except (ValueError, RecursionError):  # that of the parser holds what it parsed
        document = None
    return document if isinstance(document, dict) else {}


def _fault_of(answer: Answer) -> VaultFault | None:
    """The fault of an answer that has nothing to do with what was asked for."""
    if answer.code in _REDIRECTS:
        return VaultFault(faults.REDIRECTED, answer.reason)
    if answer.code == requests.codes.too_many_requests:
        return VaultFault(faults.BUSY, answer.reason)
    # 412: a standby has not yet seen what its client has.
    if answer.code in _SERVER_ERRORS or answer.code == requests.codes.precondition_failed:
        return VaultFault(faults.SERVER, answer.reason)
    return None


def _unanswered(fault: requests.RequestException) -> VaultFault:
    text = f"{type(fault).__name__}: {fault}"
    if isinstance(fault, requests.Timeout):
        return VaultFault(faults.TIMEOUT, text)
    if isinstance(fault, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in text:
        return VaultFault(faults.UNTRUSTED, text)
    return VaultFault(faults.UNREACHABLE, text)

"""Secret Manager over REST: an authorised session and one GET, without gRPC.

Google's own client has a REST transport too, but imports gRPC for it.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, TypeVar

import google.auth
import requests
from google.auth.credentials import with_scopes_if_required
from google.auth.transport.requests import AuthorizedSession
from requests.adapters import HTTPAdapter

from pgp_config.payload import Payload
from pgp_config.sources.attempts import MOST_ATTEMPTS, Attempts
from pgp_config.sources.google.admin_over_rest import AdminOverRest
from pgp_config.sources.google.debug_logs import withhold_answers
from pgp_config.sources.google.faults import STATUS_OF_HTTP, StatusFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.auth.credentials import Credentials

P = TypeVar("P")
T = TypeVar("T")

#: Bytes of an answer at most: a payload has 64 KiB, which base64 makes a third longer.
MOST_BYTES = 1024 * 1024

_HOST, _PROJECTS_HOST = "secretmanager.googleapis.com", "cloudresourcemanager.googleapis.com"
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class RestClient:
    """Accesses versions with a session of requests; threads may share it.

    Args:
        session: Adds the credentials; it is closed with this.
        server: Such as `"https://secretmanager.googleapis.com"`.
        user_agent: Who asks; our own name comes after it.
        projects: The server that answers for projects, if that is another one.
    """

    def __init__(
        self,
        session: requests.Session,
        server: str,
        user_agent: str | None = None,
        projects: str | None = None,
    ) -> None:
        self._session = session
        self._server = server
        self._projects = projects or server
        self._attempts = Attempts("secret-manager-rest", MOST_ATTEMPTS)
        session.headers["User-Agent"] = " ".join(filter(None, (user_agent, "pgp-config")))
        scheme = server.partition("//")[0] + "//"
        session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=MOST_ATTEMPTS))

    def access(self, path: str, timeout: float) -> Payload:
        """One attempt to read a version; as `request`."""
        return self.request("GET", f"{path}:access", timeout, None, _payload_of)

    def admin(self) -> AdminOverRest:
        """What makes changes, with the same session."""
        return AdminOverRest(self)

    def request(
        self,
        verb: str,
        path: str,
        timeout: float,
        body: bytes | None,
        read: Callable[[bytes], T],
        *,
        of_project: bool = False,
    ) -> T:
        """One attempt at a request.

        It runs in a thread of its own, which is left behind when the time is up (see `Attempts`): a time-out of
        requests also ends none of the pauses in which google-auth waits for its token server.

        Args:
            verb: "GET", "POST" or "PATCH".
            path: The resource's name, perhaps with a method and a query.
            timeout: Seconds.
            body: JSON, if any.
            read: Makes the result of an answer's body.
            of_project: Whether it is about the project itself, for which Resource Manager answers.

        Raises:
            StatusFault: If the answer is not OK, or there is none.
            google.auth.exceptions.GoogleAuthError: If there is no valid token.
        """
        url = f"{self._projects if of_project else self._server}/v1/{path}"
        try:
            return self._attempts.run(lambda: read(self._send(verb, url, timeout, body)), timeout)
        except TimeoutError:
            pass
        raise StatusFault("DEADLINE_EXCEEDED", f"no answer within {timeout:g} s")

    def close(self) -> None:
        """End the connections."""
        self._session.close()

    def _send(self, verb: str, url: str, timeout: float, body: bytes | None) -> bytes:
        try:
            with self._session.request(
                verb,
                url,
                data=body,
                headers=None if body is None else {"Content-Type": "application/json"},
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            ) as response:
                code, answer = response.status_code, _body_of(response)
        except requests.Timeout as fault:
            failure = StatusFault("DEADLINE_EXCEEDED", _text_of(fault))
        except requests.RequestException as fault:
            failure = StatusFault("UNAVAILABLE", _text_of(fault))
        else:
            if code == requests.codes.ok:
                return answer
            failure = _refusal(code, answer)
        # Raised here, where no exception with the request, and so with a token, is in flight.
        raise failure


def connect(
    *,
    location: str | None,
    endpoint: str | None,
    credentials: Credentials | None,
    user_agent: str | None = None,
) -> RestClient:
    """A client of Google's service, or of a local server without encryption and credentials."""
    if endpoint is not None:
        session = requests.Session()
        # Neither a proxy nor a .netrc is asked for a port of its own machine.
        session.trust_env = False
        return RestClient(session, f"http://{endpoint}", user_agent)
    host = f"secretmanager.{location}.rep.googleapis.com" if location else _HOST
    return RestClient(
        _authorized(credentials), f"https://{host}", user_agent, f"https://{_PROJECTS_HOST}"
    )


def _authorized(credentials: Credentials | None) -> AuthorizedSession:
    # Releases of google-auth differ in whether they log answers.
    withhold_answers("google.auth.transport.requests")
    if credentials is None:
        credentials, _ = google.auth.default(default_scopes=_SCOPES)
    else:
        credentials = with_scopes_if_required(  # type: ignore[no-untyped-call]  # Google's
            credentials, None, default_scopes=_SCOPES
        )
    session = AuthorizedSession(credentials, default_host=_HOST)  # type: ignore[no-untyped-call]  # Google's
    # Else requests would put the password of a .netrc in the token's place.
    session.auth = _as_it_is
    return session


def _as_it_is(request: P) -> P:
    return request


def _body_of(response: requests.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_content(MOST_BYTES):
        body += piece
        if len(body) > MOST_BYTES:
            raise requests.RequestException(f"an answer of more than {MOST_BYTES} bytes")
    return bytes(body)


def _payload_of(body: bytes) -> Payload:
    try:
        answer = json.loads(body)
        payload = answer["payload"]
        checksum = payload.get("dataCrc32c")
        return Payload(
            base64.b64decode(payload.get("data", ""), validate=True),
            int(answer["name"].rpartition("/")[2]),
            None if checksum is None else int(checksum),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    # Raised here: an error of the parser holds what it parsed. As over gRPC it may pass, for the
    # transfer may have been damaged.
    raise StatusFault("INTERNAL", "the answer is none of Secret Manager's")


def _refusal(code: int, body: bytes) -> StatusFault:
    try:
        error = json.loads(body)["error"]
        status, message = error.get("status"), error.get("message")
    except (ValueError, LookupError, TypeError, AttributeError):
        status = message = None
    return StatusFault(
        str(status or STATUS_OF_HTTP.get(code, f"HTTP {code}")), f"{code} {message or ''}".strip()
    )


def _text_of(fault: requests.RequestException) -> str:
    return f"{type(fault).__name__}: {fault}"

"""One call of AWS, and its answer; what boto3 raises becomes a fault of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import boto3
from botocore.config import Config

from pgp_config_aws.debug_logs import quiet, withhold
from pgp_config_aws.faults import fault_of
from pgp_config_aws.history import Listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")

#: Connections that a client keeps; more than attempts at once.
MOST_CONNECTIONS = 32


class Answer(NamedTuple):
    """A version's value.

    Attributes:
        version_id: Which version it is.
        stages: Its labels.
        value: Never shown.
    """

    version_id: str
    stages: tuple[str, ...]
    value: Value


class Value:
    """Bytes or a text, never shown.

    Args:
        data: The bytes.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Boto(Protocol):
    """What is used of boto3's client."""

    def get_secret_value(self, **options: str) -> Mapping[str, Any]:
        """One version."""
        ...

    def list_secret_version_ids(self, **options: object) -> Mapping[str, Any]:
        """One page of versions."""
        ...

    def close(self) -> None:
        """End the connections."""
        ...


class SecretsClient:
    """Reads values and lists of versions; threads may share it.

    Args:
        boto: boto3's client; it is closed with this.
        stage: The label that is read.
    """

    def __init__(self, boto: Boto, stage: str) -> None:
        self._boto = boto
        self._stage = stage

    def value(self, secret_id: str, version_id: str | None = None) -> Answer:
        """A version, or the one with the label.

        Raises:
            AwsFault: If there is no answer, or a refusal.
        """
        which = {"VersionStage": self._stage} if version_id is None else {"VersionId": version_id}
        return _told(lambda: _answer_of(self._boto.get_secret_value(SecretId=secret_id, **which)))

    def versions(self, secret_id: str) -> list[Listed]:
        """All versions, with and without labels.

        Raises:
            AwsFault: As `value`.
        """
        return _told(lambda: list(self._pages(secret_id)))

    def close(self) -> None:
        """End the connections."""
        self._boto.close()

    def _pages(self, secret_id: str) -> Iterator[Listed]:
        more: dict[str, str] = {}
        while True:
            page = self._boto.list_secret_version_ids(
                SecretId=secret_id, IncludeDeprecated=True, MaxResults=100, **more
            )
            for version in page["Versions"]:
                is_current = self._stage in version.get("VersionStages", ())
                yield Listed(version["VersionId"], version["CreatedDate"], is_current)
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}


def connect(
    session: Callable[[], Any],
    *,
    region: str | None,
    endpoint: str | None,
    timeout: float,
    stage: str,
) -> SecretsClient:
    """A client of AWS, or of a local server.

    Raises:
        AwsFault: If boto3 lacks a region or credentials, or cannot read its configuration.
    """
    withhold()
    config = Config(
        connect_timeout=timeout,
        read_timeout=timeout,
        retries={"total_max_attempts": 1},  # the budget is ours: botocore's own retries know none
        max_pool_connections=MOST_CONNECTIONS,
        user_agent_extra="pgp-config-aws",
        proxies={} if endpoint is not None and endpoint.startswith("http:") else None,
    )
    return _told(
        lambda: SecretsClient(
            session().client(
                "secretsmanager", region_name=region, endpoint_url=endpoint, config=config
            ),
            stage,
        )
    )


def default_session(profile: str | None) -> Any:  # noqa: ANN401  boto3 has no types
    """A session of boto3's own for this process: its default one is not for threads."""
    return boto3.Session(profile_name=profile)


def _told(call: Callable[[], T]) -> T:
    try:
        with quiet():
            return call()
    except Exception as fault:  # noqa: BLE001  whatever boto3 raises becomes ours
        failure = fault_of(fault)
    # Raised here, where no exception with the request or the answer is in flight.
    raise failure


def _answer_of(found: Mapping[str, Any]) -> Answer:
    text = found.get("SecretString")
    data = found["SecretBinary"] if text is None else text.encode(errors="surrogatepass")
    return Answer(found["VersionId"], tuple(found.get("VersionStages", ())), Value(data))

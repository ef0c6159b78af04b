"""The source: one read a fetch, with this process's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from pgp_config import DeclarationError, FetchBudget, PerProcess, PgpConfigError, check_version
from pgp_config_aws import arguments, client, faults, values
from pgp_config_aws.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from pgp_config import Payload


class AwsSecretsManager:
    """Secrets of one account and region of AWS; one access a fetch, and a list at a version that is new.

    A secret's name is its name in AWS without the prefix, or its ARN. `"NAME#KEY"` is one key of the JSON object that
    the secret is: a text is handed out as it is, anything else as JSON.

    Versions have no numbers in AWS. Here they are counted by when they were made, from 1, and `latest` is the one
    labelled AWSCURRENT. Whoever moves that label back rolls back: the newer versions count as disabled until it
    comes to them again.

    Args:
        region: Such as `"eu-west-1"`; by default that of `AWS_REGION` or of the profile.
        prefix: Put before each name, such as `"split2/"`.
        stage: The label of the version that is the newest; one of your own pins what it marks.
        profile: Of AWS's configuration files; by default `AWS_PROFILE`, and with it AWS's chain of credentials.
        endpoint: `"http://127.0.0.1:PORT"` of a local server such as moto's, or the `https` URL of a VPC endpoint; by
            default what boto3 finds.
        session_factory: Makes the `boto3.Session`, once a process, in place of `profile`: for a role to assume.
        attempt_timeout: Seconds (or timedelta) for one attempt, more than 0.
        total_timeout: Seconds (or timedelta) for all attempts of a fetch, `attempt_timeout` or more. The very first
            fetch of a process takes longer: boto3 makes its client and looks for credentials.

    Raises:
        DeclarationError: If an argument cannot be meant so.
    """

    def __init__(
        self,
        region: str | None = None,
        *,
        prefix: str = "",
        stage: str = "AWSCURRENT",
        profile: str | None = None,
        endpoint: str | None = None,
        session_factory: Callable[[], Any] | None = None,
        attempt_timeout: float | timedelta = 1.0,
        total_timeout: float | timedelta = 2.0,
    ) -> None:
        if session_factory is not None and profile is not None:
            raise DeclarationError(
                "AwsSecretsManager was given a session_factory and a profile",
                remedy="Let the session that the factory makes have the profile.",
            )
        self._region = arguments.checked_region(region)
        self._prefix = arguments.checked_prefix(prefix)
        self._stage = arguments.checked_stage(stage)
        self._endpoint = arguments.checked_endpoint(endpoint)
        self._session = session_factory or (lambda: client.default_session(profile))
        self._budget = FetchBudget(attempt_timeout, total_timeout)
        self._connection = PerProcess(self._connect, Connection.close)

    def __repr__(self) -> str:
        shown = [repr(self._region)] if self._region else []
        shown += [f"prefix={self._prefix!r}"] if self._prefix else []
        shown += [f"stage={self._stage!r}"] if self._stage != "AWSCURRENT" else []
        shown += [f"endpoint={self._endpoint!r}"] if self._endpoint else []
        return f"AwsSecretsManager({', '.join(shown)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A source is not pickled or copied: its credentials would go along.")

    def fetch(self, name: str, version: int | str = "latest") -> Payload:
        """As `pgp_config.Source.fetch`.

        Raises:
            SecretNotFound: If there is no such secret or version, or there can be none of that name.
            SecretForbidden: If the identity may not read it, or there are no valid credentials.
            SecretDisabled: If the secret is marked for deletion, or the version is newer than the one with the label.
            SourceTimeout: If there was no answer within `total_timeout`.
            SecretUnavailable: If AWS cannot be reached, or refuses for any other reason.
            RejectedVersion: If the version has no such key.
            DeclarationError: If the version is neither a number nor `"latest"`, or boto3 lacks a region.
        """
        check_version(version)
        place = arguments.checked_place(name, self._prefix)
        outcome = self._ask(place, version)
        if isinstance(outcome, PgpConfigError):
            # Raised here, where no frame holds an answer and no exception of boto3's is in flight.
            raise outcome.located(secret=name)
        return outcome

    def connect(self) -> None:
        """Make this process's client now, outside of any fetch's budget: `load()` does so.

        Raises:
            DeclarationError: If boto3 lacks a region, or cannot read its configuration.
        """
        fault = self._connected()
        if fault is not None:
            raise fault

    def close(self) -> None:
        """End the connections; a fetch after it connects anew."""
        self._connection.close()

    # -- one call ----------------------------------------------------------------------------

    def _ask(self, place: arguments.Place, version: int | str) -> Payload | PgpConfigError:
        """The answer or the fault; nothing is raised while a frame holds an answer."""
        try:
            connection = self._connection.get(self._budget.total_timeout)
            return self._budget.run(
                lambda _timeout: _outcome(connection, place, version), may_pass=faults.may_pass
            )
        except Exception as fault:  # noqa: BLE001  whatever was raised becomes ours
            return self._explained(fault, version)

    def _connected(self) -> PgpConfigError | None:
        try:
            self._connection.get()
        except Exception as fault:  # noqa: BLE001  as above
            return self._explained(fault, "latest")
        return None

    def _explained(self, fault: Exception, version: int | str) -> PgpConfigError:
        facts = {
            "where": f"region {self._region}" if self._region else "AWS's default region",
            "version": version,
            "total": self._budget.total_timeout,
        }
        return faults.explained(fault, facts)

    def _connect(self) -> Connection:
        made = client.connect(
            self._session,
            region=self._region,
            endpoint=self._endpoint,
            timeout=self._budget.attempt_timeout,
            stage=self._stage,
        )
        return Connection(made, self._stage)


def _outcome(
    connection: Connection, place: arguments.Place, version: int | str
) -> Payload | PgpConfigError:
    if isinstance(version, int):
        found = connection.numbered(place.secret_id, version)
    else:
        found = connection.latest(place.secret_id)
    return values.outcome_of(found.value.data, place.key, found.number)

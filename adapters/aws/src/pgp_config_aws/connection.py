"""What one process holds: a client, and the numbers of the versions that it has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgp_config import SecretDisabled, SecretNotFound, SecretUnavailable
from pgp_config_aws.history import MOST_LISTED, History

if TYPE_CHECKING:
    from pgp_config_aws.client import SecretsClient, Value


class Numbered(NamedTuple):
    """A value and its version's number."""

    value: Value
    number: int


class Connection:
    """Finds versions by label and by number; threads may share it.

    A version newer than the one with the label is disabled: its rotation is not finished (AWSPENDING), or it was
    rolled back, which in Secrets Manager is to move AWSCURRENT to an older one.

    Args:
        client: Makes the calls; it is closed with this.
        stage: The label that is the newest version.
    """

    def __init__(self, client: SecretsClient, stage: str) -> None:
        self._client = client
        self._stage = stage
        self._histories: dict[str, History] = {}

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def latest(self, secret_id: str) -> Numbered:
        """The version with the label: one call, and a list where it is one that is not known yet."""
        answer = self._client.value(secret_id)
        history = self._history(secret_id)
        if history.number_of(answer.version_id) is None:
            history.learn(self._client.versions(secret_id))
        return Numbered(answer.value, history.see_current(answer.version_id))

    def numbered(self, secret_id: str, number: int) -> Numbered:
        """A version by its number: one call, and a list where that does not tell what it is now.

        Raises:
            SecretNotFound: If there is none of that number.
            SecretDisabled: If it is newer than the one with the label.
            SecretUnavailable: If it cannot be told which one it is.
        """
        history = self._history(secret_id)
        if not 1 <= number <= history.current:
            self._look(secret_id, history)
        answer = self._client.value(secret_id, self._id_in(history, number))
        if number == history.current and self._stage not in answer.stages:
            # Between two looks the label went elsewhere, perhaps back.
            self._look(secret_id, history)
            self._id_in(history, number)
        return Numbered(answer.value, number)

    def _history(self, secret_id: str) -> History:
        return self._histories.setdefault(secret_id, History())

    def _look(self, secret_id: str, history: History) -> None:
        listed = self._client.versions(secret_id)
        if history.is_empty and len(listed) >= MOST_LISTED:
            raise SecretUnavailable(
                f"has {len(listed)} versions, so that AWS may have removed older ones, and a number is not certain",
                remedy="Read the label, or pin by a label of your own: stage='…' with move-to-version-id.",
            )
        history.learn(listed)

    def _id_in(self, history: History, number: int) -> str:
        version_id = history.id_of(number)
        if version_id is None:
            raise SecretNotFound(
                f"has no version {number} that has a value",
                remedy="Ask for 'latest', or for one that `aws secretsmanager list-secret-version-ids "
                "--include-deprecated` shows, counted from the oldest.",
            )
        if number > history.current:
            raise SecretDisabled(
                f"version {number} is not in use: {self._stage} is at {self._place_of(history)}",
                remedy=f"Move the label to it: `aws secretsmanager update-secret-version-stage --version-stage "
                f"{self._stage} --move-to-version-id {version_id} …`; or let its rotation finish.",
            )
        return version_id

    @staticmethod
    def _place_of(history: History) -> str:
        return f"version {history.current}" if history.current else "none"

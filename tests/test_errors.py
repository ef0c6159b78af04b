"""What an error says, and that it survives a trip between processes."""

import pickle

import pytest

from pgp_config import (
    BlockingRead,
    ChangedMeanwhile,
    DeclarationError,
    PgpConfigError,
    RejectedVersion,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
    StartupError,
    StaticSecretInScope,
)

ALL = [
    BlockingRead,
    ChangedMeanwhile,
    DeclarationError,
    RejectedVersion,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
    StaticSecretInScope,
]


@pytest.mark.parametrize("kind", ALL)
def test_each_says_which_secret_where_what_happened_and_what_to_do(kind):
    error = kind("is broken", remedy="Mend it.", secret="KEY", container="Split2")
    assert str(error) == "KEY in Split2: is broken. Mend it."
    assert isinstance(error, PgpConfigError)


@pytest.mark.parametrize("kind", ALL)
def test_each_can_be_pickled(kind):
    error = kind("is broken", remedy="Mend it.", secret="KEY", container="Split2")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (kind, str(error))


def test_what_is_not_known_is_left_out():
    assert str(PgpConfigError("is broken")) == "is broken."
    assert str(PgpConfigError("is broken", container="Split2")) == "Split2: is broken."


def test_those_of_the_standard_library_catch_their_like():
    assert issubclass(SecretNotFound, LookupError)
    assert issubclass(SecretForbidden, PermissionError)
    assert issubclass(SourceTimeout, TimeoutError)
    assert issubclass(RejectedVersion, ValueError)
    assert issubclass(DeclarationError, ValueError)
    for kind in (SecretNotFound, SecretForbidden, SecretDisabled, SourceTimeout):
        assert issubclass(kind, SecretUnavailable)


def test_a_located_copy_keeps_what_is_known_and_the_cause():
    error = SecretNotFound("is missing", secret="KEY")
    error.__cause__ = cause = KeyError()
    copy = error.located(secret="OTHER", container="Split2")
    assert (copy.secret, copy.container, copy.__cause__) == ("KEY", "Split2", cause)
    assert copy is not error


def test_a_startup_error_lists_every_fault_and_can_be_pickled():
    faults = [
        SecretNotFound("is missing", secret="A"),
        SecretForbidden("is forbidden", secret="B"),
    ]
    error = StartupError("2 faults", remedy="Mend them:", container="Split2", faults=faults)
    text = "Split2: 2 faults. Mend them:\n  - A: is missing.\n  - B: is forbidden."
    assert str(error) == text
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), [type(f) for f in copy.faults]) == (text, [SecretNotFound, SecretForbidden])

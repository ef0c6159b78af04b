"""What boto3 raises, as a status, and that as an error of pgp_config: one table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from pgp_config import (
    DeclarationError,
    PgpConfigError,
    SecretDisabled,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
    SourceTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_FOUND = "ResourceNotFoundException"
DENIED = "AccessDeniedException"
CREDENTIALS = "credentials"
NO_CREDENTIALS = "no credentials"
DELETED = "deleted"
CONFIGURATION = "configuration"
UNREACHABLE = "unreachable"
UNTRUSTED = "untrusted certificate"
TIMEOUT = "no answer in time"
BUSY = "too many requests"
SERVER = "server error"
ODD = "odd answer"

#: After these the same call may succeed.
TRANSIENT = frozenset({UNREACHABLE, TIMEOUT, BUSY, SERVER, ODD})

#: AWS's codes for what comes to one.
_STATUS_OF_CODE = {
    **dict.fromkeys(
        (
            "ThrottlingException",
            "Throttling",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "LimitExceededException",
        ),
        BUSY,
    ),
    **dict.fromkeys(
        (
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "IncompleteSignature",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "ExpiredToken",
            "ExpiredTokenException",
            "RequestExpired",
            "AuthFailure",
        ),
        CREDENTIALS,
    ),
    "AccessDenied": DENIED,
    "403": DENIED,  # an answer without a code
    "InternalServiceError": SERVER,
    "InternalFailure": SERVER,
    "ServiceUnavailable": SERVER,
}

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.RefreshWithMFAUnsupportedError,
    boto.MetadataRetrievalError,
)

_CONFIGURATION = (
    boto.NoRegionError,
    boto.ProfileNotFound,
    boto.ConfigNotFound,
    boto.ConfigParseError,
    boto.InvalidConfigError,
    boto.InvalidRegionError,
)

_NO_ANSWER = "the answer is none of Secrets Manager's"

_SERVER_ERRORS = range(500, 600)


class AwsFault(Exception):  # noqa: N818  it is the cause of an error, told by status
    """A call that failed.

    Attributes:
        status: One of this module's, or AWS's code.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class _Meaning(NamedTuple):
    kind: type[PgpConfigError]
    happened: str
    remedy: str


_LOOK = (
    "Look at health.aws.amazon.com and at the network on the way there (a VPC endpoint, a proxy)."
)

_SIGN_IN = (
    "Give the service a role of its own (ECS, EKS, EC2, Lambda), or set AWS_PROFILE or AWS_ACCESS_KEY_ID; "
    "`aws sts get-caller-identity` says who asks."
)

_MEANINGS = {
    NOT_FOUND: _Meaning(
        SecretNotFound,
        "does not exist in {where}, or has no version {version}",
        "Create it: `aws secretsmanager create-secret`; or correct the name, the prefix or the region.",
    ),
    DENIED: _Meaning(
        SecretForbidden,
        "this identity may not read it in {where}",
        "Allow secretsmanager:GetSecretValue and secretsmanager:ListSecretVersionIds on that secret, and "
        "kms:Decrypt where it has a key of your own; the cause says which is missing.",
    ),
    CREDENTIALS: _Meaning(
        SecretForbidden,
        "AWS does not accept the credentials (expired, revoked or wrong)",
        _SIGN_IN,
    ),
    NO_CREDENTIALS: _Meaning(SecretForbidden, "no AWS credentials were found", _SIGN_IN),
    DELETED: _Meaning(
        SecretDisabled,
        "is marked for deletion in {where}",
        "Bring it back: `aws secretsmanager restore-secret`.",
    ),
    "DecryptionFailure": _Meaning(
        SecretUnavailable,
        "AWS cannot decrypt it with its KMS key ({where})",
        "Look at the key: it may be disabled, or pending deletion.",
    ),
    CONFIGURATION: _Meaning(
        DeclarationError,
        "boto3 cannot make a client",
        "Give region='eu-west-1', or mend AWS's configuration; see the cause.",
    ),
    UNTRUSTED: _Meaning(
        SecretUnavailable,
        "the server's certificate is not trusted ({where})",
        "Set AWS_CA_BUNDLE to the file of its CA.",
    ),
    TIMEOUT: _Meaning(
        SourceTimeout, "Secrets Manager did not answer within {total:g} s ({where})", _LOOK
    ),
    BUSY: _Meaning(
        SecretUnavailable,
        "the quota of Secrets Manager is exhausted in {where}",
        "Raise max_age: AWS allows 10,000 reads a second, less where KMS throttles.",
    ),
    UNREACHABLE: _Meaning(SecretUnavailable, "AWS cannot be reached ({where})", _LOOK),
}

_OTHER = _Meaning(
    SecretUnavailable, "Secrets Manager could not answer for {where} ({status})", _LOOK
)


def fault_of(fault: Exception) -> Exception:
    """A fault of ours for what boto3 raised, with none of its requests and answers."""
    if isinstance(fault, boto.ClientError):
        return _refusal(fault)
    kind = type(fault).__name__
    if isinstance(fault, _NO_CREDENTIALS):
        # What a credential process printed may be in the text of the others.
        is_plain = isinstance(fault, boto.NoCredentialsError | boto.PartialCredentialsError)
        return AwsFault(NO_CREDENTIALS, f"{kind}: {fault}" if is_plain else kind)
    if isinstance(fault, _CONFIGURATION):
        return AwsFault(CONFIGURATION, f"{kind}: {fault}")
    if isinstance(fault, boto.HTTPClientError | boto.ConnectionError):
        return AwsFault(_status_of_transport(fault), f"{kind}: {fault}")
    # A parser's text holds what it parsed, and an answer without the fields it should have is none.
    is_odd = isinstance(fault, ResponseParserError | LookupError | TypeError | AttributeError)
    return AwsFault(ODD, _NO_ANSWER) if is_odd else AwsFault(kind, "nobody expected it")


def _status_of_transport(fault: Exception) -> str:
    if isinstance(fault, boto.ConnectTimeoutError | boto.ReadTimeoutError):
        return TIMEOUT
    return UNTRUSTED if "CERTIFICATE_VERIFY_FAILED" in str(fault) else UNREACHABLE


def _refusal(fault: boto.ClientError) -> AwsFault:
    error = fault.response.get("Error", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    if code == "InvalidRequestException" and re.search("marked (for deletion|deleted)", message):
        return AwsFault(DELETED, message)
    status = _STATUS_OF_CODE.get(code, code)
    http = fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if status == code and http in _SERVER_ERRORS:
        status = SERVER
    return AwsFault(status, f"{code}: {message}")


def may_pass(fault: BaseException) -> bool:
    """Whether the same call may succeed after this fault."""
    return isinstance(fault, AwsFault) and fault.status in TRANSIENT


def explained(fault: Exception, facts: Mapping[str, object]) -> PgpConfigError:
    """An error of pgp_config for a fault, with that as its cause.

    Args:
        fault: Whatever was raised.
        facts: `where`, `version` and `total`.
    """
    if isinstance(fault, PgpConfigError):
        return fault.located()
    if isinstance(fault, TimeoutError):
        fault = AwsFault(TIMEOUT, str(fault) or "the attempt had no outcome")
    if not isinstance(fault, AwsFault):
        # Its text and its frames may hold a value.
        fault = AwsFault(type(fault).__name__, "nobody expected it")
    kind, happened, remedy = _MEANINGS.get(fault.status, _OTHER)
    words = {**facts, "status": fault.status}
    error = kind(happened.format_map(words), remedy=remedy)
    fault.__cause__ = fault.__context__ = None
    error.__cause__ = fault.with_traceback(None)
    return error

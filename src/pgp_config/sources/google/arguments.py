"""What `GoogleSecretManager` may be given, checked before anything is connected."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from pgp_config.errors import DeclarationError, SecretNotFound

#: How Secret Manager is spoken to.
Transport = Literal["grpc", "rest"]

_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[A-Za-z0-9_-]+")
_LOCATION = re.compile(r"[a-z0-9-]+")
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,255}")
_USER_AGENT = re.compile(r"[A-Za-z0-9._/-]{1,100}")


def checked_project(project: str) -> str:
    """The project, if it is an id or a number."""
    if isinstance(project, str) and _PROJECT.fullmatch(project):
        return project
    raise DeclarationError(
        f"the Google Cloud project is {project!r}",
        remedy="Give the project's id or number alone: GoogleSecretManager(project='pgp-live').",
    )


def checked_location(location: str | None) -> str | None:
    """The location, if it is one or None."""
    if location is None or (isinstance(location, str) and _LOCATION.fullmatch(location)):
        return location
    raise DeclarationError(
        f"the location of the secrets is {location!r}",
        remedy="Give a location such as 'europe-west1', or None for global secrets.",
    )


def checked_endpoint(endpoint: str | None) -> str | None:
    """The endpoint, if it is on this machine or None."""
    if endpoint is None or (isinstance(endpoint, str) and _is_loopback(endpoint)):
        return endpoint
    raise DeclarationError(
        f"the endpoint is {endpoint!r}, which is not on this machine",
        remedy="An endpoint is used without encryption: give '127.0.0.1:PORT'. For any other server "
        "give a client_factory.",
    )


def _is_loopback(endpoint: str) -> bool:
    host, _, port = endpoint.rpartition(":")
    if not (port.isascii() and port.isdigit()):
        return False
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def checked_transport(transport: Transport, *, has_factory: bool) -> Transport:
    """The transport, if there is one of that name and nothing else decides it."""
    if transport not in ("grpc", "rest"):
        raise DeclarationError(
            f"the transport is {transport!r}", remedy="Give transport='grpc' or transport='rest'."
        )
    if has_factory and transport == "rest":
        raise DeclarationError(
            "GoogleSecretManager was given a client_factory and transport='rest'",
            remedy="Leave the transport out: a factory makes Google's client, which imports gRPC and "
            "brings its own transport (SecretManagerServiceClient(transport='rest') has one over REST).",
        )
    return transport


def checked_user_agent(user_agent: str | None, *, has_factory: bool) -> str | None:
    """The user agent, if a header can have it or it is None, and if it is ours to say."""
    if has_factory and user_agent is not None:
        raise DeclarationError(
            "GoogleSecretManager was given a client_factory and a user_agent",
            remedy="Let the client that the factory makes name itself.",
        )
    if user_agent is None or (isinstance(user_agent, str) and _USER_AGENT.fullmatch(user_agent)):
        return user_agent
    raise DeclarationError(
        f"the user agent is {user_agent!r}",
        remedy="Use letters, digits, '.', '_', '/' and '-', 100 at most: user_agent='split2/1.4'.",
    )


def checked_name(name: str) -> str:
    """The secret's name, if Secret Manager can have one of that name."""
    if isinstance(name, str) and _SECRET.fullmatch(name):
        return name
    raise SecretNotFound(
        f"a secret of Secret Manager cannot be named {name!r}",
        remedy="Use letters, digits, '_' and '-', 255 at most.",
    )

"""The gRPC side: takes requests as gRPC brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # grpcio has no types

from pgp_config.emulator.rules import StatusError
from pgp_config.emulator.service import PROJECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_config.emulator.service import Answer, Methods

SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"
PROJECTS_SERVICE = "google.cloud.resourcemanager.v3.Projects"


def handlers_of(methods: Methods) -> tuple[Any, Any]:
    """The handlers that a gRPC server takes."""
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _unary(name, methods),
            request_deserializer=method.request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name, method in methods.table.items()
    }
    projects = {n.removeprefix(PROJECTS): h for n, h in handlers.items() if PROJECTS in n}
    secrets = {name: handler for name, handler in handlers.items() if PROJECTS not in name}
    return (
        grpc.method_handlers_generic_handler(SERVICE, secrets),
        grpc.method_handlers_generic_handler(PROJECTS_SERVICE, projects),
    )


def _unary(name: str, methods: Methods) -> Callable[[Any, Any], Answer]:
    def handle(request: Any, context: Any) -> Answer:  # noqa: ANN401  grpcio has no types
        caller = dict(context.invocation_metadata()).get("user-agent", "")
        try:
            return methods.call(name, request, caller)
        except StatusError as error:
            context.abort(getattr(grpc.StatusCode, error.code), error.message)

    return handle

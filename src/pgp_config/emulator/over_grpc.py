"""The gRPC side: takes requests as gRPC brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # grpcio has no types

from pgp_config.emulator.rules import StatusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgp_config.emulator.service import Answer, Methods

SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"


def handler_of(methods: Methods) -> Any:  # noqa: ANN401  grpcio has no types
    """The handler that a gRPC server takes."""
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            name: grpc.unary_unary_rpc_method_handler(
                _unary(name, methods),
                request_deserializer=method.request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, method in methods.table.items()
        },
    )


def _unary(name: str, methods: Methods) -> Callable[[Any, Any], Answer]:
    def handle(request: Any, context: Any) -> Answer:  # noqa: ANN401  grpcio has no types
        caller = dict(context.invocation_metadata()).get("user-agent", "")
        try:
            return methods.call(name, request, caller)
        except StatusError as error:
            context.abort(getattr(grpc.StatusCode, error.code), error.message)

    return handle

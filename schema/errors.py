"""How errors leave the server: with a code, the input's path, and nothing else that was not meant to.

What is not a `FieldwardError` is masked, and logged with the request's id so that it can be found. Messages that
graphql-core makes quote the input; none of them leaves.
"""

from typing import Any

import structlog
from graphql import FieldNode, GraphQLError

from auth.errors import Code, FieldwardError, ForbiddenError, RateLimitedError
from models.errors import UnavailableError

log = structlog.get_logger()

MASKED = "Something went wrong on the server. Ask its operator, naming the request id."


def presented(error: GraphQLError, request_id: str) -> GraphQLError:
    """Return the error as a client may see it."""
    cause = error.original_error
    if isinstance(cause, FieldwardError):
        return _with(error, cause.message, extensions_of(cause))
    if cause is None:
        # Of parsing and validation: about the operation's text, which is the client's own.
        if "code" in (error.extensions or {}):
            return error
        # graphql-core appends names of the schema that are like the one that is not there.
        return _with(error, error.message.partition(" Did you mean")[0], {"code": Code.INVALID_INPUT})
    if isinstance(cause, RecursionError):
        return _with(error, "The operation is nested too deeply.", {"code": Code.TOO_COMPLEX})
    log.error("unexpected_error", request_id=request_id, field=_field_of(error), exc_info=cause)
    return _with(error, MASKED, {"code": Code.INTERNAL, "requestId": request_id})


def extensions_of(error: FieldwardError) -> dict[str, Any]:
    """Return the code, and of detail, path, missing permission with its scope, and seconds to wait what there is."""
    extensions: dict[str, Any] = {"code": error.code}
    if error.detail is not None:
        extensions["detail"] = error.detail
    if error.field:
        extensions["field"] = [str(part) for part in error.field]
    if isinstance(error, ForbiddenError) and error.permission:
        extensions["permission"] = error.permission
        if error.scope:
            extensions["scope"] = error.scope
    limit, most = getattr(error, "limit", None), getattr(error, "most", None)
    if limit is not None:
        extensions["limit"] = {"of": limit, "allowed": most}
    if (seconds := retry_after_of(error)) is not None:
        extensions["retryAfter"] = seconds
    return extensions


def retry_after_of(error: BaseException | None) -> int | None:
    """Return after how many seconds the same may be asked again, where the error says so."""
    return error.retry_after_s if isinstance(error, RateLimitedError | UnavailableError) else None


def input_error(message: str, field: list[str | int], nodes: Any = None) -> GraphQLError:
    """Return the error of an input value that does not fit its type."""
    return GraphQLError(message, nodes, extensions={"code": Code.INVALID_INPUT, "field": [str(part) for part in field]})


def _field_of(error: GraphQLError) -> str | None:
    """Return which field of the schema failed. The path of the answer has the names that the client gave."""
    for node in error.nodes or ():
        if isinstance(node, FieldNode):
            return node.name.value
    return None


def _with(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )

"""The log: one JSON object a line, without values of anybody's data.

What is logged is an event and what `KEYS` declares: ids, codes, numbers. A key that is not declared is not written, and
the line says that it was left out. Exceptions are logged by type and place, since their texts may quote what a client
sent; and what libraries say is logged by where they say it, with the text alone that stands in their own code.
"""

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Literal
from uuid import UUID

import structlog
from opentelemetry.trace import format_trace_id, get_current_span

KEYS: Final[Mapping[str, str]] = {
    "event": "what happened, by a name from the code",
    "level": "how bad it is",
    "timestamp": "when, in UTC",
    "request_id": "the request's id, as in the answer's x-request-id",
    "trace_id": "the trace that it is part of, where traces are on",
    "organization_id": "an id",
    "import_id": "an id",
    "export_id": "an id",
    "erasure_id": "the id of a request",
    "delivery": "the id of an alarm's delivery",
    "mail": "the id of a letter",
    "key_id": "the id of a key",
    "principal": "the id of a person or program",
    "operation": "the digest of an operation's text",
    "field": "a field of the schema",
    "route": "an address as it is declared",
    "action": "an action of the trail",
    "outcome": "how it ended",
    "code": "a code of errors",
    "kind": "a word of ours: of a letter, of an entry",
    "channel": "email or webhook",
    "database": "which of the two: main or keystore",
    "port": "of a database server",
    "cut": "a number: connections that were ended",
    "in_progress": "a number: requests that are being answered",
    "parts": "a number: rows that went along",
    "part": "what tells figures to /metrics",
    "job": "the name of a background job",
    "log": "the origin of a log of the trail: the installation's name and an id",
    "witness": "a witness's name, from the settings",
    "status": "of HTTP",
    "size": "entries of a log",
    "count": "a number",
    "tokens": "a number",
    "entries": "a number",
    "repeated": "a number",
    "rewrapped": "a number",
    "replaced": "a number",
    "resealed": "a number",
    "broken": "a number",
    "attempt": "a number",
    "wait_s": "seconds",
    "migration": "the name of a migration",
    "exceeded": "the limit that an operation is beyond",
    "allowed": "a number",
    "requested": "a number: what an operation may cost",
    "rows": "a number",
    "values": "a number",
    "depth": "a number",
    "fields": "a number",
    "aliases": "a number",
    "roots": "a number",
    "directives": "a number",
    "said": "why a key file, a witness or an erasure refuses: a sentence of ours, or of the witness that was named",
    "failure": "the class of an exception, a code, or a status",
    "provider": "who keeps the key-encryption key, as in the settings",
    "doing": "what the provider was asked for",
    "error": "the class of an exception",
    "raised_at": "where it was raised: file, line, function",
    "caused_by": "the class of what caused it",
    "logger": "of which library a line is",
    "said_at": "where that stands in its code: file and line",
    "left_out": "how many keys were not declared",
}
"""What a line of the log may say, and what stands there: nothing of what is stored, and nothing that a client sent."""

WITHHELD: Final = "withheld"
"""The event of a line of a library whose texts are not known to be free of values."""
_KNOWN: Final = ("uvicorn", "asyncio")
"""Libraries whose texts stand in their code, up to the first line break, with what is put into them apart."""

running_request: ContextVar[UUID] = ContextVar("running request")
"""The id of the request that is being answered."""


def configure_logs(form: Literal["json", "console"]) -> None:
    """Set up the log once, at the start of a process."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    ours: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        describe_exception,
        name_request,
        keep_declared,
    ]
    structlog.configure(
        processors=[*ours, renderer],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, withhold_texts],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ours, renderer],
            pass_foreign_args=True,
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # Where a warning comes from is said, and not what it quotes.
    logging.captureWarnings(capture=True)
    # Their messages hold statements with values, or the text and inputs of operations.
    for name in ("tortoise", "tortoise.db_client", "strawberry.execution"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def describe_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception by its type and where it was raised: file, line and function, never its text."""
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = f"{type(error).__module__}.{type(error).__qualname__}"
        event["raised_at"] = places(error.__traceback__)
        if error.__cause__ is not None:
            event["caused_by"] = f"{type(error.__cause__).__module__}.{type(error.__cause__).__qualname__}"
    return event


def name_request(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the id of the request that is being answered, and of the trace, where there is one."""
    request_id = running_request.get(None)
    if request_id is not None:
        event.setdefault("request_id", str(request_id))
    span = get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = format_trace_id(span.trace_id)
    return event


def keep_declared(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave out what is not declared, and say how much that is."""
    unknown = event.keys() - KEYS.keys()
    for key in unknown:
        del event[key]
    if unknown:
        event["left_out"] = len(unknown)
    return event


def withhold_texts(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say of a library's line what stands in its code, and not what was put into it.

    Numbers are put in. Of libraries that are not known to keep the two apart, only where the line comes from is said.
    """
    record: logging.LogRecord = event["_record"]
    given = event.pop("positional_args", None)
    event["said_at"] = f"{record.pathname}:{record.lineno}"
    if record.name.partition(".")[0] not in _KNOWN or not isinstance(record.msg, str):
        event["event"] = WITHHELD
        return event
    text = record.msg.strip().partition("\n")[0]
    if isinstance(given, tuple) and given and all(type(one) in {int, float} for one in given):
        text %= given
    event["event"] = text
    return event


def places(trace: TracebackType | None) -> list[str]:
    """Return where an exception was raised, and on whose behalf: the last six, as file, line and function."""
    return [f"{one.filename}:{one.lineno} {one.name}" for one in traceback.extract_tb(trace)[-6:]]

"""The log: one JSON object a line, without values of anybody's data.

What is logged is an event and ids. Exceptions are logged by type and place, since their texts may quote what a client
sent.
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, Literal

import structlog


def configure_logs(form: Literal["json", "console"]) -> None:
    """Set up the log once, at the start of a process."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            describe_exception,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                describe_exception,
                renderer,
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
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


def places(trace: TracebackType | None) -> list[str]:
    """Return where an exception was raised, and on whose behalf: the last six, as file, line and function."""
    return [f"{one.filename}:{one.lineno} {one.name}" for one in traceback.extract_tb(trace)[-6:]]

"""The log says what is declared, and nothing else: by every call in the code, and by what comes out."""

import ast
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from fieldward.logs import KEYS, WITHHELD, keep_declared, name_request, running_request, withhold_texts

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("auth", "models", "resolvers", "schema", "fieldward")
LEVELS = frozenset({"debug", "info", "warning", "warn", "error", "critical", "exception", "fatal", "log", "msg"})
SPREAD = {("schema/api.py", "measure.shown()")}
"""Where a dictionary is spread into a call, whose keys the test below looks at."""
SECRET = "ada@acme.example"


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield each call that writes to the log, with its file."""
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(func=ast.Attribute(ast.Name("log" | "logger" | "_logger" | "_log"), level)) if (
                        level in LEVELS
                    ):
                        yield path.relative_to(ROOT).as_posix(), node
                    case ast.Call(func=ast.Attribute(ast.Name("logging"), level)) if level in LEVELS:
                        yield path.relative_to(ROOT).as_posix(), node


def test_every_call_says_an_event_by_name_and_keys_that_are_declared() -> None:
    found = list(calls())
    allowed = KEYS.keys() | {"exc_info"}

    assert len(found) > 35
    for path, call in found:
        place = f"{path}:{call.lineno}"
        assert len(call.args) == 1, f"{place}: a text with values put in"
        # A name that is chosen among a few stands in a variable.
        assert isinstance(call.args[0], ast.Name) or (
            isinstance(call.args[0], ast.Constant) and str(call.args[0].value).replace("_", "").islower()
        ), f"{place}: an event is no name"
        for keyword in call.keywords:
            if keyword.arg is None:
                assert (path, ast.unparse(keyword.value)) in SPREAD, place
            else:
                assert keyword.arg in allowed, f"{place}: {keyword.arg} is not declared in fieldward/logs.py"


def test_no_module_but_the_log_itself_has_a_logger_of_the_standard_library() -> None:
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            text = path.read_text()
            if "logging.getLogger(" in text:
                assert path.relative_to(ROOT).as_posix() in {
                    "fieldward/logs.py",
                    "models/encryption/aws_kms_provider.py",
                }
            assert layer == "fieldward" or not re.search(r"\bprint\(", text), path


def test_what_is_spread_is_declared() -> None:
    from schema.limits import Measure

    assert Measure().shown().keys() <= KEYS.keys()


def test_a_key_that_is_not_declared_is_left_out_and_counted() -> None:
    said: dict[str, Any] = {"event": "something", "email": SECRET, "name": SECRET, "count": 1}

    assert keep_declared(None, "info", said) == {"event": "something", "count": 1, "left_out": 2}


def test_the_running_request_is_named_in_each_line() -> None:
    token = running_request.set(UUID(int=7))
    try:
        assert name_request(None, "info", {})["request_id"] == str(UUID(int=7))
        assert name_request(None, "info", {"request_id": "told"})["request_id"] == "told"
    finally:
        running_request.reset(token)
    assert "request_id" not in name_request(None, "info", {})


@pytest.mark.parametrize(
    ("name", "text", "arguments", "said"),
    [
        ("uvicorn.error", "Invalid HTTP request received.", (), "Invalid HTTP request received."),
        ("uvicorn.error", "Cancel %s running task(s)", (3,), "Cancel 3 running task(s)"),
        ("uvicorn.error", "%s - %s", (SECRET, 3), "%s - %s"),
        ("uvicorn.error", "%s", ("3",), "%s"),
        (
            "asyncio",
            f"Task exception was never retrieved\nfuture: <{SECRET}>",
            (),
            "Task exception was never retrieved",
        ),
        ("tortoise", f"select '{SECRET}'", (), WITHHELD),
        ("py.warnings", "%s", (f"x.py:3: Warning: {SECRET}",), WITHHELD),
        ("opentelemetry.exporter", f"Failed: {SECRET}", (), WITHHELD),
        ("models.pool", SECRET, (), WITHHELD),
    ],
)
def test_of_a_library_the_text_of_its_code_is_said_and_nothing_that_was_put_in(
    name: str, text: str, arguments: tuple[Any, ...], said: str
) -> None:
    record = logging.LogRecord(name, logging.WARNING, "/lib/x.py", 7, text, (), None)
    event: dict[str, Any] = {"_record": record, "event": text, "positional_args": arguments}

    shown = withhold_texts(None, "warning", event)

    assert shown["event"] == said
    assert shown["said_at"] == "/lib/x.py:7"
    del shown["_record"]
    assert SECRET not in str(shown)


_SCRIPT = f"""
import asyncio, logging, sys, warnings
from fieldward.logs import configure_logs
configure_logs("json")
import structlog
log = structlog.get_logger()
log.warning("sealing_waits", failure="OSError", email={SECRET!r})
try:
    raise ValueError({SECRET!r}) from KeyError({SECRET!r})
except ValueError as error:
    log.error("unexpected_error", exc_info=error)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\\n", exc_info=error)
    logging.getLogger("botocore").error("%s", {SECRET!r}, exc_info=error)
warnings.warn({SECRET!r})
async def failing():
    raise ValueError({SECRET!r})
async def main():
    task = asyncio.create_task(failing(), name={SECRET!r})
    await asyncio.sleep(0)
    del task
    import gc; gc.collect()
asyncio.run(main())
"""


def test_each_line_is_json_without_a_value_whoever_writes_it() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert SECRET not in done.stderr + done.stdout
    assert len(lines) == 6
    for line in lines:
        assert line.keys() <= KEYS.keys()
        assert {"event", "level", "timestamp"} <= line.keys()
    assert lines[0]["left_out"] == 1
    assert {line.get("error") for line in lines} >= {"builtins.ValueError"}
    assert {line.get("logger") for line in lines} == {None, "uvicorn.error", "botocore", "py.warnings", "asyncio"}

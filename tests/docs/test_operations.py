"""What `docs/operations.md` says of the log, held to the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text()
LEVELS = ("debug", "info", "warning", "error", "critical")
EVENT = re.compile("[a-z]+(_[a-z]+)+")


def logged() -> Iterator[str]:
    """Yield the events that the code writes to the log by name."""
    for layer in ("auth", "models", "resolvers", "schema", "fieldward"):
        for path in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(func=ast.Attribute(ast.Name("log"), level), args=[ast.Constant(str(event)), *_]) if (
                        level in LEVELS
                    ):
                        yield event
                    case ast.Call(func=ast.Name("_holding_up_no_other"), args=[ast.Constant(str(event)), *_]):
                        yield event


def test_the_page_tells_every_event_of_the_log_that_has_a_name() -> None:
    told = re.findall(r"`(\w+)`", PAGE.partition("\n## Logs\n")[2].partition("\n## ")[0])
    events = {event for event in logged() if EVENT.fullmatch(event)}

    assert len(events) > 20
    assert events <= set(told), events - set(told)

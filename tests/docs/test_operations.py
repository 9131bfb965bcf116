"""What `docs/operations.md` says of commands and of the log, held to the code."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from fieldward.cli.app import application

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


EMBEDDED_ALONE = {"backup list", "backup prune", "backup verify", "restore"}
"""Commands for the embedded database that read its files, or start one of their own."""


def commands(command: Any = None, name: tuple[str, ...] = ()) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield each command by its words, with what it calls."""
    command = typer.main.get_command(application()) if command is None else command
    if hasattr(command, "commands"):
        for word, one in command.commands.items():
            yield from commands(one, (*name, word))
    else:
        yield " ".join(name), inspect.unwrap(command.callback)


def reaching(callback: Callable[..., Any]) -> str:
    """Return how a command reaches the databases: "beside" a server, "alone", or "never"."""
    tree = ast.parse(Path(inspect.getsourcefile(callback) or "").read_text())
    functions = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    seen: set[str] = set()
    waiting, found = [callback.__name__], "never"
    while waiting:
        name = waiting.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in ast.walk(functions[name]):
            match node:
                case ast.Call(func=ast.Name("reach"), keywords=[ast.keyword("may_join", ast.Constant(True)), *_]):
                    found = "beside"
                case ast.Call(func=ast.Name("reach")):
                    found = "alone"
                case ast.Call(func=ast.Name(called)):
                    waiting.append(called)
    return found


def named_in(text: str) -> set[str]:
    """Return the commands that a part of the page names; those of a whole group by `group …`."""
    every, found = [name for name, _ in commands()], set()
    for said in re.findall(r"`([a-z][a-z …-]*)`", text):
        meant = {one for one in every if one == said or (said.endswith(" …") and one.startswith(said[:-1]))}
        assert meant, said
        found |= meant
    return found


def test_the_page_names_the_commands_that_run_beside_a_server() -> None:
    said = named_in(" ".join(PAGE.partition("but for those that run beside it: ")[2].partition(". As root")[0].split()))
    by = {name: reaching(callback) for name, callback in commands()}

    assert len(by) > 40
    assert {name for name, how in by.items() if how == "beside"} <= said
    assert {name for name in said if by[name] == "alone"} == set()


def test_the_page_names_the_commands_that_ask_no_database() -> None:
    said = named_in(re.findall(r"every command but (.*?) \|", PAGE)[0])

    assert said == {name for name, callback in commands() if reaching(callback) == "never"} - EMBEDDED_ALONE


def test_every_command_is_on_the_page_or_on_that_of_backups() -> None:
    pages = PAGE + (ROOT / "docs" / "backup.md").read_text()

    assert [name for name, _ in commands() if f"fieldward {name}" not in pages] == []

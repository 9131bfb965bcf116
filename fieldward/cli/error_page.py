"""The catalogue of errors as a page: `docs/errors.md`; and the command that prints it."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from auth.errors import Code
from fieldward.cli.markdown import lean
from schema.error_catalogue import CODES, DETAILS, details, is_in_payload

_INTRODUCTION: Final = """# Errors

Printed by `fieldward errors` from the catalogue that the code is held to; `make errors` renews it.

An error has a `code`, which is never renamed, and a `message` for people, which may change. A program looks at the code
and, where there is one, at the `detail`. Errors stand in three places:

- **In a mutation's payload**, under `errors`: what you can mend. Nothing was done then. Each has `code`, `message`, and
  where it helps `field`, `permission`, `scope`, `retryAfter` and `detail`.
- **In the answer's `errors`**, with the same under `extensions`, and `path`: a field that has no answer is null,
  and the rest of the answer is good. The status is 200.
- **As the whole answer**, without `data`: the request was refused before anything ran, with the status that is named
  below for it. Who does not accept `application/graphql-response+json` gets 200 where the operation is wrong.

A status alone, 416, answers who asks for a part of an export's file that is behind its end.

A mutation is sent again safely with the same `Idempotency-Key`: see [for integrators](integrators.md)."""


def errors(
    check: Annotated[Path | None, typer.Option(help="Fail unless this file holds the printed page.")] = None,
) -> None:
    """Print the catalogue of errors: what each code means, and what to do about it.

    Example: fieldward errors > docs/errors.md
    """
    page = error_page()
    if check is None:
        print(page, end="")
    elif not check.exists() or check.read_text() != page:
        print(f"fieldward: {check} is not the catalogue of the code. `make errors` prints it.", file=sys.stderr)
        raise typer.Exit(1)


def error_page() -> str:
    """Return the page."""
    return "\n\n".join([_INTRODUCTION, "## Codes", *map(_code, Code), "## Details", _details()]) + "\n"


def _code(code: Code) -> str:
    fact = CODES[code]
    lines = [f"{fact.means}", "", f"- **Where**: {fact.occurs}"]
    lines.append(f"- **Of a mutation**: in {'its payload' if is_in_payload(code) else 'the answer'}'s `errors`.")
    if fact.statuses:
        lines.append(f"- **As the whole answer**: status {' or '.join(map(str, fact.statuses))}.")
    lines.append(f"- **What to do**: {fact.remedy}")
    lines.append(f"- **The same again**: {fact.again}.")
    return f"### {code}\n\n" + "\n".join(lines)


def _details() -> str:
    codes = details()
    rows = [("Detail", "Code", "Means", "What to do"), ("---",) * 4]
    rows += [(f"`{name}`", codes[name], fact.means, fact.remedy) for name, fact in DETAILS.items()]
    return lean(rows)

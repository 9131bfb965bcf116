"""The measures as a page: `docs/security/measures.md`; and the command that prints it."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldward.measure import MEASURES, Measure

_INTRODUCTION: Final = """# Technical and organizational measures

Printed by `fieldward measures` from what is declared beside the code; `make measures` renews it, and tests hold what it
names to the code.

A vendor who runs Fieldward for customers promises them measures, in an annex on security. This is each of them: what
customers are promised, what makes it true, what proves it, and what is left to whoever operates the service, without
which it is not true. `fieldward evidence collect` writes a signed archive with the figures of a running system for each
([operations](../operations.md#evidence)).

Tests are run by every change; drills and benchmarks at full size stand beside the figures that they gave, in
`drills/README.md` and `bench/README.md`."""


def measures(
    check: Annotated[Path | None, typer.Option(help="Fail unless this file holds the printed page.")] = None,
) -> None:
    """Print the measures: what is promised, what makes it true, what proves it, and the operator's part.

    Example: fieldward measures > docs/security/measures.md
    """
    page = measure_page()
    if check is None:
        print(page, end="")
    elif not check.exists() or check.read_text() != page:
        print(f"fieldward: {check} is not what is declared. `make measures` prints it.", file=sys.stderr)
        raise typer.Exit(1)


def measure_page() -> str:
    """Return the page."""
    return "\n\n".join([_INTRODUCTION, *map(_measure, MEASURES)]) + "\n"


def _measure(one: Measure) -> str:
    proved = ", ".join(f"`{place}`" for place in one.proved_by)
    figures = ", ".join(f"`{name}`" for name in one.figures) or "none"
    return "\n\n".join(
        [
            f"## {one.title}",
            f"**Promised.** {one.promise}",
            f"**Made true by.** {one.made_true}",
            f"**Proved by.** {proved}. Figures: {figures}.",
            f"**The operator's part.** {one.operator}",
        ]
    )

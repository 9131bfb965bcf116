"""`erase`: making what is somebody's unreadable for good, in every copy."""

import json
import sys
from typing import Annotated, Any

import typer

from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services
from resolvers.erasure import Erased, erase_name, erase_organization, erase_person

app = typer.Typer(help="Make what is somebody's unreadable for good, in every copy.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
Reason = Annotated[str, typer.Option(help="Why, for the trail.")]
Also = Annotated[list[str] | None, typer.Option("--also-named", help="Another spelling of the name; may be repeated.")]


@app.callback()
def _erase() -> None:
    """Make what is somebody's unreadable for good, in every copy."""


@app.command("person")
def person(
    email: Annotated[str, typer.Argument(help="The person's address; - reads it from standard input.")],
    reason: Reason,
    also_named: Also = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase a person: their address, their names, and what the trail holds of them. There is no way back.

    Their records stay, under a pseudonym, and the name under which they approved a record until that record goes.

    Example: fieldward erase person bo@acme.example --reason "Request of 2 March" --also-named "B. Berg"
    """
    (address,) = _said([email], yes)
    _confirm(yes, "Erase this person for good?")

    async def work() -> Erased:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                return await erase_person(built, operator(), email=address, also_named=also_named or (), reason=reason)

    _show(run(work()), as_json)


@app.command("name")
def name(
    names: Annotated[
        list[str], typer.Argument(help="The name, in each spelling that records have; - reads one from standard input.")
    ],
    organization: Annotated[str, typer.Option(help="The organization's slug.")],
    reason: Reason,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase somebody whom an organization's records name as their collector, and who has no account.

    Example: fieldward erase name "B. Berg" "Bo Berg" --organization acme --reason "Request of 2 March"
    """
    spellings = _said(names, yes)
    _confirm(yes, "Erase this name for good?")

    async def work() -> Erased:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                return await erase_name(built, operator(), slug=organization, names=spellings, reason=reason)

    _show(run(work()), as_json)


@app.command("organization")
def organization(
    slug: Annotated[str, typer.Argument(help="The organization's slug.")],
    reason: Reason,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase an organization: nothing that it sealed can be read any more, and nobody gets in.

    Example: fieldward erase organization acme --reason "Contract ended"
    """
    _confirm(yes, "Erase this organization for good?")

    async def work() -> Erased:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                return await erase_organization(built, operator(), slug=slug, reason=reason)

    _show(run(work()), as_json)


def _said(values: list[str], yes: bool) -> list[str]:
    """Return the values; of each `-` the next line of standard input, which other users of the machine don't see."""
    if "-" in values and not yes:
        refuse("expected --yes where standard input is read")
    return [sys.stdin.readline().strip() if value == "-" else value for value in values]


def _confirm(yes: bool, question: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        refuse("expected --yes where nobody can be asked")
    typer.confirm(question, abort=True, err=True)


def _show(erased: Erased, as_json: bool) -> None:
    shown: dict[str, Any] = {
        "erasure": str(erased.id),
        "keys_destroyed": erased.keys,
        "organizations": erased.organizations,
        "unknown_names": list(erased.unknown_names),
    }
    if as_json:
        print(json.dumps(shown))
        return
    for name, one in shown.items():
        print(f"{name.replace('_', ' ')}: {', '.join(one) or 'none' if isinstance(one, list) else one}")

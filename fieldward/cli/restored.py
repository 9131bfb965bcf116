"""What comes after any restore: what must not work again ends, and what came of it is said."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import typer

from fieldward.backup.checking import Checked
from fieldward.backup.job import WaysInNote, newest_note
from fieldward.backup.restoring import WAYS_IN
from fieldward.cli.environment import operator
from fieldward.settings import Settings
from resolvers.restore_settling import Settled, settle_restored
from resolvers.services import Services


@dataclass
class Outcome:
    """What a restore came to, whoever copied it. took_s: seconds of each step."""

    settled: Settled | None = None
    erasures: int = 0
    checked: Checked | None = None
    took_s: dict[str, float] = field(default_factory=dict)

    @property
    def is_as_it_must_be(self) -> bool:
        """Whether its check came out right, or was not asked for."""
        return self.checked is None or self.checked.may_be_served

    @contextmanager
    def timing(self, step: str) -> Iterator[None]:
        """Note how long a step takes."""
        began = time.monotonic()
        yield
        self.took_s[step] = round(time.monotonic() - began, 2)


async def settle_by(notes: list[Path], built: Services, into: Path, reason: str) -> Settled:
    """End what must not work again, by the newest note of what stood last. That in the data directory begins anew."""
    settled = await settle_restored(built, operator(), newest_note(notes), reason=reason)
    await WaysInNote(into, None).begin_anew(built.keystore)
    return settled


def notes_of(settings: Settings) -> list[Path]:
    """Return where notes of what stood last may lie."""
    directories = [settings.data_directory, *filter(None, [settings.backup_directory])]
    return [directory / WAYS_IN for directory in directories]


def settled_json(done: Settled | None) -> dict[str, Any] | None:
    """Return what was settled, as it is shown."""
    return None if done is None else asdict(done)


def print_and_exit(shown: dict[str, Any], checked: Checked | None, as_json: bool) -> None:
    """Print what came out, and exit as it is."""
    if as_json:
        print(json.dumps(shown, default=str))
    else:
        for name, value in shown.items():
            if isinstance(value, dict):
                print(f"{name}:")
                for inner, one in value.items():
                    _print(f"  {inner}", one)
            else:
                _print(name, value)
        for line in _waiting(shown["settled"]):
            print(line)
        for one in checked.set_back if checked else ():
            _advise(one.slug, one.published_size, one.kept_size)
    if checked is not None and checked.exit_code:
        raise typer.Exit(checked.exit_code)


def _waiting(settled: dict[str, Any] | None) -> Iterator[str]:
    """Yield what of that which was settled waits for somebody."""
    if settled is None:
        return
    if not settled["knows_ways_in"]:
        yield (
            "There was no note of what stood last: nobody knows what was taken away, or held, since. No period of"
            " retention counts until it is decided anew. Look at members, factors and legal holds before you serve it."
        )
    if settled["erasures_to_confirm"]:
        yield "Erasures that were confirmed wait to be confirmed anew: they may have been taken back since."
    if settled["erasures_gone"]:
        yield "Erasures that were asked for after that moment are gone: have them asked for once more, in their time."
    if settled["holds"]:
        yield "Legal holds that were placed since stand again: who placed them says why."
    if settled["other"]:
        yield "Roles or rights are others than they stood last: look at them."


def _print(name: str, value: Any) -> None:
    if isinstance(value, list):
        print(f"{name.replace('_', ' ')}:" + ("".join(f"\n    {one}" for one in value) or " none"))
    else:
        print(f"{name.replace('_', ' ')}: {'none' if value is None or value == {} else value}")


def _advise(slug: str | None, published: int, kept: int) -> None:
    if slug is None:
        return
    print(
        f"The trail of {slug} has {kept:,} entries sealed, and {published:,} were published. Nothing more of it is"
        " sealed until you say that the newer ones are lost:\n"
        f'  fieldward audit restart --organization {slug} --reason "…"'
    )

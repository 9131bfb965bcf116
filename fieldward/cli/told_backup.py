"""What commands about backups say, and how they end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer

from fieldward.backup.error import BackupError, DamagedBackupError
from fieldward.cli.environment import refuse

NOT_WHOLE: Final = 8
"""The exit code where a backup, or the WAL that belongs to it, is damaged or not all there."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@contextmanager
def telling_backups() -> Iterator[None]:
    """While the block runs, say in one line what is wrong with backups, and exit: with 8 where they are not whole."""
    try:
        yield
    except BackupError as error:
        refuse(str(error), code=NOT_WHOLE if isinstance(error, DamagedBackupError) else 1)


def show(shown: dict[str, Any], as_json: bool) -> None:
    """Print what was done."""
    if as_json:
        print(json.dumps(shown, default=str))
        return
    for name, value in shown.items():
        print(f"{name.replace('_', ' ')}: {', '.join(map(str, value)) or 'none' if isinstance(value, list) else value}")

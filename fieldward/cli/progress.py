"""What a long command shows of how far it is."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress


@contextmanager
def showing_progress(as_json: bool) -> Iterator[Any]:
    """Yield what is told of progress: a bar on a terminal, and for a program lines of JSON on standard error."""
    is_shown = not as_json and sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=not is_shown) as bar:
        tasks: dict[str, Any] = {}

        def told(step: str, done: int, total: int | None) -> None:
            if as_json:
                print(json.dumps({"step": step, "done": done, "total": total}), file=sys.stderr, flush=True)
                return
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield told

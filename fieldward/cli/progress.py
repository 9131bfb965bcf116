"""What a long command shows of how far it is."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress

TOLD_EVERY_S: Final = 0.5
"""Seconds between two lines about a step that goes on."""


@contextmanager
def showing_progress(as_json: bool) -> Iterator[Any]:
    """Yield what is told of progress: a bar on a terminal, and for a program lines of JSON on standard error."""
    is_shown = not as_json and sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=not is_shown) as bar:
        tasks: dict[str, Any] = {}
        last: dict[str, float] = {}

        def told(step: str, done: int, total: int | None) -> None:
            if as_json:
                now = time.monotonic()
                if done != total and now - last.get(step, -TOLD_EVERY_S) < TOLD_EVERY_S:
                    return
                last[step] = now
                print(json.dumps({"step": step, "done": done, "total": total}), file=sys.stderr, flush=True)
                return
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield told

"""What Python does for a piece of work, as a count that is the same in each run.

Processor time is another in each run, and on each machine. How many bytecodes the interpreter executes, and how often
anything is called, depends on the code, on Python's version and on the data alone. What a call into C does inside is
not seen: there the calls are counted, and nothing else.
"""

import cProfile
import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


async def bytecodes_of(work: Callable[[], Awaitable[object]]) -> int:
    """Return how many bytecodes are executed in this thread until the work is done."""
    executed = 0

    def step(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal executed
        if event == "opcode":
            executed += 1
        return step

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return step

    before = sys.gettrace()
    with _nothing_collected():
        sys.settrace(enter)
        try:
            await work()
        finally:
            sys.settrace(before)
    return executed


async def calls_of(work: Callable[[], Awaitable[object]]) -> int:
    """Return how many functions are called in this thread until the work is done, Python's and C's.

    A coroutine counts each time that it goes on.
    """
    profile = cProfile.Profile(subcalls=False)
    with _nothing_collected():
        profile.enable()
        try:
            await work()
        finally:
            profile.disable()
    return sum(entry.callcount for entry in profile.getstats())


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Keep the collector away: what it frees, and when, is not this work's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

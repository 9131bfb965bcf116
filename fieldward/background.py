"""Work that nobody waits for, done beside the requests of a server process.

A job is a function that does a little and says whether there may be more. It is called every so often, at once when it
is woken, and again and again while it has work. A job finds by itself what there is to do, so that nothing is lost when
a process ends, and takes no more than a moment each time, so that a process can end.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import structlog

from models.encryption.keyring import Keyring

log = structlog.get_logger()

Job = Callable[[], Awaitable[bool]]
"""Does a little of its work and returns whether there may be more to do at once."""

EVERY_S: Final = 60.0
"""Seconds between two looks of a job that nobody wakes."""
GRACE_S: Final = 5.0
"""Seconds that a job has to come to an end of what it is at when the process is asked to end."""


@dataclass(slots=True)
class JobFigures:
    """What is counted of a job: how often it was called, raised, and for how long it ran in all.

    every_s: seconds between two calls without work. began_at: when it was first called, as time since 1970 in seconds;
        succeeded_at: when it last came to an end. 0 for never.
    """

    name: str
    every_s: float
    runs: int = 0
    failures: int = 0
    spent_s: float = 0.0
    began_at: float = 0.0
    succeeded_at: float = 0.0


@dataclass(slots=True)
class _Named:
    name: str
    job: Job
    every_s: float
    figures: JobFigures
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Background:
    """Runs jobs while its block lasts, each in a task of its own, with the keyring active.

    What a job raises is logged by its type and place, and the job is called again when its time has come.

    jobs: by the name under which they are woken and logged. every_s: seconds between two calls of a job without work;
    but_s: of those jobs for which it is other than that.
    """

    def __init__(
        self,
        keyring: Keyring,
        jobs: Mapping[str, Job],
        *,
        every_s: float = EVERY_S,
        but_s: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._keyring = keyring
        self._jobs = {}
        for name, job in jobs.items():
            between_s = but_s.get(name, every_s)
            self._jobs[name] = _Named(name, job, between_s, JobFigures(name, between_s))
        self._is_ending = False

    @property
    def figures(self) -> Sequence[JobFigures]:
        """What is counted of each job."""
        return [one.figures for one in self._jobs.values()]

    def wake(self, name: str) -> None:
        """Have a job called at once, or once more where it is at work.

        Raises:
            LookupError: there is none of that name.
        """
        self._jobs[name].woken.set()

    def wake_afterwards(self, name: str) -> None:
        """Have a job called as soon as the running task has ended: what that is about to commit is committed then.

        Raises:
            LookupError: there is none of that name.
        """
        woken, task = self._jobs[name].woken, asyncio.current_task()
        if task is not None:
            task.add_done_callback(lambda _: woken.set())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the jobs while the block lasts. At its end each has `GRACE_S` to finish what it is at.

        After that it is cancelled, and what it had not committed did not happen.
        """
        self._is_ending = False
        tasks = [asyncio.create_task(self._run(one), name=f"background {one.name}") for one in self._jobs.values()]
        try:
            yield
        finally:
            self._is_ending = True
            for one in self._jobs.values():
                one.woken.set()
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=GRACE_S)
                for task in late:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, one: _Named) -> None:
        with self._keyring.activate():
            while not self._is_ending:
                one.woken.clear()
                if await self._call(one):
                    # Requests come first: a job with a lot to do leaves them a turn each time.
                    await asyncio.sleep(0)
                    continue
                try:
                    async with asyncio.timeout(one.every_s):
                        await one.woken.wait()
                except TimeoutError:
                    pass

    async def _call(self, one: _Named) -> bool:
        figures, began = one.figures, time.monotonic()
        figures.runs += 1
        figures.began_at = figures.began_at or time.time()
        try:
            found = await one.job()
        except Exception as error:
            figures.failures += 1
            log.error("background_job_failed", job=one.name, exc_info=error)
            return False
        finally:
            figures.spent_s += time.monotonic() - began
        figures.succeeded_at = time.time()
        return found

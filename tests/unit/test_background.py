"""Background jobs: when they are called, what becomes of their failures, and how they end."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fieldward.background import Background, Job
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keyring import Keyring, active_keyring
from models.encryption.keystore import KeyStore


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """A keyring that is never asked for a key."""
    return Keyring(KeyStore(), FileKeyProvider.create(tmp_path / "key"), lifetime_s=60)


class Counted:
    """A job that counts its calls, and has work so many times."""

    def __init__(self, work: int = 0) -> None:
        self.calls = 0
        self.work = work
        self._called = asyncio.Event()

    async def __call__(self) -> bool:
        self.calls += 1
        self._called.set()
        self.work -= 1
        return self.work >= 0

    async def until(self, calls: int) -> None:
        """Wait until it was called so often."""
        async with asyncio.timeout(5):
            while self.calls < calls:
                self._called.clear()
                await self._called.wait()


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_job_is_called_at_the_start_and_again_while_it_has_work(keyring: Keyring) -> None:
    job = Counted(work=3)

    async with Background(keyring, {"count": job}, every_s=60).running():
        await job.until(4)
        await _settle()

    assert job.calls == 4


async def test_a_job_without_work_is_called_every_so_often(keyring: Keyring) -> None:
    job = Counted()

    async with Background(keyring, {"count": job}, every_s=0.01).running():
        await job.until(3)


async def test_a_job_is_called_at_once_when_it_is_woken(keyring: Keyring) -> None:
    job, other = Counted(), Counted()
    background = Background(keyring, {"count": job, "other": other}, every_s=60)

    async with background.running():
        await job.until(1)
        await other.until(1)
        background.wake("count")
        await job.until(2)
        await _settle()
        assert (job.calls, other.calls) == (2, 1)
        with pytest.raises(LookupError):
            background.wake("nothing")


async def test_a_job_that_is_woken_while_it_works_is_called_once_more(keyring: Keyring) -> None:
    calls, go_on = 0, asyncio.Event()

    async def job() -> bool:
        nonlocal calls
        calls += 1
        await go_on.wait()
        return False

    background = Background(keyring, {"slow": job}, every_s=60)
    async with background.running():
        await _settle()
        background.wake("slow")
        go_on.set()
        await _settle()

        assert calls == 2


async def test_a_job_is_woken_when_the_task_that_asks_for_it_has_ended(keyring: Keyring) -> None:
    job, commit = Counted(), asyncio.Event()
    background = Background(keyring, {"count": job}, every_s=60)

    async def request() -> None:
        background.wake_afterwards("count")
        await commit.wait()

    async with background.running():
        await job.until(1)
        asking = asyncio.create_task(request())
        await _settle()
        assert job.calls == 1
        commit.set()
        await asking
        await job.until(2)


async def test_a_job_that_fails_is_logged_without_what_it_says_and_called_again(keyring: Keyring) -> None:
    calls = Counted()

    async def job() -> bool:
        await calls()
        raise ValueError("27.94218 is a secret")

    with capture_logs() as logs:
        async with Background(keyring, {"breaks": job}, every_s=0.01).running():
            await calls.until(2)

    first: Any = logs[0]
    assert (first["event"], first["job"], first["log_level"]) == ("background_job_failed", "breaks", "error")
    # The text of an exception is taken out where log lines are written: fieldward/logs.py.
    assert isinstance(first["exc_info"], ValueError)
    assert not any("27.94218" in str(value) for key, value in first.items() if key != "exc_info")


async def test_jobs_have_the_keyring(keyring: Keyring) -> None:
    seen: list[Keyring] = []

    async def job() -> bool:
        seen.append(active_keyring())
        return False

    async with Background(keyring, {"look": job}, every_s=60).running():
        await _settle()

    assert seen == [keyring]


async def test_at_the_end_a_job_finishes_what_it_is_at_and_begins_nothing_new(keyring: Keyring) -> None:
    begun, finished = 0, 0

    async def job() -> bool:
        nonlocal begun, finished
        begun += 1
        await asyncio.sleep(0.05)
        finished += 1
        return True

    async with Background(keyring, {"work": job}, every_s=60).running():
        await asyncio.sleep(0.02)

    assert (begun, finished) == (1, 1)


async def test_at_the_end_a_job_that_takes_too_long_is_cancelled(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldward.background.GRACE_S", 0.05)
    was_cancelled = False

    async def job() -> bool:
        nonlocal was_cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            was_cancelled = True
            raise
        return False

    started = time.monotonic()
    endless: Job = job
    async with Background(keyring, {"endless": endless}, every_s=60).running():
        await _settle()

    assert was_cancelled
    assert time.monotonic() - started < 5

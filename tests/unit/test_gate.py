"""The gate before the first request: what waits behind it."""

from fieldward.web.gate import Gate


async def test_no_job_works_before_what_was_erased_is_erased_again() -> None:
    gate, done = Gate(), 0

    async def job() -> bool:
        nonlocal done
        done += 1
        return True

    held = gate.behind(job)
    gate._is_open = False
    assert (await held(), done) == (False, 0)
    gate._is_open = True
    assert (await held(), done) == (True, 1)

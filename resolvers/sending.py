"""How what leaves this machine is sent: in threads of its own, within a time, and with one error where it did not.

A server that answers a byte now and then keeps one of these threads, and none that writes signed heads down.
"""

import asyncio
import http.client
import smtplib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

TIMEOUT_S: Final = 10.0
"""Seconds that a server may take for each step."""
LONGEST_S: Final = 30.0
"""Seconds that sending may take in all."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_threads: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="sending")


class NotSentError(Exception):
    """Something did not leave. `kind` says why, without anything that a server answered or was told."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"It was not sent: {kind}.")
        self.kind = kind


async def send_in_thread(work: Callable[[], None]) -> None:
    """Return once the work, which waits for a server, is done. Raises `NotSentError` for whatever it raised."""
    try:
        async with asyncio.timeout(LONGEST_S):
            await asyncio.get_running_loop().run_in_executor(_threads, work)
    except smtplib.SMTPResponseException as error:
        raise NotSentError(f"SMTP {error.smtp_code}") from error
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        raise NotSentError("SMTP " + ", ".join(str(code) for code in codes)) from error
    except (OSError, TimeoutError, smtplib.SMTPException, http.client.HTTPException, ValueError) as error:
        raise NotSentError(type(error).__name__) from error

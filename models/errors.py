"""What may go wrong with data: errors that a caller is told about, and others that nobody outside ever sees."""

import random

from auth.errors import Code, FieldwardError


class ConflictError(FieldwardError):
    """The data is not, or no longer, as the caller believes: another version, a taken id, a state that
    forbids it."""

    code = Code.CONFLICT


class InvalidInputError(FieldwardError):
    """A value is not what was expected. The message says what was, and never repeats the value."""

    code = Code.INVALID_INPUT


class OutdatedCursorError(ConflictError):
    """What changed since a cursor can't be told any more, or not all of it: whoever asks begins anew, with all there
    is."""

    noted = detail = "SYNC_ANEW"


class UnavailableError(FieldwardError):
    """Something the service stands on is away: the database, the keystore, the key provider. Try again
    later: `retry_after_s` says after how many seconds, where that can be guessed."""

    code = Code.UNAVAILABLE

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CrowdedError(UnavailableError):
    """More is asked for than gets done: others wait already, and for long. Nothing was begun. Try again later."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=random.randint(1, 3))  # noqa: S311  (spreads those who come again)


class UncommittedError(UnavailableError):
    """A transaction was certainly not committed, and what it changed is not there.

    may_pass: whether the same, done again at once, may well be committed: the connection was lost, another transaction
        was in the way. Not where there is too much to do, or no server that takes writes.
    """

    def __init__(self, message: str, *, retry_after_s: int | None = None, may_pass: bool = False) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.may_pass = may_pass


class UnknownOutcomeError(FieldwardError):
    """The connection was lost while the change was being committed: it may have happened.

    Sent again under the same `Idempotency-Key`, it is done once whatever became of it, and the answer says so.
    """

    code = Code.UNKNOWN_OUTCOME


class SealedError(Exception):
    """An encrypted value was touched without its key in memory, or without what binds it to its row.

    A programming error: the guard loads the key before anything reads the value. Never shown to a caller.
    """


class ErasedError(SealedError):
    """An encrypted value can't be opened any more: its key was destroyed, since whom it is of was erased.

    No error towards anybody: there is nothing to show.
    """


class TamperedError(Exception):
    """A stored value does not open: moved, swapped, truncated or changed, or sealed under another key.

    Never shown to a caller, who gets INTERNAL; operators get an alarm.
    """


class EncryptedLookupError(Exception):
    """A query compares, orders or computes by the content of an encrypted column, which the database can't
    read.

    A programming error. Search through a blind index instead.
    """

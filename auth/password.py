"""Passwords: Argon2id (RFC 9106), and the same work for an account that is not there."""

import unicodedata
from dataclasses import dataclass
from typing import ClassVar, Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

from auth.errors import Code, FieldwardError

SHORTEST: Final = 15
LONGEST: Final = 128


class PasswordError(FieldwardError):
    """The password can't be taken."""

    code: ClassVar[Code] = Code.INVALID_INPUT


@dataclass(frozen=True, slots=True)
class Parameters:
    """Argon2id's parameters: RFC 9106's second recommended choice."""

    memory_cost: int = 64 * 1024
    time_cost: int = 3
    parallelism: int = 4

    @classmethod
    def for_tests(cls) -> "Parameters":
        """Return parameters that are fast and weak."""
        return cls(memory_cost=8, time_cost=1, parallelism=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the password was right, and whether its hash should be made anew."""

    ok: bool
    needs_rehash: bool


class Passwords:
    """Hashes and checks passwords."""

    def __init__(self, parameters: Parameters) -> None:
        self._hasher = PasswordHasher(
            time_cost=parameters.time_cost,
            memory_cost=parameters.memory_cost,
            parallelism=parameters.parallelism,
            type=Type.ID,
        )
        self._dummy = self._hasher.hash("an account that is not there")

    def hash(self, password: str) -> str:
        """Return the encoded hash."""
        return self._hasher.hash(_normalized(password))

    def verify(self, encoded: str | None, password: str) -> Verdict:
        """Check a password; without an account the same work is done, for nothing."""
        try:
            self._hasher.verify(encoded or self._dummy, _normalized(password))
        except (Argon2Error, InvalidHashError):
            return Verdict(ok=False, needs_rehash=False)
        if encoded is None:
            return Verdict(ok=False, needs_rehash=False)
        return Verdict(ok=True, needs_rehash=self._hasher.check_needs_rehash(encoded))

    def require_acceptable(self, password: str) -> None:
        """Raise `PasswordError` unless it is long enough."""
        if not SHORTEST <= len(password) <= LONGEST:
            raise PasswordError(f"Expected {SHORTEST} to {LONGEST} characters.", field=("password",))


def _normalized(password: str) -> str:
    if len(password) > LONGEST:
        raise PasswordError(f"Expected at most {LONGEST} characters.", field=("input", "password"))
    return unicodedata.normalize("NFKC", password)

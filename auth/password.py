"""Passwords: how one is judged, hashed and checked.

Promises: a password is kept as an Argon2id hash alone; an account that does not exist costs the same work as one that
does, so that time does not tell which sign-in names exist; a hash made with other parameters is told, so that it can
be replaced at the next sign-in; a new password is long enough and not one that is easy to guess, and nothing else is
asked of it. Nothing here reads a clock or the environment, or waits: the work takes memory and tens of milliseconds, so
callers run it in a thread and bound how many run at once.

Standards: RFC 9106 (its second recommended option by default); NIST SP 800-63B-4 for length, normalization, and what
is asked of a password and what is not.
"""

import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from auth.errors import Code, FieldwardError
from auth.guessing import guess

MINIMUM_LENGTH: Final = 15
"""Code points; SP 800-63B-4 asks for 15 where a password may be the only factor."""

MINIMUM_LENGTH_BESIDE_A_FACTOR: Final = 12
"""Code points, where a second factor is asked for with it; SP 800-63B-4 asks for at least 8 there."""

MAXIMUM_LENGTH: Final = 128
"""Code points; SP 800-63B-4 asks for at least 64. A bound keeps the work before the hash small."""

NO_PASSWORD: Final = "none"  # noqa: S105  (that there is none)
"""Stands in the place of a hash where no password is to be right, after the same work."""


class UnacceptablePasswordError(FieldwardError):
    """The password cannot be taken. Says why, never what it was."""

    code: ClassVar[Code] = Code.INVALID_INPUT


LEAST_MEMORY_KIB: Final[Mapping[int, int]] = {1: 47104, 2: 19456, 3: 12288, 4: 9216, 5: 7168}
"""By passes, the least memory that OWASP's Password Storage Cheat Sheet takes as strong enough; more passes take no
less than five."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The cost of a hash, named as in RFC 9106; the default is its second recommended option (section 4).

    memory_kib: memory in KiB (m). time_cost: passes over it (t). parallelism: lanes (p).
    hash_length, salt_length: bytes.
    """

    memory_kib: int = 64 * 1024
    time_cost: int = 3
    parallelism: int = 4
    hash_length: int = 32
    salt_length: int = 16

    @classmethod
    def for_tests(cls) -> "Parameters":
        """Return the lowest cost that Argon2 takes. It protects nothing."""
        return cls(memory_kib=8, time_cost=1, parallelism=1)

    @property
    def is_strong(self) -> bool:
        """Whether the cost is at least what `LEAST_MEMORY_KIB` says, and one that Argon2 can be run at."""
        least = LEAST_MEMORY_KIB[max(1, min(self.time_cost, max(LEAST_MEMORY_KIB)))]
        return self.memory_kib >= max(least, 8 * self.parallelism)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the password is the account's; and, if it is, whether its hash should be made anew."""

    ok: bool
    needs_rehash: bool


class Passwords:
    """Hashes and checks passwords at one cost. Safe to share between threads."""

    def __init__(self, parameters: Parameters) -> None:
        """Make one hash that nothing matches, at the cost given, to check unknown accounts against."""
        self._hasher = PasswordHasher(
            time_cost=parameters.time_cost,
            memory_cost=parameters.memory_kib,
            parallelism=parameters.parallelism,
            hash_len=parameters.hash_length,
            salt_len=parameters.salt_length,
            type=Type.ID,
        )
        self._nobody = self._hasher.hash(secrets.token_bytes(32))

    def hash(self, password: str) -> str:
        """Return the password's hash in the PHC string format, under a fresh salt.

        Judges nothing but what cannot be hashed; `require_acceptable` is for new passwords.

        Raises:
            UnacceptablePasswordError: longer than 128 code points, or not text.
        """
        return self._hasher.hash(_prepared(password))

    def verify(self, encoded: str | None, password: str) -> Verdict:
        """Return whether `encoded` is the password's hash.

        None, for an account that does not exist or has no password, and anything that is no Argon2id hash cost the
        work of a hash made with these parameters, and are not ok. A damaged hash and a lack of memory are errors of
        argon2-cffi (`VerificationError`): they say nothing about the password.

        Raises:
            UnacceptablePasswordError: longer than 128 code points, or not text; before any work, and for every
                account alike.
        """
        prepared = _prepared(password)
        if encoded is None or not _is_argon2id(encoded):
            self._matches(self._nobody, prepared)
            return Verdict(ok=False, needs_rehash=False)
        ok = self._matches(encoded, prepared)
        return Verdict(ok=ok, needs_rehash=ok and self._hasher.check_needs_rehash(encoded))

    def _matches(self, encoded: str, prepared: bytes) -> bool:
        try:
            return self._hasher.verify(encoded, prepared)
        except VerifyMismatchError:
            return False


def require_acceptable(password: str, *, has_second_factor: bool = False, about: Iterable[str] = ()) -> None:
    """Raise `UnacceptablePasswordError` unless the password may be set, with a message that says why not.

    It has 15 to 128 code points of text without NUL, and is not easy to guess (`auth/guessing.py`). Both the text as
    given and its normalized form must be long enough: one character can normalize to eighteen, and two to one. What it
    consists of is not judged.

    has_second_factor: a confirmed one is asked for at every sign-in: then 12 are enough.
    about: what somebody who guesses may know: the person's address and name, the organization's name.
    """
    normalized = _normalized(password)
    least = MINIMUM_LENGTH_BESIDE_A_FACTOR if has_second_factor else MINIMUM_LENGTH
    if min(len(password), len(normalized)) < least:
        raise UnacceptablePasswordError(f"A password has at least {least} characters.", field=("password",))
    if "\0" in password:
        raise UnacceptablePasswordError("A password has no NUL character.", field=("password",))
    guessed = guess(normalized, about)
    if guessed.is_easy:
        raise UnacceptablePasswordError(
            f"This password is easy to guess: {guessed.why}. Several words that have nothing to do with each other or"
            " with you are harder.",
            field=("password",),
        )


def is_long(password: str) -> bool:
    """Return whether an acceptable password is long enough to stand alone, should its second factor be taken away."""
    return min(len(password), len(_normalized(password))) >= MINIMUM_LENGTH


def _is_argon2id(encoded: str) -> bool:
    try:
        return encoded.isascii() and extract_parameters(encoded).type is Type.ID
    except InvalidHashError:
        return False


def _prepared(password: str) -> bytes:
    return _normalized(password).encode()


def _normalized(password: str) -> str:
    """Return the form that is hashed: NFKC, so that a keyboard's way of composing a letter does not matter."""
    if len(password) > MAXIMUM_LENGTH:
        raise UnacceptablePasswordError(f"A password has at most {MAXIMUM_LENGTH} characters.", field=("password",))
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise UnacceptablePasswordError("A password is text: it has no half characters.", field=("password",))
    return unicodedata.normalize("NFKC", password)

"""Codes of generators: which are taken, and when."""

from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from auth.totp import SECRET_CHARACTERS, matching_step, new_totp_secret, step_of, totp_uri

# RFC 6238, appendix B: the secret of the SHA-1 vectors, and the last six digits of its codes.
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
VECTORS = [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037")]


@pytest.mark.parametrize(("seconds", "code"), VECTORS)
def test_the_codes_are_those_of_the_standard(seconds: int, code: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)

    assert matching_step(RFC_SECRET, code, at=at) == step_of(at) == seconds // 30


@pytest.mark.parametrize(("steps", "is_taken"), [(-2, False), (-1, True), (0, True), (1, False), (2, False)])
def test_a_code_is_taken_in_its_step_and_the_next_and_never_before_it(steps: int, is_taken: bool) -> None:
    secret, now = new_totp_secret(), datetime(2026, 5, 1, 12, 0, 7, tzinfo=UTC)
    code = pyotp.TOTP(secret).at(now + timedelta(seconds=30 * steps))

    assert (matching_step(secret, code, at=now) == step_of(now) + steps) is is_taken


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "٣٣٣٣٣٣", "²²²²²²", "-12345", "12.345"])
def test_what_is_no_code_is_none(code: str) -> None:
    assert matching_step(RFC_SECRET, code, at=datetime.fromtimestamp(59, UTC)) is None


def test_blanks_in_a_code_do_not_matter() -> None:
    assert matching_step(RFC_SECRET, " 287 082 ", at=datetime.fromtimestamp(59, UTC)) == 1


def test_a_secret_is_random_and_goes_into_an_app_by_its_uri() -> None:
    secret = new_totp_secret()
    uri = pyotp.parse_uri(totp_uri(secret, account="nadia@clearwater.example", issuer="Fieldward"))

    assert len(secret) == SECRET_CHARACTERS
    assert secret != new_totp_secret()
    assert isinstance(uri, pyotp.TOTP)
    assert (uri.secret, uri.name, uri.issuer) == (secret, "nadia@clearwater.example", "Fieldward")
    assert (uri.digits, uri.interval) == (6, 30)

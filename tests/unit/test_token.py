"""Tokens: a good one opens, and each way to be wrong gets the one same answer."""

import base64
import hmac
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from auth.errors import UnauthenticatedError
from auth.opaque_token import RefreshToken, digest, is_same_digest
from auth.token import AccessClaims, SigningKey, issue_access_token, key_id_of, public_jwk, verify_access_token

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
USER = UUID("0195515a-0000-7000-8000-000000000001")
SESSION = UUID("0195515a-0000-7000-8000-000000000002")
ORGANIZATION = UUID("0195515a-0000-7000-8000-000000000003")
CLAIMS = AccessClaims(USER, SESSION, ORGANIZATION)
SEED = os.urandom(32)
KEY = SigningKey(SEED)
KEYS = {KEY.id: KEY.public}
ISSUER, AUDIENCE = "https://fieldward.example", "fieldward-api"

GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": str(USER),
    "sid": str(SESSION),
    "org": str(ORGANIZATION),
    "iat": AT,
    "exp": AT + 300,
    "jti": str(CLAIMS.token_id),
}
HEADER: dict[str, Any] = {"alg": "EdDSA", "typ": "at+jwt", "kid": KEY.id}


def verified(token: str, *, now: datetime = NOW, audience: str = AUDIENCE, issuer: str = ISSUER) -> AccessClaims:
    claims = verify_access_token(token, KEYS, now=now, issuer=issuer, audience=audience)
    assert isinstance(claims, AccessClaims)
    return claims


def assert_refused(token: str, *, now: datetime = NOW) -> None:
    with pytest.raises(UnauthenticatedError) as error:
        verified(token, now=now)
    assert error.value.message == "The access token is not valid."
    assert error.value.__cause__ is None


def an_access_token(**other: Any) -> str:
    given: dict[str, Any] = {"now": NOW, "issuer": ISSUER, "audience": AUDIENCE, "lifetime_s": 300}
    return issue_access_token(KEY, CLAIMS, **{**given, **other})


def forged(
    header: dict[str, Any], claims: object, sign: Callable[[bytes], bytes] | None = None, *, seed: bytes = SEED
) -> str:
    """Return a token made by hand, so that no library refuses to make a bad one."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    signing_input = f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(claims).encode())}"
    return f"{signing_input}.{_base64url((sign or private.sign)(signing_input.encode()))}"


def test_a_token_made_by_hand_as_the_forgeries_are_opens_if_nothing_is_wrong_with_it() -> None:
    assert verified(forged(HEADER, GOOD)) == CLAIMS


def test_an_issued_token_opens_to_its_claims() -> None:
    token = an_access_token()

    assert verified(token) == CLAIMS
    assert jwt.get_unverified_header(token) == HEADER
    assert jwt.decode(token, options={"verify_signature": False}) == GOOD


def test_a_token_opens_with_whichever_of_the_known_keys_signed_it() -> None:
    old = SigningKey(os.urandom(32))
    token = issue_access_token(old, CLAIMS, now=NOW, issuer=ISSUER, audience=AUDIENCE, lifetime_s=60)

    assert_refused(token)
    keys = {**KEYS, old.id: old.public}
    assert verify_access_token(token, keys, now=NOW, issuer=ISSUER, audience=AUDIENCE) == CLAIMS


def test_each_issued_token_has_an_id_of_its_own() -> None:
    assert AccessClaims(USER, SESSION, ORGANIZATION) != CLAIMS


@pytest.mark.parametrize("seconds", [-5, 0, 299, 304])
def test_a_token_lives_from_its_issue_to_its_expiry_give_or_take_the_leeway(seconds: int) -> None:
    assert verified(an_access_token(), now=NOW + timedelta(seconds=seconds)) == CLAIMS


@pytest.mark.parametrize("seconds", [-3600, -6, 305, 3600, 86_400 * 365])
def test_a_token_is_dead_before_its_issue_and_after_its_expiry(seconds: int) -> None:
    assert_refused(an_access_token(), now=NOW + timedelta(seconds=seconds))


def test_the_same_moment_in_another_zone_is_the_same_moment() -> None:
    assert verified(an_access_token(now=NOW.astimezone(timezone(timedelta(hours=-5))))) == CLAIMS


def test_a_time_without_a_zone_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="zone"):
        verified(an_access_token(), now=NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="zone"):
        an_access_token(now=NOW.replace(tzinfo=None))


@pytest.mark.parametrize("lifetime_s", [-1, 0, 301, 86_400])
def test_no_token_is_issued_for_longer_than_five_minutes(lifetime_s: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 300"):
        an_access_token(lifetime_s=lifetime_s)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another-api"},
        {"aud": [AUDIENCE]},
        {"aud": [AUDIENCE, "another-api"]},
        {"sub": "ada@acme.example"},
        {"sub": 1},
        {"sid": None},
        {"sid": ["a", "list"]},
        {"org": ""},
        {"org": str(ORGANIZATION).upper()},
        {"org": "{" + str(ORGANIZATION) + "}"},
        {"jti": "1"},
        {"exp": AT + 301},
        {"exp": AT},
        {"exp": AT - 1},
        {"exp": str(AT + 300)},
        {"exp": AT + 300.0},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"iat": AT + 6, "exp": AT + 100},
        {"iat": True},
        {"iat": None},
        {"nbf": AT + 6},
        {"nbf": "now"},
    ],
)
def test_a_well_signed_token_with_a_wrong_claim_is_refused(wrong: dict[str, Any]) -> None:
    assert_refused(forged(HEADER, {**GOOD, **wrong}))


@pytest.mark.parametrize("claim", GOOD)
def test_a_well_signed_token_without_one_of_its_claims_is_refused(claim: str) -> None:
    assert_refused(forged(HEADER, {name: value for name, value in GOOD.items() if name != claim}))


@pytest.mark.parametrize("claims", [[], None, "claims", 1, {}])
def test_a_well_signed_token_that_claims_nothing_is_refused(claims: object) -> None:
    assert_refused(forged(HEADER, claims))


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "typ": "JWT"},
        {**HEADER, "typ": "AT+JWT"},
        {**HEADER, "typ": None},
        {**HEADER, "kid": "another"},
        {**HEADER, "kid": None},
        {**HEADER, "kid": ["a", "list"]},
        {**HEADER, "kid": {}},
        {**HEADER, "alg": "Ed25519"},
        {**HEADER, "alg": "eddsa"},
        {**HEADER, "alg": ["EdDSA"]},
        {**HEADER, "jku": "https://elsewhere.example/keys"},
        {**HEADER, "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}},
        {**HEADER, "crit": ["b64"], "b64": True},
        {**HEADER, "b64": False},
        {"alg": "EdDSA", "typ": "at+jwt"},
        {"alg": "EdDSA", "kid": KEY.id},
        {"typ": "at+jwt", "kid": KEY.id},
        {},
    ],
)
def test_a_well_signed_token_with_another_header_is_refused(header: dict[str, Any]) -> None:
    assert_refused(forged(header, GOOD))


def test_a_token_signed_with_anything_but_ed25519_is_refused() -> None:
    raw = KEY.public.public_bytes_raw()
    pem = KEY.public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())

    assert_refused(forged({**HEADER, "alg": "none"}, GOOD, lambda _: b""))
    assert_refused(forged({**HEADER, "alg": "None"}, GOOD, lambda _: b""))
    assert_refused(forged(HEADER, GOOD, lambda _: b""))
    for secret in (raw, pem, pem.strip(), raw.hex().encode(), b""):
        for algorithm in ("HS256", "EdDSA"):
            header = {**HEADER, "alg": algorithm}
            assert_refused(forged(header, GOOD, lambda data, key=secret: hmac.digest(key, data, sha256)))  # type: ignore[misc]
    assert_refused(jwt.encode(GOOD, rsa_key, algorithm="RS256", headers=HEADER | {"alg": "RS256"}))
    assert_refused(jwt.encode(GOOD, ec_key, algorithm="ES256", headers=HEADER | {"alg": "ES256"}))
    assert_refused(forged(HEADER, GOOD, seed=os.urandom(32)))


def test_a_key_that_is_not_ed25519_verifies_nothing() -> None:
    other = Ed448PrivateKey.generate()
    token = forged(HEADER, GOOD, other.sign)
    keys: dict[str, Any] = {KEY.id: other.public_key()}

    with pytest.raises(UnauthenticatedError):
        verify_access_token(token, keys, now=NOW, issuer=ISSUER, audience=AUDIENCE)


def test_a_token_with_one_character_changed_is_refused() -> None:
    token = an_access_token()

    for place in range(len(token)):
        for character in ("A", "_", "=", " "):
            if token[place] != character:
                assert_refused(token[:place] + character + token[place + 1 :])


@pytest.mark.parametrize("more", [".", "=", "\n", " ", "\0", ".AAAA"])
def test_a_token_with_anything_before_or_after_it_is_refused(more: str) -> None:
    token = an_access_token()

    assert_refused(token + more)
    assert_refused(more + token)


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b.c", "none.at.all", "töken", "\ud800", "Bearer x", None, b"..", 7],
)
def test_what_is_no_token_is_refused(token: Any) -> None:
    assert_refused(token)


def test_a_header_nested_beyond_reason_is_refused() -> None:
    assert_refused(f"{_base64url(b'[' * 2900)}..")
    assert_refused(f"{_base64url(b'1' * 2900)}..")


def test_a_token_beyond_4_kib_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    room = 4096 - len(forged(HEADER, {**GOOD, "x": ""}))
    longest = forged(HEADER, {**GOOD, "x": "x" * (room * 3 // 4)})
    assert 4090 < len(longest) <= 4096
    assert verified(longest) == CLAIMS

    monkeypatch.setattr(jwt, "get_unverified_header", _never)
    monkeypatch.setattr(jwt, "decode", _never)
    assert_refused(forged(HEADER, {**GOOD, "x": "x" * (room * 3 // 4 + 8)}))
    assert_refused("a" * 5_000_000)


@given(st.one_of(st.text(), st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(lambda p: _joined(p))))
def test_no_text_is_a_token_by_chance_and_none_raises_anything_else(text: str) -> None:
    assert_refused(text)


def test_the_id_of_a_key_is_its_thumbprint_as_in_rfc_8037() -> None:
    private = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")

    key = SigningKey(private)

    assert key.id == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_signing_key_shows_its_id_and_nothing_private() -> None:
    seed = os.urandom(32)
    key = SigningKey(seed)

    shown = f"{key!r} {key} {[key]}"

    assert key.id in shown
    assert seed.hex() not in shown
    assert _base64url(seed) not in shown


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_no_signing_key(length: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the message is the library's own
        SigningKey(bytes(length))


def test_a_published_key_verifies_what_was_signed() -> None:
    token = issue_access_token(KEY, CLAIMS, now=datetime.now(UTC), issuer=ISSUER, audience=AUDIENCE, lifetime_s=300)
    published = jwt.PyJWKSet.from_dict({"keys": [public_jwk(SigningKey(bytes(32)).public), public_jwk(KEY.public)]})

    said = jwt.decode(token, published[KEY.id].key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=ISSUER)

    assert said["sub"] == str(USER)
    assert all(key.key_type == "OKP" and key.public_key_use == "sig" for key in published.keys)
    assert all("d" not in public_jwk(key) for key in KEYS.values())


def test_a_verified_token_says_which_key_signed_it() -> None:
    token = issue_access_token(KEY, CLAIMS, now=NOW, issuer=ISSUER, audience=AUDIENCE, lifetime_s=300)

    assert verified(token).key_id == key_id_of(token) == KEY.id


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "kid": 5},
        {**HEADER, "kid": "a" * 44},
        {**HEADER, "kid": "'" * 43},
        {**HEADER, "alg": "HS256"},
        {**HEADER, "typ": "JWT"},
        {"alg": "EdDSA", "typ": "at+jwt"},
    ],
)
def test_what_is_no_access_token_names_no_key(header: dict[str, Any]) -> None:
    assert key_id_of(_joined([json.dumps(header).encode(), json.dumps(GOOD).encode(), bytes(64)])) is None


@pytest.mark.parametrize("text", ["", "a.b", "é", "a" * 5000, "....", "fws_" + "A" * 92])
def test_other_texts_name_no_key(text: str) -> None:
    assert key_id_of(text) is None


def test_a_refresh_token_survives_its_text() -> None:
    token = RefreshToken.new(ORGANIZATION, SESSION)

    text = token.encode()

    assert RefreshToken.parse(text) == token
    assert text.startswith("fwr_")
    assert len(text) == 96


def test_a_refresh_token_is_new_each_time_and_hides_its_secret() -> None:
    token = RefreshToken.new(ORGANIZATION, SESSION)

    assert RefreshToken.new(ORGANIZATION, SESSION) != token
    assert repr(token.secret) not in repr(token)
    assert "secret" not in repr(token)


def test_a_refresh_token_with_one_character_changed_is_refused() -> None:
    text = RefreshToken.new(ORGANIZATION, SESSION).encode()

    for place in range(len(text)):
        for character in ("A", "_", "=", "+", "é"):
            if text[place] != character:
                _assert_no_refresh_token(text[:place] + character + text[place + 1 :])


@pytest.mark.parametrize("text", ["", "fwr_", "fwr_AAAA", "x" * 5000, "fwr_" + "A" * 91, "fwr_" + "A" * 92, "\ud800"])
def test_what_is_no_refresh_token_is_refused(text: str) -> None:
    _assert_no_refresh_token(text)


@pytest.mark.parametrize("more", ["\n", " ", "=", "A"])
def test_a_refresh_token_with_anything_around_it_is_refused(more: str) -> None:
    text = RefreshToken.new(ORGANIZATION, SESSION).encode()

    _assert_no_refresh_token(text + more)
    _assert_no_refresh_token(more + text)
    _assert_no_refresh_token("FWR_" + text.removeprefix("fwr_"))


@given(st.text())
def test_no_text_is_a_refresh_token_by_chance(text: str) -> None:
    _assert_no_refresh_token(text)
    _assert_no_refresh_token("fwr_" + text)


@given(st.uuids(), st.uuids(), st.binary(min_size=32, max_size=32))
def test_every_refresh_token_has_one_text_and_every_such_text_one_token(one: UUID, other: UUID, secret: bytes) -> None:
    token = RefreshToken(one, other, secret)

    assert RefreshToken.parse(token.encode()) == token


def test_a_secret_of_another_length_is_none() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        RefreshToken(ORGANIZATION, SESSION, b"short")


def test_what_is_stored_of_a_refresh_token_is_the_sha_256_of_its_secret() -> None:
    token = RefreshToken(ORGANIZATION, SESSION, bytes(32))

    assert token.digest() == digest(bytes(32)) == sha256(bytes(32)).digest()
    assert is_same_digest(token.digest(), digest(bytes(32)))
    assert not is_same_digest(token.digest(), digest(bytes(31) + b"\1"))


def _assert_no_refresh_token(text: str) -> None:
    with pytest.raises(UnauthenticatedError) as error:
        RefreshToken.parse(text)
    assert error.value.message == "The refresh token is not valid."


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _joined(parts: list[bytes]) -> str:
    return ".".join(map(_base64url, parts))


def _never(*_: object, **__: object) -> None:
    raise AssertionError("This should not have been parsed.")

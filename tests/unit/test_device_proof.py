"""A device's proof: a good one is taken, and each way to be wrong gets the one same answer."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.device_proof import (
    LONGEST_AGE_S,
    DeviceKey,
    DeviceKeyError,
    for_enrolment,
    for_refresh,
    for_sign_in,
    verify_device_proof,
)
from auth.enrolment_code import new_code, plain_code
from auth.errors import DeviceProofError, StaleProofError
from tests.support.device import AUDIENCE, TYPE, SoftwareDevice, base64url, claims_for

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
TOKEN = "fwr_a-refresh-token"
DEVICE = SoftwareDevice()
KEY = DeviceKey.from_jwk(json.dumps(DEVICE.jwk))
LINES = ("refresh", TOKEN)
HEADER = {"typ": TYPE, "alg": "ES256"}


def verified(proof: str, *, key: DeviceKey = KEY, now: datetime = NOW) -> str:
    return verify_device_proof(proof, key, binding=for_refresh(TOKEN), audience=AUDIENCE, now=now)


def said(**changed: Any) -> dict[str, Any]:
    return {**claims_for(*LINES, at=NOW), **changed}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in said().items() if key != name}


def signed(claims: dict[str, Any], header: dict[str, Any] | None = None, *, by: SoftwareDevice = DEVICE) -> str:
    """Sign whatever header and claims by ES256, as PyJWT would not."""
    parts = [json.dumps(one).encode() for one in (header or HEADER, claims)]
    text = ".".join(base64url(one) for one in parts)
    by_library = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
    return f"{text}.{base64url(by_library.sign(text.encode(), by.private))}"


def test_a_proof_by_the_devices_key_is_good_and_tells_its_id() -> None:
    claims = said()

    assert verified(signed(claims)) == claims["jti"]
    assert verified(DEVICE.proof(*LINES, at=NOW))


@pytest.mark.parametrize("off_s", [-LONGEST_AGE_S, LONGEST_AGE_S])
def test_a_clock_may_be_a_little_off(off_s: int) -> None:
    assert verified(DEVICE.proof(*LINES, at=NOW + timedelta(seconds=off_s)))


@pytest.mark.parametrize("off_s", [-LONGEST_AGE_S - 1, LONGEST_AGE_S + 1, -86_400, 10**9])
def test_a_proof_of_another_time_is_stale(off_s: int) -> None:
    with pytest.raises(StaleProofError):
        verified(DEVICE.proof(*LINES, at=NOW, iat=int(NOW.timestamp()) + off_s))


def test_what_a_stranger_signs_is_not_told_to_be_stale() -> None:
    with pytest.raises(DeviceProofError) as error:
        verified(SoftwareDevice().proof(*LINES, at=NOW - timedelta(days=1)))

    assert type(error.value) is DeviceProofError


PUBLIC_PEM = DEVICE.private.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def by_hmac(secret: bytes) -> str:
    text = ".".join(base64url(json.dumps(one).encode()) for one in ({"typ": TYPE, "alg": "HS256"}, said()))
    return f"{text}.{base64url(hmac.digest(secret, text.encode(), 'sha256'))}"


P384 = ec.generate_private_key(ec.SECP384R1())
OTHER = SoftwareDevice()

FORGED: dict[str, str] = {
    "of another refresh token": DEVICE.proof("refresh", TOKEN + "x", at=NOW),
    "of a sign-in": DEVICE.proof("sign-in", "", "owner@clearwater.example", at=NOW),
    "of an enrolment": DEVICE.proof("enrolment", TOKEN, at=NOW),
    "bound to nothing": signed(without("for")),
    "bound to an empty text": signed(said(**{"for": ""})),
    "by another device's key": OTHER.proof(*LINES, at=NOW),
    "unsigned": jwt.encode(said(), key="", algorithm="none", headers={"typ": TYPE}),
    "unsigned, said to be signed": signed(said()).rpartition(".")[0] + ".",
    "by HS256 with the public key": by_hmac(PUBLIC_PEM),
    "by HS256 with the key's DER": by_hmac(KEY.to_der()),
    "by ES384": jwt.encode(said(), P384, algorithm="ES384", headers={"typ": TYPE}),
    "by EdDSA": jwt.encode(said(), Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"typ": TYPE}),
    "with its own key in the header": signed(said(), {**HEADER, "jwk": OTHER.jwk}, by=OTHER),
    "with the device's key in the header": signed(said(), {**HEADER, "jwk": DEVICE.jwk}),
    "with a key id": signed(said(), {**HEADER, "kid": KEY.thumbprint}),
    "with an extension that must be understood": signed(said(), {**HEADER, "crit": ["b64"], "b64": False}),
    "of another type": signed(said(), {**HEADER, "typ": "at+jwt"}),
    "of no type": signed(said(), {"alg": "ES256"}),
    "for another audience": DEVICE.proof(*LINES, at=NOW, aud="another-api"),
    "for several audiences": DEVICE.proof(*LINES, at=NOW, aud=[AUDIENCE]),
    "for no audience": signed(without("aud")),
    "of no time": signed(without("iat")),
    "of a time in text": signed(said(iat=str(int(NOW.timestamp())))),
    "of a time with a fraction": signed(said(iat=NOW.timestamp() + 0.5)),
    "of a true time": signed(said(iat=True)),
    "of no id": signed(without("jti")),
    "of a short id": signed(said(jti="a")),
    "of a number as its id": signed(said(jti=12345678901234567)),
    "with more to say": signed(said(exp=int(NOW.timestamp()) + 60)),
    "tampered with": signed(said())[:-4] + "AAAA",
    "too long": signed(said()) + "A" * 1000,
    "no text": "",
    "no token": "a.b.c",
    "half a surrogate pair": "\ud800.\ud800.\ud800",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_proof_that_is_wrong_is_refused_and_not_told_why(name: str) -> None:
    with pytest.raises(DeviceProofError) as error:
        verified(FORGED[name])

    assert type(error.value) is DeviceProofError
    assert error.value.message == "The device's proof is not valid."


def test_what_a_proof_is_for_is_told_apart_line_by_line() -> None:
    bindings = {
        for_enrolment("a"),
        for_refresh("a"),
        for_sign_in(None, "a"),
        for_sign_in("a", ""),
        for_sign_in("a", "b"),
        for_sign_in("b", "a"),
    }

    assert len(bindings) == 6
    assert for_sign_in("reef", "a@b.example") == base64url(sha256(b"sign-in\nreef\na@b.example").digest())


def test_a_time_without_its_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="zone"):
        verified(DEVICE.proof(*LINES, at=NOW), now=NOW.replace(tzinfo=None))


def test_a_key_is_stored_and_named_as_the_standards_say() -> None:
    again = DeviceKey.from_der(KEY.to_der())
    canonical = json.dumps(DEVICE.jwk, sort_keys=True, separators=(",", ":")).encode()

    assert again.thumbprint == KEY.thumbprint == base64url(sha256(canonical).digest())


def test_a_jwk_as_a_browser_exports_it_is_taken() -> None:
    exported = {**DEVICE.jwk, "ext": True, "key_ops": ["verify"]}

    assert DeviceKey.from_jwk(json.dumps(exported)).thumbprint == KEY.thumbprint


SECRET = base64url(DEVICE.private.private_numbers().private_value.to_bytes(32, "big"))
NO_KEYS: dict[str, str] = {
    "no JSON": "{",
    "a text": '"EC"',
    "nothing": "",
    "a nested list": "[" * 900,
    "another kind": json.dumps({**DEVICE.jwk, "kty": "OKP"}),
    "another curve": json.dumps({**DEVICE.jwk, "crv": "P-384"}),
    "no y": json.dumps({key: value for key, value in DEVICE.jwk.items() if key != "y"}),
    "a point off the curve": json.dumps({**DEVICE.jwk, "y": DEVICE.jwk["x"]}),
    "zeros": json.dumps({**DEVICE.jwk, "x": "A" * 43, "y": "A" * 43}),
    "a padded coordinate": json.dumps({**DEVICE.jwk, "x": DEVICE.jwk["x"] + "="}),
    "a number": json.dumps({**DEVICE.jwk, "x": 5}),
    "the private half": json.dumps({**DEVICE.jwk, "d": SECRET}),
    "a long text": json.dumps({**DEVICE.jwk, "note": "a" * 1000}),
}


@pytest.mark.parametrize("name", NO_KEYS)
def test_what_is_no_public_key_of_the_curve_is_refused_without_being_shown(name: str) -> None:
    with pytest.raises(DeviceKeyError) as error:
        DeviceKey.from_jwk(NO_KEYS[name])

    assert SECRET not in str(error.value)
    assert DEVICE.jwk["x"] not in str(error.value)


@pytest.mark.parametrize("key", [P384, Ed25519PrivateKey.generate()], ids=["P-384", "Ed25519"])
def test_a_stored_key_of_another_kind_is_none(key: Any) -> None:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    with pytest.raises(DeviceKeyError):
        DeviceKey.from_der(der)
    with pytest.raises(DeviceKeyError):
        DeviceKey.from_der(base64.b64decode("AAAA"))


def test_a_code_has_sixty_bits_and_is_read_however_it_is_typed() -> None:
    code = new_code()
    plain = plain_code(code)

    assert plain is not None
    assert len(plain) == 12  # of 32 characters: 60 bits
    assert code == "-".join((plain[:4], plain[4:8], plain[8:]))
    assert set(plain) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    for typed in (code.lower(), plain, f" {code} ", code.replace("-", " "), code.replace("1", "l").replace("0", "o")):
        assert plain_code(typed) == plain
    assert len({new_code() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text", ["", "ABCD", "ABCD-EFGH-JKM", "ABCD-EFGH-JKMNP", "UUUU-UUUU-UUUU", "ÄBCD-EFGH-JKMN", "A" * 5000]
)
def test_what_is_no_code_is_none(text: str) -> None:
    assert plain_code(text) is None

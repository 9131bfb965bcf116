"""Verifies a certificate of erasure without Fieldward: this one file, Python 3.11 and `cryptography`.

    python certificate_verifier.py CERTIFICATE.json --key 'name+id+key'

The key is that by which the installation signs, as `fieldward audit key` prints it and `/audit/verifier-key` serves it:
have it from before, or from somebody who is not who gives the certificate. Exit codes: 0 verified; 1 not; 2 no such
file or key.
"""

import argparse
import base64
import binascii
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TYPE: Final = "application/vnd.fieldward.erasure-certificate.v1+json"
MOST_BYTES: Final = 4 * 1024 * 1024
"""A longer file is refused before it is parsed."""

VERIFIED, WRONG, UNUSABLE = 0, 1, 2


class CertificateError(Exception):
    """It is no certificate, or not signed by the key. The message says what was expected."""


def verified(text: str, key: str) -> dict[str, Any]:
    """Return what a certificate says.

    key: a verifier key, `name+id+key`, of the installation under any name.

    Raises:
        CertificateError: it is none, it is not signed by the key, or says of keys what does not fit together.
        ValueError: the key is none.
    """
    public = public_of(key)
    try:
        envelope = json.loads(text)
        kind, signatures = envelope["payloadType"], envelope["signatures"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        given = [base64.b64decode(one["sig"], validate=True) for one in signatures]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise CertificateError("Expected an envelope (DSSE) in JSON.") from error
    if kind != TYPE:
        raise CertificateError(f"Expected a document of the type {TYPE}.")
    message = b"DSSEv1 %d %b %d %b" % (len(TYPE), TYPE.encode(), len(payload), payload)
    if not any(_is_signed(public, one, message) for one in given):
        raise CertificateError("The key did not sign it.")
    said = json.loads(payload)
    keys = said["keys"]
    ids = keys["ids"]
    if ids is not None:
        digest = hashlib.sha256("".join(f"{one}\n" for one in sorted(ids)).encode()).hexdigest()
        if len(ids) != keys["count"] or digest != keys["sha256"]:
            raise CertificateError("The keys that it names are not those that it counts.")
    return dict(said)


def public_of(key: str) -> Ed25519PublicKey:
    """Return the public half of a verifier key (C2SP signed-note). Raises `ValueError` if it is none."""
    name, _, rest = key.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        stored = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("Expected a verifier key: name+id+key.") from error
    wanted = hashlib.sha256(f"{name}\n".encode() + stored).hexdigest()[:8]
    if len(stored) != 33 or stored[0] != 1 or key_id != wanted:
        raise ValueError("Expected a verifier key: name+id+key.")
    return Ed25519PublicKey.from_public_bytes(stored[1:])


def _is_signed(public: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Verify a file, print what it says, and return the exit code."""
    parser = argparse.ArgumentParser(description="Verify a certificate of erasure.")
    parser.add_argument("file", type=Path, help="The certificate.")
    parser.add_argument("--key", required=True, help="The installation's verifier key.")
    given = parser.parse_args(arguments)
    try:
        if given.file.stat().st_size > MOST_BYTES:
            raise ValueError(f"Expected a file of at most {MOST_BYTES} bytes.")
        said = verified(given.file.read_text(), given.key)
    except CertificateError as error:
        print(f"NOT VERIFIED: {error}", file=sys.stderr)
        return WRONG
    except (OSError, ValueError) as error:
        print(f"certificate_verifier: {error}", file=sys.stderr)
        return UNUSABLE
    print(json.dumps(said, indent=2, ensure_ascii=True))
    return VERIFIED


if __name__ == "__main__":
    sys.exit(main())

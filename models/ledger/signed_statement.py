"""A signed document in JSON: DSSE v1, with Ed25519 (RFC 8032). Pure.

What is signed is the type of the document and its bytes, in an encoding that no checkpoint can have: a signature of the
one is never one of the other, though the same key signs both.

Standard: Dead Simple Signing Envelope 1.0 (secure-systems-lab/dsse).
"""

import base64
import json
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.ledger.checkpoint import HeadSigner, SignatureType, VerifierKey

CERTIFICATE_TYPE: Final = "application/vnd.fieldward.erasure-certificate.v1+json"
"""The type of certificates of erasure."""
EVIDENCE_TYPE: Final = "application/vnd.fieldward.evidence.v1+json"
"""The type of what is said of an archive of evidence."""
MOST_SIGNATURES: Final = 16


class StatementError(Exception):
    """It is no signed document of the type, or not signed by the key. The message says what was expected."""


def signed_statement(signer: HeadSigner, name: str, kind: str, said: dict[str, Any]) -> str:
    """Return a document with its signature, as JSON. name: as whom the key signs; kind: the document's type."""
    payload = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    envelope = {
        "payloadType": kind,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {
                "keyid": str(signer.verifier_key(name)),
                "sig": base64.b64encode(signer.sign_bytes(pre_authentication_encoding(kind, payload))).decode(),
            }
        ],
    }
    return json.dumps(envelope, indent=2) + "\n"


def verified_statement(text: str, key: VerifierKey, kind: str) -> dict[str, Any]:
    """Return what a signed document says.

    key: of the installation, under any of its names. Whose signature one is said to be is not signed, and decides
        nothing; what it was signed as is the document's type.

    Raises:
        StatementError: it is none of that type, or the key did not sign it.
    """
    try:
        envelope = json.loads(text)
        named, payload = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StatementError("expected an envelope (DSSE) in JSON") from error
    if named != kind:
        raise StatementError(f"expected a document of the type {kind}")
    if len(signatures) > MOST_SIGNATURES:
        raise StatementError(f"expected at most {MOST_SIGNATURES} signatures")
    if key.type is not SignatureType.ED25519:
        raise StatementError(f"{key.name} is a witness, which signs no documents")
    message = pre_authentication_encoding(kind, payload)
    if not any(_is_signed(key, one, message) for one in signatures):
        raise StatementError(f"{key.name} did not sign it")
    return dict(json.loads(payload))


def _is_signed(key: VerifierKey, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def pre_authentication_encoding(kind: str, payload: bytes) -> bytes:
    """Return what is signed of a document (DSSE's PAE)."""
    named = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(named), named, len(payload), payload)

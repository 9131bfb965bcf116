"""A signed document in JSON: DSSE v1, with Ed25519 (RFC 8032). Pure.

What is signed is the type of the document and its bytes, in an encoding that no checkpoint can have: a signature of the
one is never one of the other, though the same key signs both.

Standard: Dead Simple Signing Envelope 1.0 (secure-systems-lab/dsse).
"""

import base64
import json
from typing import Any, Final

from models.ledger.checkpoint import HeadSigner

CERTIFICATE_TYPE: Final = "application/vnd.fieldward.erasure-certificate.v1+json"
"""The type of certificates of erasure."""


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


def pre_authentication_encoding(kind: str, payload: bytes) -> bytes:
    """Return what is signed of a document (DSSE's PAE)."""
    named = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(named), named, len(payload), payload)

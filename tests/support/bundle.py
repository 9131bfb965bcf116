"""Bundles for the offline verifier, made by hand: small, and as right or as wrong as a test wants them."""

import base64
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from models.ledger.checkpoint import Head, HeadSigner, SignatureType
from models.ledger.merkle import leaf_hash, root_of

ORGANIZATION: Final = UUID(int=0x1234)
NAME: Final = "audit.test"
ORIGIN: Final = f"{NAME}/organization/{ORGANIZATION}"
WITNESS: Final = "witness.test"

SIGNER: Final = HeadSigner.generate()
WITNESS_SIGNER: Final = HeadSigner.generate()
KEY: Final = str(SIGNER.verifier_key(ORIGIN))
WITNESS_KEY: Final = str(WITNESS_SIGNER.verifier_key(WITNESS, SignatureType.COSIGNATURE))


def an_entry(number: int, **said: Any) -> bytes:
    """Return the line of an entry, without its end."""
    entry_id = str(UUID(int=number + 1))
    entry = {
        "action": "field.read",
        "at": f"2026-03-01T10:{number % 60:02}:00.000000Z",
        "id": entry_id,
        "organization_id": str(ORGANIZATION),
        "outcome": "DONE",
        "transaction_id": 1000 + number,
        **said,
    }
    changes = [{"columns": {"site_code": ["A", "B"]}, "entry_id": entry_id, "id": number}] if number % 3 == 0 else []
    return json.dumps({"changes": changes, "entry": entry}, separators=(",", ":")).encode()


def a_decision(number: int, days: int | None, *, at: str) -> bytes:
    """Return the line of an entry by which a period was decided."""
    said = json.loads(an_entry(number, at=at, action="audit.set_retention"))
    columns = {"kind": [None, "READ"], "days": [None, days]}
    entry_id = said["entry"]["id"]
    said["changes"] = [
        {"columns": columns, "entity": "trail_retention", "entity_id": str(UUID(int=7)), "entry_id": entry_id, "id": 1}
    ]
    return json.dumps(said, separators=(",", ":")).encode()


def entries(count: int) -> list[bytes]:
    """Return so many lines."""
    return [an_entry(number) for number in range(count)]


def an_expired(line: bytes, number: int, by: int) -> bytes:
    """Return the line of an entry that left the trail by another."""
    said = {"by": str(UUID(int=by + 1)), "expired": leaf_hash(line).hex(), "id": str(UUID(int=number + 1))}
    return json.dumps(said, separators=(",", ":")).encode()


def hash_of(line: bytes) -> bytes:
    """Return the leaf's hash of a line."""
    said = json.loads(line)
    return bytes.fromhex(said["expired"]) if "expired" in said else leaf_hash(line)


def a_head(hashes: Sequence[bytes], *, signer: HeadSigner = SIGNER, origin: str = ORIGIN, is_seen: bool = False) -> str:
    """Return the signed head over leaves. is_seen: whether the witness cosigned it."""
    note = signer.sign(Head(origin, len(hashes), root_of(hashes)))
    cosigned = WITNESS_SIGNER.cosign(WITNESS, note.text, time=1_770_000_000).line if is_seen else ""
    return str(note) + cosigned


def files(
    lines: Sequence[bytes], sizes: Sequence[int], *, signer: HeadSigner = SIGNER, seen: int | None = None
) -> dict[str, bytes]:
    """Return the files of a right bundle. sizes: of its signed heads, the last of all lines. seen: by the witness."""
    hashes = [hash_of(line) for line in lines]
    root = root_of(hashes)
    leaf = json.dumps({"origin": ORIGIN, "root": root.hex(), "sealed_at": "2026-03-01", "size": len(lines)})
    beside = leaf_hash(b"another organization's head")
    above = {
        "leaf": leaf,
        "index": 1,
        "path": [beside.hex()],
        "checkpoint": a_head([beside, leaf_hash(leaf.encode())], signer=signer, origin=f"{NAME}/heads"),
    }
    manifest = {
        "format": "fieldward-audit-bundle/1",
        "organization_id": str(ORGANIZATION),
        "origin": ORIGIN,
        "verifier_key": str(signer.verifier_key(ORIGIN)),
        "size": len(lines),
        "root": root.hex(),
    }
    heads = "\n".join(a_head(hashes[:size], signer=signer, is_seen=size == seen) for size in sizes)
    return {
        "entries.jsonl": b"".join(line + b"\n" for line in lines),
        "leaves.bin": b"".join(hashes),
        "heads.txt": heads.encode(),
        "tree-of-heads.json": json.dumps(above).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }


def write(path: Path, content: Mapping[str, bytes]) -> Path:
    """Write a bundle."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, stored in content.items():
            archive.writestr(name, stored)
    return path


def flipped_signature(note: str) -> str:
    """Return a signed head whose signature is wrong."""
    text, _, line = note.rstrip("\n").rpartition(" ")
    stored = bytearray(base64.b64decode(line))
    stored[-1] ^= 1
    return f"{text} {base64.b64encode(bytes(stored)).decode()}\n"

"""An archive of evidence: verified by the installation's key under any name, and refused once a byte is wrong."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fieldward.cli.evidence import MANIFEST, write_archive, wrong_with
from models.ledger.checkpoint import HeadSigner, SignatureType
from models.ledger.signed_statement import (
    CERTIFICATE_TYPE,
    EVIDENCE_TYPE,
    MOST_SIGNATURES,
    StatementError,
    signed_statement,
    verified_statement,
)

SIGNER = HeadSigner.generate()
NAME = "audit.example.org"
KEY = SIGNER.verifier_key(NAME)
SIGNED = f"{NAME}/evidence"
FILES: dict[str, Any] = {"organization.json": {"people": list(range(200))}, "trail.json": {"verified": True}}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive as it is collected."""
    out = tmp_path / "evidence.zip"
    write_archive(out, FILES, {"organization": "acme"}, SIGNER, SIGNED)
    return out


def contents(file: Path) -> dict[str, bytes]:
    """Return what is in an archive."""
    with zipfile.ZipFile(file) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_it_is_verified_by_the_installations_key_under_any_of_its_names(archive: Path) -> None:
    assert wrong_with(archive, KEY) is None
    assert wrong_with(archive, SIGNER.verifier_key(SIGNED)) is None


def test_no_other_key_verifies_it_whatever_its_name(archive: Path) -> None:
    stranger = HeadSigner.generate()

    for name in (NAME, SIGNED):
        assert "did not sign" in (wrong_with(archive, stranger.verifier_key(name)) or "")
    assert "witness" in (wrong_with(archive, SIGNER.verifier_key(NAME, SignatureType.COSIGNATURE)) or "")


def test_a_byte_that_is_wrong_is_found_wherever_it_is(archive: Path, tmp_path: Path) -> None:
    """Of what is no content, such as when a file was packed, an archive may say anything: nobody reads it."""
    whole, held, changed = archive.read_bytes(), contents(archive), tmp_path / "changed.zip"
    refused = 0

    for place in range(len(whole)):
        for mask in (0x01, 0x20, 0xFF):
            changed.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            if wrong_with(changed, KEY) is not None:
                refused += 1
            else:
                assert contents(changed) == held, (place, mask)

    assert refused > 2 * len(whole)


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_is_packed_in_another_way_is_not_unpacked(archive: Path, packing: int) -> None:
    held = contents(archive)
    with zipfile.ZipFile(archive, "w", packing) as packed:
        for name, content in held.items():
            packed.writestr(name, content)

    assert "deflated" in (wrong_with(archive, KEY) or "")


@pytest.mark.parametrize("manifest", ["", "[]", "[" * 100_000, '{"payloadType": 1}'], ids=range(4))
def test_a_manifest_that_is_none_is_refused(archive: Path, manifest: str) -> None:
    held = contents(archive)
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in {**held, MANIFEST: manifest.encode()}.items():
            packed.writestr(name, content)

    assert "expected an envelope" in (wrong_with(archive, KEY) or "")


def test_whose_a_signature_is_said_to_be_decides_nothing_and_few_are_tried() -> None:
    text = signed_statement(SIGNER, SIGNED, EVIDENCE_TYPE, {"files": {}})
    envelope = json.loads(text)
    (signature,) = envelope["signatures"]
    unnamed = {"sig": signature["sig"]}
    false = {**signature, "sig": "AAAA"}

    def said(*signatures: dict[str, str], kind: str = EVIDENCE_TYPE) -> dict[str, Any]:
        return verified_statement(json.dumps({**envelope, "signatures": signatures}), KEY, kind)

    assert said(unnamed) == said(false, unnamed) == {"files": {}}
    for signatures in ((), (false,), (unnamed,) * (MOST_SIGNATURES + 1)):
        with pytest.raises(StatementError):
            said(*signatures)
    with pytest.raises(StatementError):
        said(unnamed, kind=CERTIFICATE_TYPE)

"""Certificates of erasure: verified by one file that knows nothing of us, and refused in every other form."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fieldward.certificate_verifier import CertificateError, main, verified
from models.ledger.checkpoint import CheckpointError, Head, HeadSigner, Note, Signature
from models.ledger.signed_statement import CERTIFICATE_TYPE, pre_authentication_encoding, signed_statement

ROOT = Path(__file__).resolve().parent.parent.parent
SIGNER = HeadSigner.generate()
NAME = "fieldward.example"
KEY = str(SIGNER.verifier_key(NAME))
SAID: dict[str, Any] = {
    "version": 1,
    "keys": {
        "count": 1,
        "sha256": "6f39e6f1d29aa4ef64cc2b37e33e7c4a9eac54a0ec1ea46b9d3a7c0b23f7f0b0",
        "ids": None,
    },
}
CERTIFICATE = signed_statement(SIGNER, f"{NAME}/erasures", CERTIFICATE_TYPE, SAID)


def test_a_certificate_is_verified_by_the_installations_key_under_any_of_its_names() -> None:
    assert verified(CERTIFICATE, KEY) == SAID
    assert verified(CERTIFICATE, str(SIGNER.verifier_key(f"{NAME}/heads"))) == SAID


def test_another_key_did_not_sign_it() -> None:
    with pytest.raises(CertificateError, match="did not sign"):
        verified(CERTIFICATE, str(HeadSigner.generate().verifier_key(NAME)))


def changed(**more: Any) -> str:
    """Return the certificate with parts of its envelope replaced."""
    return json.dumps({**json.loads(CERTIFICATE), **more})


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[]",
        "{}",
        changed(payload=base64.b64encode(b'{"version":2}').decode()),
        changed(payload="%%%"),
        changed(payloadType="text/plain"),
        changed(signatures=[]),
        changed(signatures=[{"keyid": "", "sig": base64.b64encode(bytes(64)).decode()}]),
        changed(signatures=[{"keyid": ""}]),
    ],
)
def test_what_was_changed_is_refused(wrong: str) -> None:
    with pytest.raises(CertificateError):
        verified(wrong, KEY)


def test_every_byte_of_what_is_signed_counts() -> None:
    envelope = json.loads(CERTIFICATE)
    payload = base64.b64decode(envelope["payload"])
    for place in range(len(payload)):
        other = payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
        with pytest.raises(CertificateError):
            verified(changed(payload=base64.b64encode(other).decode()), KEY)


def test_keys_that_do_not_fit_their_digest_are_refused() -> None:
    said = {**SAID, "keys": {**SAID["keys"], "ids": ["0198c0de-0000-7000-8000-000000000001"]}}
    with pytest.raises(CertificateError, match="keys that it names"):
        verified(signed_statement(SIGNER, NAME, CERTIFICATE_TYPE, said), KEY)


def test_a_signature_of_a_certificate_is_none_of_a_head_and_the_other_way_round() -> None:
    payload = json.dumps(SAID).encode()
    signature = SIGNER.sign_bytes(pre_authentication_encoding(CERTIFICATE_TYPE, payload))
    head = Head(NAME, 1, bytes(32))
    key = SIGNER.verifier_key(NAME)
    with pytest.raises(CheckpointError):
        key.verify(Note(head.text, (Signature(NAME, key.id, signature),)))
    # A head has lines; what is signed as a document has none.
    with pytest.raises(ValueError, match="one line"):
        SIGNER.sign_bytes(head.text.encode())


def test_the_command_says_by_its_exit_code_whether_it_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(CERTIFICATE)
    assert main([str(path), "--key", KEY]) == 0
    assert main([str(path), "--key", str(HeadSigner.generate().verifier_key(NAME))]) == 1
    assert main([str(tmp_path / "none.json"), "--key", KEY]) == 2
    assert main([str(path), "--key", "no key"]) == 2


def test_it_runs_by_itself_elsewhere(tmp_path: Path) -> None:
    alone = tmp_path / "verifier.py"
    alone.write_bytes((ROOT / "fieldward" / "certificate_verifier.py").read_bytes())
    path = tmp_path / "certificate.json"
    path.write_text(CERTIFICATE)

    done = subprocess.run(
        [sys.executable, "-I", str(alone), str(path), "--key", KEY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == SAID

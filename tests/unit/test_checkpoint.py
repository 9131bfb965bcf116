"""Signed notes, checkpoints and cosignatures, as C2SP and Go's `sumdb/note` have published them."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from models.ledger.checkpoint import (
    CheckpointError,
    Head,
    HeadSigner,
    Note,
    Signature,
    SignatureType,
    VerifierKey,
)

# golang.org/x/mod/sumdb/note, note_test.go
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNED = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"

# C2SP, tlog-cosignature.md
COSIGNED = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URY\
N7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZC\
B9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""

ORIGIN = "audit.example/organization/0198c0de-0000-7000-8000-000000000001"


def test_a_note_that_go_published_verifies_and_no_changed_one_does() -> None:
    key = VerifierKey.parse(PETER)
    note = Note.parse(f"{TEXT}\n{SIGNED}")

    assert str(key) == PETER
    assert str(note) == f"{TEXT}\n{SIGNED}"
    assert key.verify(note) is None
    for at in range(len(TEXT) - 1):
        changed = TEXT[:at] + ("x" if TEXT[at] != "x" else "y") + TEXT[at + 1 :]
        with pytest.raises(CheckpointError):
            key.verify(Note(changed, note.signatures))


def test_what_go_signs_is_signed_the_same() -> None:
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(PETERS_SECRET)[1:])
    key = HeadSigner(private).verifier_key("PeterNeumann")

    assert str(key) == PETER
    assert Signature("PeterNeumann", key.id, private.sign(TEXT.encode())).line == SIGNED


def test_every_part_of_a_verifier_key_and_every_change_of_it_is_refused() -> None:
    for start in range(len(PETER)):
        for end in range(start + 1, len(PETER) + 1):
            if (start, end) != (0, len(PETER)):
                with pytest.raises(CheckpointError):
                    VerifierKey.parse(PETER[start:end])
    for at in range(len(PETER)):
        with pytest.raises(CheckpointError):
            VerifierKey.parse(PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :])
    # A key of another length, and one of an unknown kind, each with the id that fits.
    for wrong in (
        "+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "+173116ae+ZRpc2QcUPDhMQegwxbzhKqi",
    ):
        with pytest.raises(CheckpointError):
            VerifierKey.parse(f"PeterNeumann{wrong}")


def test_the_cosigned_checkpoint_of_the_standard_is_read_as_it_is_written() -> None:
    note = Note.parse(COSIGNED)

    assert str(note) == COSIGNED
    assert Head.parse(note.text) == Head(
        "example.com/behind-the-sofa", 20852163, base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    )
    log, witness = note.signatures
    assert (log.name, witness.name) == ("example.com/behind-the-sofa", "witness.example.com/w1")
    # Four bytes of id, eight of time, 64 of signature.
    assert int.from_bytes(witness.signed[:8], "big") == 1679315147
    assert len(witness.signed) == 72


def test_a_head_is_verified_by_the_key_of_its_origin_and_by_no_other() -> None:
    signer, other = HeadSigner.generate(), HeadSigner.generate()
    note = Note.parse(str(signer.sign(Head(ORIGIN, 3, bytes(32)))))

    signer.verifier_key(ORIGIN).verify(note)
    for key in (
        other.verifier_key(ORIGIN),
        signer.verifier_key(f"{ORIGIN}/2"),
        signer.verifier_key(ORIGIN, SignatureType.COSIGNATURE),
    ):
        with pytest.raises(CheckpointError, match="did not sign"):
            key.verify(note)
    # The short id of another's key, on a signature of one's own.
    forged = other.sign(Head(ORIGIN, 3, bytes(32))).signatures[0]
    with pytest.raises(CheckpointError, match="is wrong"):
        signer.verifier_key(ORIGIN).verify(
            Note(note.text, (Signature(ORIGIN, signer.verifier_key(ORIGIN).id, forged.signed),))
        )
    with pytest.raises(ValueError, match="plus"):
        signer.sign(Head("a name", 1, bytes(32)))
    assert repr(signer) == "<HeadSigner>"
    assert str(HeadSigner.from_pem(signer.to_pem()).verifier_key(ORIGIN)) == str(signer.verifier_key(ORIGIN))


def test_a_cosignature_says_when_and_holds_for_its_text_alone() -> None:
    witness = HeadSigner.generate()
    key = witness.verifier_key("witness.example/w1", SignatureType.COSIGNATURE)
    text = Head(ORIGIN, 3, bytes(32)).text
    signature = witness.cosign("witness.example/w1", text, time=1_700_000_000)

    assert key.verify(Note(text, (signature,))) == 1_700_000_000
    for wrong in (
        Note(Head(ORIGIN, 4, bytes(32)).text, (signature,)),
        Note(text, (Signature(signature.name, signature.key_id, bytes(8) + signature.signed[8:]),)),
        Note(text, (Signature(signature.name, signature.key_id, signature.signed[:-1]),)),
        Note(text, (Signature(signature.name, signature.key_id, b""),)),
    ):
        with pytest.raises(CheckpointError):
            key.verify(wrong)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        f"text\n{SIGNED}",
        f"{TEXT}\n{SIGNED[:-1]}",
        f"{TEXT}\n{SIGNED}\n",
        f"{TEXT}\n{SIGNED}more\n",
        f"{TEXT}\n{SIGNED.replace('—', '-')}",
        f"{TEXT}\n{SIGNED.replace(' x08', '  x08')}",
        f"{TEXT}\n— Peter+Neumann x08go/ZJ\n",
        f"{TEXT}\n— Peter x08g\n",
        f"{TEXT}\n— Peter x08go/ZJ=\n",
        f"{TEXT}\x01\n\n{SIGNED}",
        f"{TEXT}\r\n\n{SIGNED}",
        f"{TEXT}\n{SIGNED * 65}",
        f"{'x' * 140_000}\n\n{SIGNED}",
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(CheckpointError):
        Note.parse(note)


@pytest.mark.parametrize(
    "text",
    [
        "a\n1\n",
        "a\n1\nAAAA\n",
        "\n1\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "a\n01\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "a\n-1\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "a\n1\n" + base64.b64encode(bytes(32)).decode(),
        "a\n1\n" + base64.b64encode(bytes(32)).decode() + "\n\n",
        "a\n99999999999999999999\n" + base64.b64encode(bytes(32)).decode() + "\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        Head.parse(text)


@given(st.text(max_size=300))
def test_any_text_is_a_note_that_is_written_the_same_or_is_refused(text: str) -> None:
    for tried in (text, f"{TEXT}\n{text}", f"{text}\n\n{SIGNED}"):
        try:
            note = Note.parse(tried)
        except (CheckpointError, UnicodeEncodeError):
            continue
        assert str(note) == tried


@given(
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), min_size=1), min_size=1, max_size=5),
    st.binary(min_size=5, max_size=80),
)
def test_what_is_written_is_read_again(lines: list[str], signed: bytes) -> None:
    note = Note("\n".join(lines) + "\n", (Signature("w", signed[:4], signed[4:]),))

    assert Note.parse(str(note)) == note

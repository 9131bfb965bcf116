"""A witness cosigns what only grew, and answers everything else as C2SP's tlog-witness says."""

from pathlib import Path

import pytest

from fieldward.witness import Answer, Logs, Witness, WitnessState
from models.ledger.add_checkpoint import SIZE_MEDIA_TYPE, AddCheckpoint
from models.ledger.checkpoint import CheckpointError, Head, HeadSigner, Note, Signature, SignatureType
from models.ledger.merkle import consistency_ranges, leaf_hash, root_of

NAME = "audit.example"
ORIGIN = f"{NAME}/heads"
LEAVES = [leaf_hash(b"%d" % number) for number in range(40)]
NOW = 1_700_000_000

# C2SP, tlog-witness.md
EXAMPLE = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""  # noqa: E501


@pytest.fixture
def log() -> HeadSigner:
    """The log's key."""
    return HeadSigner.generate()


@pytest.fixture
def witness(log: HeadSigner, tmp_path: Path) -> Witness:
    """A witness of every log of the installation."""
    logs = Logs(above=[log.verifier_key(NAME)])
    return Witness(
        HeadSigner.generate(), "witness.example/w1", WitnessState(tmp_path / "state"), logs, clock=lambda: NOW
    )


def growth(
    log: HeadSigner, old: int, size: int, *, origin: str = ORIGIN, leaves: list[bytes] = LEAVES
) -> AddCheckpoint:
    """The request of a log that grew from one size to another."""
    proof = [root_of(leaves[start:end]) for start, end in consistency_ranges(old, size)] if old <= size else []
    return AddCheckpoint(old, proof, log.sign(Head(origin, size, root_of(leaves[:size]))))


def ask(witness: Witness, asked: AddCheckpoint) -> Answer:
    """Ask the witness."""
    return witness.add_checkpoint(str(asked).encode())


def require_cosigned(witness: Witness, asked: AddCheckpoint) -> None:
    """Require that the witness cosigns it."""
    answer = ask(witness, asked)
    assert answer.status == 200, answer
    note = Note(asked.note.text, (Signature.parse(answer.text.removesuffix("\n")),))
    assert witness.key.verify(note) == NOW


def test_the_request_of_the_standard_is_read_as_it_is_written() -> None:
    asked = AddCheckpoint.parse(EXAMPLE)

    assert (asked.old_size, len(asked.proof), len(asked.note.signatures)) == (20852014, 4, 2)
    assert str(asked) == EXAMPLE


def test_a_log_that_only_grows_is_cosigned_from_size_to_size(log: HeadSigner, witness: Witness) -> None:
    known = 0
    for size in (0, 1, 1, 2, 7, 8, 33, 40, 40):
        require_cosigned(witness, growth(log, known, size))
        known = size


def test_every_log_of_an_installation_has_a_state_of_its_own(log: HeadSigner, witness: Witness) -> None:
    for origin in (ORIGIN, f"{NAME}/organization/1", f"{NAME}/organization/1/2"):
        require_cosigned(witness, growth(log, 0, 5, origin=origin))
    assert ask(witness, growth(log, 0, 6)).status == 409


def test_a_wrong_old_size_is_answered_with_the_size_that_is_known(log: HeadSigner, witness: Witness) -> None:
    require_cosigned(witness, growth(log, 0, 7))

    for old in (0, 6, 8):
        assert ask(witness, growth(log, old, 20)) == Answer(409, "7\n", SIZE_MEDIA_TYPE)
    require_cosigned(witness, growth(log, 7, 20))


def test_a_fork_a_shorter_log_and_a_wrong_proof_are_never_cosigned(log: HeadSigner, witness: Witness) -> None:
    require_cosigned(witness, growth(log, 0, 7))
    forked = [*LEAVES[:3], *LEAVES[4:], LEAVES[3]]

    assert ask(witness, growth(log, 7, 7, leaves=forked)).status == 409
    assert ask(witness, growth(log, 7, 20, leaves=forked)).status == 422
    assert ask(witness, AddCheckpoint(7, (), growth(log, 7, 20).note)).status == 422
    assert ask(witness, AddCheckpoint(7, (bytes(32),), growth(log, 7, 7).note)).status == 422
    assert ask(witness, growth(log, 5, 5)).status == 409
    assert ask(witness, growth(log, 7, 5)).status == 400
    # And nothing of that is remembered.
    require_cosigned(witness, growth(log, 7, 20))


def test_a_log_that_is_not_known_and_a_key_that_is_not_its_own_are_refused(log: HeadSigner, witness: Witness) -> None:
    other = HeadSigner.generate()

    for origin in ("other.example/heads", f"{NAME}ing/heads", NAME):
        assert ask(witness, growth(log, 0, 5, origin=origin)).status == 404
    assert ask(witness, growth(other, 0, 5)).status == 403
    # Signed by the log, and by one that is not known as well: that one is passed over.
    note = growth(log, 0, 5).note
    both = Note(note.text, (*other.sign(Head.parse(note.text)).signatures, *note.signatures))
    require_cosigned(witness, AddCheckpoint(0, (), both))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:0],
        lambda text: text[-1:],
        lambda text: text.replace("old 0", "old 00"),
        lambda text: text.replace("old 0", "old -1"),
        lambda text: text.replace("old 0", "new 0"),
        lambda text: text.replace("old 0\n", "old 0\nAAAA\n"),
        lambda text: text.replace("old 0\n", "old 0\n" + "A" * 43 + "=\n" * 1),
        lambda text: text.replace("old 0\n", "old 0\n" + ("A" * 43 + "=\n") * 64),
        lambda text: text.replace("\n5\n", "\n05\n"),
        lambda text: text.removesuffix("\n"),
    ],
)
def test_what_is_no_request_is_refused(log: HeadSigner, witness: Witness, change: object) -> None:
    assert callable(change)
    text = change(str(growth(log, 0, 5)))

    assert witness.add_checkpoint(text.encode()).status in {400, 422}
    assert witness.add_checkpoint(b"\xff\xfe").status == 400
    require_cosigned(witness, growth(log, 0, 5))


def test_what_was_cosigned_is_remembered_by_who_comes_after(log: HeadSigner, tmp_path: Path) -> None:
    signer, logs = HeadSigner.generate(), Logs(keys=[log.verifier_key(ORIGIN)])

    def started() -> Witness:
        return Witness(signer, "w", WitnessState(tmp_path / "state"), logs, clock=lambda: NOW)

    require_cosigned(started(), growth(log, 0, 7))
    assert ask(started(), growth(log, 0, 5)).status == 409
    require_cosigned(started(), growth(log, 7, 9))
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_a_head_that_can_not_be_remembered_is_not_cosigned(log: HeadSigner, tmp_path: Path) -> None:
    witness = Witness(HeadSigner.generate(), "w", WitnessState(tmp_path / "state"), Logs([log.verifier_key(ORIGIN)]))
    (tmp_path / "state").unlink()
    (tmp_path / "state").mkdir()

    with pytest.raises(Exception, match="unable to open"):
        ask(witness, growth(log, 0, 7))


def test_the_key_of_a_witness_says_that_it_is_one(witness: Witness) -> None:
    assert witness.key.type is SignatureType.COSIGNATURE
    with pytest.raises(CheckpointError):
        witness.key.verify(HeadSigner.generate().sign(Head(ORIGIN, 1, bytes(32))))

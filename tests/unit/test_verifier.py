"""The offline verifier finds whatever is done to a bundle, says where, and never falls over what it is given."""

import io
import json
import re
import subprocess
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldward import verifier
from models.ledger.checkpoint import HeadSigner
from tests.support.bundle import (
    KEY,
    NAME,
    ORIGIN,
    SIGNER,
    WITNESS_KEY,
    a_decision,
    a_head,
    an_entry,
    an_expired,
    entries,
    files,
    flipped_signature,
    hash_of,
    write,
)
from tests.support.trail import Verdict, offline

LINES = entries(7)
RIGHT = files(LINES, [2, 5, 7])


def verdict_of(path: Path, content: dict[str, bytes], *heads: str, key: str | None = KEY, **more: str) -> Verdict:
    """Write a bundle and verify it, with heads that were kept."""
    kept = [path / f"kept-{place}.txt" for place, _ in enumerate(heads)]
    for file, head in zip(kept, heads, strict=True):
        file.write_text(head)
    return offline(write(path / "bundle.zip", content), key, *kept, **more)


def with_lines(lines: list[bytes]) -> dict[str, bytes]:
    """Return the bundle with other lines, and nothing else changed."""
    return {**RIGHT, "entries.jsonl": b"".join(line + b"\n" for line in lines)}


def test_a_right_bundle_is_verified(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, RIGHT, a_head([hash_of(one) for one in LINES[:4]]))

    assert (verdict.code, verdict.report["findings"]) == (0, [])
    assert (verdict.report["entries"], verdict.report["heads"], verdict.report["earlier_heads"]) == (7, 3, 1)


def test_without_a_key_nobody_knows_who_signed(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, RIGHT, key=None)
    forged = verdict_of(tmp_path, files(entries(7), [7], signer=HeadSigner.generate()), key=None)

    assert (verdict.code, verdict.report["verified"]) == (2, False)
    assert (forged.code, forged.report["verified"]) == (2, False)
    assert "nobody knows" in verdict.report["notes"][0]


@pytest.mark.parametrize("name", [ORIGIN, NAME])
def test_the_key_is_known_by_the_log_and_by_its_installation(tmp_path: Path, name: str) -> None:
    assert verdict_of(tmp_path, RIGHT, key=str(SIGNER.verifier_key(name))).code == 0


@pytest.mark.parametrize("name", [ORIGIN.replace("1234", "1235"), "elsewhere.test", f"{NAME}/heads"])
def test_the_key_of_another_log_does_not_count(tmp_path: Path, name: str) -> None:
    verdict = verdict_of(tmp_path, RIGHT, key=str(SIGNER.verifier_key(name)))

    assert (verdict.code, verdict.kinds[0]) == (1, "signature")


def test_another_key_under_the_same_name_does_not_count(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, RIGHT, key=str(HeadSigner.generate().verifier_key(ORIGIN)))

    assert verdict.code == 1
    assert "signature" in verdict.kinds


@pytest.mark.parametrize("bit", [1, 128])
def test_every_flipped_bit_of_the_entries_is_found_in_its_line(tmp_path: Path, bit: int) -> None:
    stored = RIGHT["entries.jsonl"]
    for place in range(len(stored)):
        changed = stored[:place] + bytes([stored[place] ^ bit]) + stored[place + 1 :]
        verdict = verdict_of(tmp_path, {**RIGHT, "entries.jsonl": changed})
        line = stored[:place].count(b"\n") + 1
        assert verdict.code == 1, place
        assert line in verdict.lines, (place, verdict.report["findings"])


@pytest.mark.parametrize("place", range(len(LINES)))
def test_every_removed_line_is_found(tmp_path: Path, place: int) -> None:
    verdict = verdict_of(tmp_path, with_lines([*LINES[:place], *LINES[place + 1 :]]))

    assert verdict.code == 1
    kind = "truncated" if place == len(LINES) - 1 else "removed"
    assert (kind, place + 1) in list(zip(verdict.kinds, verdict.lines, strict=True))


@pytest.mark.parametrize(("one", "other"), [(a, b) for b in range(len(LINES)) for a in range(b)])
def test_every_two_lines_that_changed_places_are_found(tmp_path: Path, one: int, other: int) -> None:
    lines = list(LINES)
    lines[one], lines[other] = lines[other], lines[one]

    verdict = verdict_of(tmp_path, with_lines(lines))

    assert verdict.code == 1
    assert set(verdict.kinds) == {"reordered"}
    assert verdict.lines == [one + 1, other + 1]


@pytest.mark.parametrize("place", range(len(LINES)))
def test_every_line_that_is_there_twice_is_found(tmp_path: Path, place: int) -> None:
    verdict = verdict_of(tmp_path, with_lines([*LINES[: place + 1], *LINES[place:]]))

    assert verdict.code == 1
    assert {"malformed", "added"} <= set(verdict.kinds)
    assert place + 2 in verdict.lines


@pytest.mark.parametrize("place", range(len(LINES) + 1))
def test_every_line_that_was_put_in_is_found(tmp_path: Path, place: int) -> None:
    verdict = verdict_of(tmp_path, with_lines([*LINES[:place], an_entry(99), *LINES[place:]]))

    assert verdict.code == 1
    assert ("added", place + 1) in list(zip(verdict.kinds, verdict.lines, strict=True))


@pytest.mark.parametrize("length", range(0, len(RIGHT["entries.jsonl"]), 7))
def test_entries_that_were_cut_anywhere_are_found(tmp_path: Path, length: int) -> None:
    verdict = verdict_of(tmp_path, {**RIGHT, "entries.jsonl": RIGHT["entries.jsonl"][:length]})

    assert verdict.code == 1
    assert "truncated" in verdict.kinds


def test_where_the_list_of_leaves_was_changed_too_the_heads_say_between_which_of_them_it_is(tmp_path: Path) -> None:
    lines = [*LINES[:3], an_entry(3, outcome="DENIED"), *LINES[4:]]
    content = {**with_lines(lines), "leaves.bin": b"".join(hash_of(one) for one in lines)}

    verdict = verdict_of(tmp_path, content)

    assert (verdict.code, verdict.kinds, verdict.lines) == (1, ["changed"], [3])
    assert "lines 3 to 5" in verdict.report["findings"][0]["what"]


def test_a_list_of_leaves_that_is_another_is_found_though_the_entries_are_right(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, {**RIGHT, "leaves.bin": bytes(32) + RIGHT["leaves.bin"][32:]})

    assert (verdict.code, verdict.kinds) == (1, ["malformed"])


def test_a_bundle_that_ends_before_a_head_that_was_kept_is_cut(tmp_path: Path) -> None:
    kept = a_head([hash_of(one) for one in LINES])
    content = files(LINES[:5], [2, 5])

    assert verdict_of(tmp_path, content).code == 0
    verdict = verdict_of(tmp_path, content, kept)
    assert (verdict.code, verdict.kinds, verdict.lines) == (1, ["truncated"], [6])


@pytest.mark.parametrize("size", [1, 4, 5, 7])
def test_a_tree_written_anew_with_the_same_key_does_not_go_on_from_a_head_that_was_kept(
    tmp_path: Path, size: int
) -> None:
    kept = a_head([hash_of(one) for one in LINES[:size]])
    content = files([an_entry(0, outcome="DENIED"), *LINES[1:]], [2, 5, 7])

    assert verdict_of(tmp_path, content).code == 0
    verdict = verdict_of(tmp_path, content, kept)
    assert (verdict.code, verdict.kinds) == (1, ["forked"])


def test_a_kept_head_whose_signature_is_wrong_counts_for_nothing_but_is_named(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, RIGHT, flipped_signature(a_head([hash_of(one) for one in LINES])))

    assert (verdict.code, verdict.kinds, verdict.report["earlier_heads"]) == (1, ["signature"], 0)


def test_a_signed_head_that_was_changed_is_found(tmp_path: Path) -> None:
    heads = RIGHT["heads.txt"].decode()
    first, _, rest = heads.partition("\n\n— ")
    changed = first.replace("\n2\n", "\n3\n") + "\n\n— " + rest

    verdict = verdict_of(tmp_path, {**RIGHT, "heads.txt": changed.encode()})

    assert verdict.code == 1
    assert "signature" in verdict.kinds


def test_a_last_head_that_is_not_in_the_tree_of_heads_is_found(tmp_path: Path) -> None:
    above = json.loads(RIGHT["tree-of-heads.json"])
    for changed, kind in (
        ({**above, "path": ["00" * 32]}, "forked"),
        ({**above, "index": 0}, "forked"),
        ({**above, "index": 10**30}, "forked"),
        ({**above, "path": []}, "forked"),
        ({**above, "leaf": above["leaf"].replace('"size": 7', '"size": 6')}, "malformed"),
        ({**above, "checkpoint": a_head([])}, "malformed"),
        ({"leaf": 3}, "malformed"),
    ):
        verdict = verdict_of(tmp_path, {**RIGHT, "tree-of-heads.json": json.dumps(changed).encode()})
        assert (verdict.code, verdict.kinds) == (1, [kind]), changed


def test_a_kept_head_of_the_tree_of_heads_that_is_larger_or_another_is_found(tmp_path: Path) -> None:
    origin = f"{NAME}/heads"
    other = [bytes([place]) * 32 for place in range(3)]

    assert verdict_of(tmp_path, RIGHT, a_head(other, origin=origin)).kinds == ["truncated"]
    assert verdict_of(tmp_path, RIGHT, a_head(other[:2], origin=origin)).kinds == ["forked"]
    older = verdict_of(tmp_path, RIGHT, a_head(other[:1], origin=origin))
    assert (older.code, len(older.report["notes"])) == (0, 1)


def test_a_witness_that_is_asked_for_must_have_cosigned(tmp_path: Path) -> None:
    seen = files(LINES, [2, 5, 7], seen=5)

    verdict = verdict_of(tmp_path, seen, witness=WITNESS_KEY)
    missing = verdict_of(tmp_path, RIGHT, witness=WITNESS_KEY)
    heads = seen["heads.txt"].decode()
    line = next(one for one in heads.splitlines(keepends=True) if one.startswith("— witness.test "))
    wrong = flipped_signature(line)
    broken = verdict_of(tmp_path, {**seen, "heads.txt": heads.replace(line, wrong).encode()}, witness=WITNESS_KEY)

    assert (verdict.code, verdict.report["cosigned"]) == (0, {"witness.test": 5})
    assert (missing.code, missing.kinds) == (1, ["cosignature"])
    assert broken.code == 1
    assert set(broken.kinds) == {"cosignature"}


def _expiring(
    *named: int, act: str = "audit.expire", days: int | None = 100, decided: str = "2025-06-01T00:00:00Z"
) -> list[bytes]:
    """Return lines of which two have left by the last, by a period that the first tells of."""
    ids = [json.loads(an_entry(number))["entry"]["id"] for number in named]
    whole = [a_decision(0, days, at=decided), *entries(4)[1:]]
    last = an_entry(4, action=act, entity_ids=ids)
    return [whole[0], an_expired(whole[1], 1, 4), an_expired(whole[2], 2, 4), whole[3], last]


def test_entries_that_left_by_an_entry_that_names_them_are_right(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, files(_expiring(1, 2), [3, 5]))

    assert (verdict.code, verdict.report["expired"]) == (0, 2)


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (_expiring(1), 3),
        (_expiring(1, 2, act="audit.verify"), 2),
        ([*_expiring(1, 2)[:4], an_entry(4)], 2),
        ([*_expiring(1, 2, 77)], None),
        ([_expiring(1, 2)[4], *_expiring(1, 2)[:4]], 3),
    ],
    ids=["not named", "no such act", "no act at all", "one who never was", "before it could"],
)
def test_entries_that_only_seem_to_have_left_are_found(tmp_path: Path, lines: list[bytes], line: int | None) -> None:
    verdict = verdict_of(tmp_path, files(lines, [len(lines)]))

    assert verdict.code == 1
    assert "expired" in verdict.kinds
    assert line in verdict.lines or line == 3


@pytest.mark.parametrize(
    "lines",
    [
        [an_entry(0), *_expiring(1, 2)[1:]],
        _expiring(1, 2, days=None),
        _expiring(1, 2, decided="2026-02-25T00:00:00Z"),
        _expiring(1, 2, days=365),
    ],
    ids=["nobody decided", "decided to keep them", "decided in the week before", "a longer period"],
)
def test_entries_that_left_by_no_period_that_was_decided_are_found(tmp_path: Path, lines: list[bytes]) -> None:
    verdict = verdict_of(tmp_path, files(lines, [len(lines)]))

    assert (verdict.code, set(verdict.kinds), verdict.lines) == (1, {"expired"}, [2, 3])


def test_an_entry_of_long_ago_under_a_transaction_of_today_is_found(tmp_path: Path) -> None:
    lines = [*entries(3), an_entry(3, at="2025-03-01T10:00:00.000000Z"), an_entry(4)]

    verdict = verdict_of(tmp_path, files(lines, [5]))

    assert (verdict.code, verdict.kinds, verdict.lines) == (1, ["reordered"], [4])


def test_an_entry_hidden_behind_the_hash_of_one_that_left_is_found(tmp_path: Path) -> None:
    lines = _expiring(1, 2)
    hidden = [*lines[:3], an_expired(lines[3], 1, 4), lines[4]]

    verdict = verdict_of(tmp_path, {**files(lines, [5]), "entries.jsonl": b"".join(one + b"\n" for one in hidden)})

    # The tree is the one that was signed; that one id is there twice tells.
    assert (verdict.code, verdict.kinds, verdict.lines) == (1, ["malformed"], [4])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"changes":[],"entry":null}',
        b'{"changes":[],"entry":{}}',
        b'{"changes":{},"entry":{"id":7}}',
        b'{"changes":[],"entry":' + b"9" * 5000 + b"}",
        b'{"changes":[1],"entry":{"id":"00000000-0000-0000-0000-000000000001","organization_id":"x"}}',
        b'{"by":"x","expired":"y","id":"z"}',
        b'{"by":1,"expired":2,"id":3}',
        b"\xff\xfe",
        b'"\\ud800"',
        an_entry(1, id="\ud800"),
        an_entry(1, transaction_id="x"),
        an_entry(1, transaction_id=10**400),
        an_entry(1, at="yesterday"),
        an_entry(1, at=7),
        an_entry(1, action="audit.expire", entity_ids=[7]),
        an_entry(1, action="audit.expire", entity_ids=7),
        an_entry(1, organization_id="elsewhere"),
    ],
    ids=range(23),
)
def test_a_line_that_is_no_entry_is_named_though_it_was_signed(tmp_path: Path, line: bytes) -> None:
    lines = [LINES[0], LINES[2]]
    content = files(lines, [2])
    hashes = [hash_of(LINES[0]), verifier.leaf_hash(line)]
    content |= {
        "entries.jsonl": LINES[0] + b"\n" + line + b"\n",
        "leaves.bin": b"".join(hashes),
        "heads.txt": a_head(hashes).encode(),
    }

    verdict = verdict_of(tmp_path, content)

    assert verdict.code == 1
    assert ("malformed", 2) in list(zip(verdict.kinds, verdict.lines, strict=True))


def test_a_line_too_long_to_look_into_is_hashed(tmp_path: Path) -> None:
    long = an_entry(1, padding="x" * verifier.MOST_PARSED)

    verdict = verdict_of(tmp_path, files([LINES[0], long], [2]))

    assert (verdict.code, verdict.report["notes"]) == (0, ["1 lines are too long to be looked into; they were hashed"])


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b" " * 2_000_000,
        json.dumps({**json.loads(RIGHT["manifest.json"]), "format": "other/1"}).encode(),
        json.dumps({**json.loads(RIGHT["manifest.json"]), "size": "7"}).encode(),
        json.dumps({**json.loads(RIGHT["manifest.json"]), "origin": "audit.test/organization/other"}).encode(),
        json.dumps({**json.loads(RIGHT["manifest.json"]), "origin": "\ud800\x1b[31m"}).encode(),
    ],
    ids=range(10),
)
def test_a_manifest_that_is_none_is_no_bundle(tmp_path: Path, manifest: bytes) -> None:
    verdict = verdict_of(tmp_path, {**RIGHT, "manifest.json": manifest})

    assert verdict.code == 2
    assert verdict.report["verified"] is False


def test_a_manifest_that_says_another_size_is_found(tmp_path: Path) -> None:
    manifest = {**json.loads(RIGHT["manifest.json"]), "size": 6}

    assert verdict_of(tmp_path, {**RIGHT, "manifest.json": json.dumps(manifest).encode()}).kinds == ["malformed"]


@pytest.mark.parametrize("name", ["entries.jsonl", "leaves.bin", "heads.txt", "manifest.json"])
def test_a_bundle_without_one_of_its_files_is_none(tmp_path: Path, name: str) -> None:
    assert verdict_of(tmp_path, {one: RIGHT[one] for one in RIGHT if one != name}).code == 2


def test_files_that_are_no_bundle_are_refused_in_one_line(tmp_path: Path) -> None:
    twice = tmp_path / "twice.zip"
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("manifest.json", b"{}")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("manifest.json", b"{}")
    (tmp_path / "text").write_text("no archive")
    (tmp_path / "empty").write_bytes(b"")
    foreign = write(tmp_path / "foreign.zip", {**RIGHT, "../evil": b""})
    for path in (twice, tmp_path / "text", tmp_path / "empty", tmp_path / "none", tmp_path, foreign):
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
            code = verifier.main([str(path), "--key", KEY])
        assert code == 2
        assert len(said.getvalue().splitlines()) == 1, said.getvalue()


@pytest.mark.parametrize("head", ["", "text", "a\n1\n", "a\n-1\nAAAA\n\n— a AAAA\n", "\n" * 100, "x" * 200_000])
def test_a_kept_head_that_is_none_is_refused(tmp_path: Path, head: str) -> None:
    verdict = verdict_of(tmp_path, RIGHT, head)

    assert (verdict.code, verdict.report["verified"]) == (2, False)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_done_to_the_archive_it_is_verified_only_if_it_says_the_same(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = write(tmp_path / "bundle.zip", RIGHT)
    stored = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(stored) - 1))
        stored[place] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del stored[data.draw(st.integers(0, len(stored) - 1)) :]
    path.write_bytes(stored)

    verdict = offline(path, KEY)

    assert verdict.code in {0, 1, 2}
    if verdict.code == 0:
        with zipfile.ZipFile(path) as archive:
            said = {name: archive.read(name) for name in archive.namelist()}
        assert {name: said.get(name) for name in ("entries.jsonl", "leaves.bin")} == {
            name: RIGHT[name] for name in ("entries.jsonl", "leaves.bin")
        }


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_done_to_the_files_it_is_found_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(RIGHT)))
    stored = bytearray(RIGHT[name])
    start = data.draw(st.integers(0, len(stored)))
    end = data.draw(st.integers(start, min(len(stored), start + 40)))
    stored[start:end] = data.draw(st.binary(max_size=40))

    verdict = verdict_of(tmp_path, {**RIGHT, name: bytes(stored)})

    if bytes(stored) != RIGHT[name] and name in {"entries.jsonl", "leaves.bin"}:
        assert verdict.code == 1
    assert verdict.code in {0, 1, 2}


def test_it_needs_nothing_but_itself_and_cryptography(tmp_path: Path) -> None:
    alone = tmp_path / "verify.py"
    alone.write_bytes(Path(verifier.__file__).read_bytes())
    bundle = write(tmp_path / "bundle.zip", RIGHT)

    imported = set(re.findall(r"^(?:from|import) ([a-z_0-9]+)", alone.read_text(), re.MULTILINE))
    done = _run(alone, str(bundle), "--key", KEY)
    usage = _run(alone)

    assert imported - set(sys.stdlib_module_names) == {"cryptography"}
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "verified")
    assert (usage.returncode, len(usage.stderr.splitlines())) == (2, 1)


def test_what_a_bundle_says_can_do_nothing_to_a_terminal(tmp_path: Path) -> None:
    manifest = json.loads(RIGHT["manifest.json"])
    evil = "\x1b[2J\ud800/" + manifest["origin"]
    content: dict[str, Any] = {**manifest, "origin": evil}
    bundle = write(tmp_path / "bundle.zip", {**RIGHT, "manifest.json": json.dumps(content).encode()})

    with redirect_stdout(io.StringIO()) as said:
        code = verifier.main([str(bundle), "--key", KEY])

    assert code == 1
    assert said.getvalue().replace("\n", "").isprintable()


def _run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(path), *arguments], cwd=path.parent, capture_output=True, text=True, check=False
    )

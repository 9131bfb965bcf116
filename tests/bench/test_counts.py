"""Counts are compared with those of the last commit: what grew is found, and what the file says must be so."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.counts import AcceptanceError, Counts, CountsFileError, accepted_in, judged, parsed, renewed, written
from bench.dataset import Dataset
from bench.last_commit import in_last_commit
from bench.sections.counts import Subject
from bench.seed_fieldward import Person
from bench.server import Databases
from bench.work import Work
from models.reading import OneStatement
from models.transaction import Tenant
from schema.api import Api

BEFORE = Counts("3.11", 200, {"C": {"ways": 2, "statements": 2, "bytecodes": 7000, "bytes": 280}})


def with_counts(**kinds: float) -> Counts:
    """Return the counts with others of workload C."""
    return replace(BEFORE, workloads={"C": {**BEFORE.workloads["C"], **kinds}})


def test_what_is_as_it_was_is_no_problem() -> None:
    assert judged(BEFORE, BEFORE, BEFORE, {}).problems == []


@pytest.mark.parametrize(("kind", "value"), [("statements", 3), ("bytecodes", 8100), ("bytes", 330)])
def test_what_grew_by_more_than_15_percent_is_named(kind: str, value: float) -> None:
    now = with_counts(**{kind: value})

    (problem,) = judged(now, now, BEFORE, {}).problems

    assert problem.startswith(f"C.{kind} grew from")


def test_what_grew_by_less_or_fell_is_no_problem() -> None:
    for now in (with_counts(bytecodes=8000), with_counts(bytecodes=3000, statements=1)):
        assert judged(now, now, BEFORE, {}).problems == []


def test_a_growth_that_is_accepted_is_said_with_its_reason() -> None:
    now = with_counts(statements=3)

    verdict = judged(now, now, BEFORE, {"C.statements": "Devices are read apart."})

    assert verdict.problems == []
    assert any("Devices are read apart." in note for note in verdict.notes)


def test_a_reason_is_good_for_one_growth() -> None:
    reason = {"C.statements": "Devices are read apart."}
    old, new = (written(replace(BEFORE, accepted=accepted)) for accepted in ({}, reason))

    assert accepted_in([(new, old)]) == reason
    assert accepted_in([(new, new)]) == {}


def test_the_file_must_say_what_is_counted() -> None:
    (problem,) = judged(BEFORE, with_counts(bytecodes=6000), BEFORE, {}).problems
    assert "C.bytecodes is 7,000, and the file says 6,000" in problem
    assert judged(BEFORE, with_counts(bytecodes=6900), BEFORE, {}).problems == []
    assert "no file of counts" in judged(BEFORE, None, BEFORE, {}).problems[0]


def test_bytecodes_of_another_python_are_not_compared() -> None:
    now = replace(with_counts(bytecodes=9000), python="3.12")

    verdict = judged(now, now, BEFORE, {})

    assert verdict.problems == []
    assert any("not compared" in note for note in verdict.notes)


def test_what_is_accepted_is_given_with_a_count_and_a_reason() -> None:
    assert renewed(BEFORE, None, BEFORE, ["C.ways=So."]).accepted == {"C.ways": "So."}
    for wrong in ("C.ways", "C.ways=", "F.ways=So.", "=So."):
        with pytest.raises(AcceptanceError):
            renewed(BEFORE, None, BEFORE, [wrong])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"python": "3.11", "records": 1, "workloads": {"A": 3}}'])
def test_what_is_no_file_of_counts_is_refused(text: str) -> None:
    with pytest.raises(CountsFileError):
        parsed(text)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository in which counts were committed twice, and merged from a branch."""

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch=main")
    for number, branch in ((1, None), (2, None), (3, "work")):
        if branch:
            git("checkout", "--quiet", "-b", branch)
        (tmp_path / "counts.json").write_text(written(with_counts(ways=number)))
        git("add", "counts.json")
        git("commit", "--quiet", "-m", f"Count {number}")
    git("checkout", "--quiet", "main")
    git("merge", "--quiet", "--no-ff", "-m", "Merge", "work")
    return tmp_path / "counts.json"


def test_of_a_merge_the_last_commit_is_what_it_was_merged_into(repository: Path) -> None:
    found = in_last_commit(repository)

    assert found is not None
    assert parsed(found.text).workloads["C"]["ways"] == 2


def test_in_a_changed_tree_the_last_commit_is_head(repository: Path) -> None:
    repository.write_text(written(with_counts(ways=9)))

    found = in_last_commit(repository)

    assert found is not None
    assert parsed(found.text).workloads["C"]["ways"] == 3


def test_without_history_there_is_no_last_commit(repository: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / ".git")

    assert in_last_commit(repository) is None


@pytest.fixture(scope="module")
def subject() -> Iterator[tuple[Subject, Person]]:
    """Fieldward over a small database of its own, and who signs in to it."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    try:
        with Databases(made) as databases:
            counted = Subject(made, databases, Dataset(200))
            yield counted, counted.seeded()
    finally:
        shutil.rmtree(made, ignore_errors=True)


def test_counts_are_the_same_each_time(subject: tuple[Subject, Person]) -> None:
    counted, person = subject

    one, other = (counted.measured(person, [Work.C]).workloads["C"] for _ in range(2))

    assert one["bytecodes"] == pytest.approx(other["bytecodes"], rel=0.01)
    assert {name: one[name] for name in ("ways", "statements", "decisions", "bytes")} == {
        name: other[name] for name in ("ways", "statements", "decisions", "bytes")
    }


def test_work_that_was_added_is_found(subject: tuple[Subject, Person], monkeypatch: pytest.MonkeyPatch) -> None:
    counted, person = subject
    before = counted.measured(person, [Work.C])
    execute = Api.execute

    async def slower(api: Api, *arguments: Any, **named: Any) -> Any:
        async with OneStatement(Tenant()) as connection:
            await connection.fetchval("select 1")
        for _ in range(1000):
            pass
        return await execute(api, *arguments, **named)

    monkeypatch.setattr(Api, "execute", slower)
    now = counted.measured(person, [Work.C])

    problems = judged(now, now, before, {}).problems
    assert {problem.split(" ")[0] for problem in problems} >= {"C.ways", "C.statements", "C.bytecodes"}


def test_the_file_is_written_to_be_read(subject: tuple[Subject, Person]) -> None:
    counted, person = subject
    now = counted.measured(person, [Work.C])

    assert parsed(written(now)) == now
    assert json.loads(written(now))["workloads"]["C"]["ways"] == 2

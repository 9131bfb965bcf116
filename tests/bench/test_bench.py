"""A short round of the benchmark: its targets answer alike, every figure is printed, and nothing is left running."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.answers import DisagreementError, require_agreement
from bench.bomb import bombs
from bench.dataset import Dataset
from bench.load import Generator, Load, LoadError, run_load
from bench.report import Report
from bench.seed_peers import DATABASE, seed_peers
from bench.server import Databases
from bench.targets.base import Setting, UnavailableTargetError
from bench.targets.postgraphile import PostgraphileTarget
from bench.targets.python_app import LimitTarget
from bench.work import Work
from tests.support.server import ROOT

COMMAND = [sys.executable, "-m", "bench", "run"]
SEALING = [sys.executable, "-m", "bench", "sealing", "--entries", "600", "--organizations", "3", "--seconds", "2"]
ENCRYPTION = [sys.executable, "-m", "bench", "encryption", "--records", "2000", "--rounds", "1"]
AUDIT = [
    sys.executable,
    "-m",
    "bench",
    "audit",
    "--records",
    "2000",
    "--rounds",
    "1",
    "--seconds",
    "1",
    "--warm-up",
    "0",
]
GUARDS = [sys.executable, "-m", "bench", "guards", "--records", "1000", "--rounds", "1"]
IMPORT = [sys.executable, "-m", "bench", "import", "--rows", "400"]
EXPORT = [sys.executable, "-m", "bench", "export", "--rows", "1000"]
SHORT = ("--records", "200", "--rounds", "1", "--seconds", "1", "--warm-up", "0", "--connections", "4")


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory of this module's runs."""
    # Not below pytest's own directories: another run may close those, and then the database's user is shut out.
    made = Path(tempfile.mkdtemp(prefix="fw"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def limit(directory: Path) -> Iterator[LimitTarget]:
    """The target `limit` over 200 records, started."""
    place = directory / "limit"
    place.mkdir()
    with Databases(place) as databases, ExitStack() as stack:
        target = LimitTarget(Setting(Dataset(200), databases, place))
        asyncio.run(seed_peers(databases, target.dataset))
        target.start(stack)
        yield target


def test_a_round_prints_what_agreeing_targets_answered(directory: Path) -> None:
    targets = ("fieldward", "limit", "plain")
    done = subprocess.run(
        [*COMMAND, *SHORT, "--works", "A", "--targets", ",".join(targets), "--directory", str(directory / "round")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    for target in targets:
        assert f"{target}: hold the answers against the data" in done.stderr
        (row,) = [line for line in done.stdout.splitlines() if line.startswith(f"| {target} ") and line.count("|") > 5]
        assert float(row.split("|")[2].replace(",", "")) > 0, row
    assert "Fieldward's requests per second, as a multiple of each peer's" in done.stdout
    assert not (directory / "round" / "postgres").exists()
    assert not (directory / "round" / "fieldward").exists()


def test_ctrl_c_leaves_nothing_behind(directory: Path) -> None:
    place = directory / "stopped"
    # Long enough not to be through before it is stopped.
    arguments = [*COMMAND, *SHORT, "--seconds", "60", "--targets", "limit", "--directory", str(place)]
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "hold the answers" in line:
                break
        found = _processes_of(place)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()

    assert process.returncode == 130
    assert said.splitlines()[-1] == "bench: stopped"
    assert found, "PostgreSQL was running"
    assert not _processes_of(place)
    assert not (place / "postgres").exists()


def test_an_unknown_target_is_wrong_usage(directory: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--targets", "fieldward,hasura", "--directory", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("bench: --targets: expected some of fieldward,")


def test_a_wrong_answer_is_found(limit: LimitTarget) -> None:
    require_agreement(limit)
    asyncio.run(_execute(limit, "update record set site_code = 'ELSEWHERE' where id = $1"))
    try:
        with pytest.raises(DisagreementError, match=r"limit answers A with 'ELSEWHERE' as siteCode of record 0"):
            require_agreement(limit)
    finally:
        asyncio.run(_execute(limit, "update record set site_code = 'SITE-0000' where id = $1"))


def test_our_own_generator_keeps_a_pace_and_counts_failures(limit: LimitTarget) -> None:
    load = Load(limit.url, limit.headers(), limit.bodies(Work.C), connections=4, seconds=1, rate=40)
    counted = run_load(load, Generator.OWN)

    assert counted.requests == 40
    assert counted.errors == 0
    assert 0 < counted.p50_ms <= counted.p99_ms

    unknown = Load(limit.url, {}, [b'{"operationName": "X", "variables": {}}'], connections=1, seconds=0.2)
    with pytest.raises(LoadError, match=r"failed\. 500 "):
        run_load(unknown, Generator.OWN)


def test_a_target_that_cannot_be_had_says_why(limit: LimitTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(UnavailableTargetError, match="npm is not installed"):
        PostgraphileTarget(limit.setting).prepare()


def test_a_report_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("Above.\n<!-- depth: begin -->\nold\n<!-- depth: end -->\nBelow.\n")
    Report("depth", ["new"], {}).write("A noisy run.", page)

    assert page.read_text() == (
        "Above.\n<!-- depth: begin -->\n\n**A noisy run.**\n\nnew\n\n<!-- depth: end -->\nBelow.\n"
    )


async def _execute(limit: LimitTarget, statement: str) -> None:
    async with limit.setting.databases.superuser(DATABASE) as connection:
        await connection.execute(statement, limit.dataset.record(0).id)


def _processes_of(place: Path) -> list[int]:
    """Return the processes whose command names a directory, the benchmark itself aside."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(place) in arguments and b"bench\0" not in arguments:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("command", "row"),
    [
        (GUARDS, "| all of them "),
        (ENCRYPTION, "| with an encrypted column, and the log of its reading "),
        (AUDIT, "| create a record with 3 measurements: one at a time, ms "),
        (SEALING, "| 3 "),
        (IMPORT, "| import by the job "),
        (EXPORT, "| GEOJSON "),
    ],
    ids=["guards", "encryption", "audit", "sealing", "import", "export"],
)
def test_a_round_of_a_section_prints_its_table(directory: Path, command: list[str], row: str) -> None:
    done = subprocess.run(
        [*command, "--directory", str(directory / "section")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert row in done.stdout


def test_the_noted_overload_is_of_every_bomb_without_a_sign_in_and_with_one() -> None:
    page = (ROOT / "bench" / "README.md").read_text()
    noted = page.partition("<!-- overload: begin -->")[2].partition("<!-- overload: end -->")[0]
    names = [line.split("|")[1].strip() for line in noted.splitlines() if line.startswith("|")][2:]

    assert names == [who for name in bombs() for who in (name, f"{name}, signed in")]

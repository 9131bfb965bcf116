"""The steps of the container file, done on this machine, and the units of systemd, judged by its own tool.

What can't be done here stands in docs/supply-chain.md.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fieldward.check.deployment import refused_at_start
from fieldward.cli.environment import load_settings
from fieldward.cli.serving import require_startable
from fieldward.settings import Settings
from tests.acceptance.test_fresh_clone import copy_of_the_project
from tests.support.containerfile import is_ignored, parsed
from tests.support.programs import needs
from tests.support.server import ROOT, free_port

CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
IGNORED = Path(f"{CONTAINERFILE}.containerignore").read_text().split()
UNITS = ROOT / "deploy" / "systemd"
EXPOSURE = 2.0
"""What `systemd-analyze security` may say of the service at the most, of 10; at 0 it could do nothing at all."""


@cache
def _may_mount() -> bool:
    """Whether this machine lets us mount what we like, in a namespace of our own."""
    tried = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return os.geteuid() == 0 and subprocess.run(tried, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="only root may mount, and so build what a container would be")
def test_what_the_container_file_builds_serves_as_nobody_special_from_files_that_it_can_not_write(
    tmp_path: Path,
) -> None:
    project, work = tmp_path / "project", tmp_path / "work"
    work.mkdir()
    copy_of_the_project(project)
    given = [str(CONTAINERFILE), str(project), str(work), str(free_port())]

    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.support.containerfile", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["before"] == 1
    assert found["healthy"]
    assert found["answer"] == {"data": {"viewer": None}}
    assert set(found["status"]["Uid"]) == set(found["status"]["Gid"]) == {"10001"}
    assert {int(found["status"][name][0], 16) for name in ("CapEff", "CapBnd")} == {0}
    assert found["status"]["NoNewPrivs"] == ["1"]
    assert found["written"] == ["var/lib/fieldward/x"]
    assert found["unbuilt"] == []
    assert found["code"] in {0, -15, 143}, found["log"]
    for line in found["log"].splitlines():
        assert not line.startswith("{") or json.loads(line)["level"] not in {"error", "critical"}, line


def test_the_container_file_ends_as_a_user_that_is_not_root_and_names_no_registry() -> None:
    stages = parsed(CONTAINERFILE.read_text())
    final = stages[-1]

    assert [stage.name for stage in stages] == ["build", "1"]
    assert {stage.image for stage in stages} == {"${PYTHON_IMAGE}"}
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", final.last("USER") or "")
    assert [kind for kind, _ in final.steps].index("USER") > max(
        place for place, (kind, _) in enumerate(final.steps) if kind in {"RUN", "COPY"}
    )
    assert not re.search(r"https?://|\w+\.\w+/\w", CONTAINERFILE.read_text().replace("docs/supply-chain.md", ""))
    assert "--require-hashes" in CONTAINERFILE.read_text()
    assert final.last("HEALTHCHECK") is not None
    assert final.last("STOPSIGNAL") == "SIGTERM"
    # Others than the container reach what it listens on.
    assert {"FIELDWARD_HOST=0.0.0.0", "FIELDWARD_MODE=production"} <= {said for _, said in final.steps}
    for name in _variables(CONTAINERFILE.read_text()):
        assert name.removeprefix("FIELDWARD_").lower() in Settings.model_fields


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("fieldward/settings.py", False),
        ("requirements.txt", False),
        ("fieldward/pages/static/graphiql.js", False),
        ("fieldward/pages/build/package.json", True),
        ("models/__pycache__/x.pyc", True),
        ("tests/conftest.py", True),
        (".fieldward/key-encryption-key", True),
        (".git/config", True),
        ("requirements-dev.txt", True),
    ],
)
def test_nothing_is_in_the_context_but_what_serves(path: str, ignored: bool) -> None:
    assert is_ignored(path, IGNORED) is ignored


def _variables(text: str) -> Iterator[str]:
    yield from re.findall(r"^(?:ENV |Environment=|#?)(FIELDWARD_[A-Z_]+)=", text, re.MULTILINE)


def test_the_units_name_variables_and_commands_that_there_are() -> None:
    service = (UNITS / "fieldward.service").read_text()
    example = (UNITS / "fieldward.env.example").read_text()

    assert "ExecStart=/opt/fieldward/.venv/bin/python -m fieldward serve" in service
    named = {*_variables(service), *_variables(example)}
    assert len(named) > 5
    assert {name.removeprefix("FIELDWARD_").lower() for name in named} <= Settings.model_fields.keys()
    # What only migrating may know does not stand where the service reads.
    assert "OWNER" not in "".join(_variables(example))
    stop_s = int(re.findall(r"^TimeoutStopSec=(\d+)$", service, re.MULTILINE)[0])
    assert stop_s > Settings.model_fields["shutdown_grace_s"].default + 5 + 5


def test_production_starts_by_the_example_once_what_is_to_be_changed_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (UNITS / "fieldward.env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    changed = {name: re.sub(r"CHANGE[\w-]*", secrets.token_urlsafe(32), value) for name, value in given.items()}
    for name in [name for name in os.environ if name.startswith("FIELDWARD_")]:
        monkeypatch.delenv(name)
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FIELDWARD_DATA_DIRECTORY", str(tmp_path / "data"))

    settings = load_settings()
    require_startable(settings)

    assert settings.is_production
    assert refused_at_start(settings) == []
    assert {name for name in given if given[name] != changed[name]} == {
        *("FIELDWARD_DATABASE_URL", "FIELDWARD_KEYSTORE_URL", "FIELDWARD_METRICS_TOKEN")
    }
    # As it stands it is not served: what is to be changed is no secret.
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert {one.rule.name for one in refused_at_start(load_settings())} == {"weak-secret"}


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, for a machine that has nothing of them yet: the programs and files that they name are there."""
    root = tmp_path / "root"
    where = root / "etc" / "systemd" / "system"
    where.mkdir(parents=True)
    for unit in ("fieldward.service", "fieldward.socket"):
        shutil.copy(UNITS / unit, where / unit)
    python = root / "opt" / "fieldward" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    return root


@needs("systemd-analyze")
def test_systemd_finds_the_service_well_locked_in(units: Path) -> None:
    unit = units / "etc" / "systemd" / "system" / "fieldward.service"

    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            f"--threshold={round(EXPOSURE * 10)}",
            "--no-pager",
            str(unit),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    said = re.search(r"Overall exposure level for fieldward\.service: ([\d.]+)", done.stdout)
    assert said is not None
    assert float(said[1]) <= EXPOSURE


@needs("systemd-analyze")
def test_systemd_takes_the_units_as_they_are(units: Path) -> None:
    where = units / "etc" / "systemd" / "system"

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={units}", str(where / "fieldward.service")],
        capture_output=True,
        text=True,
        check=False,
    )

    # Units of the system that ours come after are not on a machine that has nothing.
    said = [line for line in done.stderr.splitlines() if "fieldward" in line and "not found" not in line]
    assert said == []

"""What the page on the supply chain has somebody do, and the files of deploy/ that any page names."""

import re
from pathlib import Path

from fieldward.background import GRACE_S
from fieldward.settings import Settings
from supply.lock import BACKUPS, DEVELOPED, FAILOVER, PROVIDERS, SERVED
from tests.support.containerfile import parsed

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "supply-chain.md").read_text()
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.startswith("    ")]


def test_every_target_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {line.removeprefix("make ") for line in COMMANDS if line.startswith("make ")}

    assert {"sbom", "licences", "audit"} <= named <= targets


def test_every_file_of_deploy_that_is_named_is_there() -> None:
    pages = "".join(path.read_text() for path in sorted((ROOT / "docs").rglob("*.md")))
    named = set(re.findall(r"deploy/[\w./-]+\w", pages))

    assert len(named) >= 8
    assert [one for one in named if not (ROOT / one).exists()] == []
    for path in (ROOT / "deploy").rglob("*"):
        # What nobody is told of is not used.
        relative = path.relative_to(ROOT).as_posix()
        assert path.is_dir() or any(one in relative for one in named), relative


def test_under_systemd_everything_is_there_before_the_service_is_started() -> None:
    unit = (ROOT / "deploy" / "systemd" / "fieldward.service").read_text()
    section = PAGE.partition("\n## Under systemd\n")[2].partition("\n## ")[0]
    steps = [line.strip() for line in section.replace("\\\n", " ").splitlines() if line.startswith("    ")]
    places = [
        next(place for place, step in enumerate(steps) if re.search(wanted, step))
        for wanted in (
            r"-m venv \.venv$",
            r"pip install --require-hashes .*-r requirements\.txt$",
            r"fieldward\.env\.example /etc/fieldward/fieldward\.env$",
            r" /etc/fieldward/owner\.env$",
            r"^systemctl daemon-reload$",
            r"^systemd-run .*EnvironmentFile=/etc/fieldward/owner\.env .* -m fieldward migrate$",
            r"^systemctl enable --now fieldward\.socket fieldward\.service$",
        )
    ]

    assert places == sorted(places)
    # What only migrating may know is not read by what serves.
    assert re.findall(r"^EnvironmentFile=(.*)$", unit, re.MULTILINE) == ["/etc/fieldward/fieldward.env"]
    assert f"--working-directory={re.findall(r'^WorkingDirectory=(.*)$', unit, re.MULTILINE)[0]} " in " ".join(steps)
    assert "CHANGE" in section


def test_every_file_that_locks_python_packages_is_named() -> None:
    locked = [*ROOT.glob("requirements*.txt"), *(ROOT / "drills").glob("requirements*.txt")]
    section = PAGE.partition("\n## Locked\n")[2].partition("\n## ")[0]

    assert set(re.findall(r"`([\w/-]*requirements[\w-]*\.txt)`", section)) == {
        path.relative_to(ROOT).as_posix() for path in locked
    }
    assert set(locked) == {SERVED, PROVIDERS, DEVELOPED, FAILOVER, BACKUPS}


def test_the_container_is_run_as_it_was_built() -> None:
    final = parsed((ROOT / "deploy" / "container" / "Containerfile").read_text())[-1]
    run = " ".join(COMMANDS)

    assert "--read-only --cap-drop=all --security-opt=no-new-privileges" in run
    assert f"fieldward-data:{re.findall(r'/[a-z/]+', final.last('VOLUME') or '')[0]}" in run
    delay_s, grace_s = (Settings.model_fields[f"shutdown_{name}_s"].default for name in ("delay", "grace"))
    # Beside them five seconds for what is idle, and five for jobs.
    (stop_s,) = re.findall(r"--stop-timeout=(\d+) ", run)
    assert int(stop_s) > delay_s + 5 + grace_s + GRACE_S
    assert f":{final.last('EXPOSE')}:{final.last('EXPOSE')} fieldward" in run
    assert f"user {(final.last('USER') or '').partition(':')[0]}" in PAGE

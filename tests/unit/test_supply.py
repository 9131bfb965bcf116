"""What is locked, what its licences are, and what is known of it: as far as no network is wanted."""

import datetime
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from supply.audit import Audited, Finding, NotCheckedError, accepted, audit, npm_findings, python_findings
from supply.licence import SHIPPED, allows, licences, page
from supply.lock import (
    BACKUPS,
    CLIENTS,
    DEVELOPED,
    FAILOVER,
    PAGES,
    PROVIDERS,
    ROOT,
    SERVED,
    LockError,
    npm_packages,
    python_packages,
)
from supply.sbom import sbom

TODAY = datetime.date(2026, 3, 1)


@pytest.mark.parametrize("path", [SERVED, PROVIDERS, DEVELOPED, FAILOVER, BACKUPS], ids=lambda path: path.name)
def test_every_python_package_is_locked_by_hashes(path: Path) -> None:
    found = python_packages(path)
    named = [
        line for line in path.read_text().splitlines() if line and line[0] not in " #" and not line.startswith("-")
    ]

    assert len(found) == len(named) > 4
    assert all(one.hashes for one in found)


@pytest.mark.parametrize("path", [PAGES, CLIENTS], ids=lambda path: path.parent.name)
def test_every_npm_package_is_locked_by_its_hash(path: Path) -> None:
    assert len(npm_packages(path)) > 20


def test_a_package_without_a_hash_is_not_locked(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("orjson==3.11.4\n    # via fieldward\n")

    with pytest.raises(LockError, match="orjson"):
        python_packages(path)


def test_what_is_built_into_the_pages_is_found_with_all_that_it_needs() -> None:
    shipped = {one.name for one in npm_packages(PAGES, shipped_by=SHIPPED)}

    assert set(SHIPPED) <= shipped
    assert "esbuild" not in shipped
    assert len(shipped) > len(SHIPPED) + 5


def test_no_licence_is_outside_of_those_that_are_taken() -> None:
    told = licences()

    assert len(told) > 80
    assert [(one.package.name, one.licence) for one in told if not one.is_allowed] == []


def test_the_page_of_licences_is_what_is_printed() -> None:
    assert (ROOT / "docs" / "licences.md").read_text() == page(licences())


@pytest.mark.parametrize(
    ("expression", "is_allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT AND BSD-3-Clause) OR GPL-2.0", True),
        ("(MIT OR GPL-2.0) AND GPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("mit", False),
        ("", False),
        ("SEE LICENSE IN LICENSE.md", False),
    ],
)
def test_of_a_choice_one_part_has_to_be_taken_and_of_what_holds_together_every_part(
    expression: str, is_allowed: bool
) -> None:
    assert allows(expression) is is_allowed


def test_the_bill_names_each_package_that_is_served_with_and_its_hashes() -> None:
    bill = json.loads(sbom())
    by_name = {one["name"]: one for one in bill["components"]}
    told = licences()

    assert bill["bomFormat"] == "CycloneDX"
    assert bill["specVersion"] == "1.6"
    assert set(by_name) == {one.package.name for one in told}
    assert by_name["orjson"]["purl"].startswith("pkg:pypi/orjson@")
    assert len(by_name["orjson"]["properties"]) > 5
    assert by_name["@graphiql/react"]["purl"].startswith("pkg:npm/%40graphiql/react@")
    assert by_name["react"]["hashes"][0]["alg"] == "SHA-512"
    assert all("licenses" in one for one in bill["components"])


def test_what_is_accepted_is_accepted_with_a_reason_and_for_a_time(tmp_path: Path) -> None:
    path = tmp_path / "accepted.toml"
    path.write_text(
        '[[accepted]]\nid = "GHSA-1"\nwhy = "Not used."\nuntil = 2026-03-01\n'
        '[[accepted]]\nid = "GHSA-2"\nwhy = "Not used."\nuntil = 2026-02-28\n'
    )

    assert accepted(path, today=TODAY).keys() == {"GHSA-1"}
    path.write_text('[[accepted]]\nid = "GHSA-1"\nwhy = " "\nuntil = 2026-03-01\n')
    with pytest.raises(ValueError, match="expected id, why and until"):
        accepted(path, today=TODAY)


def test_the_file_of_what_is_accepted_can_be_read() -> None:
    accepted(today=TODAY)


def _stand_in(directory: Path, name: str, text: str, code: int) -> None:
    program = directory / name
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.stdout.write({text!r})\nsys.exit({code})\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "code", "found"),
    [
        ('{"vulnerabilities": {}}', 0, []),
        (
            json.dumps(
                {
                    "vulnerabilities": {
                        "left": {"via": ["right"], "range": "*"},
                        "right": {
                            "via": [
                                {"severity": "high", "url": "advisories/GHSA-9"},
                                {"severity": "low", "url": "advisories/GHSA-8"},
                            ],
                            "range": "<2",
                            "fixAvailable": {"version": "2.0.0"},
                        },
                    }
                }
            ),
            1,
            [Finding("right", "<2", "GHSA-9", "2.0.0")],
        ),
    ],
)
def test_what_npm_knows_is_told_once_where_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int, found: list[Finding]
) -> None:
    _stand_in(tmp_path, "npm", text, code)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert npm_findings(PAGES) == Audited(found)


@pytest.mark.parametrize("text", ["", '{"error": {"code": "ENOAUDIT"}}', "<html>"])
def test_where_npm_is_answered_nothing_nothing_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    _stand_in(tmp_path, "npm", text, 1)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotCheckedError):
        npm_findings(PAGES)


def test_without_npm_nothing_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotCheckedError, match="not installed"):
        npm_findings(PAGES)


KNOWN = {"name": "left", "version": "1.0", "vulns": [{"id": "GHSA-7", "fix_versions": ["1.1", "2.0"]}]}
SKIPPED = {"name": "ours", "skip_reason": "Dependency not found on PyPI and could not be audited: ours (1.0)"}


def _pip_audit_tells(told: object, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(directory, "python", json.dumps(told), 0)
    monkeypatch.setattr("supply.audit.sys.executable", str(directory / "python"))


def test_a_package_that_pip_audit_did_not_look_up_is_not_one_of_which_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pip_audit_tells(
        {"dependencies": [SKIPPED, KNOWN, {"name": "right", "version": "2", "vulns": []}]}, tmp_path, monkeypatch
    )

    assert python_findings(SERVED) == Audited(
        [Finding("left", "1.0", "GHSA-7", "1.1, 2.0")], {"ours": SKIPPED["skip_reason"]}
    )


@pytest.mark.parametrize(
    "told", [{"dependencies": [{"name": "left", "version": "1.0"}]}, {"dependencies": ["left"]}, []]
)
def test_where_pip_audit_tells_nothing_of_a_package_nothing_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: object
) -> None:
    _pip_audit_tells(told, tmp_path, monkeypatch)

    with pytest.raises(NotCheckedError):
        python_findings(SERVED)


def test_what_was_not_looked_up_is_counted_and_named_and_fails_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("supply.audit.python_findings", lambda _: Audited([], {"ours": "not on PyPI", "other": "odd"}))
    monkeypatch.setattr("supply.audit.npm_findings", lambda _: Audited([]))

    assert audit() == 0
    said = capsys.readouterr().out
    assert "requirements-dev.txt: 0 known, 0 accepted, 2 NOT CHECKED\n  ours: NOT CHECKED (not on PyPI)\n" in said
    assert "package-lock.json: 0 known, 0 accepted\n" in said

    monkeypatch.setattr("supply.audit.npm_findings", lambda _: Audited([Finding("left", "1", "GHSA-7", "")]))
    assert audit() == 1


def test_without_a_network_the_audit_says_so_and_fails_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Nothing listens there: whoever asks is refused at once.
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(_first_pin())

    with pytest.raises(NotCheckedError):
        python_findings(requirements)
    if shutil.which("npm") is not None:
        with pytest.raises(NotCheckedError):
            npm_findings(PAGES)


def _first_pin() -> str:
    lines = SERVED.read_text().splitlines(keepends=True)
    return "".join(lines[: next(place for place, line in enumerate(lines) if line.lstrip().startswith("# via"))])


def test_the_commands_end_as_they_say(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "supply", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    other = tmp_path / "licences.md"
    other.write_text("another")
    assert run("licences", "--check", "docs/licences.md").returncode == 0
    assert run("licences", "--check", str(other)).returncode == 1
    assert json.loads(run("sbom").stdout)["bomFormat"] == "CycloneDX"

"""Which files are run again, of those that had failures."""

import json
from pathlib import Path

import pytest

from tests.support import again


def test_each_file_that_had_a_failure_is_run_whole_and_once(tmp_path: Path) -> None:
    noted = tmp_path / "lastfailed"
    names = ["tests/unit/test_b.py::test_two[a::b]", "tests/unit/test_a.py::test_one", "tests/unit/test_b.py::test_one"]
    noted.write_text(json.dumps(dict.fromkeys(names, True)))

    assert again.failed_files(noted) == ["tests/unit/test_a.py", "tests/unit/test_b.py"]


@pytest.mark.parametrize("count", [0, again.MOST_FILES + 1])
def test_where_nothing_was_noted_or_many_failed_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    noted = tmp_path / "lastfailed"
    if count:
        noted.write_text(json.dumps({f"tests/unit/test_{number}.py::test_it": True for number in range(count)}))
    monkeypatch.setattr(again, "LAST_FAILED", noted)

    assert again.main() == 1

    assert f"{count} files had failures" in capsys.readouterr().err


@pytest.mark.parametrize("broken", [True, False])
def test_what_fails_by_itself_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    """In a tree of its own, with pytest's own notes of a run before."""
    (tmp_path / "test_it.py").write_text(f"def test_it() -> None:\n    assert not {broken}\n")
    noted = tmp_path / "lastfailed"
    noted.write_text(json.dumps({"test_it.py::test_it": True}))
    monkeypatch.setattr(again, "LAST_FAILED", noted)
    monkeypatch.setattr(again, "ROOT", tmp_path)

    assert again.main() == int(broken)

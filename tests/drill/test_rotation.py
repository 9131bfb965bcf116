"""A short round of the drill in which all keys are rotated under load."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills.rotation import KILLED_AT, rotate_under_load


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of this test's own, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_keys_are_rotated_under_load_by_a_command_that_is_killed_twice(directory: Path) -> None:
    # A rotation at full speed is through with so few rows before a busy machine gets to kill it.
    found = rotate_under_load(directory, 2000, share=0.2)

    assert found.kills == len(KILLED_AT)
    assert found.resealed >= found.records
    assert found.read > 0
    assert found.created > 0
    assert found.updated > 0

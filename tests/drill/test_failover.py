"""A short round of the drill in which the primary is killed, stopped and cut off."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills.failover import failover_under_load
from drills.patroni import why_no_cluster

SEED = 5


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path, for sockets below it; where this machine can be made into several."""
    reason = why_no_cluster()
    if reason is not None:
        if os.environ.get("DRILLS_REQUIRED"):
            pytest.fail(f"The drill is required here, and can't be: {reason}")
        pytest.skip(reason)
    made = Path(tempfile.mkdtemp(prefix="fw"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_nothing_acknowledged_is_lost_or_doubled_when_another_machine_becomes_primary(directory: Path) -> None:
    found = failover_under_load(directory / "drill", kills=1, stops=1, cuts=1, seed=SEED)

    assert found.rounds == found.promotions == 3
    assert found.held["writes"] > 50
    assert found.held["changes"] > found.held["writes"]
    assert found.told["AWAY"] > 0
    assert found.records > 0
    assert found.opened > 0
    assert found.sealed > found.held["writes"]

"""A short round of the drill in which far more is asked for than the service can do."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drills.error import DrillError
from drills.overload import Overloaded, _judge, overload


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of this test's own, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_what_the_service_cannot_do_is_refused_at_once_and_it_recovers(directory: Path) -> None:
    found = overload(directory / "machine", seconds=4.0, warm_s=2.0, connections=300, least_sent=0.5)

    assert found.others == 0
    assert found.refused > found.served > 0
    assert set(found.statuses) <= {"200", "429", "503"}
    assert found.recovered_s <= 5


GOOD = Overloaded(
    sustained=500.0,
    sustained_ms=(10.0, 20.0, 30.0),
    offered=5000.0,
    seconds=60.0,
    connections=600,
    due=300_000,
    sent=290_000,
    served=20_000,
    refused=270_000,
    statuses={"200": 20_000, "503": 270_000},
    served_ms=(100.0, 200.0, 300.0),
    refused_ms=(5.0, 50.0, 80.0),
    others=0,
    examples=(),
    probes=120,
    unprobed=0,
    memory_mb=(200.0, 220.0, 210.0),
    recovered_s=0.2,
    cheap_ms=5.0,
)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("others", 1, "neither served"),
        ("sent", 284_999, "of 300000 requests only 284999 found a connection"),
        ("refused", 10, "no overload"),
        ("served", 0, "nobody was served"),
        ("refused_ms", (500.0, 5000.0, 9000.0), "takes more than"),
        ("unprobed", 1, "were not answered"),
        ("memory_mb", (200.0, 231.0, 231.0), "memory grew from 200 to 231 MiB"),
        ("memory_mb", (200.0, 400.0, 200.0), "memory grew from 200 to 400 MiB"),
        ("recovered_s", 5.1, "to recover"),
    ],
)
def test_the_drill_finds(name: str, value: Any, found: str) -> None:
    _judge(GOOD)
    with pytest.raises(DrillError, match=found):
        _judge(replace(GOOD, **{name: value}))

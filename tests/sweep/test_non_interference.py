"""Nothing in an answer, error, order, count or number of statements differs when a value that the viewer may not read
is changed."""

import os
from collections.abc import Iterator
from typing import Final
from zlib import crc32

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from schema.api import Api
from tests.conftest import Template
from tests.support.interference import Pair
from tests.support.operations import Operation, operations
from tests.support.twins import Twins

BUDGETS: Final = {
    "viewer": 160,
    "collector": 160,
    "manager": 60,
    "member": 40,
    "reviewer": 30,
    "admin": 40,
    "other-owner": 30,
    "anonymous": 20,
}
"""Operations by who runs them: most for those who may read least of much."""
TIMES: Final = int(os.environ.get("FIELDWARD_TEST_OPERATIONS", "1"))


@pytest.fixture(scope="module")
def twins(template: Template, api: Api) -> Iterator[Twins]:
    made = Twins(template.postgres, template.settings, template.passwords, api)
    yield made
    made.close()


def search(pair: Pair, api: Api, budget: int, *, shrink: bool) -> None:
    """Run so many operations on the pair. Raises what the first, or the least, that tells the worlds apart raises."""
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]

    @seed(crc32(pair.viewer.encode()))
    @settings(max_examples=budget, phases=phases, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operations(api._schema, pair.values))
    def law(operation: Operation) -> None:
        pair.require_alike(operation)

    law()


@pytest.mark.parametrize("viewer", BUDGETS)
def test_what_a_viewer_may_not_read_changes_nothing_in_what_it_is_answered(
    twins: Twins, api: Api, viewer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with twins.pair(viewer) as pair:
        search(pair, api, BUDGETS[viewer] * TIMES, shrink=True)

    with capsys.disabled():
        print(f"\n{viewer}: {dict(pair.tally)}")
    assert pair.tally["operations"] >= BUDGETS[viewer]
    assert pair.tally["valid"] >= 0.8 * pair.tally["operations"]

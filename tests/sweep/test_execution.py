"""Whatever runs an operation, it is answered the same: the same data, errors, order and bytes.

Generated operations are run in three ways on the same database: by strawberry's own executor, by ours, which completes
rows column by column, and by plans.
"""

import gc
import json
from collections.abc import Iterator
from typing import Any, Final
from zlib import crc32

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.api import Api
from schema.completion import MOST_KEYS, Completion
from schema.execution import RowsExecutor
from schema.plan import Plan, PlannedRoot
from tests.conftest import Template
from tests.support.interference import Pair, comparable
from tests.support.operations import Operation, queries
from tests.support.twins import Twins
from tests.support.world import Answer

BUDGETS: Final = {"viewer": 60, "collector": 80, "manager": 60, "admin": 50, "auditor": 50, "other-owner": 30}
"""Operations by who runs them."""


@pytest.fixture(scope="module")
def twins(template: Template, api: Api) -> Iterator[Twins]:
    made = Twins(template.postgres, template.settings, template.passwords, api)
    yield made
    made.close()


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were completed at once, by each completion that ran."""
    seen: list[int] = []
    run = Completion.run

    def counting(completion: Completion, batch: Any) -> Any:
        seen.append(len(batch.rows))
        return run(completion, batch)

    monkeypatch.setattr(Completion, "run", counting)
    return seen


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many of its roots are planned, of each plan that ran."""
    seen: list[int] = []
    run = Plan.run

    async def noting(plan: Plan, executor: Any) -> Any:
        seen.append(sum(isinstance(root, PlannedRoot) for root in plan.roots))
        return await run(plan, executor)

    monkeypatch.setattr(Plan, "run", noting)
    return seen


# Where a field fails, graphql-core cancels its neighbours, some of them before they began. What such a one would have
# awaited is dropped with it, which Python warns of once it is collected.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("viewer", BUDGETS)
def test_all_ways_answer_the_same(
    twins: Twins,
    api: Api,
    viewer: str,
    completed: list[int],
    planned: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with twins.pair(viewer) as pair:

        @seed(crc32(viewer.encode()) + 1)
        @settings(
            max_examples=BUDGETS[viewer],
            phases=[Phase.generate, Phase.shrink],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(queries(api._schema, pair.values, seen_first=viewer == "other-owner"))
        def law(operation: Operation) -> None:
            _require_same(pair, api, operation)

        law()
        gc.collect()

    with capsys.disabled():
        print(
            f"\n{viewer}: {BUDGETS[viewer]} operations in three ways, {sum(completed)} rows completed by column,"
            f" {len(planned)} plans with {sum(planned)} planned roots"
        )
    # The other organization has few rows, and nothing of most kinds.
    assert sum(completed) > BUDGETS[viewer]
    assert sum(planned) > BUDGETS[viewer] / 2


@pytest.mark.parametrize("count", [1, 2, MOST_KEYS, MOST_KEYS + 1])
def test_objects_of_any_number_of_fields_are_the_same(twins: Twins, api: Api, count: int) -> None:
    fields = " ".join(f"f{number}: {'comment' if number % 9 == 1 else 'siteCode'}" for number in range(count))
    with twins.pair("collector") as pair:
        _require_same(pair, api, Operation(f"{{ records(first: 5) {{ nodes {{ {fields} }} }} }}", {}, {}))


def test_a_difference_is_found(twins: Twins, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Completion.run

    def spoiled(completion: Completion, batch: Any) -> Any:
        made = run(completion, batch)
        return made[::-1] if isinstance(made, list) else made

    monkeypatch.setattr(Completion, "run", spoiled)
    operation = Operation("{ records(first: 5) { nodes { siteCode collectedAt } } }", {}, {})
    with twins.pair("manager") as pair, pytest.raises(AssertionError):
        _require_same(pair, api, operation)


def _require_same(pair: Pair, api: Api, operation: Operation) -> None:
    try:
        api.plans = False
        api.executor = StrawberryGraphQLCoreExecutionContext
        expected = pair.still.ask(pair.claims, operation.text, operation.variables)
        api.executor = RowsExecutor
        _require_answer(pair, operation, expected)
    finally:
        api.executor, api.plans = RowsExecutor, True
    # Twice: the second time with what was kept of the first.
    for _ in range(2):
        _require_answer(pair, operation, expected)


def _require_answer(pair: Pair, operation: Operation, expected: Answer) -> None:
    answer = pair.still.ask(pair.claims, operation.text, operation.variables)
    assert answer.status == expected.status
    assert _shown(pair, answer.body) == _shown(pair, expected.body), repr(operation)
    # What differs from one request to the next, cursors and ids of requests, has the same length.
    assert len(answer.text) == len(expected.text), repr(operation)


def _shown(pair: Pair, body: Any) -> str:
    """Return an answer as it is compared.

    Where one field is denied in several like selections, ways differ in which of them the error says it is in the text;
    where it is in the answer, and what it takes, is the same.
    """
    shown = comparable(body, pair.known, pair.since)
    for error in shown.get("errors") or ():
        if error["extensions"]["code"] == "FORBIDDEN":
            error.pop("locations", None)
    return json.dumps(shown, indent=1)

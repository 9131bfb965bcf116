"""Nothing in an answer, error, order, count or number of statements differs when a value that the viewer may not read
is changed.

Some hundred generated operations for each run of the tests; `pytest --hypothesis-profile=drill` runs twenty times as
many.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID
from zlib import crc32

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from strawberry.utils.await_maybe import await_maybe

import models.listing
import resolvers.locking
import schema.connection
import schema.filter
from auth.access import Access
from auth.permission import Permission
from auth.principal import Viewer
from models.condition import Condition, Operator, leaves_of
from models.inventory import Entity
from models.listing import Listing
from models.statement import Statement
from schema.api import Api, build_api
from schema.completion import Batch
from schema.completion_step import _GuardedStep, _SealedStep
from schema.context import RequestContext
from tests.conftest import Template
from tests.support.interference import InterferenceError, Pair
from tests.support.operations import Operation, mutations, queries
from tests.support.twins import Twins

BUDGETS: Final = {
    "viewer": 150,
    "collector": 150,
    "manager": 60,
    "member": 45,
    "reviewer": 30,
    "admin": 40,
    "other-owner": 25,
    "anonymous": 20,
}
"""Operations by who runs them: most for those who may read least of much."""
CHANGES: Final = {"collector": 80, "manager": 100, "viewer": 20}
"""Operations of which half change something, by who runs them."""
PLANTED: Final = 4000
"""Operations within which a planted leak is found."""


@pytest.fixture(scope="module")
def twins(template: Template, api: Api) -> Iterator[Twins]:
    made = Twins(template.postgres, template.settings, template.passwords, api)
    yield made
    made.close()


def search(pair: Pair, operations: st.SearchStrategy[Operation], budget: int, *, shrink: bool = False) -> None:
    """Run so many operations on the pair, or as many times more as Hypothesis's profile asks.

    Raises what the first operation raises, or the least, that tells the worlds apart.
    """

    @seed(crc32(pair.viewer.encode()))
    @settings(
        max_examples=budget * settings().max_examples // 100,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operations)
    def law(operation: Operation) -> None:
        pair.require_alike(operation)

    law()


@pytest.mark.parametrize("viewer", BUDGETS)
def test_what_a_viewer_may_not_read_changes_nothing_in_what_it_is_answered(
    twins: Twins, api: Api, viewer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with twins.pair(viewer) as pair:
        search(pair, queries(api._schema, pair.values), BUDGETS[viewer], shrink=True)

    with capsys.disabled():
        print(f"\n{viewer}: {pair.told}")
    assert pair.tally["valid"] >= 0.8 * pair.tally["operations"]


@pytest.mark.parametrize("viewer", CHANGES)
def test_what_a_viewer_may_not_read_changes_nothing_in_what_it_can_do(
    twins: Twins, api: Api, viewer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with twins.pair(viewer, lasting=True) as pair:
        either = mutations(api._schema, pair.values) | queries(api._schema, pair.values)
        search(pair, either, CHANGES[viewer])

    with capsys.disabled():
        print(f"\n{viewer}, with changes: {pair.told}")
    assert pair.tally["valid"] >= 0.8 * pair.tally["operations"]
    assert pair.tally["mutation done"] or viewer == "viewer"
    assert pair.tally["code UNAUTHENTICATED"] <= 0.1 * pair.tally["operations"]


# -- that the search finds what it is there to find


def order_by_a_hidden_comment(patch: pytest.MonkeyPatch) -> Api:
    """Let a list of records be ordered by whether there is a comment, whoever asks."""
    composed = models.listing._listing_text

    def spoiled(statement: Statement, viewer: Viewer, listing: Listing) -> str:
        text = composed(statement, viewer, listing)
        # The first is where the page is cut.
        return (
            text.replace("order by t.", "order by t.comment is null, t.", 1)
            if listing.entity.name == "record"
            else text
        )

    patch.setattr(models.listing, "_listing_text", spoiled)
    return build_api()


def count_what_is_not_seen(patch: pytest.MonkeyPatch) -> Api:
    """Let a total count the rows of the whole organization."""

    async def spoiled(connection: asyncpg.Connection, viewer: Viewer, listing: Listing) -> dict[UUID | None, int]:
        table = listing.entity.name
        total = await connection.fetchval(
            f'select count(*) from "{table}" where organization_id = $1', viewer.organization_id
        )
        answered: dict[UUID | None, int] = {None: total}
        return answered | dict.fromkeys(listing.parents, total)

    patch.setattr(schema.connection, "fetch_count", spoiled)
    return build_api()


def quote_the_value_in_the_refusal(patch: pytest.MonkeyPatch) -> Api:
    """Let the error of a denied field say how long the value is that was denied."""
    told = RequestContext.note_denial

    def spoiled(step: _GuardedStep, batch: Batch, readable: Sequence[int]) -> None:
        denied = next(place for place in range(batch.size) if place not in readable)
        length = len(batch.column(step._column.name)[denied] or "")

        def quoting(context: RequestContext, type_name: str, name: str, permission: Any, scope: Any, **at: Any) -> None:
            told(context, type_name, name, f"{permission}. It has {length} bytes", scope, **at)  # type: ignore[arg-type]

        with patch.context() as briefly:
            briefly.setattr(RequestContext, "note_denial", quoting)
            _DENY(step, batch, readable)

    _read_what_is_denied(patch)
    patch.setattr(_GuardedStep, "_deny", spoiled)
    return build_api()


def refuse_only_what_is_there(patch: pytest.MonkeyPatch) -> Api:
    """Let a denied field be refused where there is a value, and be plainly null where there is none."""

    def spoiled(step: _GuardedStep, batch: Batch, readable: Sequence[int]) -> None:
        column = batch.column(step._column.name)
        passed = [place for place, value in enumerate(column) if place in readable or value is None]
        if len(passed) < batch.size:
            _DENY(step, batch, passed)

    _read_what_is_denied(patch)
    patch.setattr(_GuardedStep, "_deny", spoiled)
    return build_api()


def filter_without_its_guard(patch: pytest.MonkeyPatch) -> Api:
    """Let everybody find records by who entered them."""
    patch.setattr(schema.filter, "require", lambda *_, **__: None)
    return build_api()


def filter_beyond_what_is_seen(patch: pytest.MonkeyPatch) -> Api:
    """Let a filter on a site's code reach the records of projects that are not seen."""
    composed = models.listing._where

    def spoiled(statement: Statement, viewer: Viewer, listing: Listing) -> str:
        where = composed(statement, viewer, listing)
        leaves = [one for one in leaves_of(listing.conditions) if isinstance(one, Condition)]
        asked = [one for one in leaves if one.operator is Operator.STARTS_WITH]
        if not asked:
            return where
        tenant = statement.argument(viewer.organization_id)
        prefix = statement.argument(asked[0].value)
        return f"({where} or t.organization_id = {tenant} and t.{asked[0].column} ^@ {prefix})"

    patch.setattr(models.listing, "_where", spoiled)
    return build_api()


def find_by_a_hidden_name(patch: pytest.MonkeyPatch) -> Api:
    """Let everybody who sees a record find it by the name of who collected it."""
    demanded = models.listing._compared_column
    patch.setattr(
        models.listing, "_compared_column", lambda entity, one: replace(demanded(entity, one), guard=entity.read)
    )
    return build_api()


def look_twice_where_there_is_a_value(patch: pytest.MonkeyPatch) -> Api:
    """Let a denied field cost a statement more where there is a value: nothing but the time tells."""
    shown = _SealedStep.__call__

    async def spoiled(step: _SealedStep, batch: Batch) -> Any:
        if not step._column.masked_by and any(value is not None for value in batch.column(step._column.name)):
            async with batch.context.reader.use() as connection:
                await connection.fetchval("select 1")
        return await await_maybe(shown(step, batch))

    _read_what_is_denied(patch)
    patch.setattr(_SealedStep, "__call__", spoiled)
    return build_api()


_DENY: Final = _GuardedStep._deny


def _read_what_is_denied(patch: pytest.MonkeyPatch) -> None:
    """Let statements select what the viewer may read nowhere: what is not even in the row can't leak from it."""
    patch.setattr(Access, "reach", frozenset(Permission))


def tell_the_hidden_from_the_missing(patch: pytest.MonkeyPatch) -> Api:
    """Let a change of a row that is not seen be forbidden, where one of no row is of nothing."""

    def spoiled(statement: Statement, entity: Entity, viewer: Viewer, *, alias: str) -> str:
        return f"{alias}.organization_id = {statement.argument(viewer.organization_id)}"

    patch.setattr(resolvers.locking, "visible", spoiled)
    return build_api()


LEAKS: Final[dict[Callable[[pytest.MonkeyPatch], Api], str]] = {
    order_by_a_hidden_comment: "viewer",
    count_what_is_not_seen: "viewer",
    quote_the_value_in_the_refusal: "viewer",
    refuse_only_what_is_there: "collector",
    filter_without_its_guard: "collector",
    filter_beyond_what_is_seen: "collector",
    find_by_a_hidden_name: "viewer",
    look_twice_where_there_is_a_value: "viewer",
}


def test_a_leak_planted_in_changes_is_found(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = tell_the_hidden_from_the_missing(monkeypatch)
    with twins.pair("collector", spoiled, lasting=True) as pair, pytest.raises(InterferenceError) as found:
        search(pair, mutations(spoiled._schema, pair.values), PLANTED)

    assert "NOT_FOUND" in str(found.value)


@pytest.mark.parametrize("plant", LEAKS, ids=lambda plant: plant.__name__)
def test_a_planted_leak_is_found(
    twins: Twins, plant: Callable[[pytest.MonkeyPatch], Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    with twins.pair(LEAKS[plant], plant(monkeypatch)) as pair, pytest.raises(InterferenceError) as found:
        search(pair, queries(pair.still.world.api._schema, pair.values), PLANTED)

    assert "Changed in all" in str(found.value)

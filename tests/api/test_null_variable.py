"""Null for a variable that has a default, where a value stands that can't be null: refused before anything is run."""

from typing import Any, Final

import pytest

from tests.support.world import World

SHAPES: Final[dict[str, tuple[str, list[str]]]] = {
    "what is left out": ("query($v: Boolean = true) { __typename @skip(if: $v) }", ["v"]),
    "what is not left out": ("query($v: Boolean = true) { viewer { role @include(if: $v) } }", ["v"]),
    "in a fragment": ("query($v: Boolean = true) { ...f } fragment f on Query { __typename @skip(if: $v) }", ["v"]),
    "an argument": ('query($v: String = "Record") { __type(name: $v) { name } }', ["v"]),
    "an id": ('query($v: ID = "x") { record(id: $v) { id } }', ["v"]),
    "an argument with a default of its own": ("query($v: Int) { changes(first: $v) { cursor } }", ["v"]),
    "an element": ('query($v: String = "A") { records(filter: {siteCode: {in: [$v]}}) { totalCount } }', ["v"]),
    "an element that is an input": (
        "query($v: RecordFilter = {}) { records(filter: {and: [$v]}) { totalCount } }",
        ["v"],
    ),
    "ids": ('query($v: ID = "x") { nodes(ids: [$v]) { id } }', ["v"]),
    "a mutation's input": (
        'mutation($v: SignInInput = {email: "a", password: "b"}) { signIn(input: $v) { errors { code } } }',
        ["v"],
    ),
    "a field of one": (
        'mutation($v: String = "x") { signIn(input: {email: "a", password: $v}) { errors { code } } }',
        ["v"],
    ),
}


@pytest.mark.parametrize("role", ["manager", None])
@pytest.mark.parametrize("shape", SHAPES)
async def test_null_is_refused_and_named(world: World, shape: str, role: str | None) -> None:
    client = world.anonymous if role is None else await world.client(role)
    text, path = SHAPES[shape]
    before = await world.fingerprint()

    answer = await client.run(text, {"v": None})

    assert answer.status == 400 or answer.body.get("data") is None
    assert [error["extensions"]["code"] for error in answer.errors] == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == path
    assert "not null" in answer.errors[0]["message"]
    assert await world.fingerprint() == before


async def test_nothing_given_takes_the_default(world: World) -> None:
    client = await world.client("manager")

    skipped = await client.run("query($v: Boolean = true) { viewer { role user @skip(if: $v) { id } } }")
    shown = await client.run("query($v: Boolean = true) { viewer { role user @skip(if: $v) { id } } }", {"v": False})

    assert "user" not in skipped.data["viewer"]
    assert "user" in shown.data["viewer"]


async def test_null_where_null_may_stand_is_taken(world: World) -> None:
    client = await world.client("manager")

    given: list[dict[str, Any]] = [{"v": None}, {}, {"v": {}}]
    for variables in given:
        answer = await client.run("query($v: RecordFilter = {}) { records(filter: $v) { totalCount } }", variables)

        assert answer.data["records"]["totalCount"] > 0

"""Exports as every principal: asked for by who may export in some project, and of what they may export, exactly.

What a file says of a record is held against the page as an answer is: who may export it reads no more of it thereby.
"""

import csv
import io
import time
from typing import Any, Final
from uuid import UUID

import pytest
from graphql import get_named_type
from strawberry.utils.str_converters import to_snake_case

from resolvers.export_csv import unguarded
from tests.sweep.conftest import Tally
from tests.sweep.facts import Facts, Row
from tests.sweep.page import Page
from tests.sweep.principal import Principal
from tests.sweep.stage import INSIDE, OUTSIDE, Cast

ASK: Final = """
mutation($input: CreateExportInput!) {
  createExport(input: $input) { export { id } errors { code field permission scope } }
}
"""
LOOK: Final = "query($id: ID!) { export(id: $id) { status fileName records measurements } }"
GIVEN: Final = {"format": "CSV", "reason": "Held against the page."}


@pytest.mark.parametrize("key", INSIDE)
def test_an_export_has_what_its_requester_may_export_and_nothing_else(
    cast: Cast, page: Page, facts: Facts, tally: Tally, key: str
) -> None:
    who, door = cast.principals[key], page.mutations["createExport"]
    places = [None, *(row["id"] for row in facts.rows["Project"].values() if _is_theirs(who, row))]

    payload: Any = who.caller.run(ASK, {"input": GIVEN}).data["createExport"]

    if not any(who.may(door, place) for place in places):
        refused: dict[str, Any] = {
            **{"code": "FORBIDDEN", "field": None},
            **{"permission": "record:export", "scope": "ORGANIZATION"},
        }
        assert payload == {"export": None, "errors": [refused]}
        tally.note("exports", key, "createExport", "refused")
        return
    if "r" not in who.letters(page, page.fields["Export"]["format"], None, own=who.scope is None):
        # A person's export is their own. A program has nothing of its own, and writes what it may read.
        refused = {
            **{"code": "FORBIDDEN", "field": ["input", "format"]},
            **{"permission": "export:read", "scope": "ORGANIZATION"},
        }
        assert payload == {"export": None, "errors": [refused]}
        tally.note("exports", key, "createExport", "refused")
        return
    assert payload["errors"] == []
    wanted = {row["id"]: row for row in facts.visible(who, "Record") if who.may(door, row["project_id"])}
    made = _ready(who, payload["export"]["id"])
    rows = _rows(who, payload["export"]["id"], made["fileName"])
    assert {UUID(row["record_id"]) for row in rows} == set(wanted)
    assert made["records"] == len(wanted)
    results = {one["id"] for one in facts.visible(who, "Measurement") if one["record_id"] in wanted}
    assert {UUID(row["measurement_id"]) for row in rows if row["measurement_id"]} == results
    assert made["measurements"] == len(results)
    findings = []
    for row in rows:
        findings += _differences(facts, page, tally, who, wanted[UUID(row["record_id"])], row)
    assert not findings, f"{len(findings)} differ from the page:\n" + "\n".join(findings[:20])


@pytest.mark.parametrize("key", OUTSIDE)
def test_who_is_not_let_in_exports_nothing(cast: Cast, tally: Tally, key: str) -> None:
    reply = cast.principals[key].caller.run(ASK, {"input": GIVEN})

    tally.note("exports", key, "createExport", "refused")
    assert [error["extensions"]["code"] for error in reply.errors] == ["UNAUTHENTICATED"]
    assert reply.data == {"createExport": None}


def test_some_export_everything_some_a_project_and_some_nothing(cast: Cast, page: Page) -> None:
    door, projects = page.mutations["createExport"], list(cast.projects.values())
    reach = {key: [who.may(door, one) for one in (None, *projects)] for key, who in cast.principals.items()}

    assert [True, True, True] in reach.values()
    assert [False, True, False] in reach.values()
    assert [False, False, False] in (reach[key] for key in INSIDE)


def _is_theirs(who: Principal, row: Row) -> bool:
    return bool(row["organization_id"] == who.organization_id)


def _ready(who: Principal, export_id: str) -> Any:
    """Return the export once the server has made it."""
    for _ in range(300):
        found = who.caller.run(LOOK, {"id": export_id}).data["export"]
        if found["status"] != "PENDING":
            assert found["status"] == "READY", found
            return found
        time.sleep(0.1)
    raise AssertionError("the server does not make the export")


def _rows(who: Principal, export_id: str, name: str) -> list[dict[str, str]]:
    caller = who.caller
    caller.freshen()
    answer = caller.http.get(
        f"/exports/{export_id.removeprefix('Export:')}/{name}", headers={"authorization": f"Bearer {caller.token}"}
    )
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def _differences(
    facts: Facts, page: Page, tally: Tally, who: Principal, record: Row, shown: dict[str, str]
) -> list[str]:
    """Return where the texts of a record in the file are not what the page lets its requester read."""
    found = []
    for name, said in page.fields["Record"].items():
        declared = facts.contract.type("Record").fields[name]
        if get_named_type(declared.type).name != "String":
            continue
        letters, value = facts.letters(who, said, record), facts.values["Record"][record["id"]][name] or ""
        cell = unguarded(shown.get(f"record_{to_snake_case(name)}", ""))
        tally.note("exports", who, f"Record.{name}")
        if "r" in letters:
            is_right = cell == value
        elif "m" in letters:
            is_right = cell.startswith("person-") and cell != value if value else cell == ""
        else:
            is_right = cell == ""
        if not is_right:
            found.append(
                f"{who} Record.{name} of {record['id']}: expected by {set(letters)} of {value!r}, got {cell!r}"
            )
    return found

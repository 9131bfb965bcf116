"""Every mutation with every field that it writes, as every principal: done where the page says so, and else refused as
a whole, with nothing changed and an entry of the attempt.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest
from graphql import is_required_input_field

from models.inventory import entities
from tests.api.test_mutation_audit import CASES
from tests.support.served import Caller
from tests.support.world import connect
from tests.sweep.conftest import Tally
from tests.sweep.contract import Contract
from tests.sweep.facts import TABLES
from tests.sweep.page import FieldRow, Page
from tests.sweep.principal import Principal
from tests.sweep.stage import FIRST, INSIDE, OUTSIDE, PERSONS, SECOND, Cast
from tests.sweep.writing import (
    BESIDE,
    DONE_ELSEWHERE,
    IN_PROJECTS,
    NOT_WRITTEN,
    OF_ONES_OWN,
    OF_PROJECTS,
    SESSION,
    Ground,
    Input,
    Place,
    complete,
    input_of,
    run_mutations,
    with_only,
    written,
)

AT_ONCE = 20
"""Mutations of one operation."""
WRITTEN_EACH = 20
"""Attempts of one kind, by one person in a minute, that have an entry each; the rest are counted into the next."""
LEAST = 80
FIELD_BY_FIELD = (*PERSONS, "token-records")
"""Who is tried with one field at a time; what differs between the other programs is what they read."""

OF_ORGANIZATIONS = frozenset(
    {
        *("createProject", "createRole", "createServiceAccount", "setTrailRetention", "setSignInPolicy"),
        *("openAccessReview", "inviteUser"),
        *("registerTrustedDocuments", "removeTrustedDocuments", "setTrustedDocumentPolicy"),
        *("createExport", "createArchive"),
    }
)
"""What acts on the organization of whoever asks."""

ANYWHERE = frozenset({"createExport"})
"""What names no project, and is open to who has its permission in some: what comes of it is of those projects alone.

`tests/sweep/test_exporting.py` has everybody ask for it, and holds what comes of it against the page.
"""

NOTED = {"blocked": "DEVICE_BLOCKED"}
"""What the trail says of somebody's attempts, where it tells more than they are told."""
WITHOUT_A_CHANGE = {"user.start_password_reset"}
"""What changes no row that the trail tells of: a letter is sent."""
BESIDES = {("updateProject", "code"): "project:read"}
"""What writing a field takes in the whole organization besides, which the page does not say."""

GROWING = frozenset(one.name for one in entities() if not one.model.is_audited) | {"session", "incident_evidence"}
"""Tables that grow by what is refused, too: the trail's own, which the server seals and judges meanwhile."""


def test_every_input_field_is_tried_and_is_on_the_page(page: Page, contract: Contract, cast: Cast) -> None:
    whole = complete(Ground(cast, contract).standing("createRecord"))
    taken = {(mutation, name) for mutation in whole for name in input_of(contract, mutation).fields}
    said = {(mutation, str(place[0])) for mutation, _, place in written(page, contract)}

    assert set(whole) == set(CASES) == set(contract.mutation) - SESSION
    assert {one for one in taken if one[1] not in BESIDE} - NOT_WRITTEN == {one for one in said if one[1] not in BESIDE}
    assert said | NOT_WRITTEN <= {(mutation, name) for mutation, given in whole.items() for name in given}


@pytest.mark.parametrize("key", [*INSIDE, *OUTSIDE])
def test_what_the_page_does_not_let_be_written_is_refused_and_changes_nothing(
    cast: Cast, contract: Contract, page: Page, tally: Tally, key: str
) -> None:
    who, ground = cast.principals[key], Ground(cast, contract)
    attempts = list(_attempts(cast, contract, page, who, ground))
    before, since = asyncio.run(_fingerprint(cast))

    findings, codes = [], Counter[tuple[str, str]]()
    for start in range(0, len(attempts), AT_ONCE):
        batch = attempts[start : start + AT_ONCE]
        reply = run_mutations(contract, who.caller, [(one.mutation, one.given) for one in batch])
        told = {error["path"][0]: error["extensions"]["code"] for error in reply.errors}
        for index, tried in enumerate(batch):
            payload: Any = (reply.data or {}).get(f"m{index}")
            if not who.is_let_in:
                got, wanted = [told.get(f"m{index}")], frozenset({"UNAUTHENTICATED"})
            else:
                errors = payload["errors"] if payload else []
                got, wanted = [error["code"] for error in errors], tried.codes
                if (
                    tried.places
                    and errors
                    and errors[0]["field"] not in [["input", *map(str, p)] for p in tried.places]
                ):
                    findings.append(f"{key} {tried.mutation}: expected one of {tried.places}, got {errors}")
            if len(got) != 1 or got[0] not in wanted:
                findings.append(f"{key} {tried.mutation} {tried.given}: expected {wanted}, got {got or 'done'}"[:500])
            codes[CASES[tried.mutation][2], NOTED.get(key, str(got[0])) if got else ""] += 1

    after, _ = asyncio.run(_fingerprint(cast))
    changed = [name for name in before if before[name] != after[name]]
    entries = asyncio.run(_attempts_in_the_trail(cast, who, since))
    for kind, times in codes.items():
        if who.is_let_in and not min(times, WRITTEN_EACH) <= entries[kind] <= times:
            findings.append(f"{key} {kind}: expected {times} attempts in the trail, got {entries[kind]}")
        elif not entries[kind] >= 1:
            findings.append(f"{key} {kind}: expected an attempt in the trail, got none")
    for mutation, said, _ in written(page, contract):
        tally.note("writes", key, f"{said.type_name}.{said.field}", mutation)

    assert not findings, f"{len(findings)} differ from the page:\n" + "\n".join(findings[:20])
    assert not changed, f"{key} changed {changed}"
    assert tally.of("writes", key) >= LEAST


@pytest.mark.parametrize("key", [key for key in FIELD_BY_FIELD if key != "other-owner"])
def test_what_the_page_lets_be_written_is_written(
    cast: Cast, contract: Contract, page: Page, tally: Tally, key: str
) -> None:
    who, ground = cast.principals[key], Ground(cast, contract)
    findings = []
    for mutation, door in page.mutations.items():
        if mutation in SESSION | DONE_ELSEWHERE:
            continue
        if mutation in OF_ONES_OWN and who.scope is not None:
            # A program has nothing of its own.
            continue
        places_to_try: list[UUID | None] = [cast.projects[FIRST], cast.projects[SECOND]]
        open_in = [one for one in (places_to_try if mutation in IN_PROJECTS else [None]) if who.may(door, one)]
        if not open_in:
            continue
        project = open_in[0]
        fields = [(said, place) for name, said, place in written(page, contract) if name == mutation]
        needed = {name for name, one in input_of(contract, mutation).fields.items() if is_required_input_field(one)}
        if any(
            place[0] in needed and not _may_write(page, who, mutation, said, place, project) for said, place in fields
        ):
            # It can't be done without what they may not write: that it is refused is tried above.
            continue
        if _is_hidden(page, who, complete(ground.standing(mutation))[mutation], project):
            continue
        for variant in _variants(mutation):
            places = [
                place
                for said, place in fields
                if _may_write(page, who, mutation, said, place, project)
                and not (place == ("deviceId",) and not _sees_devices(page, who))
                and not (place in {("role",), ("customRoleId",)} and place != variant)
            ]
            maker = _maker(cast, who, mutation, project)
            makes_one = mutation in OF_PROJECTS and who.may(door, None)
            aim = ground.fresh(
                mutation, None if makes_one else project, maker.caller, lambda one: asyncio.run(_version(cast, one))
            )
            given = with_only(contract, mutation, complete(aim)[mutation], places)
            since = asyncio.run(_fetch(cast, "select clock_timestamp() as now"))[0]["now"]
            reply = run_mutations(contract, who.caller, [(mutation, given)])
            payload: Any = (reply.data or {}).get("m0")
            if reply.errors or payload is None or payload["errors"]:
                findings.append(f"{key} {mutation} {given}: expected that it is done, got {reply.text}"[:700])
            _, _, action, _, columns = CASES[mutation]
            done = asyncio.run(_changes_in_the_trail(cast, who, since, action))
            if done != [action] * (bool(columns) or action in WITHOUT_A_CHANGE):
                findings.append(f"{key} {mutation}: expected one change in the trail, got {done}")
            for place in places or [("",)]:
                tally.note("done", key, mutation, ".".join(map(str, place)))

    assert not findings, f"{len(findings)} differ from the page:\n" + "\n".join(findings[:20])


@pytest.mark.parametrize("key", PERSONS)
def test_who_signs_out_is_let_in_no_more(cast: Cast, tally: Tally, key: str) -> None:
    standing = cast.principals[key].caller
    caller = Caller(standing.http, sign_in=standing.sign_in)

    ended = caller.run("mutation { signOut { errors { code } } }")
    after = caller.run("{ organization { id } }")

    tally.note("done", key, "signOut")
    assert ended.body == {"data": {"signOut": {"errors": []}}}
    assert [error["extensions"]["code"] for error in after.errors] == ["UNAUTHENTICATED"]
    assert not standing.run("{ organization { id } }").errors


@pytest.mark.parametrize("key", OUTSIDE)
def test_who_is_not_let_in_signs_nobody_out(cast: Cast, key: str) -> None:
    reply = cast.principals[key].caller.run("mutation { signOut { errors { code } } }")

    assert [error["extensions"]["code"] for error in reply.errors] == ["UNAUTHENTICATED"]
    assert reply.data == {"signOut": None}


REFUSED: Final = frozenset({"FORBIDDEN", "NOT_FOUND"})
NO_ROW: Final = frozenset[Place]({("id",)})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What must be refused, and how. places: where in the input the fault is, one of them; none where it is nowhere."""

    mutation: str
    given: Input
    codes: frozenset[str] = REFUSED
    places: frozenset[Place] = frozenset()


def _attempts(cast: Cast, contract: Contract, page: Page, who: Principal, ground: Ground) -> Iterator[Attempt]:
    """Yield what must be refused."""
    for mutation, door in page.mutations.items():
        if mutation in SESSION:
            continue
        fields = [(said, place) for name, said, place in written(page, contract) if name == mutation]
        whole = complete(ground.standing(mutation))[mutation]
        project = cast.projects[FIRST] if mutation in IN_PROJECTS else None
        # What the owner of another tenant makes is of that tenant; all else is asked of what they can't see.
        is_stranger = who.key == "other-owner"
        if mutation in OF_ONES_OWN:
            if mutation != "revokeSession" or is_stranger or "membership:assign" not in who.held(None):
                yield Attempt(mutation, with_only(contract, mutation, whole, [place for _, place in fields]))
        elif mutation in ANYWHERE and any(who.may(door, one) for one in cast.projects.values()):
            continue
        elif who.may(door, project) and not is_stranger and _is_hidden(page, who, whole, project):
            yield Attempt(mutation, with_only(contract, mutation, whole, []), frozenset({"NOT_FOUND"}), NO_ROW)
        elif who.may(door, project) and not is_stranger:
            refused = {place for said, place in fields if not _may_write(page, who, mutation, said, place, project)}
            for said, place in fields:
                if place in refused:
                    yield _attempt_of_field(page, contract, who, mutation, whole, said, place, project, refused)
        elif is_stranger and mutation in OF_ORGANIZATIONS:
            continue
        elif who.key in FIELD_BY_FIELD and fields:
            for _, place in fields:
                yield Attempt(mutation, with_only(contract, mutation, whole, [place]))
        else:
            places = [place for _, place in fields if place != ("customRoleId",)]
            yield Attempt(mutation, with_only(contract, mutation, whole, places))


def _attempt_of_field(
    page: Page,
    contract: Contract,
    who: Principal,
    mutation: str,
    whole: Input,
    said: FieldRow,
    place: Place,
    project: UUID | None,
    refused: set[Place],
) -> Attempt:
    """Return the attempt to write one field that may not be written, by a mutation that is open to them.

    Who is shown rows of the type is told of that very field. Who is not writes none of its fields, and is told of one
    that is given.
    """
    given = with_only(contract, mutation, whole, [place])
    if page.read_of(said.type_name) in who.held(project):
        return Attempt(mutation, given, frozenset({"FORBIDDEN"}), frozenset({place}))
    return Attempt(
        mutation, given, frozenset({"FORBIDDEN"}), frozenset(one for one in refused if one == place or one[0] in given)
    )


def _is_hidden(page: Page, who: Principal, whole: Input, project: UUID | None) -> bool:
    """Return whether what the mutation acts on is a row that they are not shown: they are told that there is none."""
    subject = str(whole.get("id", "")).partition(":")[0]
    return subject in page.fields and page.read_of(subject) not in who.held(project)


def _may_write(page: Page, who: Principal, mutation: str, said: FieldRow, place: Place, project: UUID | None) -> bool:
    """Return whether the page lets somebody write the field there."""
    besides = BESIDES.get((mutation, str(place[0])))
    return "w" in who.letters(page, said, project) and (besides is None or besides in who.held(None))


def _variants(mutation: str) -> list[Place | None]:
    """Return what else is to be tried: a role is given as a built-in one, or as one of the organization's own."""
    return [("role",), ("customRoleId",)] if mutation.startswith("assign") else [None]


def _maker(cast: Cast, who: Principal, mutation: str, project: UUID | None) -> Principal:
    """Return whose record it must be: one's own where that is all one may change, and somebody else's for a review."""
    if mutation in OF_ONES_OWN:
        return who
    if mutation in {"approveRecord", "rejectRecord"}:
        return cast.principals["admin" if who.key == "owner" else "owner"]
    is_own_alone = mutation in {"updateRecord", "submitRecord"} and "record:update" not in who.held(project)
    return who if is_own_alone else cast.principals["owner"]


def _sees_devices(page: Page, who: Principal) -> bool:
    """Return whether somebody is shown a device that is not their own, and so can name it."""
    return "r" in who.letters(page, page.fields["Device"]["id"], None)


async def _fingerprint(cast: Cast) -> tuple[dict[str, str], Any]:
    """Return a digest of each table but the trail's, what is made of it, and the sign-ins; and the moment."""
    connection: asyncpg.Connection = await connect(cast.superuser)
    try:
        tables = await connection.fetch(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> all($1::text[])",
            sorted(GROWING),
        )
        digests = {
            row["tablename"]: await connection.fetchval(
                f"select coalesce(md5(string_agg(t::text, '' order by t::text)), '') from \"{row['tablename']}\" t"
                # What is refused may be an incident itself.
                f" where {'t.id = $1' if row['tablename'] == 'incident' else '$1::uuid is not null'}",
                UUID(cast.targets.incident.partition(":")[2]),
            )
            for row in tables
        }
        return digests, await connection.fetchval("select clock_timestamp()")
    finally:
        await connection.close()


async def _attempts_in_the_trail(cast: Cast, who: Principal, since: Any) -> Counter[tuple[str, str]]:
    """Return how many attempts of each action and code the trail has of somebody, or of whoever was not let in."""
    if not who.is_let_in:
        where, arguments = "user_id is null and service_account_id is null", []
    elif who.scope is not None:
        where, arguments = "service_account_id = $2", [who.account_id]
    else:
        where, arguments = "membership_id = $2", [who.member_id]
    rows = await _fetch(
        cast,
        "select action, error_code, count(*) as times from audit_entry"
        f" where at > $1 and kind = 'ATTEMPT' and outcome = 'DENIED' and {where} group by 1, 2",
        since,
        *arguments,
    )
    return Counter({(row["action"], row["error_code"]): row["times"] for row in rows})


async def _changes_in_the_trail(cast: Cast, who: Principal, since: Any, wanted: str) -> list[str]:
    """Return the actions of somebody that changed something, but for signing in where it is not the one wanted."""
    column, value = ("membership_id", who.member_id) if who.scope is None else ("service_account_id", who.account_id)
    rows = await _fetch(
        cast,
        f"select action from audit_entry where at > $1 and kind = 'CHANGE' and outcome = 'DONE' and {column} = $2"
        " and (action = any($3) or exists (select 1 from change c where c.entry_id = audit_entry.id))"
        " and (action not like 'session.%' or action = $4)",
        since,
        value,
        sorted(WITHOUT_A_CHANGE),
        wanted,
    )
    return [row["action"] for row in rows]


async def _version(cast: Cast, subject: str) -> int:
    type_name, _, row_id = subject.partition(":")
    rows = await _fetch(cast, f'select version from "{TABLES[type_name].name}" where id = $1', UUID(row_id))
    return int(rows[0]["version"])


async def _fetch(cast: Cast, text: str, *arguments: Any) -> list[asyncpg.Record]:
    connection: asyncpg.Connection = await connect(cast.superuser)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(text, *arguments)
        return rows
    finally:
        await connection.close()

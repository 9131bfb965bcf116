"""Each code and each detail of the catalogue is provoked here, and stands where the catalogue says."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from auth.errors import Code
from fieldward.cli.error_page import error_page
from schema.api import build_api
from schema.error_catalogue import CODES, DETAILS, details, is_in_payload
from tests.api.test_fresh_sign_in import grow_stale
from tests.api.test_outcome import BREAK
from tests.api.test_rate_limit import Limited, limited
from tests.api.test_trusted_document import by_id, set_policy
from tests.support.device import SoftwareDevice, enrolled
from tests.support.mutation import Stage, mutate, prepare
from tests.support.world import Answer, Client, World, json_body

__all__ = ["limited"]  # a fixture

REASON = "A client asks for it."
OWN_TYPE = "application/graphql-response+json"
NEW = {"code": "NEW-1", "name": "New"}

Provoke = Callable[[World], Awaitable[Answer]]


def a_change(stage: Stage, **more: Any) -> dict[str, Any]:
    return {"id": stage.draft, "expectedVersion": 1, "comment": "More.", **more}


async def nobody(world: World) -> Answer:
    return await mutate(world.anonymous, "createProject", NEW)


async def too_little(world: World) -> Answer:
    return await mutate(await world.client("viewer"), "createProject", NEW)


async def too_long_ago(world: World) -> Answer:
    admin = await world.client("admin")
    await grow_stale(world)
    role = {"name": "Looks on", "level": "PROJECT", "permissions": ["PROJECT_READ"], "reason": REASON}
    return await mutate(admin, "createRole", role)


async def no_such_row(world: World) -> Answer:
    given = {"id": f"Record:{uuid4()}", "expectedVersion": 1, "comment": "More."}
    return await mutate(await world.client("collector"), "updateRecord", given)


async def another_version(world: World) -> Answer:
    stage = await prepare(world)
    return await mutate(await world.client("collector"), "updateRecord", a_change(stage, expectedVersion=7))


async def no_value(world: World) -> Answer:
    return await mutate(await world.client("owner"), "createProject", {"code": "", "name": "New"})


async def too_many_guesses(world: World) -> Answer:
    wrong = {**world.credentials("owner"), "password": "wrong, wrong and wrong again"}
    for _ in range(40):
        answer = await mutate(world.anonymous, "signIn", wrong)
        if answer.body["data"]["signIn"] is not None:
            return answer
    raise AssertionError("nobody had to wait")


async def too_much(world: World) -> Answer:
    text = "mutation { " + " ".join(f"a{n}: signOut {{ errors {{ code }} }}" for n in range(21)) + " }"
    return await (await world.client("owner")).post(json_body({"query": text}), accept=OWN_TYPE)


async def only_named(world: World) -> Answer:
    return await by_id(await world.client("viewer"), "{ viewer { role } }")


async def not_registered(world: World) -> Answer:
    await set_policy(await world.client("admin"), people="TRUSTED_ONLY")
    return await (await world.client("viewer")).run("{ viewer { role } }")


async def _broken(world: World, trigger: str) -> Answer:
    owner = await world.client("owner")
    await world.sql(BREAK)
    await world.sql(trigger)
    return await mutate(owner, "createProject", NEW)


async def away(world: World) -> Answer:
    return await _broken(
        world, "create trigger break_it after insert on project for each row execute function break_it()"
    )


async def unknown(world: World) -> Answer:
    return await _broken(
        world,
        "create constraint trigger break_it after insert on project deferrable initially deferred"
        " for each row execute function break_it()",
    )


async def unforeseen(world: World) -> Answer:
    owner = await world.client("owner")
    await world.sql(
        "create function fail() returns trigger language plpgsql as $$ begin raise exception 'secret'; end $$"
    )
    await world.sql("create trigger fail after insert on project for each row execute function fail()")
    answer = await mutate(owner, "createProject", NEW)
    assert "secret" not in answer.text
    return answer


PROVOKED: dict[Code, Provoke] = {
    Code.UNAUTHENTICATED: nobody,
    Code.FORBIDDEN: too_little,
    Code.REAUTHENTICATE: too_long_ago,
    Code.NOT_FOUND: no_such_row,
    Code.CONFLICT: another_version,
    Code.INVALID_INPUT: no_value,
    Code.RATE_LIMITED: too_many_guesses,
    Code.TOO_COMPLEX: too_much,
    Code.PERSISTED_QUERY_NOT_FOUND: only_named,
    Code.UNTRUSTED_DOCUMENT: not_registered,
    Code.UNAVAILABLE: away,
    Code.UNKNOWN_OUTCOME: unknown,
    Code.INTERNAL: unforeseen,
}


def payload_errors(answer: Answer) -> list[dict[str, Any]]:
    data = answer.body.get("data") or {}
    return [error for payload in data.values() if payload for error in payload["errors"]]


@pytest.mark.parametrize("code", Code)
async def test_a_code_is_provoked_and_stands_where_the_catalogue_says(world: World, code: Code) -> None:
    answer = await PROVOKED[code](world)

    if is_in_payload(code):
        assert answer.status == 200
        assert answer.errors == []
        assert [one["code"] for one in payload_errors(answer)] == [code]
    else:
        assert answer.codes == [code]
        assert payload_errors(answer) == []
        if answer.status != 200:
            assert answer.status in CODES[code].statuses
            assert "data" not in answer.body


async def test_requests_are_refused_with_the_statuses_of_the_catalogue(world: World, limited: Limited) -> None:
    http = await limited(rate_limit_requests=1)
    owner = await world.client("owner")
    spent = Client(http, owner.token)
    await spent.run("{ __typename }")
    looking = {"fieldward-run-as": f"User:{uuid4()}"}
    upload = await _an_import(owner)
    bearer = {"authorization": f"Bearer {owner.token}"}

    answers = [
        await world.http.get("/graphql"),
        await world.http.get("/graphql", params={"query": "{ __typename }"}, headers={"cookie": "any=one"}),
        await world.http.post("/graphql", content=b"x" * (65 * 1024), headers={"content-type": "application/json"}),
        await world.http.post("/graphql", content=b"[]", headers={"content-type": "application/json"}),
        await world.http.get("/nowhere"),
        await world.http.post("/graphql", json={"query": "{ __typename }"}, headers={"accept": "text/html"}),
        await world.http.post("/graphql", content=b"{}", headers={"content-type": "text/plain"}),
        await world.http.post("/graphql", json={"documentId": "0" * 64}, headers={**bearer, "accept": OWN_TYPE}),
        await world.http.get(f"/exports/{uuid4()}/manifest.json"),
        await world.http.get(f"/exports/{uuid4()}/manifest.json", headers=bearer),
        await world.http.get(upload),
        await world.http.put(upload, content=b"later", headers={**bearer, "upload-offset": "7"}),
        await http.post(
            "/graphql", json={"query": "{ __typename }"}, headers={"authorization": f"Bearer {spent.token}"}
        ),
        await world.http.post(
            "/graphql",
            json={"query": "{ __typename }"},
            headers={"authorization": f"Bearer {(await world.client('collector')).token}", **looking},
        ),
    ]

    seen = [(one.status_code, Code(one.json()["errors"][0]["extensions"]["code"])) for one in answers]
    assert all(status in CODES[code].statuses for status, code in seen), seen
    assert {status for status, _ in seen} >= {400, 401, 403, 404, 405, 406, 409, 413, 415, 429}


async def _an_import(client: Client) -> str:
    """Make an import and return where its file is to be sent."""
    listed = await client.run("{ projects(first: 1) { nodes { id } } }")
    given = {
        "kind": "WQX_CSV",
        "fileName": "results.csv",
        "size": 100,
        "projectId": listed.data["projects"]["nodes"][0]["id"],
    }
    made = await mutate(client, "createImport", given, "dataImport { id }")
    return f"/imports/{made.data['createImport']['dataImport']['id'].removeprefix('DataImport:')}/content"


async def _device(world: World) -> SoftwareDevice:
    stage = await prepare(world)
    given = {"userId": stage.person, "platform": "IOS", "model": "iPhone 15", "serialNumber": "SN-77"}
    made = await mutate(await world.client("admin"), "registerDevice", given, "device { id }")
    return SoftwareDevice(id=made.data["registerDevice"]["device"]["id"])


async def _signed_in(world: World, detail: str) -> Answer:
    """Sign in the person whose device it is, in the way that the detail is for."""
    device = await _device(world)
    who = await _whose(world, device)
    if detail == "DEVICE_NOT_ENROLLED":
        return await device.sign_in(world, who)
    phone = await enrolled(world, device.id)
    if detail == "DEVICE_BLOCKED":
        blocked = {"id": device.id, "expectedVersion": await _version(world, device), "reason": REASON}
        answer = await mutate(await world.client("admin"), "blockDevice", blocked)
        assert answer.data["blockDevice"]["errors"] == []
        return await phone.sign_in(world, who)
    if detail == "DEVICE_PROOF_MISSING":
        return await world.sign_in(who, deviceId=phone.id)
    proof = phone.sign_in_proof(world, who)
    if detail == "DEVICE_PROOF_REFUSED":
        proof = SoftwareDevice().sign_in_proof(world, who)
    if detail == "DEVICE_PROOF_STALE":
        proof = phone.proof("sign-in", "", world.email(who), iat=1_700_000_000)
    return await world.sign_in(who, deviceId=phone.id, deviceProof=proof)


async def _whose(world: World, device: SoftwareDevice) -> str:
    member = await world.value("select membership_id from device where id = $1", device.row_id)
    for who in ("viewer", "collector", "member", "reviewer", "manager"):
        if await world.member_id(who) == member:
            return who
    raise AssertionError("nobody's")


async def _version(world: World, device: SoftwareDevice) -> int:
    return int(await world.value("select version from device where id = $1", device.row_id))


@pytest.mark.parametrize("detail", sorted(one for one in DETAILS if one.startswith("DEVICE_")))
async def test_a_detail_about_a_device_is_provoked(world: World, detail: str) -> None:
    answer = await _signed_in(world, detail)

    assert [(one["extensions"]["code"], one["extensions"]["detail"]) for one in answer.errors] == [
        (details()[detail], detail)
    ]


def test_the_details_about_other_things_are_provoked_beside_what_they_are_about() -> None:
    elsewhere = {
        **dict.fromkeys(("IDEMPOTENCY_KEY_IN_USE", "IDEMPOTENCY_KEY_REUSED", "SHOWN_ONCE"), "test_idempotency.py"),
        **dict.fromkeys(("QUOTA_SPENT", "TOO_MANY_AT_ONCE"), "test_rate_limit.py"),
        "SYNC_ANEW": "test_feed.py",
    }
    here = Path(__file__).parent

    assert set(elsewhere) == {one for one in DETAILS if not one.startswith("DEVICE_")}
    assert all(f'"{detail}"' in here.joinpath(name).read_text() for detail, name in elsewhere.items())


def test_the_catalogue_has_every_code_and_detail_of_the_code_and_no_other() -> None:
    build_api()

    assert set(CODES) == set(Code) == set(PROVOKED)
    assert set(DETAILS) == set(details())
    page = error_page()
    assert all(f"### {code}\n" in page for code in Code)
    assert all(f"| `{detail}` |" in page for detail in DETAILS)

"""Trusted documents and automatic persisted queries: who registers, what is run by name, and what is run at all."""

import json
from hashlib import sha256
from typing import Any

import pytest

from auth.permission import Permission as P
from fieldward.web.own_document import own_documents
from schema.document import LARGEST_SHELF, _Shelf
from schema.own_document import OWN_DOCUMENTS
from tests.support.access import make_program
from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World, json_body

QUERY = "query Projects { projects { nodes { code } } }"
OTHER = "query Records { records(first: 1) { nodes { id } } }"
REASON = "A dashboard is all that people use."
BUILD = {"clientName": "dashboard", "clientVersion": "1"}


def digest(text: str) -> str:
    """Return by what a document is named."""
    return sha256(text.encode()).hexdigest()


async def by_id(client: Client, text: str, **more: Any) -> Answer:
    """Ask for a document by its id alone."""
    return await client.post(json_body({"documentId": f"sha256:{digest(text)}", **more}))


async def by_hash(client: Client, text: str, *, with_text: bool = False) -> Answer:
    """Ask for a document as clients of automatic persisted queries do."""
    asked: dict[str, Any] = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest(text)}}}
    return await client.post(json_body({**asked, "query": text} if with_text else asked))


async def register(client: Client, *texts: str, **build: str) -> dict[str, Any]:
    """Register documents and return the payload."""
    given = {**BUILD, **build, "documents": list(texts)}
    answer = await mutate(client, "registerTrustedDocuments", given, "documentIds registered")
    payload: dict[str, Any] = answer.data["registerTrustedDocuments"]
    return payload


async def set_policy(client: Client, **policy: str) -> None:
    """Decide what is run."""
    given = {**policy, "reason": REASON}
    answer = await mutate(
        client, "setTrustedDocumentPolicy", given, "organization { peopleDocuments programDocuments }"
    )
    payload = answer.data["setTrustedDocumentPolicy"]
    assert payload["errors"] == [], payload


async def refusals(world: World, since: Any) -> list[tuple[str, str, str]]:
    """Return what the trail says was refused."""
    entries = await world.entries(since=since, kinds=("ATTEMPT",))
    return [(one["action"], one["outcome"], one["error_code"]) for one in entries]


async def test_what_a_build_registered_is_run_by_its_id(world: World) -> None:
    payload = await register(await world.client("admin"), QUERY, OTHER)
    viewer = await world.client("viewer")

    answers = [await by_id(viewer, QUERY), await by_id(viewer, QUERY), await by_hash(viewer, OTHER)]
    bare = await viewer.post(json_body({"documentId": digest(QUERY)}))

    assert payload["documentIds"] == [f"sha256:{digest(one)}" for one in (QUERY, OTHER)]
    assert (payload["registered"], payload["errors"]) == (2, [])
    assert (
        answers[0].data["projects"]["nodes"] == answers[1].data["projects"]["nodes"] == bare.data["projects"]["nodes"]
    )
    assert "records" in answers[2].data


async def test_a_program_registers_what_it_builds_and_can_do_nothing_else_by_that(world: World) -> None:
    program = await make_program(world, {P.TRUSTED_DOCUMENT_READ, P.TRUSTED_DOCUMENT_REGISTER})

    payload = await register(program.client, QUERY)
    again = await register(program.client, QUERY, OTHER)
    removed = await mutate(program.client, "removeTrustedDocuments", {**BUILD, "reason": REASON}, "removed")
    policy = await mutate(
        program.client, "setTrustedDocumentPolicy", {"people": "TRUSTED_ONLY", "reason": REASON}, "organization { id }"
    )

    assert (payload["registered"], again["registered"]) == (1, 1)
    for answer, name in ((removed, "removeTrustedDocuments"), (policy, "setTrustedDocumentPolicy")):
        assert [one["code"] for one in answer.data[name]["errors"]] == ["FORBIDDEN"]
    assert await world.value("select count(*) from trusted_document") == 2


@pytest.mark.parametrize("who", ["viewer", "manager", "auditor"])
async def test_who_may_not_register_registers_nothing(world: World, who: str) -> None:
    since = await world.now()

    payload = await register(await world.client(who), "{ not even valid")

    assert [one["code"] for one in payload["errors"]] == ["FORBIDDEN"]
    assert await world.value("select count(*) from trusted_document") == 0
    assert await refusals(world, since) == [("trusted_document.register", "DENIED", "FORBIDDEN")]


@pytest.mark.parametrize(
    ("texts", "field"),
    [
        ([], ["input", "documents"]),
        (["{ __typename }"] * 201, ["input", "documents"]),
        ([QUERY, "{ nope }"], ["input", "documents", "1"]),
        ([QUERY, "{"], ["input", "documents", "1"]),
        ([""], ["input", "documents", "0"]),
        (["{ " + "viewer { " * 70 + "}" * 71], ["input", "documents", "0"]),
        (["{ " + " ".join(f"a{i}: __typename" for i in range(101)) + " }"], ["input", "documents", "0"]),
        (["#" + "x" * 66_000 + "\n{ __typename }"], ["input", "documents", "0"]),
    ],
)
async def test_all_documents_of_a_build_are_registered_or_none(
    world: World, texts: list[str], field: list[str]
) -> None:
    payload = await register(await world.client("admin"), *texts)

    assert [(one["code"], one["field"]) for one in payload["errors"]] == [("INVALID_INPUT", field)]
    assert payload["documentIds"] is None
    assert await world.value("select count(*) from trusted_document") == 0


@pytest.mark.parametrize("name", ["clientName", "clientVersion"])
async def test_a_build_has_a_name_and_a_version(world: World, name: str) -> None:
    payload = await register(await world.client("admin"), QUERY, **{name: "  "})

    assert [(one["code"], one["field"]) for one in payload["errors"]] == [("INVALID_INPUT", ["input", name])]


async def test_where_trusted_documents_alone_are_run_every_other_text_is_refused_with_an_entry(world: World) -> None:
    admin, viewer = await world.client("admin"), await world.client("viewer")
    await register(admin, QUERY)
    members = {await world.member_id(key) for key in ("viewer", "admin")}
    await set_policy(admin, people="TRUSTED_ONLY")
    since = await world.now()

    refused = [
        await viewer.run(OTHER),
        await viewer.run(QUERY + " "),
        await viewer.run("{ viewer { role } __schema { queryType { name } } }"),
        await by_id(viewer, OTHER),
        await by_hash(viewer, OTHER),
        await by_hash(viewer, OTHER, with_text=True),
        await admin.run("mutation { signOut { errors { code } } }"),
    ]
    run = [await viewer.run(QUERY), await by_id(viewer, QUERY), await by_hash(viewer, QUERY)]

    for answer in refused:
        assert (answer.status, answer.codes) == (403, ["UNTRUSTED_DOCUMENT"])
        assert "data" not in answer.body
    assert [len(answer.data["projects"]["nodes"]) for answer in run] == [len(run[0].data["projects"]["nodes"])] * 3
    found = await refusals(world, since)
    assert set(found) == {("trusted_document.refuse", "DENIED", "UNTRUSTED_DOCUMENT")}
    assert {one["membership_id"] for one in await world.entries(since=since)} == members


async def test_people_and_programs_are_apart_and_other_organizations_are_not_touched(world: World) -> None:
    admin = await world.client("admin")
    program = await make_program(world, {P.RECORD_READ, P.PROJECT_READ})
    foreign = await world.client("other-owner")
    await register(admin, QUERY)

    await set_policy(admin, people="TRUSTED_ONLY")
    assert (await admin.run(OTHER)).codes == ["UNTRUSTED_DOCUMENT"]
    assert "records" in (await program.client.run(OTHER)).data
    assert "records" in (await foreign.run(OTHER)).data
    assert (await by_id(foreign, QUERY)).codes == ["PERSISTED_QUERY_NOT_FOUND"]
    own = next(one for one in OWN_DOCUMENTS if "SetTrustedDocumentPolicy" in one)
    given = {"input": {"people": "ANY", "programs": "TRUSTED_ONLY", "reason": REASON}}
    answer = await admin.run(own, given)

    shown = {"peopleDocuments": "ANY", "programDocuments": "TRUSTED_ONLY"}
    assert answer.data["setTrustedDocumentPolicy"]["organization"] == shown
    assert (await program.client.run(OTHER)).codes == ["UNTRUSTED_DOCUMENT"]
    assert "records" in (await admin.run(OTHER)).data


async def test_our_own_pages_go_on_and_an_administrator_gets_out_again(world: World) -> None:
    admin = await world.client("admin")
    await set_policy(admin, people="TRUSTED_ONLY", programs="TRUSTED_ONLY")
    account = next(one for one in own_documents() if "AccountViewer" in one)
    own = {one.split("(")[0].split()[1]: one for one in OWN_DOCUMENTS}

    assert (await admin.run(account)).data["viewer"]["organization"]["name"]
    assert (await admin.run("query Docs { __schema { queryType { name } } }")).data["__schema"]
    registered = await admin.run(own["RegisterTrustedDocuments"], {"input": {**BUILD, "documents": [QUERY]}})
    assert registered.data["registerTrustedDocuments"]["registered"] == 1
    assert "projects" in (await by_id(admin, QUERY)).data
    listed = (await admin.run(own["TrustedDocuments"])).data["trustedDocuments"]["nodes"]
    assert [one["sha256"] for one in listed] == [digest(QUERY)]
    decided = await admin.run(own["SetTrustedDocumentPolicy"], {"input": {"people": "ANY", "reason": REASON}})
    assert decided.data["setTrustedDocumentPolicy"]["errors"] == []
    assert "records" in (await admin.run(OTHER)).data


def test_every_document_of_our_own_is_valid(world: World) -> None:
    texts = list(own_documents())

    assert len(texts) > len(OWN_DOCUMENTS) + 20
    for text in texts:
        world.api.operations.prepare(text, keep=False)


async def test_what_is_removed_is_not_trusted_from_the_next_request_on(world: World) -> None:
    admin, viewer = await world.client("admin"), await world.client("viewer")
    await register(admin, QUERY)
    await register(admin, QUERY, OTHER, clientVersion="2")
    await set_policy(admin, people="TRUSTED_ONLY")
    own = next(one for one in OWN_DOCUMENTS if "RemoveTrustedDocuments" in one)

    async def remove(version: str) -> Any:
        given = {"input": {"clientName": "dashboard", "clientVersion": version, "reason": REASON}}
        return (await admin.run(own, given)).data["removeTrustedDocuments"]

    assert "projects" in (await by_id(viewer, QUERY)).data
    assert "records" in (await by_id(viewer, OTHER)).data
    assert (await remove("2"))["removed"] == 2
    assert (await by_id(viewer, OTHER)).codes == ["UNTRUSTED_DOCUMENT"]
    assert "projects" in (await by_id(viewer, QUERY)).data  # The other build has it, too.
    assert (await remove("1"))["removed"] == 1
    assert (await by_id(viewer, QUERY)).codes == ["UNTRUSTED_DOCUMENT"]
    assert [one["code"] for one in (await remove("1"))["errors"]] == ["CONFLICT"]


async def test_a_persisted_query_is_sent_once_and_named_from_then_on(world: World) -> None:
    viewer, colleague = await world.client("viewer"), await world.client("manager")
    foreign = await world.client("other-owner")

    first = await by_hash(viewer, QUERY)
    sent = await by_hash(viewer, QUERY, with_text=True)
    named = [await by_hash(one, QUERY) for one in (viewer, colleague)]

    assert (first.status, first.codes) == (200, ["PERSISTED_QUERY_NOT_FOUND"])
    assert first.errors[0]["message"] == "PersistedQueryNotFound"
    assert "projects" in sent.data
    assert all("projects" in one.data for one in named)
    assert (await by_hash(foreign, QUERY)).codes == ["PERSISTED_QUERY_NOT_FOUND"]


async def test_a_document_that_is_not_found_is_a_bad_request_in_graphqls_own_media_type(world: World) -> None:
    own = "application/graphql-response+json"
    viewer = await world.client("viewer")

    answer = await viewer.post(json_body({"documentId": digest(QUERY)}), accept=own)

    assert (answer.status, answer.codes) == (400, ["PERSISTED_QUERY_NOT_FOUND"])
    assert answer.headers["content-type"] == own


async def test_half_a_surrogate_pair_takes_no_other_document_s_name(world: World) -> None:
    # What is kept under a name is what everybody of the organization runs by it.
    viewer, other = await world.client("viewer"), await world.client("manager")
    text, poison = f'{QUERY} # "?"', f'{QUERY} # "\ud800"'
    named = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest(text)}}}

    refused = await other.post(json_body({**named, "query": poison}))
    kept = await by_hash(viewer, text)

    assert refused.codes == ["INVALID_INPUT"]
    assert kept.codes == ["PERSISTED_QUERY_NOT_FOUND"]


async def test_nothing_is_kept_for_who_is_not_signed_in(world: World) -> None:
    text = "query Role { viewer { role } }"

    sent = await by_hash(world.anonymous, text, with_text=True)
    named = await by_hash(world.anonymous, text)
    of_ours = await by_id(world.anonymous, OWN_DOCUMENTS[0], variables={"input": {**BUILD, "documents": [QUERY]}})

    assert sent.data == {"viewer": None}
    assert named.codes == ["PERSISTED_QUERY_NOT_FOUND"]
    assert of_ours.codes == ["UNAUTHENTICATED"]


async def test_a_name_is_no_way_round_a_guard(world: World) -> None:
    text = "query Trail { auditEntries(first: 1) { nodes { id } } }"
    await register(await world.client("admin"), text)

    answer = await by_id(await world.client("viewer"), text)

    assert answer.data == {"auditEntries": {"nodes": []}}


def test_what_is_kept_is_bounded() -> None:
    shelf = _Shelf()

    for number in range(100):
        shelf.put(str(number), "x" * (LARGEST_SHELF // 10))

    assert [shelf.get(str(number)) is not None for number in range(100)] == [False] * 90 + [True] * 10


async def test_the_cost_of_an_operation_is_told_to_who_is_signed_in_and_asks(world: World) -> None:
    viewer = await world.client("viewer")
    text = "{ projects(first: 10) { nodes { code records(first: 20) { nodes { id } } } } }"

    asked = await viewer.run(text, extensions={"cost": True})
    unasked = await viewer.run(text)
    anonymous = await world.anonymous.run("{ viewer { role } }", extensions={"cost": True})

    cost = asked.body["extensions"]["cost"]
    assert (cost["requested"], cost["allowed"]) == (10 + 10 * 20, 100_000)
    assert (cost["depth"], cost["fields"], cost["aliases"]) == (5, 6, 0)
    assert "extensions" not in unasked.body
    assert "extensions" not in anonymous.body


async def test_what_asks_for_too_much_says_of_what_and_how_much_is_allowed(world: World) -> None:
    answer = await (await world.client("viewer")).run("{ " + " ".join(f"a{i}: __typename" for i in range(101)) + " }")

    assert [one["extensions"] for one in answer.errors] == [
        {"code": "TOO_COMPLEX", "limit": {"of": "aliases", "allowed": 100}}
    ]
    assert json.loads(answer.text) == answer.body

"""Proofs of the trail over GraphQL, and heads at their public address, by who asks."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from models.base import new_id
from models.ledger.checkpoint import Head, Note, VerifierKey
from models.ledger.merkle import verify_consistency, verify_inclusion
from resolvers.sealing import Sealer
from resolvers.trail_sealing import seal_everything
from tests.support.sealing import add_entry, writer
from tests.support.world import Answer, World

ENTRIES = """
query Proofs($first: Int!) {
  auditEntries(first: $first, direction: ASC) {
    nodes { action proof { leafIndex leafHash treeSize rootHash path checkpoint } }
  }
}
"""
TRAIL = """
query Trail($from: Int!, $to: Int) {
  auditTrail { size rootHash sealedAt checkpoint proof: consistencyProof(from: $from, to: $to) }
}
"""


@pytest.fixture
def sealer(world: World) -> Sealer:
    """The application's own sealer, without its guard: all tests share a data directory."""
    return world.services.sealer


async def test_who_reads_the_trail_proves_each_entry_of_it_alone(world: World, sealer: Sealer) -> None:
    organization_id = await world.organization_id("clearwater")
    auditor = await world.client("auditor")
    await seal_everything(sealer)
    answer = await auditor.run(ENTRIES, {"first": 60})

    nodes = answer.data["auditEntries"]["nodes"]
    assert len(nodes) > 10
    origin = sealer.origin(organization_id)
    key = VerifierKey.parse((await world.http.get(f"/audit/verifier-key/{organization_id}")).text)
    assert key == sealer.signer.verifier_key(origin)
    for node in nodes:
        proof = node["proof"]
        note = Note.parse(proof["checkpoint"])
        key.verify(note)
        head = Head.parse(note.text)
        assert head == Head(origin, proof["treeSize"], bytes.fromhex(proof["rootHash"]))
        verify_inclusion(
            bytes.fromhex(proof["leafHash"]),
            proof["leafIndex"],
            proof["treeSize"],
            [bytes.fromhex(one) for one in proof["path"]],
            head.root,
        )
    assert len({node["proof"]["leafIndex"] for node in nodes}) == len(nodes)


async def test_an_entry_has_no_proof_until_it_is_sealed(world: World, sealer: Sealer) -> None:
    auditor = await world.client("auditor")
    before = await auditor.run("{ auditTrail { size } auditEntries(first: 1) { nodes { proof { treeSize } } } }")
    assert before.data == {"auditTrail": None, "auditEntries": {"nodes": [{"proof": None}]}}

    await seal_everything(sealer)
    await world.sign_in("auditor")
    after = await auditor.run("{ auditTrail { size } auditEntries(first: 1) { nodes { proof { treeSize } } } }")
    assert after.data["auditTrail"]["size"] > 0
    assert after.data["auditEntries"]["nodes"] == [{"proof": None}]


async def test_the_tree_is_proved_to_have_only_grown(world: World, sealer: Sealer) -> None:
    organization_id = await world.organization_id("clearwater")
    auditor = await world.client("auditor")
    heads = []
    for _ in range(3):
        await seal_everything(sealer)
        heads.append((await auditor.run(TRAIL, {"from": 0})).data["auditTrail"])
        async with writer(world, organization_id) as connection:
            for _ in range(5):
                await add_entry(connection, organization_id)
    for old in heads:
        for new in heads[heads.index(old) :]:
            shown = (await auditor.run(TRAIL, {"from": old["size"], "to": new["size"]})).data["auditTrail"]
            verify_consistency(
                old["size"],
                bytes.fromhex(old["rootHash"]),
                new["size"],
                bytes.fromhex(new["rootHash"]),
                [bytes.fromhex(one) for one in shown["proof"]],
            )


@pytest.mark.parametrize(
    ("sizes", "argument"),
    [
        ({"from": -1}, "from"),
        ({"from": 1_000_000}, "from"),
        ({"from": 5, "to": 4}, "from"),
        ({"from": 0, "to": 1_000_000}, "to"),
        ({"from": 0, "to": -1}, "to"),
    ],
)
async def test_a_size_that_the_tree_never_had_is_refused(
    world: World, sealer: Sealer, sizes: dict[str, int], argument: str
) -> None:
    await seal_everything(sealer)
    answer = await (await world.client("auditor")).run(TRAIL, sizes)

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == [argument]


@pytest.mark.parametrize("key", ["manager", "reviewer", "collector", "viewer", "member"])
async def test_who_may_not_read_the_trail_gets_no_proof(world: World, sealer: Sealer, key: str) -> None:
    await seal_everything(sealer)
    client = await world.client(key)

    assert (await client.run(ENTRIES, {"first": 5})).data["auditEntries"]["nodes"] == []
    refused = await client.run(TRAIL, {"from": 0})
    assert refused.codes == ["FORBIDDEN"]
    assert refused.body["data"] == {"auditTrail": None}
    assert (await world.anonymous.run(TRAIL, {"from": 0})).codes == ["UNAUTHENTICATED"]


async def test_another_organization_proves_its_own_trail_and_no_other(world: World, sealer: Sealer) -> None:
    await seal_everything(sealer)
    other = await world.organization_id("suncoast")
    shown = (await (await world.client("other-owner")).run(TRAIL, {"from": 0})).data["auditTrail"]

    assert Head.parse(Note.parse(shown["checkpoint"]).text).origin == sealer.origin(other)


async def test_heads_are_public_and_say_nothing_of_who_has_none(world: World, sealer: Sealer) -> None:
    await seal_everything(sealer)
    organization_id = await world.organization_id("clearwater")

    for log, origin in (("heads", "fieldward/heads"), (organization_id, f"fieldward/organization/{organization_id}")):
        response = await world.http.get(f"/audit/checkpoint/{log}")
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        note = Note.parse(response.text)
        sealer.signer.verifier_key(origin).verify(note)
    assert (await world.http.get("/audit/verifier-key")).text == f"{sealer.signer.verifier_key('fieldward')}\n"

    refusals = [
        await _answer(world, f"/audit/{what}/{log}") for what in ("checkpoint", "verifier-key") for log in _NONE
    ]
    assert {(one.status, one.text) for one in refusals} == {(404, refusals[0].text)}


_NONE: list[Any] = [
    UUID(int=7),
    new_id(),
    "x",
    "HEADS",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "0198C0DE-0000-7000-8000-000000000001",
]


async def test_many_who_ask_at_once_cost_few_statements(world: World, sealer: Sealer) -> None:
    await seal_everything(sealer)
    first = await world.http.get("/audit/checkpoint/heads")
    answers = await asyncio.gather(*(world.http.get(f"/audit/checkpoint/{UUID(int=at)}") for at in range(1, 60)))

    assert first.status_code == 200
    assert {one.status_code for one in answers} == {404, 503}
    assert all(one.headers["retry-after"] for one in answers if one.status_code == 503)


async def _answer(world: World, path: str) -> Answer:
    response = await world.http.get(path)
    return Answer(response.status_code, response.text, response.json(), response.headers)

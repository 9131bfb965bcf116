"""The trail of a service that nobody tampers with is right, whatever the service does; and what is verified of it."""

import asyncio
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from auth.action import Action
from auth.errors import ForbiddenError
from auth.principal import SYSTEM_ID
from auth.role import OrganizationRole
from fieldward.cli.audit_export import writing_bundle
from models.audit_entry import EntryKind, Outcome
from models.audit_writing import append_entries
from models.base import new_id
from models.ledger.checkpoint import CheckpointError, Head, HeadSigner, Note, SignatureType
from models.ledger.merkle import leaf_hash
from models.sealed_batch import HEADS_ID
from models.signed_heads import SignedHeads
from resolvers.account import NewPerson, create_person, member_viewer
from resolvers.kept_heads import parse_kept
from resolvers.pace import Pace
from resolvers.rollback_guard import RollbackGuard
from resolvers.trail import new_entry
from resolvers.trail_export import note_export
from resolvers.trail_verification import TrailVerification, verify_trail
from tests.support.mutation import mutate, prepare
from tests.support.retention import age, decide
from tests.support.sealing import add_entry, writer
from tests.support.trail import about, an_actor, behind, checkpoint, export, kinds, offline, seal_all, verified
from tests.support.world import World


async def test_it_is_right_while_the_service_writes(world: World) -> None:
    stage, owner = await prepare(world), await world.client("owner")
    await seal_all(world.services)
    done = asyncio.Event()

    async def write() -> int:
        count = 0
        while not done.is_set():
            await owner.run("{ records(first: 20) { nodes { comment collector } } }")
            await mutate(owner, "updateProject", {"id": stage.project, "name": f"Name {count}"})
            await seal_all(world.services)
            count += 1
        return count

    writing = asyncio.create_task(write())
    found = [await verified(world) for _ in range(4)]
    done.set()

    assert await writing > 0
    assert [str(one) for each in found for one in each.findings] == []


async def test_an_entry_is_given_a_minute(world: World) -> None:
    await seal_all(world.services)
    organization_id = await world.organization_id("clearwater")
    async with writer(world, organization_id) as connection:
        entry_id = await add_entry(connection, organization_id)

    young = await verified(world)
    async with behind(world, "audit_entry") as owner:
        await owner.execute("update audit_entry set at = at - interval '61 seconds' where id = $1", entry_id)
    old = await verified(world)

    assert young.is_right
    assert [(one.kind, one.row_id) for one in old.findings] == [("UNSEALED", entry_id)]


async def test_a_person_of_two_organizations_is_verified_by_the_trails_of_both(world: World) -> None:
    other = await world.organization_id("suncoast")
    email = "owner@clearwater.example"
    new = NewPerson(email, "a password for nobody", "Olive Owens", OrganizationRole.MEMBER)
    await create_person(world.services, an_actor(other), organization_id=other, new=new)
    user_id = await world.value(
        "select user_id from membership group by 1 having count(*) = 2",
    )
    # The first change of the account is in the trail of one organization, the next in that of the other.
    for organization_id, status in ((other, "SUSPENDED"), (await world.organization_id("clearwater"), "ACTIVE")):
        async with writer(world, organization_id) as connection:
            await connection.execute("begin")
            await add_entry(connection, organization_id, "CHANGE")
            await connection.execute("update user_account set status = $2 where id = $1", user_id, status)
            await connection.execute("commit")
    await seal_all(world.services)

    right = await verified(world)
    async with behind(world, "user_account") as owner:
        await owner.execute("update user_account set status = 'SUSPENDED' where id = $1", user_id)
    wrong = await verified(world)

    assert [str(one) for one in right.findings] == []
    assert {(one.kind, one.what) for one in wrong.findings} == {("ROW_CHANGED", f"user_account {user_id}: status")}
    assert len({one.organization_id for one in wrong.findings}) == 2


async def test_a_trigger_that_is_off_or_gone_is_named(world: World) -> None:
    await seal_all(world.services)
    await world.sql("alter table record disable trigger change_update")
    await world.sql("alter table device enable trigger change_insert")
    await world.sql("drop trigger change_delete on measurement")

    found = await verified(world)

    assert sorted(str(one) for one in found.findings) == [
        f"WALL: trigger change_{one} of {table}: expected fieldward_change_of_{table}, got none that is always enabled"
        for one, table in (("delete", "measurement"), ("insert", "device"), ("update", "record"))
    ]
    told = await world.sql(
        "select entity from audit_entry where action = 'audit.verify' and outcome = 'FAILED' and organization_id = $1"
        " order by entity",
        SYSTEM_ID,
    )
    assert [row["entity"] for row in told] == ["device", "measurement", "record"]


async def test_an_organization_is_verified_by_itself(world: World) -> None:
    await seal_all(world.services)
    one, other = await world.organization_id("clearwater"), await world.organization_id("suncoast")
    async with behind(world, "project") as owner:
        await owner.execute("update project set name = 'Another' where organization_id = $1", other)

    def of(only: UUID) -> "asyncio.Task[TrailVerification]":
        services = world.services
        return asyncio.create_task(
            verify_trail(services.sealer, services.keystore, an_actor(SYSTEM_ID), Pace(), only=only)
        )

    right, wrong = await of(one), await of(other)

    assert (right.is_right, list(right.sizes)) == (True, [one])
    assert {finding.organization_id for finding in wrong.findings} == {other}
    assert kinds(wrong) == {"ROW_CHANGED"}


async def test_the_right_kept_heads_are_right_and_those_of_others_are_not_taken(world: World) -> None:
    await seal_all(world.services)
    organization_id = await world.organization_id("clearwater")
    stranger = HeadSigner.generate()
    sealer = world.services.sealer
    foreign = str(stranger.sign(Head(sealer.origin(organization_id), 1, bytes(32))))
    elsewhere = str(sealer.signer.sign(Head("elsewhere.test/organization/x", 1, bytes(32))))

    right = await verified(world, await checkpoint(world, organization_id), await checkpoint(world, HEADS_ID))
    both = "\n".join([await checkpoint(world, organization_id), await checkpoint(world, HEADS_ID)])
    in_one_file = await verified(world, both)
    wrong = await verified(world, foreign, elsewhere)

    assert right.is_right
    assert in_one_file.is_right
    assert [one.kind for one in wrong.findings] == ["SIGNATURE", "SIGNATURE"]


async def test_a_kept_head_of_an_organization_that_is_gone_is_missed(world: World) -> None:
    sealer = world.services.sealer
    note = str(sealer.signer.sign(Head(sealer.origin(new_id()), 3, bytes(32))))
    await seal_all(world.services)

    found = await verified(world, note)

    assert [(one.kind, one.expected) for one in found.findings] == [("TRUNCATED", "3 leaves")]


async def test_a_head_that_was_only_about_to_be_signed_is_not_missed(world: World, tmp_path: Path) -> None:
    await seal_all(world.services)
    organization_id = await world.organization_id("clearwater")
    signed = SignedHeads(tmp_path / "signed-heads.sqlite")
    last = Head.parse(Note.parse(await checkpoint(world, organization_id)).text)
    signed.note([(last, Head(last.origin, last.size + 3, bytes(32)))])
    sealer = replace(world.services.sealer, guard=RollbackGuard(signed))
    guarded = replace(world, services=replace(world.services, sealer=sealer))

    about_to = await verified(guarded)
    signed.settle([Head(last.origin, last.size + 3, bytes(32))])
    settled = await verified(guarded)

    assert about_to.is_right
    assert kinds(settled) == {"TRUNCATED"}


async def test_cosignatures_of_known_witnesses_are_verified_and_exported(world: World, tmp_path: Path) -> None:
    await seal_all(world.services)
    organization_id = await world.organization_id("clearwater")
    signer = HeadSigner.generate()
    key = signer.verifier_key("witness.test", SignatureType.COSIGNATURE)
    text = await checkpoint(world, organization_id)
    head = Note.parse(text)
    right = signer.cosign("witness.test", head.text, time=1_770_000_000).line
    wrong = signer.cosign("witness.test", head.text + "more", time=1_770_000_000).line
    async with behind(world, "cosignature") as owner:
        await owner.execute(
            "insert into cosignature (organization_id, id, tree_size, witness, line, cosigned_at)"
            " values ($1, $2, $3, $4, $5, now())",
            organization_id,
            new_id(),
            Head.parse(head.text).size,
            str(key),
            right,
        )

    async def of_witness() -> TrailVerification:
        services = world.services
        return await verify_trail(services.sealer, services.keystore, an_actor(SYSTEM_ID), Pace(), witnesses=[key])

    first = await of_witness()
    vkey = await export(world, organization_id, tmp_path / "bundle.zip")
    verdict = offline(tmp_path / "bundle.zip", vkey, witness=str(key))
    async with behind(world, "cosignature") as owner:
        await owner.execute("update cosignature set line = $1", wrong)
    second = await of_witness()

    assert first.is_right
    assert (verdict.code, list(verdict.report["cosigned"])) == (0, ["witness.test"])
    assert kinds(second) == {"COSIGNATURE"}


async def test_an_entry_that_left_by_an_act_that_names_it_is_right_once_it_was_old_enough(world: World) -> None:
    organization_id = await world.organization_id("clearwater")
    await decide(world, "READ", 90)
    await age(world, 9, "action <> 'audit.set_retention'")
    actor = an_actor(organization_id)
    reads = [new_entry(actor, kind=EntryKind.READ, action=Action.FIELD_READ, outcome=Outcome.DONE) for _ in range(2)]
    await append_entries(reads)
    await seal_all(world.services)
    ids = [
        row["id"]
        for row in await world.sql(
            "select id from audit_entry where organization_id = $1 and kind = 'READ' order by id", organization_id
        )
    ]
    act = new_entry(
        actor,
        kind=EntryKind.CHANGE,
        action="audit.expire",
        outcome=Outcome.DONE,
        entity="audit_entry",
        entity_ids=ids,
    )
    await append_entries([act])
    await seal_all(world.services)
    act_id = await world.value("select id from audit_entry where action = 'audit.expire'")
    async with behind(world, "audit_entry", "sealed_leaf") as owner:
        await owner.execute("delete from audit_entry where id = any($1)", ids)
        await owner.execute("update sealed_leaf set expired_by = $2 where id = any($1)", ids, act_id)

    young = await verified(world)
    async with behind(world, "sealed_batch") as owner:
        await owner.execute(
            "update sealed_batch set sealed_at = sealed_at - interval '91 days' where organization_id = $1",
            organization_id,
        )
    old = await verified(world)

    assert kinds(young) == {"EXPIRED"}
    assert {one.row_id for one in young.findings} == set(ids)
    # Old enough by what its batch says; that somebody dated the batch back, the tree of heads tells.
    assert kinds(old) == {"HEAD"}
    assert about(old, ids[0]) == []


async def test_who_may_not_read_the_trail_does_not_export_it(world: World) -> None:
    viewer = await member_viewer("clearwater", email="collector@clearwater.example")
    auditor = await member_viewer("clearwater", email="auditor@clearwater.example")
    since = await world.now()

    with pytest.raises(ForbiddenError):
        await note_export(replace(an_actor(viewer.organization_id), viewer=viewer), "Curious.")
    await note_export(replace(an_actor(viewer.organization_id), viewer=auditor), "Audit.")

    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"], one["user_id"]) for one in entries] == [
        ("ATTEMPT", "audit.export", "DENIED", viewer.user_id),
        ("CHANGE", "audit.export", "DONE", auditor.user_id),
    ]
    assert all(one["reason"] is not None for one in entries)


def test_a_bundle_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "bundle.zip"

    def write_half() -> None:
        with writing_bundle(out) as archive:
            archive.writestr("entries.jsonl", b"half of it")
            raise LookupError

    with pytest.raises(LookupError):
        write_half()
    assert list(tmp_path.iterdir()) == []
    with writing_bundle(out) as archive:
        archive.writestr("entries.jsonl", b"")
    assert [(one.name, one.stat().st_mode & 0o777) for one in tmp_path.iterdir()] == [("bundle.zip", 0o600)]


def test_a_text_of_heads_holds_heads_and_nothing_else() -> None:
    signer = HeadSigner.generate()
    notes = [str(signer.sign(Head("log.test", size, leaf_hash(b"")))) for size in (1, 2)]

    for text in ("\n".join(notes), "".join(notes), "\n\n" + "\n\n\n".join(notes) + "\n"):
        assert [str(one.note) for one in parse_kept(text, source="kept.txt")] == notes
    for text in ("", "\n", "text", notes[0] + "more\n", notes[0][:-20]):
        with pytest.raises(CheckpointError):
            parse_kept(text, source="kept.txt")


async def test_a_pace_is_kept() -> None:
    told: list[tuple[str, int, int | None]] = []
    pace = Pace(1000, progress=lambda *step: told.append(step))

    for _ in range(3):
        await pace.note("Rows", 100)

    assert pace.elapsed_s >= 0.3
    assert told == [("Rows", 100, None), ("Rows", 200, None), ("Rows", 300, None)]


async def test_what_was_found_is_told_although_the_trail_takes_no_entry(world: World) -> None:
    await seal_all(world.services)
    await world.sql("alter table audit_entry disable trigger stamp")

    found = await verified(world)

    assert "WALL" in {one.kind for one in found.findings}
    untold = [str(one) for one in found.findings if one.kind == "UNTOLD"]
    assert untold
    assert all(one.startswith("UNTOLD: what was found here: expected an entry audit.verify, got ") for one in untold)

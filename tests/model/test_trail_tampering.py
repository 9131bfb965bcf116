"""Whoever owns the database can do what they want with it, and is found out: by a verification, and by an outsider.

What is done here is done as the owner of the tables, with triggers and walls taken down, to a trail of more than ten
thousand entries. Each is verified online, and offline by an export made afterwards, with a head that was kept before.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from fieldward.cli.environment import services
from fieldward.database import Databases
from models.base import new_id
from models.ledger.checkpoint import Head, Note
from models.signed_heads import SignedHeads
from resolvers.rollback_guard import RollbackGuard
from resolvers.sealing import seal_organization
from tests.conftest import Template
from tests.support.served import url_of
from tests.support.server import ROOT, environment, own_data_directory
from tests.support.trail import (
    READS,
    about,
    behind,
    checkpoint,
    export,
    kinds,
    offline,
    seal_all,
    verified,
    write_trail,
)
from tests.support.world import World, connect

LONG = "long_trail"


@pytest.fixture(scope="module")
def long_trail(template: Template) -> Iterator[str]:
    """The name of a database with a long, sealed trail."""
    postgres = template.postgres

    async def make() -> None:
        superuser = await connect(postgres.superuser())
        await superuser.execute(f"create database {LONG} template fieldward strategy file_copy owner fieldward_owner")
        await superuser.execute(f"revoke all on database {LONG} from public")
        await superuser.execute(f"grant connect on database {LONG} to fieldward_service")
        organization_id = await _organization(postgres.superuser(LONG))
        reached = Databases(
            main={**postgres.service(LONG).dsn_parameters()},
            keystore={**postgres.service("fieldward_keys").dsn_parameters()},
        )
        async with services(template.settings, reached) as built:
            await write_trail(replace(built, sealer=replace(built.sealer, guard=None)), organization_id)
        await superuser.close()

    async def drop() -> None:
        superuser = await connect(postgres.superuser())
        await superuser.execute(f"drop database {LONG} with (force)")
        await superuser.close()

    asyncio.run(make())
    yield LONG
    asyncio.run(drop())


async def _organization(endpoint: Any) -> UUID:
    connection = await connect(endpoint)
    try:
        found: UUID = await connection.fetchval("select id from organization where slug = 'clearwater'")
        return found
    finally:
        await connection.close()


@pytest.fixture
async def databases(template: Template, long_trail: str) -> AsyncIterator[str]:
    """The name of this test's copy of the long trail."""
    name = f"{long_trail}_copy"
    superuser = await connect(template.postgres.superuser())
    try:
        await superuser.execute(
            f"create database {name} template {long_trail} strategy file_copy owner fieldward_owner"
        )
        await superuser.execute(f"revoke all on database {name} from public")
        await superuser.execute(f"grant connect on database {name} to fieldward_service")
        yield name
        await superuser.execute(f"drop database {name} with (force)")
    finally:
        await superuser.close()


class Case:
    """An organization whose trail is tampered with, and what an outsider has of it from before."""

    def __init__(self, world: World, organization_id: UUID, head: Path, bundle: Path) -> None:
        self.world = world
        self.organization_id = organization_id
        self.head = head
        self.bundle = bundle

    async def leaf(self, index: int) -> UUID:
        """Return the entry of a leaf."""
        found: UUID = await self.world.value(
            "select id from sealed_leaf where organization_id = $1 and leaf_index = $2", self.organization_id, index
        )
        return found

    async def a_read(self, index: int = 5000) -> UUID:
        """Return an entry in the middle that changed nothing."""
        found: UUID = await self.world.value(
            "select e.id from audit_entry e join sealed_leaf l using (organization_id, id)"
            " where e.organization_id = $1 and e.kind = 'READ' and l.leaf_index >= $2 order by l.leaf_index limit 1",
            self.organization_id,
            index,
        )
        return found

    async def index(self, entry_id: UUID) -> int:
        """Return the number of an entry."""
        found: int = await self.world.value("select leaf_index from sealed_leaf where id = $1", entry_id)
        return found

    async def commented(self) -> UUID:
        """Return a record whose comment was changed twice."""
        found: UUID = await self.world.value(
            "select c.entity_id from change c where c.entity = 'record' and c.columns ? 'comment'"
            " group by 1 having count(*) = 2 order by 1 limit 1"
        )
        return found

    async def offline(self) -> Any:
        """Export the trail as it is now, and verify it with the head that was kept before."""
        key = await export(self.world, self.organization_id, self.bundle)
        return offline(self.bundle, key, self.head)


@pytest.fixture
async def case(world: World, tmp_path: Path) -> Case:
    """The organization with the long trail."""
    organization_id = await world.organization_id("clearwater")
    head = tmp_path / "kept.txt"
    head.write_text(await checkpoint(world, organization_id))
    return Case(world, organization_id, head, tmp_path / "bundle.zip")


def _with_signed(case: Case, head: Head) -> World:
    """Return the world of a service that has written down, on its own machine, that it signed a head."""
    signed = SignedHeads(case.head.with_name("signed-heads.sqlite"))
    signed.note([(head, head)])
    signed.settle([head])
    sealer = replace(case.world.services.sealer, guard=RollbackGuard(signed))
    return replace(case.world, services=replace(case.world.services, sealer=sealer))


async def _told(world: World, organization_id: UUID) -> Any:
    """Return the newest entries about verifications in an organization's trail."""
    return await world.sql(
        "select kind, outcome, error_code, entity, entity_ids from audit_entry"
        " where organization_id = $1 and action = 'audit.verify' order by at desc, entity limit 10",
        organization_id,
    )


async def test_a_trail_that_nobody_touched_is_right(case: Case) -> None:
    found = await verified(case.world, case.head.read_text())

    assert [str(one) for one in found.findings] == []
    assert found.sizes[case.organization_id] > READS
    (told,) = await _told(case.world, case.organization_id)
    last = await case.world.value(
        "select id from sealed_batch where organization_id = $1 order by tree_size desc limit 1", case.organization_id
    )
    assert (told["kind"], told["outcome"], told["entity"]) == ("CHANGE", "DONE", "sealed_batch")
    assert told["entity_ids"] == [last]
    verdict = await case.offline()
    assert (verdict.code, verdict.report["findings"], verdict.report["earlier_heads"]) == (0, [], 1)
    assert verdict.report["entries"] == found.sizes[case.organization_id]


async def test_a_row_changed_behind_the_triggers_is_named(case: Case) -> None:
    row_id = await case.commented()
    async with behind(case.world, "record") as owner:
        await owner.execute("update record set site_code = 'ELSEWHERE' where id = $1", row_id)

    found = await verified(case.world)

    (finding,) = found.findings
    assert (finding.kind, finding.what) == ("ROW_CHANGED", f"record {row_id}: site_code")
    assert finding.organization_id == case.organization_id
    (told,) = await _told(case.world, case.organization_id)
    assert (told["kind"], told["outcome"], told["error_code"]) == ("ATTEMPT", "FAILED", "INTERNAL")
    assert (told["entity"], told["entity_ids"]) == ("record", [row_id])
    # The trail itself is what it was, and so is what an outsider has of it.
    assert (await case.offline()).code == 0


async def test_a_row_set_back_to_an_older_ciphertext_is_named(case: Case) -> None:
    row_id = await case.commented()
    older = await case.world.value(
        "select columns -> 'comment' ->> 0 from change where entity_id = $1 and columns ? 'comment'"
        " order by id desc limit 1",
        row_id,
    )
    async with behind(case.world, "record") as owner:
        await owner.execute("update record set comment = $2::text::bytea where id = $1", row_id, older)

    found = await verified(case.world)

    assert [(one.kind, one.what) for one in found.findings] == [("ROW_CHANGED", f"record {row_id}: comment")]
    assert older not in str(found)


async def test_a_row_deleted_behind_the_triggers_is_named(case: Case) -> None:
    row_id = await case.world.value("select id from measurement limit 1")
    async with behind(case.world, "measurement") as owner:
        await owner.execute("delete from measurement where id = $1", row_id)

    found = await verified(case.world)

    assert [(one.kind, one.row_id) for one in found.findings] == [("ROW_DELETED", row_id)]


async def test_a_row_inserted_behind_the_triggers_is_named(case: Case) -> None:
    row_id = new_id()
    async with behind(case.world, "membership", "project_membership") as owner:
        await owner.execute(
            "insert into project_membership select (jsonb_populate_record(m, jsonb_build_object('id', $1::uuid,"
            " 'membership_id', (select x.id from membership x where x.organization_id = m.organization_id"
            " and not exists (select from project_membership y where y.membership_id = x.id) limit 1)))).*"
            " from project_membership m limit 1",
            row_id,
        )

    found = await verified(case.world)

    assert [(one.kind, one.row_id, one.table) for one in found.findings] == [
        ("ROW_INSERTED", row_id, "project_membership")
    ]


async def test_a_password_that_was_swapped_is_named(case: Case) -> None:
    row_id, other = [row["id"] for row in await case.world.sql("select id from user_account order by id limit 2")]
    async with behind(case.world, "user_account") as owner:
        await owner.execute(
            "update user_account set password_hash = (select password_hash from user_account where id = $2)"
            " where id = $1",
            row_id,
            other,
        )

    found = await verified(case.world)

    assert {(one.kind, one.what) for one in found.findings} == {
        ("ROW_CHANGED", f"user_account {row_id}: password_hash")
    }


async def test_a_change_that_was_deleted_is_named(case: Case) -> None:
    row_id = await case.commented()
    change = (
        await case.world.sql("select id, entry_id from change where entity_id = $1 order by id desc limit 1", row_id)
    )[0]
    async with behind(case.world, "change") as owner:
        await owner.execute("delete from change where id = $1", change["id"])

    found = await verified(case.world)

    assert kinds(found) == {"CHANGED", "ROW_CHANGED"}
    assert [one.kind for one in about(found, change["entry_id"])] == ["CHANGED"]
    assert [one.what for one in about(found, row_id)] == [f"record {row_id}: comment"]
    verdict = await case.offline()
    assert verdict.code == 1
    assert ("changed", await case.index(change["entry_id"]) + 1) in zip(verdict.kinds, verdict.lines, strict=True)


async def test_an_entry_that_was_changed_is_named(case: Case) -> None:
    entry_id = await case.a_read()
    async with behind(case.world, "audit_entry") as owner:
        await owner.execute("update audit_entry set user_id = gen_random_uuid() where id = $1", entry_id)

    found = await verified(case.world)

    (finding,) = found.findings
    assert (finding.kind, finding.row_id) == ("CHANGED", entry_id)
    verdict = await case.offline()
    index = await case.index(entry_id)
    assert verdict.code == 1
    assert verdict.report["findings"][-1] == {
        "kind": "changed",
        "what": f"line {index + 1} is not the entry that was signed",
        "line": index + 1,
    }


async def test_an_entry_that_was_changed_with_its_leaf_is_named(case: Case) -> None:
    """The leaf is made to fit the entry; the heads tell."""
    entry_id = await case.a_read()
    async with behind(case.world, "audit_entry") as owner:
        await owner.execute("update audit_entry set outcome = 'DENIED' where id = $1", entry_id)
    changed = await verified(case.world)
    (finding,) = [one for one in changed.findings if one.row_id == entry_id]
    async with behind(case.world, "sealed_leaf") as owner:
        await owner.execute("update sealed_leaf set leaf_hash = $2 where id = $1", entry_id, bytes.fromhex(finding.got))

    found = await verified(case.world)

    assert "FORKED" in kinds(found)
    assert "CHANGED" not in kinds(found)
    assert (await case.offline()).code == 1


async def test_an_entry_deleted_in_the_middle_is_named(case: Case) -> None:
    entry_id = await case.a_read()
    async with behind(case.world, "audit_entry") as owner:
        await owner.execute("delete from audit_entry where id = $1", entry_id)

    found = await verified(case.world)

    (finding,) = found.findings
    assert (finding.kind, finding.row_id) == ("DELETED", entry_id)
    verdict = await case.offline()
    index = await case.index(entry_id)
    assert verdict.code == 1
    removed = [one for one in verdict.report["findings"] if one["kind"] == "removed"]
    assert removed == [
        {"kind": "removed", "what": f"entry {index + 1} is missing before line {index + 1}", "line": index + 1}
    ]


async def test_an_entry_deleted_with_its_leaf_is_named(case: Case) -> None:
    entry_id = await case.a_read()
    index = await case.index(entry_id)
    async with behind(case.world, "audit_entry", "sealed_leaf") as owner:
        await owner.execute("delete from audit_entry where id = $1", entry_id)
        await owner.execute("delete from sealed_leaf where id = $1", entry_id)

    found = await verified(case.world)

    assert [(one.kind, one.got) for one in found.findings] == [("GAP", f"number {index + 1}")]
    assert (await case.offline()).code == 1


async def test_the_newest_hundred_deleted_with_their_leaves_and_heads_are_missed(case: Case) -> None:
    """Nothing in the organization's trail says that they were there; who kept a head does."""
    signed = Head.parse(Note.parse(case.head.read_text()).text)
    size = await case.world.value(
        "select max(tree_size) from sealed_batch where organization_id = $1", case.organization_id
    )
    async with behind(
        case.world, "audit_entry", "change", "sealed_leaf", "sealed_batch", "sealed_node", "record"
    ) as owner:
        gone = [
            row["id"]
            for row in await owner.fetch(
                "select id from sealed_leaf where organization_id = $1 and leaf_index >= $2",
                case.organization_id,
                size - 100,
            )
        ]
        await owner.execute("delete from change where entry_id = any($1)", gone)
        await owner.execute("delete from audit_entry where id = any($1)", gone)
        await owner.execute("delete from sealed_leaf where id = any($1)", gone)
        await owner.execute(
            "delete from sealed_batch where organization_id = $1 and tree_size > $2", case.organization_id, size - 100
        )

    found = await verified(case.world, case.head.read_text())
    known = await verified(_with_signed(case, signed))

    truncated = [one for one in found.findings if one.kind == "TRUNCATED"]
    assert [(one.expected, one.got) for one in truncated] == [(f"{size} leaves", f"{size - 100} leaves")]
    assert "HEAD" in kinds(found)
    # Where the database alone was touched, the service knows by itself what it has signed.
    assert "TRUNCATED" in kinds(known)
    verdict = await case.offline()
    assert verdict.code == 1
    assert "truncated" in verdict.kinds


async def test_two_entries_that_changed_places_are_named(case: Case) -> None:
    one, other = await case.a_read(4000), await case.a_read(6000)
    async with behind(case.world, "sealed_leaf") as owner:
        first, second = await case.index(one), await case.index(other)
        await owner.execute("update sealed_leaf set leaf_index = -1 where id = $1", one)
        await owner.execute("update sealed_leaf set leaf_index = $2 where id = $1", other, first)
        await owner.execute("update sealed_leaf set leaf_index = $2 where id = $1", one, second)

    found = await verified(case.world)

    assert {"FORKED", "REORDERED"} <= kinds(found)
    assert {one, other} & {finding.row_id for finding in found.findings if finding.kind == "REORDERED"}
    verdict = await case.offline()
    assert verdict.code == 1
    assert "changed" in verdict.kinds or "reordered" in verdict.kinds


async def test_two_entries_that_changed_contents_are_named(case: Case) -> None:
    one, other = await case.a_read(4000), await case.a_read(6000)
    async with behind(case.world, "audit_entry") as owner:
        await owner.execute(
            "update audit_entry a set request_id = b.request_id, at = b.at, transaction_id = b.transaction_id,"
            " entity_ids = b.entity_ids from audit_entry b where (a.id, b.id) in (($1, $2), ($2, $1))",
            one,
            other,
        )

    found = await verified(case.world)

    changed = [finding.row_id for finding in found.findings if finding.kind == "CHANGED"]
    assert changed == [one, other]
    verdict = await case.offline()
    assert (verdict.code, verdict.lines[-2:]) == (1, [await case.index(one) + 1, await case.index(other) + 1])


async def test_a_tree_rewritten_with_the_services_own_key_does_not_go_on_from_a_published_head(case: Case) -> None:
    world, organization_id = case.world, case.organization_id
    entry_id = await case.a_read()
    async with behind(world, "audit_entry", "sealed_leaf", "sealed_node", "sealed_batch") as owner:
        await owner.execute("update audit_entry set action = 'record.create' where id = $1", entry_id)
        for table in ("sealed_leaf", "sealed_node", "sealed_batch"):
            await owner.execute(f"delete from {table}")
    await seal_all(world.services)

    alone = await verified(world)
    found = await verified(world, case.head.read_text())

    # With nothing from outside, there is nothing to tell the two histories apart.
    assert alone.is_right
    assert kinds(found) == {"FORKED"}
    assert (await case.offline()).kinds == ["forked"]
    key = str(world.services.sealer.signer.verifier_key(world.services.sealer.origin(organization_id)))
    assert offline(case.bundle, key).code == 0


async def test_a_head_that_was_deleted_is_missed(case: Case) -> None:
    async with behind(case.world, "sealed_batch") as owner:
        batch_id = await owner.fetchval(
            "delete from sealed_batch where id = (select id from sealed_batch where organization_id = $1"
            " order by tree_size offset 1 limit 1) returning id",
            case.organization_id,
        )

    found = await verified(case.world)

    assert [(one.kind, one.row_id) for one in found.findings] == [("HEAD", batch_id)]


async def test_a_head_that_was_changed_is_named(case: Case) -> None:
    async with behind(case.world, "sealed_batch") as owner:
        batch_id = await owner.fetchval(
            "update sealed_batch set sealed_at = sealed_at - interval '1 hour' where id = (select id from sealed_batch"
            " where organization_id = $1 order by tree_size offset 1 limit 1) returning id",
            case.organization_id,
        )
        await owner.execute(
            "update sealed_batch set checkpoint = replace(checkpoint, E'\\n\\n', E'\\nmore\\n\\n')"
            " where id = (select id from sealed_batch where organization_id = $1 order by tree_size limit 1)",
            case.organization_id,
        )

    found = await verified(case.world)

    assert kinds(found) == {"HEAD", "SIGNATURE"}
    assert [one.kind for one in about(found, batch_id)] == ["HEAD"]


async def test_a_node_that_was_changed_is_named(case: Case) -> None:
    async with behind(case.world, "sealed_node") as owner:
        await owner.execute(
            "update sealed_node set node_hash = sha256(node_hash) where organization_id = $1 and level = 8"
            " and node_index = 3",
            case.organization_id,
        )

    found = await verified(case.world)

    assert [(one.kind, one.what) for one in found.findings] == [("NODE", "node 3 of level 8")]


async def test_an_entry_slipped_in_late_under_an_old_transaction_is_named(case: Case) -> None:
    like, entry_id = await case.a_read(), new_id()
    async with behind(case.world, "audit_entry") as owner:
        await owner.execute(
            "insert into audit_entry select (jsonb_populate_record(e, jsonb_build_object('id', $2::uuid))).*"
            " from audit_entry e where e.id = $1",
            like,
            entry_id,
        )

    found = await verified(case.world)
    assert [(one.kind, one.row_id) for one in found.findings] == [("LATE", entry_id)]
    while await seal_organization(case.world.services.sealer, case.organization_id, is_thorough=True):
        pass
    sealed = await verified(case.world)

    assert [one.kind for one in about(sealed, entry_id)] == ["REORDERED"]


async def test_an_entry_that_nobody_seals_is_named(case: Case) -> None:
    like, entry_id = await case.a_read(), new_id()
    async with behind(case.world, "audit_entry") as owner:
        await owner.execute(
            "insert into audit_entry select (jsonb_populate_record(e, jsonb_build_object('id', $2::uuid, 'at',"
            " now() - interval '2 minutes', 'transaction_id', pg_current_xact_id()::text::bigint))).*"
            " from audit_entry e where e.id = $1",
            like,
            entry_id,
        )

    found = await verified(case.world)

    assert [(one.kind, one.row_id) for one in found.findings] == [("UNSEALED", entry_id)]


async def test_a_change_without_an_entry_is_named(case: Case) -> None:
    row_id = await case.commented()
    async with behind(case.world, "change") as owner:
        await owner.execute("alter table change drop constraint change_organization_id_entry_id_fkey")
        change_id = await owner.fetchval(
            "insert into change (organization_id, entry_id, operation, entity, entity_id, columns)"
            " values ($1, gen_random_uuid(), 'UPDATE', 'record', $2, '{\"site_code\": [\"A\", \"B\"]}') returning id",
            case.organization_id,
            row_id,
        )

    found = await verified(case.world)

    assert ("STRAY", f"change {change_id} of record {row_id}") in {(one.kind, one.what) for one in found.findings}
    assert {"BROKEN_OFF", "ROW_CHANGED"} <= kinds(found)


async def test_an_entry_that_only_seems_to_have_expired_is_named(case: Case) -> None:
    entry_id, other = await case.a_read(), await case.a_read(7000)
    async with behind(case.world, "audit_entry", "sealed_leaf") as owner:
        await owner.execute("delete from audit_entry where id = $1", entry_id)
        await owner.execute("update sealed_leaf set expired_by = $2 where id = $1", entry_id, other)

    found = await verified(case.world)

    assert [(one.kind, one.row_id) for one in found.findings] == [("EXPIRED", entry_id)]
    verdict = await case.offline()
    assert (verdict.code, verdict.kinds) == (1, ["expired"])
    assert verdict.lines == [await case.index(entry_id) + 1]


async def test_the_command_names_it_and_ends_with_7(case: Case, template: Template, databases: str) -> None:
    row_id = await case.commented()
    directory = case.head.with_name("data")
    own_data_directory(template.settings.data_directory, directory)
    settings = {
        "FIELDWARD_DATABASE_URL": url_of(case.world.service),
        "FIELDWARD_KEYSTORE_URL": url_of(case.world.keystore),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fieldward", "audit", *arguments],
            cwd=ROOT,
            env=environment(directory, **settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    right = await asyncio.to_thread(run, "verify", "--head", str(case.head), "--rate", "50000")
    async with behind(case.world, "record") as owner:
        await owner.execute("update record set site_code = 'ELSEWHERE' where id = $1", row_id)
    wrong = await asyncio.to_thread(run, "verify", "--organization", "clearwater", "--json")
    exported = await asyncio.to_thread(
        run, "export", "--organization", "clearwater", "--out", str(case.bundle), "--reason", "Audit.", "--json"
    )

    assert (right.returncode, right.stdout.splitlines()[-1]) == (0, "verified"), right.stderr
    assert "entries/s" in right.stdout
    assert wrong.returncode == 7, wrong.stderr
    said = json.loads(wrong.stdout)
    assert said["verified"] is False
    assert [(one["kind"], one["row_id"]) for one in said["findings"]] == [("ROW_CHANGED", str(row_id))]
    assert {json.loads(line)["step"] for line in wrong.stderr.splitlines()} >= {"Sealed entries", "Changes", "Rows"}
    assert exported.returncode == 0, exported.stderr
    key = json.loads(exported.stdout)["verifier_key"]
    assert case.bundle.stat().st_mode & 0o777 == 0o600
    alone = case.bundle.parent / "alone.py"
    alone.write_bytes((ROOT / "fieldward" / "verifier.py").read_bytes())
    outside = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", str(alone), str(case.bundle), "--key", key, "--head", str(case.head)],
        cwd=case.bundle.parent,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (outside.returncode, outside.stdout.splitlines()[-1]) == (0, "verified"), outside.stdout + outside.stderr
    entries = await case.world.sql("select kind, outcome, entity from audit_entry where action = 'audit.export'")
    assert [tuple(one) for one in entries] == [("CHANGE", "DONE", "audit_entry")]

"""Archives that somebody wrote with a hammer: nothing of them is written, and nobody else's people come along."""

import io
import json
import zipfile
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from auth.role import OrganizationRole
from models.base import new_id
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.record import Record
from resolvers import archive_file
from resolvers.account import member_viewer
from resolvers.archive_import import import_archive
from resolvers.erasure_row import NO_PASSWORD
from tests.model.test_archive import archive_of, empty_organization, put_in, tables_of
from tests.support.keeping import keep_for
from tests.support.retention import decide
from tests.support.world import World

Rows = list[dict[str, Any]]


def forged(content: bytes, **changes: Callable[[Rows], Any]) -> bytes:
    """Return an archive of which some tables' rows are others, with a manifest that says so."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files["manifest.json"])
    for table, change in changes.items():
        said = manifest["tables"][table]
        rows = [json.loads(line) for line in files[said["file"]].splitlines()]
        rows = change(rows) or rows
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        files[said["file"]] = lines
        said |= {"rows": len(rows), "bytes": len(lines), "sha256": sha256(lines).hexdigest()}
    files["manifest.json"] = json.dumps(manifest).encode()
    return zipped(files)


def zipped(files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def first(**values: Any) -> Callable[[Rows], None]:
    """Return what sets columns of the first row."""
    return lambda rows: rows[0].update(values)


def without(name: str) -> Callable[[Rows], None]:
    """Return what takes a column away from the first row."""
    return lambda rows: rows[0].pop(name) and None


@pytest.mark.parametrize(
    "changes",
    [
        {"record": first(id="no id")},
        {"record": first(id=None)},
        {"record": without("id")},
        {"record": without("project_id")},
        {"record": first(site_code=7)},
        {"record": first(site_code="x" * 65)},
        {"record": first(site_code="a\x00b")},
        {"record": first(site_code=None)},
        {"record": first(latitude=91.5)},
        {"record": first(latitude="51.5")},
        {"record": first(latitude=True)},
        {"record": first(collected_at="2026-01-01T00:00:00")},
        {"record": first(collected_at="yesterday")},
        {"record": first(status="CROWNED")},
        {"record": first(version=2**40)},
        {"record": first(version=True)},
        {"record": first(contributor_ids=["x"])},
        {"record": first(contributor_ids="x")},
        {"record": first(exact_location={"latitude": 99, "longitude": 0})},
        {"record": first(exact_location=[0, 51])},
        {"record": first(collector=["Ada"])},
        {"record": lambda rows: [rows[0], *rows]},
        {"record": lambda rows: rows[::-1]},
        {"record": lambda _rows: [7]},
        {"membership": first(role="EMPEROR")},
        {"user_account": first(email="nobody")},
        {"organization": lambda rows: [*rows, {**rows[0], "id": "ffffffff-ffff-7fff-bfff-ffffffffffff"}]},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_a_row_that_is_none_is_refused_before_anything_is_written(
    world: World, changes: dict[str, Callable[[Rows], Any]]
) -> None:
    content = forged(await archive_of(world, "clearwater", world.email("owner")), **changes)
    actor = await empty_organization(world)
    before = await world.fingerprint()

    with pytest.raises(InvalidInputError) as refused:
        await put_in(actor, content)

    assert await world.fingerprint() == before
    assert "Ada" not in refused.value.message


async def test_nobody_becomes_a_member_whose_account_is_not_in_the_archive(world: World) -> None:
    stranger = await world.value(
        "select u.id from user_account u join membership m on m.user_id = u.id join organization o"
        " on o.id = m.organization_id where o.slug = 'suncoast' limit 1"
    )
    content = await archive_of(world, "clearwater", world.email("owner"))
    actor = await empty_organization(world)
    before = await world.fingerprint()

    with pytest.raises(InvalidInputError, match="account is not in it"):
        await put_in(actor, forged(content, membership=first(user_id=str(stranger))))

    assert await world.fingerprint() == before


async def test_an_account_under_somebody_else_s_id_is_refused_and_theirs_stays(world: World) -> None:
    stranger: UUID = await world.value(
        "select u.id from user_account u join membership m on m.user_id = u.id join organization o"
        " on o.id = m.organization_id where o.slug = 'suncoast' limit 1"
    )
    theirs = await world.sql("select * from user_account where id = $1", stranger)

    def as_theirs(rows: Rows) -> Rows:
        made = {**rows[0], "id": str(stranger), "email": "mallory@evil.example"}
        return sorted([*rows, made], key=lambda row: str(row["id"]))

    def of_mallory(rows: Rows) -> Rows:
        made = {**rows[0], "id": str(new_id()), "user_id": str(stranger), "name": "Mallory"}
        return sorted([*rows, made], key=lambda row: str(row["id"]))

    content = await archive_of(world, "clearwater", world.email("owner"))
    actor = await empty_organization(world)

    with pytest.raises(InvalidInputError, match="do not fit together"):
        await put_in(actor, forged(content, user_account=as_theirs, membership=of_mallory))

    assert await world.sql("select * from user_account where id = $1", stranger) == theirs
    assert (
        await world.value(
            "select count(*) from membership where user_id = $1 and organization_id = $2",
            stranger,
            actor.organization_id,
        )
        == 0
    )


async def test_people_who_have_no_account_here_get_one_without_a_password(world: World) -> None:
    # As where an archive comes from another installation. Of the one who was erased there, nothing can be read.
    ids = sorted(new_id() for _ in range(4))

    def accounts(rows: Rows) -> Rows:
        made = [{**rows[0], "id": str(ids[0]), "email": "new@elsewhere.example"}, {**rows[0], "id": str(ids[1])}]
        made[1]["email"] = None
        return [*rows, *made]

    def members(rows: Rows) -> Rows:
        made = [{**rows[0], "id": str(one), "role": "ADMIN"} for one in ids[2:]]
        made[0] |= {"user_id": str(ids[0]), "name": "New"}
        made[1] |= {"user_id": str(ids[1]), "name": None}
        return [*rows, *made]

    content = await archive_of(world, "clearwater", world.email("owner"))
    actor = await empty_organization(world)

    await put_in(actor, forged(content, user_account=accounts, membership=members))

    stored = await world.sql("select id, status, password_hash from user_account where id = any($1)", ids[:2])
    assert {row["id"]: row["status"] for row in stored} == {ids[0]: "ACTIVE", ids[1]: "ERASED"}
    assert {row["password_hash"] for row in stored} == {NO_PASSWORD}
    viewer = await member_viewer("restored", email="new@elsewhere.example")
    assert (viewer.membership_id, viewer.role) == (ids[2], OrganizationRole.ADMIN)
    shown = tables_of(await archive_of(world, "restored", "new@elsewhere.example"))
    assert shown["membership"][str(ids[2])]["name"] == "New"
    assert shown["membership"][str(ids[3])]["status"] == "ERASED"


async def test_rows_under_another_tenant_s_ids_are_rows_of_this_one(world: World) -> None:
    # A primary key begins with the tenant: the same id elsewhere is another row, which is neither read nor changed.
    theirs = await world.sql("select * from record where organization_id = $1", await world.organization_id("suncoast"))
    content = await archive_of(world, "clearwater", world.email("owner"))
    actor = await empty_organization(world)

    def under_their_id(rows: Rows) -> Rows:
        made = {**rows[0], "id": str(theirs[0]["id"])}
        return sorted([*rows, made], key=lambda row: str(row["id"]))

    await put_in(actor, forged(content, record=under_their_id))

    assert theirs == await world.sql(
        "select * from record where organization_id = $1", await world.organization_id("suncoast")
    )
    assert await world.value("select count(*) from record where id = $1", theirs[0]["id"]) == 2


@pytest.mark.parametrize("table", ["data_retention", "trail_retention"])
async def test_a_period_that_nobody_can_set_is_not_put_in(world: World, table: str) -> None:
    await keep_for(world, "RECORD", 365)
    await decide(world, "READ", 730)
    content = await archive_of(world, "clearwater", world.email("owner"))
    actor = await empty_organization(world)

    def twice(rows: Rows) -> Rows:
        return [*rows, {**rows[0], "id": "ffffffff-ffff-7fff-bfff-ffffffffffff"}]

    for change in (first(days=29), twice):
        with pytest.raises(InvalidInputError, match=f"{table} do not fit together"):
            await put_in(actor, forged(content, **{table: change}))

    assert await world.value(f"select count(*) from {table} where organization_id = $1", actor.organization_id) == 0


async def test_an_archive_that_says_a_row_twice_does_not_pass_for_what_is_there(world: World) -> None:
    content = await archive_of(world, "clearwater", world.email("owner"))
    actor = await empty_organization(world)
    await put_in(actor, content)
    before = await world.fingerprint()

    # As many rows as there are, but all of them the same one.
    same = forged(content, record=lambda rows: [rows[0]] * len(rows), measurement=lambda _rows: [])
    with pytest.raises((InvalidInputError, ConflictError)):
        await put_in(actor, same)

    assert await world.fingerprint() == before


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
async def test_an_archive_that_is_packed_in_another_way_is_refused(world: World, how: int) -> None:
    content = await archive_of(world, "clearwater", world.email("owner"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}

    with pytest.raises(InvalidInputError, match="deflate"):
        await put_in(await empty_organization(world), zipped(files, how))


@pytest.mark.parametrize(
    "manifest",
    [
        b"[]",
        b"7",
        b'{"archive_version": 1}',
        b'{"archive_version": 1, "tables": []}',
        b'{"archive_version": 1, "tables": {"record": []}}',
        b'{"archive_version": 1, "tables": {"record": {"file": 7, "rows": 1, "sha256": "", "left_out": {}}}}',
        b'{"archive_version": 1, "tables": {"record": {"file": "x", "rows": "1", "sha256": "", "left_out": {}}}}',
        b'{"archive_version": 1, "tables": {"record": {"file": "../x", "rows": 1, "sha256": "", "left_out": {}}}}',
        b"{" + b" " * archive_file.LARGEST_MANIFEST + b"}",
    ],
    ids=lambda manifest: manifest[:70].decode(),
)
async def test_a_manifest_that_is_none_is_refused(world: World, manifest: bytes) -> None:
    with pytest.raises(InvalidInputError):
        await put_in(await empty_organization(world), zipped({"manifest.json": manifest}))


async def test_a_file_that_is_locked_or_damaged_is_refused(world: World) -> None:
    content = await archive_of(world, "clearwater", world.email("owner"))
    actor = await empty_organization(world)
    before = await world.fingerprint()
    locked, damaged = bytearray(content), bytearray(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        directory = archive.start_dir
        held = archive.getinfo("project.jsonl")
    # The first entry's bit that says that it takes a password, in the directory and in front of each file.
    at = directory
    while locked[at : at + 4] == b"PK\x01\x02":
        locked[at + 8] |= 1
        at += 46 + sum(int.from_bytes(locked[at + place : at + place + 2], "little") for place in (28, 30, 32))
    for place in range(40, 60):
        damaged[held.header_offset + place + len(held.filename)] ^= 0xFF

    for bad in (locked, damaged):
        with pytest.raises(InvalidInputError):
            await put_in(actor, bytes(bad))

    assert await world.fingerprint() == before


def test_a_file_that_unpacks_to_no_end_is_read_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_file, "LONGEST_LINE", 1000)
    monkeypatch.setattr(archive_file, "BATCH_BYTES", 5000)
    long = zipped({"long": b" " * 900 + b"\n" + b" " * 10_000_000})
    many = zipped({"many": (b" " * 900 + b"\n") * 10_000})
    short = zipped({"short": b"{}\n" * 1200})

    with zipfile.ZipFile(io.BytesIO(many)) as archive:
        sizes = {len(b"".join(batch)) for batch in archive_file.batches_of(archive, entity_of(Record), "many")}
    with zipfile.ZipFile(io.BytesIO(short)) as archive:
        lengths = [len(batch) for batch in archive_file.batches_of(archive, entity_of(Record), "short")]
    with zipfile.ZipFile(io.BytesIO(long)) as archive, pytest.raises(InvalidInputError, match="too long"):
        list(archive_file.batches_of(archive, entity_of(Record), "long"))

    assert max(sizes) < 6000
    assert lengths == [500, 500, 200]


async def test_what_is_wrong_in_the_middle_says_where_and_what_was_put_in_stays(world: World) -> None:
    content = await archive_of(world, "clearwater", world.email("owner"))
    actor = await empty_organization(world)
    bad = forged(content, measurement=first(record_id=str(new_id())))

    with pytest.raises(InvalidInputError, match="measurement do not fit together"):
        await put_in(actor, bad)

    # Mended, it is run again.
    report = await import_archive(actor, zipfile.ZipFile(io.BytesIO(content)))
    assert report.put_in["measurement"] > 0
    assert report.known["record"] > 0

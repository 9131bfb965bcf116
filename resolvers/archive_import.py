"""Putting an archive into an empty organization: every row under its own id, through the audited way to write.

The archive is looked through before anything is written: each file against its digest, and whether the organization
holds anything that is not from it. Whoever is interrupted begins anew: what is there already stays. What is not put in
again is named below, with the reason, and a test holds it to that.
"""

import base64
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from graphlib import TopologicalSorter
from hashlib import sha256
from itertools import islice
from typing import Any, Final
from uuid import UUID

import orjson
from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.action import Action
from auth.principal import SYSTEM_ID
from models.data_import import DataImport, ImportStatus
from models.encryption.codec import Place, Point
from models.encryption.column import EncryptedField
from models.encryption.keyring import active_keyring
from models.encryption.owner import person_owner
from models.errors import ConflictError, InvalidInputError
from models.inventory import Column, Entity, entity_of
from models.legal_hold import HoldOn, LegalHold
from models.measurement import Measurement
from models.membership import Membership, MembershipStatus
from models.organization import Organization
from models.reading import OneStatement
from models.record import Record
from models.searching import index_of, load_index_key
from models.transaction import Tenant, fetch
from models.user import User, UserStatus
from models.writing import insert_rows
from resolvers.account_index import email_index_of
from resolvers.archive import ARCHIVE_VERSION, MANIFEST, archived
from resolvers.change import Change, Intent, commit_change
from resolvers.collector import COLLECTOR, collector_columns, load_collectors
from resolvers.data_import import KEPT
from resolvers.erasure import NO_PASSWORD
from resolvers.switched_off import emptied, given_of_off
from resolvers.trail import Actor

BATCH: Final = 500
"""Rows that are written in one change."""
LONGEST_LINE: Final = 32 * 1024 * 1024
"""Bytes of the longest row."""

_ELSEWHERE: Final = "It proves or opens something where it was made, and nothing here."
NOT_PUT_IN: Final[Mapping[str, str]] = {
    "audit_entry": "The trail is of where it was written; the archive has it to be read.",
    "incident": "It stands on the trail of where it was found; the archive has it to be read.",
    "incident_evidence": "It stands on the trail of where it was found; the archive has it to be read.",
    "session": _ELSEWHERE,
    "authenticator": _ELSEWHERE,
    "authenticator_use": _ELSEWHERE,
    "invitation": _ELSEWHERE,
    "service_account_token": _ELSEWHERE,
    "service_account_use": _ELSEWHERE,
    "outgoing_mail": "Letters leave from where they were asked for, once.",
    "trail_retention": "How long a trail is kept is decided for each trail anew.",
    "data_export": "It says what left where it was made.",
    "data_retention": "How long data are kept is decided for each organization anew.",
    "retention_run": "It says what was deleted where it was made.",
}
"""Tables of an archive that are not put in again, with the reason."""

COLUMNS_NOT_PUT_IN: Final[Mapping[tuple[str, str], str]] = {
    ("organization", "id"): "The organization that it is put into keeps its own.",
    ("organization", "slug"): "The organization that it is put into keeps its own.",
    ("organization", "status"): "Whether it is at work is of the one that it is put into.",
    ("organization", "created_at"): "It is that of the one that it is put into.",
    ("device", "public_key"): "A device proves its key to where it was enrolled, and is enrolled anew.",
    ("device", "enrolled_at"): "A device is enrolled anew.",
}
"""Columns that are not put in again, with the reason. Accounts of people who have one here are left as they are, and
an import whose file is not in the archive has expired.
"""

ERASED_NAME: Final = "(erased)"
"""What stands for the name of a member who was erased: there is none to put in."""

_REFERENCES: Final = """
    select one.relname as holder, other.relname as named from pg_constraint c
      join pg_class one on one.oid = c.conrelid join pg_class other on other.oid = c.confrelid where c.contype = 'f'
"""

Progress = Callable[[str, int, int | None], None]


@dataclass(slots=True)
class ArchiveImport:
    """What became of an archive: by table, how many rows were put in, and how many were there already.

    not_put_in: the tables that were left out, with the reason.
    """

    put_in: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    not_put_in: dict[str, str] = field(default_factory=dict)


async def import_archive(
    actor: Actor, archive: zipfile.ZipFile, *, progress: Progress = lambda *_: None
) -> ArchiveImport:
    """Put everything of the archive into the actor's organization.

    progress: is told of each table, how many rows are done, and of how many.

    Raises:
        InvalidInputError: it is no archive of a version that is known, a file is not what its digest says, or it was
            made by somebody who could not read all of it.
        ConflictError: the organization holds what is not from this archive.
        UnavailableError: a database, the keystore or the key provider is away. What was put in stays.
    """
    importing = _Importing(actor, archive, progress)
    tables = await importing.tables()
    for table in tables:
        await importing.verify(table)
    for table in tables:
        await importing.put_in(table)
    return importing.done


class _Importing:
    def __init__(self, actor: Actor, archive: zipfile.ZipFile, progress: Progress) -> None:
        self.done = ArchiveImport()
        self._actor = actor
        self._organization_id = actor.organization_id
        self._archive = archive
        self._progress = progress
        self._manifest = _manifest_of(archive)
        # People who have an account or a membership here already: what names them there names those here.
        self._instead: dict[UUID, UUID] = {}
        # What projects do without, once they are there.
        self._off: dict[UUID, Sequence[str]] | None = None

    async def tables(self) -> Sequence[Entity]:
        """Return the tables that are put in, each after those that its rows name."""
        known = {one.name: one for one in archived()}
        held = [known[name] for name in self._manifest["tables"] if name in known]
        names = {one.name for one in held if one.name not in NOT_PUT_IN}
        self.done.not_put_in = {one.name: NOT_PUT_IN[one.name] for one in held if one.name in NOT_PUT_IN}
        for name in sorted(set(self._manifest["tables"]) - set(known)):
            self.done.not_put_in[name] = "This version knows no such table."
        async with OneStatement(Tenant(organization_id=self._organization_id)) as connection:
            references = [(row["holder"], row["named"]) for row in await connection.fetch(_REFERENCES)]
        graph = {
            name: (_named_by(known[name]) | {named for holder, named in references if holder == name}) & names - {name}
            for name in sorted(names)
        }
        return [known[name] for name in TopologicalSorter(graph).static_order()]

    async def verify(self, entity: Entity) -> None:
        """Refuse a file that is not what the manifest says, and an organization that holds something else."""
        said = self._manifest["tables"][entity.name]
        hidden = [name for name, why in said["left_out"].items() if why.startswith("Takes the permission")]
        if hidden:
            raise InvalidInputError(f"Whoever made the archive could not read {entity.name}.{hidden[0]}.")
        total = await self._count(entity)
        digest, known = sha256(), 0
        for batch in _batches(self._lines(entity)):
            for line in batch:
                digest.update(line)
            if total:
                known += len(await self._known(entity, [UUID(orjson.loads(line)["id"]) for line in batch]))
        if digest.hexdigest() != said["sha256"]:
            raise InvalidInputError(f"The archive's file of {entity.name} is not what its manifest says.")
        if known < total:
            raise ConflictError(f"The organization is not empty: it has a {entity.name} that is not in the archive.")

    async def put_in(self, entity: Entity) -> None:
        """Write the rows of a table, batch by batch, each a change of its own."""
        total = int(self._manifest["tables"][entity.name]["rows"])
        put_in = known = 0
        for lines in _batches(self._lines(entity)):
            rows = [self._row(entity, orjson.loads(line)) for line in lines]
            written = await self._write(entity, rows)
            put_in, known = put_in + written, known + len(rows) - written
            self._progress(entity.name, put_in + known, total)
        self.done.put_in[entity.name], self.done.known[entity.name] = put_in, known

    async def _write(self, entity: Entity, rows: Sequence[dict[str, Any]]) -> int:
        if entity.model is Organization:
            return await self._settle(rows[0])
        if entity.model is User:
            rows = [row for row in [await self._account(row) for row in rows] if row is not None]
        elif entity.model is Membership:
            rows = [row for row in [await self._member(row) for row in rows] if row is not None]
        elif entity.model is DataImport:
            rows = [{**row, "status": ImportStatus.EXPIRED} if row["status"] in KEPT else row for row in rows]
        elif entity.model in {Record, Measurement}:
            rows = await self._switched(entity, rows)
        known = await self._known(entity, [row["id"] for row in rows])
        new = [row for row in rows if row["id"] not in known]
        if not new:
            return 0
        await self._prepare(entity, new)

        async def work(change: Change) -> None:
            await insert_rows(change.connection, entity, new)

        await commit_change(self._intent(entity), work)
        return len(new)

    async def _settle(self, row: Mapping[str, Any]) -> int:
        """Have the organization say of itself what it said there."""
        entity = entity_of(Organization)
        said = {
            name: row[name] for name in entity.columns if name in row and (entity.name, name) not in COLUMNS_NOT_PUT_IN
        }

        async def work(change: Change) -> None:
            sets = ", ".join(f'"{name}" = ${place}' for place, name in enumerate(said, 2))
            await fetch(
                change.connection,
                f"update organization set {sets} where id = $1",
                self._organization_id,
                *said.values(),
            )

        await commit_change(self._intent(entity), work)
        return 1

    async def _switched(self, entity: Entity, rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Return the rows without what their projects do without, and note that it was left out."""
        if self._off is None:
            async with OneStatement(Tenant(organization_id=self._organization_id)) as connection:
                projects = await connection.fetch(
                    "select id, fields_off from project where organization_id = $1 and fields_off is not null",
                    self._organization_id,
                )
            self._off = {row["id"]: row["fields_off"] for row in projects}
        found = []
        for row in rows:
            off = self._off.get(row["project_id"], ())
            for name in given_of_off(entity, off, row):
                self.done.not_put_in[f"{entity.name}.{name}"] = "Its project does without it."
            found.append(emptied(entity, off, row))
        return found

    async def _account(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return the account to be made; None where the person has one here, which is theirs and stays as it is."""
        if row["email"] is None:
            # Erased: there is nobody to sign in, and no address.
            row = {**row, "email": f"{row['id']}@erased.invalid", "status": UserStatus.ERASED}
        index = await email_index_of(row["email"])
        async with OneStatement(Tenant(email_index=index)) as connection:
            found: UUID | None = await connection.fetchval("select id from user_account where email_index = $1", index)
        if found is not None:
            if found != row["id"]:
                self._instead[row["id"]] = found
            return None
        return {**row, "email_index": index, "password_hash": NO_PASSWORD}

    async def _member(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return the membership to be made; None where the person is a member here already."""
        async with OneStatement(Tenant(organization_id=self._organization_id)) as connection:
            found: UUID | None = await connection.fetchval(
                "select id from membership where organization_id = $1 and user_id = $2",
                self._organization_id,
                row["user_id"],
            )
        if found is not None:
            if found != row["id"]:
                self._instead[row["id"]] = found
            return None
        if row["name"] is None:
            return {**row, "name": ERASED_NAME, "status": MembershipStatus.ERASED}
        return row

    async def _prepare(self, entity: Entity, rows: Sequence[dict[str, Any]]) -> None:
        """Work out what no archive holds: blind indexes, pseudonyms; and bring the keys into memory that seal."""
        organization_id = self._organization_id
        tenant_id = organization_id if "organization_id" in entity.columns else SYSTEM_ID
        await load_index_key(tenant_id)
        for column in entity.columns.values():
            if column.search is None:
                continue
            for row in rows:
                value = row.get(column.name)
                row[column.search.index_column] = None if value is None else index_of(column, tenant_id, value)
        if entity.name == COLLECTOR.entity:
            await load_collectors(organization_id, [row.get(COLLECTOR.name) for row in rows])
            for row in rows:
                row |= collector_columns(organization_id, row.get(COLLECTOR.name))
        owners = {
            column.field.owner_in(row)
            for column in entity.columns.values()
            if isinstance(column.field, EncryptedField)
            for row in rows
            if row.get(column.name) is not None
        }
        if entity.model is User:
            owners |= {person_owner(row["id"]) for row in rows}
        await active_keyring().load(list(owners))

    def _row(self, entity: Entity, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of the archive as it is written here."""
        row: dict[str, Any] = {}
        for name, value in said.items():
            column = entity.columns.get(name)
            is_left = (entity.name, name) in COLUMNS_NOT_PUT_IN and entity.model is not Organization
            if column is not None and column.is_in_api and not is_left:
                row[name] = self._named(_value(column, value))
        if "organization_id" in entity.columns:
            row["organization_id"] = self._organization_id
        if entity.model is LegalHold and row["subject_kind"] == HoldOn.ORGANIZATION:
            row["subject"] = self._organization_id
        return row

    def _named(self, value: Any) -> Any:
        if isinstance(value, UUID):
            return self._instead.get(value, value)
        return [self._named(one) for one in value] if isinstance(value, list) else value

    async def _known(self, entity: Entity, ids: Sequence[UUID]) -> set[UUID]:
        async with OneStatement(Tenant(organization_id=self._organization_id)) as connection:
            where = "organization_id = $2 and" if "organization_id" in entity.columns else "$2::uuid is not null and"
            rows = await connection.fetch(
                f'select id from "{entity.name}" where {where} id = any($1::uuid[])', list(ids), self._organization_id
            )
        return {row["id"] for row in rows}

    async def _count(self, entity: Entity) -> int:
        """Return how many rows there are that would have to be the archive's; people may be there before."""
        if entity.model in {Organization, User, Membership}:
            return 0
        async with OneStatement(Tenant(organization_id=self._organization_id)) as connection:
            found = await connection.fetchval(
                f'select count(*) from "{entity.name}" where organization_id = $1', self._organization_id
            )
        return int(found)

    def _intent(self, entity: Entity) -> Intent:
        return Intent(Action.ORGANIZATION_IMPORT, self._actor, entity=entity.name)

    def _lines(self, entity: Entity) -> Iterator[bytes]:
        name = self._manifest["tables"][entity.name]["file"]
        try:
            with self._archive.open(name) as file:
                while line := file.readline(LONGEST_LINE + 1):
                    if len(line) > LONGEST_LINE:
                        raise InvalidInputError(f"The archive's file of {entity.name} has a row that is too long.")
                    yield line
        except (KeyError, zipfile.BadZipFile) as error:
            raise InvalidInputError(f"The archive's file of {entity.name} is missing or broken.") from error


def _manifest_of(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    try:
        manifest: Mapping[str, Any] = orjson.loads(archive.read(MANIFEST))
        version = manifest["archive_version"]
    except (KeyError, TypeError, orjson.JSONDecodeError, zipfile.BadZipFile) as error:
        raise InvalidInputError("This is no archive of an organization.") from error
    if version != ARCHIVE_VERSION:
        raise InvalidInputError(f"Expected an archive of version {ARCHIVE_VERSION}.")
    return manifest


def _named_by(entity: Entity) -> set[str]:
    """Return the tables whose rows are named by this one's, by the names of its columns."""
    named = {name.removesuffix("_id") for name in entity.columns if name.endswith("_id")}
    if any(name.endswith("_by_id") for name in entity.columns):
        named.add("membership")
    return named | {"user_account"} if "user" in named else named


def _value(column: Column, value: Any) -> Any:
    """Return a value of the archive as the column takes it."""
    if value is None:
        return None
    kind = column.field
    if isinstance(kind, EncryptedField):
        if kind.codec is Place:
            return Point(value["latitude"], value["longitude"])
        return kind.codec.decode(value) if isinstance(value, str) and kind.codec.python_type is not str else value
    if isinstance(kind, ArrayField):
        return [UUID(one) for one in value] if str(kind.element_type).lower() == "uuid" else value
    for of, read in _READ:
        if isinstance(kind, of):
            return read(value)
    return value


_READ: Final[Sequence[tuple[type[Any], Callable[[Any], Any]]]] = (
    (fields.UUIDField, UUID),
    (fields.DatetimeField, datetime.fromisoformat),
    (fields.DateField, date.fromisoformat),
    (fields.BinaryField, base64.b64decode),
)


def _batches(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(lines, BATCH)):
        yield batch

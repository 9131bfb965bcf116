"""Putting an archive into an empty organization: every row under its own id, through the audited way to write.

The archive is looked through before anything is written: each file against what the manifest says of it, each row
against its columns, and whether the organization holds anything that is not from it. Whoever is interrupted begins
anew: what is there already stays. What is not put in again is named below, with the reason, and a test holds it to
that.

Nothing in an archive says who wrote it. So no row is trusted further than its columns' kinds, nobody becomes a member
but whose account is in the archive, and memory holds a batch, whatever the files unpack to.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
from tortoise.exceptions import IntegrityError

from auth.action import Action
from auth.principal import SYSTEM_ID
from models.data_import import DataImport, ImportStatus
from models.encryption.column import EncryptedField
from models.encryption.keyring import active_keyring
from models.encryption.owner import person_owner
from models.errors import ConflictError, InvalidInputError
from models.inventory import Entity, entity_of
from models.legal_hold import HoldOn, LegalHold
from models.measurement import Measurement
from models.membership import Membership, MembershipStatus
from models.organization import Organization
from models.reading import OneStatement
from models.record import Record
from models.retention import DataRetention
from models.searching import index_of, load_index_key
from models.trail_retention import TrailRetention
from models.transaction import Tenant, fetch
from models.user import User, UserStatus
from models.writing import insert_many
from resolvers.account_index import email_index_of
from resolvers.archive import TAKES, archived
from resolvers.archive_file import batches_of, manifest_of
from resolvers.archive_value import column_value
from resolvers.change import Change, Intent, commit_change
from resolvers.checking import require_address
from resolvers.collector import COLLECTOR, collector_columns, load_collectors
from resolvers.data_import import KEPT
from resolvers.erasure_row import NO_PASSWORD
from resolvers.switched_off import emptied, given_of_off
from resolvers.trail import Actor

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
    "data_export": "It says what left where it was made.",
    "retention_run": "It says what was deleted where it was made.",
    "erasure_request": "It is carried out where it was asked for.",
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

LAST: Final = frozenset({entity_of(DataRetention).name, entity_of(TrailRetention).name})
"""Tables that are put in when all else is: the week in which a period deletes nothing begins when everything is there,
with what holds keep, however often whoever puts it in is interrupted.
"""

ERASED_NAME: Final = "(erased)"
"""What stands for the name of a member who was erased: there is none to put in."""

_REFERENCES: Final = """
    select one.relname as holder, other.relname as named from pg_constraint c
      join pg_class one on one.oid = c.conrelid join pg_class other on other.oid = c.confrelid where c.contype = 'f'
"""
_MISFITS: Final = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    IntegrityError,
)
"""What the database raises of rows that do not go with others."""

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
        InvalidInputError: it is no archive of a version that is known, a file is not what the manifest says or has rows
            that are none of its table, or it was made by somebody who could not read all of it.
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
        self._manifest = manifest_of(archive)
        # People who have an account or a membership here already: what names them there names those here.
        self._instead: dict[UUID, UUID] = {}
        self._accounts: set[UUID] = set()
        # What projects do without, once they are there.
        self._off: dict[UUID, Sequence[str]] | None = None

    async def tables(self) -> Sequence[Entity]:
        """Return the tables that are put in, each after those that its rows name, and those of `LAST` last."""
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
        for name in LAST & names:
            graph[name] |= names - LAST
        return [known[name] for name in TopologicalSorter(graph).static_order()]

    async def verify(self, entity: Entity) -> None:
        """Refuse a file that is not what the manifest says, or has what is no row, and an organization that holds
        something else."""
        said = self._manifest["tables"][entity.name]
        for name, why in said["left_out"].items():
            if str(why).startswith(TAKES):
                raise InvalidInputError(f"Whoever made the archive could not read all of {entity.name}.{name}. {why}")
        total = await self._count(entity)
        digest, known, count, before = sha256(), 0, 0, None
        for batch in self._batches(entity):
            rows = []
            for line in batch:
                digest.update(line)
                count += 1
                row = self._row(entity, line, count)
                if before is not None and row["id"] <= before:
                    # In the order of their ids, none is there twice.
                    raise _not_a_row(entity, count)
                before = row["id"]
                rows.append(row)
            if count > said["rows"]:
                break
            self._look_at_people(entity, rows, count - len(rows) + 1)
            if total:
                known += len(await self._known(entity, [row["id"] for row in rows]))
        if (digest.hexdigest(), count) != (said["sha256"], said["rows"]):
            raise InvalidInputError(f"The archive's file of {entity.name} is not what its manifest says.")
        if entity.model is Organization and count != 1:
            raise InvalidInputError("The archive is not one of one organization.")
        if known < total:
            raise ConflictError(f"The organization is not empty: it has a {entity.name} that is not in the archive.")

    def _look_at_people(self, entity: Entity, rows: Sequence[Mapping[str, Any]], number: int) -> None:
        """Refuse members whose accounts are not in the archive: they would be others' people, who were not asked."""
        if entity.model is User:
            for place, row in enumerate(rows):
                try:
                    require_address(row.get("email") or "erased@invalid", at=())
                except InvalidInputError:
                    raise _not_a_row(entity, number + place) from None
            self._accounts |= {row["id"] for row in rows}
        elif entity.model is Membership:
            for row in rows:
                if row.get("user_id") not in self._accounts:
                    raise InvalidInputError("The archive has a membership of somebody whose account is not in it.")

    async def put_in(self, entity: Entity) -> None:
        """Write the rows of a table, batch by batch, each a change of its own."""
        total = int(self._manifest["tables"][entity.name]["rows"])
        put_in = known = 0
        for lines in self._batches(entity):
            # Numbers were told when it was looked through.
            rows = [self._row(entity, line, 0) for line in lines]
            try:
                written = await self._write(entity, rows)
            except _MISFITS as error:
                name = getattr(error, "constraint_name", None)
                raise InvalidInputError(
                    f"The archive's rows of {entity.name} do not fit together" + (f": {name}." if name else ".")
                ) from error
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
            rows = [{**row, "status": ImportStatus.EXPIRED} if _has_file(row) else row for row in rows]
        elif entity.model in {Record, Measurement}:
            rows = await self._switched(entity, rows)
        known = await self._known(entity, [row["id"] for row in rows])
        new = [row for row in rows if row["id"] not in known]
        if not new:
            return 0
        await self._prepare(entity, new)

        async def work(change: Change) -> None:
            # Nothing is answered of them: an account is not seen before somebody is a member by it.
            await insert_many(change.connection, entity, new)

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
        if row.get("email") is None:
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
        if row.get("name") is None:
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

    def _row(self, entity: Entity, line: bytes, number: int) -> dict[str, Any]:
        """Return a row of the archive as it is written here. Raises `InvalidInputError` where the line is none."""
        row: dict[str, Any] = {}
        try:
            said = orjson.loads(line)
            for name, column in entity.columns.items():
                is_left = (entity.name, name) in COLUMNS_NOT_PUT_IN and entity.model is not Organization
                if not column.is_in_api or is_left or name == "organization_id":
                    continue
                # A column that is newer than the archive has what its declaration gives.
                if name in said or name == "id" or not (column.is_nullable or column.field.default is not None):
                    row[name] = self._named(column_value(entity, column, said[name]))
        except (ValueError, TypeError, LookupError, AttributeError, InvalidInputError):
            # What it says is not told: it may be confidential.
            raise _not_a_row(entity, number) from None
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

    def _batches(self, entity: Entity) -> Iterator[list[bytes]]:
        return batches_of(self._archive, entity, self._manifest["tables"][entity.name]["file"])

    def _intent(self, entity: Entity) -> Intent:
        return Intent(Action.ORGANIZATION_IMPORT, self._actor, entity=entity.name)


def _has_file(row: Mapping[str, Any]) -> bool:
    return row.get("status", ImportStatus.OPEN) in KEPT


def _not_a_row(entity: Entity, number: int) -> InvalidInputError:
    return InvalidInputError(f"Line {number} of the archive's file of {entity.name} is no row of it, or out of order.")


def _named_by(entity: Entity) -> set[str]:
    """Return the tables whose rows are named by this one's, by the names of its columns."""
    named = {name.removesuffix("_id") for name in entity.columns if name.endswith("_id")}
    if any(name.endswith("_by_id") for name in entity.columns):
        named.add("membership")
    return named | {"user_account"} if "user" in named else named

"""Trusted documents: what clients' builds register, what is removed with a build, and whether anything else is run.

A document is named by the SHA-256 of its text. Every change of an organization's documents counts its
`documents_version` up, which travels with the viewer of each request (`resolvers/standing.py`): so a server that keeps
documents in memory knows at once, without asking, that what it keeps is old.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID

import asyncpg

from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.base import new_id
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.organization import DocumentPolicy, Organization
from models.statement import Statement
from models.transaction import fetch
from models.trusted_document import LONGEST_DOCUMENT, TrustedDocument
from resolvers.change import Change
from resolvers.membership import lock_standing
from resolvers.writing import require_writable

MOST_AT_ONCE: Final = 200
"""Documents of one mutation."""
MOST_KEPT: Final = 5_000
"""Documents of one organization, of all builds together."""

_LOOK_UP: Final = "select text from trusted_document where organization_id = $1 and sha256 = $2 limit 1"


@dataclass(frozen=True, slots=True)
class Build:
    """A version of a client, as whoever builds it names it."""

    client_name: str
    client_version: str


def document_sha256(text: str) -> str:
    """Return by what a document is named: 64 hexadecimal digits in lower case. No two texts have the same name, those
    with half a surrogate pair among them."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


async def find_document(connection: asyncpg.Connection, organization_id: UUID, digest: str) -> str | None:
    """Return the text of the organization's document of that name; None if none of its builds registered it."""
    text: str | None = await connection.fetchval(_LOOK_UP, organization_id, digest)
    return text


async def register_documents(
    change: Change, *, build: Build, texts: Sequence[str], require_valid: Callable[[int, str], Awaitable[None]]
) -> int:
    """Register the documents of a build, and return how many of them were not registered for it before.

    The same documents once more do no harm: a build is tried again as a whole.

    require_valid: given a document and its place, raises `InvalidInputError` unless it could be run. Asked only of what
        may be registered.

    Raises:
        ForbiddenError: without `trusted_document:register`.
        InvalidInputError: none or more than `MOST_AT_ONCE` documents, one that is too long or not valid, a name that is
            none.
        ConflictError: more than `MOST_KEPT` documents of the organization.
    """
    require(change.viewer, Permission.TRUSTED_DOCUMENT_REGISTER, ORGANIZATION)
    build = _named(build)
    if not 1 <= len(texts) <= MOST_AT_ONCE:
        raise InvalidInputError(f"Expected 1 to {MOST_AT_ONCE} documents.", field=("input", "documents"))
    for place, text in enumerate(texts):
        if len(text) > LONGEST_DOCUMENT:
            raise InvalidInputError(
                f"Expected a document of at most {LONGEST_DOCUMENT} characters.", field=("input", "documents", place)
            )
    values = {"client_name": build.client_name, "client_version": build.client_version}
    require_writable(change, entity_of(TrustedDocument), ORGANIZATION, values, at=("input",), is_new=True)
    for place, text in enumerate(texts):
        await require_valid(place, text)
    # Two builds that register at once take turns here: the organization's row stands for all of its documents.
    held = await fetch(change.connection, "select 1 from organization where id = $1 for update", change.organization_id)
    if not held:
        raise InvalidInputError("There is no such organization.")
    by_digest = {document_sha256(text): text for text in texts}
    known = await _digests_of(change, build)
    new = [(digest, text) for digest, text in by_digest.items() if digest not in known]
    if not new:
        return 0
    counted = await fetch(
        change.connection,
        "select count(*) as documents from trusted_document where organization_id = $1",
        change.organization_id,
    )
    if counted[0]["documents"] + len(new) > MOST_KEPT:
        raise ConflictError(
            f"An organization has at most {MOST_KEPT} documents. Remove builds that nobody uses any more.",
            field=("input", "documents"),
        )
    await change.insert(
        TrustedDocument,
        [
            {
                "id": new_id(),
                "organization_id": change.organization_id,
                "created_at": change.at,
                "sha256": digest,
                "text": text,
                **values,
            }
            for digest, text in new
        ],
    )
    await _count_up(change)
    return len(new)


async def remove_documents(change: Change, *, build: Build) -> int:
    """Remove the documents of a build and return how many there were. What other builds registered stays.

    Raises:
        ForbiddenError: without `trusted_document:remove`.
        ConflictError: the build has no documents.
    """
    require(change.viewer, Permission.TRUSTED_DOCUMENT_REMOVE, ORGANIZATION)
    build = _named(build)
    statement = Statement()
    await fetch(change.connection, "select 1 from organization where id = $1 for update", change.organization_id)
    removed = await fetch(
        change.connection,
        f"delete from trusted_document where {_of_build(statement, change, build)} returning id",
        *statement.arguments,
    )
    if not removed:
        raise ConflictError("This build has no documents.", field=("input", "clientVersion"))
    await _count_up(change)
    return len(removed)


async def set_document_policy(
    change: Change, *, people: DocumentPolicy | None, programs: DocumentPolicy | None
) -> UUID:
    """Decide what is run for people and for programs, and return the organization's id. It holds from the next request.

    people, programs: None leaves it as it is.

    Raises:
        ForbiddenError: without `organization:set_document_policy`.
        ConflictError: it is decided so already.
    """
    change = await lock_standing(change)
    require(change.viewer, Permission.ORGANIZATION_SET_DOCUMENT_POLICY, ORGANIZATION)
    given = {"people_documents": people, "program_documents": programs}
    values = {name: value for name, value in given.items() if value is not None}
    require_writable(change, entity_of(Organization), ORGANIZATION, values, at=("input",))
    organization = await Organization.get(id=change.organization_id, using_db=change.connection)
    changed = [name for name, value in values.items() if (getattr(organization, name) or DocumentPolicy.ANY) != value]
    if not changed:
        raise ConflictError("It is decided so already.", field=("input",))
    for name in changed:
        setattr(organization, name, values[name])
    await organization.save(using_db=change.connection, update_fields=changed)
    return organization.id


def _named(build: Build) -> Build:
    named = Build(build.client_name.strip(), build.client_version.strip())
    for value, name in ((named.client_name, "clientName"), (named.client_version, "clientVersion")):
        if not value:
            raise InvalidInputError("Expected some text.", field=("input", name))
    return named


def _of_build(statement: Statement, change: Change, build: Build) -> str:
    return (
        f"organization_id = {statement.argument(change.organization_id)}"
        f" and client_name = {statement.argument(build.client_name)}"
        f" and client_version = {statement.argument(build.client_version)}"
    )


async def _digests_of(change: Change, build: Build) -> frozenset[str]:
    statement = Statement()
    rows = await fetch(
        change.connection,
        f"select sha256 from trusted_document where {_of_build(statement, change, build)}",
        *statement.arguments,
    )
    return frozenset(row["sha256"] for row in rows)


async def _count_up(change: Change) -> None:
    await fetch(
        change.connection,
        "update organization set documents_version = coalesce(documents_version, 0) + 1 where id = $1",
        change.organization_id,
    )

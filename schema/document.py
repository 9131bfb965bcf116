"""What a request asks for, and which text that is: sent with it, persisted before, or registered by a client's build.

`Documents.resolve` is the one way from a request to the text that is run, for every transport. A document is named by
its SHA-256, in `documentId` (GraphQL over HTTP, appendix A) or in `extensions.persistedQuery` (the protocol of
automatic persisted queries). Where an organization lets trusted documents alone be run, every other text is refused
here, with an entry in its trail. What is kept in memory is bounded, per organization, and nothing is kept for who is
not signed in.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from auth.action import Action
from auth.errors import Code, FieldwardError
from auth.principal import Viewer
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.trusted_document import LONGEST_DOCUMENT, TrustedDocument
from resolvers.change import Intent, record_attempt
from resolvers.trusted_document import document_sha256, find_document
from schema.context import LONGEST_NAME, RequestContext
from schema.introspection import asks_for_schema_alone

MOST_ORGANIZATIONS: Final = 64
"""Organizations of which documents are kept in one process, those not asked for the longest dropped first."""
LARGEST_SHELF: Final = 1024 * 1024
"""Characters of the documents that are kept of one organization, of each kind."""
NOT_FOUND: Final = "PersistedQueryNotFound"
"""The message that clients of automatic persisted queries know: they send the text with their next try."""

_PREFIX: Final = "sha256:"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class PersistedQueryNotFoundError(FieldwardError):
    """No document of that name is known here. Send its text."""

    code = Code.PERSISTED_QUERY_NOT_FOUND


class UntrustedDocumentError(FieldwardError):
    """The organization runs trusted documents alone, and this is none."""

    code = Code.UNTRUSTED_DOCUMENT
    noted = "UNTRUSTED_DOCUMENT"


class Asked(NamedTuple):
    """What a request asks for, by its members.

    text: the document; None where it is only named. digest: the SHA-256 that the request names it by, if it does.
    by_id: whether it is named by `documentId`, as clients do whose documents were registered by their build.
    """

    text: str | None
    digest: str | None
    by_id: bool
    variables: dict[str, Any] | None
    name: str | None
    extensions: dict[str, Any] | None

    def __repr__(self) -> str:
        return "<what is asked>"


def asked_of(said: object) -> Asked:
    """Return what a request's JSON asks for.

    Raises:
        InvalidInputError: it is no request, or names a document in a way that is none.
        OversizedDocumentError: its text is too long.
    """
    if not isinstance(said, dict):
        raise InvalidInputError("Expected the request's body to be a JSON object.")
    text, name = said.get("query"), said.get("operationName")
    if name is not None and not (isinstance(name, str) and name.isascii() and len(name) <= LONGEST_NAME):
        raise InvalidInputError(f"Expected operationName to be a name of at most {LONGEST_NAME} letters.")
    if text is not None:
        if not isinstance(text, str):
            raise _not_of_type("query", "a string")
        if len(text) > LONGEST_DOCUMENT:
            raise OversizedDocumentError(f"Expected an operation of at most {LONGEST_DOCUMENT} characters.")
    variables, extensions = said.get("variables"), said.get("extensions")
    if variables is not None and not isinstance(variables, dict):
        raise _not_of_type("variables", "an object")
    if extensions is not None and not isinstance(extensions, dict):
        raise _not_of_type("extensions", "an object")
    digest, by_id = _named(said, extensions or {})
    if not text and digest is None:
        raise InvalidInputError("No GraphQL query found in the request")
    # An empty name is none, as in an address, where there is no other way to give none.
    return Asked(text or None, digest, by_id, variables, name or None, extensions)


class OversizedDocumentError(InvalidInputError):
    """The text is longer than any operation is."""


class Documents:
    """The documents that one process knows.

    own: the texts that our own pages send, and those by which a policy is set: they are trusted everywhere, for
        whoever asks.
    """

    def __init__(self, own: Iterable[str] = ()) -> None:
        self._own: Final = {document_sha256(text): text for text in own}
        self._shelves: OrderedDict[UUID, _Shelves] = OrderedDict()

    async def resolve(self, context: RequestContext, asked: Asked) -> str:
        """Return the text that the request asks for, and that its viewer may have run.

        What is refused here is no operation, and counts as a request all the same.

        Raises:
            InvalidInputError: the text is not the one of the digest that is named.
            PersistedQueryNotFoundError: the document is only named, and is not known.
            UntrustedDocumentError: the viewer's organization runs trusted documents alone, and it is none, nor does it
                ask for the schema alone, which is public. The trail says that it was tried.
            OverspentError: it is refused, and whoever asks asked for too much in a while.
        """
        try:
            return await self._resolved(context, asked)
        except FieldwardError:
            context.allowance.ask()
            raise

    async def _resolved(self, context: RequestContext, asked: Asked) -> str:
        digest, text, viewer = asked.digest, asked.text, context.actor.viewer
        if text is not None and digest is not None and not hmac.compare_digest(document_sha256(text), digest):
            raise InvalidInputError("The text is not the document that is named: its SHA-256 is another.")
        if viewer is None:
            found = text if text is not None else self._own.get(digest or "")
            if found is None:
                raise PersistedQueryNotFoundError(NOT_FOUND)
            return found
        if viewer.runs_trusted_only:
            return await self._trusted_alone(context, viewer, text, digest)
        if text is not None:
            if digest is not None and not asked.by_id:
                self._of(viewer).persisted.put(digest, text)
            return text
        named = digest or ""
        found = self._own.get(named) or self._of(viewer).persisted.get(named)
        found = found or await self._trusted(context, viewer, named)
        if found is None:
            raise PersistedQueryNotFoundError(NOT_FOUND)
        return found

    async def _trusted_alone(
        self, context: RequestContext, viewer: Viewer, text: str | None, digest: str | None
    ) -> str:
        named = digest or document_sha256(text or "")
        found = self._own.get(named) or await self._trusted(context, viewer, named)
        if found is None and text is not None and asks_for_schema_alone(text):
            return text
        if found is None:
            error = UntrustedDocumentError(
                "This organization runs the operations alone that its clients' builds registered, and this is none."
            )
            intent = Intent(
                action=Action.TRUSTED_DOCUMENT_REFUSE, actor=context.actor, entity=entity_of(TrustedDocument).name
            )
            await record_attempt(intent, error)
            raise error
        return found

    async def _trusted(self, context: RequestContext, viewer: Viewer, digest: str) -> str | None:
        """Return the text that a build of the viewer's organization registered, if one did."""
        if not viewer.documents_version:
            return None
        shelf = self._of(viewer).trusted
        found = shelf.get(digest)
        if found is None:
            try:
                async with context.reader.use() as connection:
                    found = await find_document(connection, viewer.organization_id, digest)
            finally:
                # The operation begins with a snapshot of its own.
                await context.reader.close()
            if found is not None:
                shelf.put(digest, found)
        return found

    def _of(self, viewer: Viewer) -> "_Shelves":
        found = self._shelves.get(viewer.organization_id)
        if found is None:
            found = self._shelves[viewer.organization_id] = _Shelves()
            if len(self._shelves) > MOST_ORGANIZATIONS:
                self._shelves.popitem(last=False)
        else:
            self._shelves.move_to_end(viewer.organization_id)
        if found.version != viewer.documents_version:
            # What was removed is not trusted any more, from the very request whose viewer was read after that.
            found.trusted, found.version = _Shelf(), viewer.documents_version
        return found


class _Shelf:
    """Texts by digest, of so many characters at the most: those not asked for the longest are dropped first."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._size = 0

    def get(self, digest: str) -> str | None:
        found = self._texts.get(digest)
        if found is not None:
            self._texts.move_to_end(digest)
        return found

    def put(self, digest: str, text: str) -> None:
        if digest in self._texts:
            self._texts.move_to_end(digest)
            return
        self._texts[digest] = text
        self._size += len(text)
        while self._size > LARGEST_SHELF:
            _, dropped = self._texts.popitem(last=False)
            self._size -= len(dropped)


class _Shelves:
    """What is kept of one organization: what its people and programs sent, and what its builds registered.

    version: of the registered ones (`models/organization.py: Organization`).
    """

    __slots__ = ("persisted", "trusted", "version")

    def __init__(self) -> None:
        self.persisted = _Shelf()
        self.trusted = _Shelf()
        self.version = 0


def _named(said: Mapping[str, Any], extensions: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Return the digest that a request names its document by, and whether by `documentId`."""
    document_id, persisted = said.get("documentId"), extensions.get("persistedQuery")
    if document_id is not None:
        # A colon begins a kind of names; this is the only kind that is known here.
        digest = document_id.removeprefix(_PREFIX).lower() if isinstance(document_id, str) else ""
        if not _DIGEST.fullmatch(digest):
            raise InvalidInputError("Expected documentId to be sha256: and 64 hexadecimal digits.")
        return digest, True
    if persisted is None:
        return None, False
    is_known = isinstance(persisted, dict) and persisted.get("version") == 1
    hashed: object = persisted.get("sha256Hash") if is_known else None
    if not isinstance(hashed, str) or not _DIGEST.fullmatch(hashed.lower()):
        raise InvalidInputError("Expected persistedQuery to have the version 1, and a sha256Hash of 64 digits.")
    return hashed.lower(), False


def _not_of_type(member: str, kind: str) -> InvalidInputError:
    return InvalidInputError(f"The GraphQL operation's `{member}` must be {kind} or null, if provided.")

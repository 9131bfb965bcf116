"""Mutations of trusted documents, and of whether anything else is run."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import strawberry
from graphql import GraphQLError

from auth.action import Action
from auth.permission import Permission as P
from models.errors import InvalidInputError
from models.organization import DocumentPolicy
from models.organization import Organization as OrganizationModel
from models.trusted_document import TrustedDocument as TrustedDocumentModel
from resolvers.trusted_document import (
    MOST_AT_ONCE,
    Build,
    document_sha256,
    register_documents,
    remove_documents,
    set_document_policy,
)
from schema.field import derived, structure
from schema.limits import TooComplexError
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.operation import InvalidOperationError
from schema.organization import Organization
from schema.replay import SAID_AGAIN
from schema.written import writes


@writes(TrustedDocumentModel, documents="text")
@strawberry.input(description="The documents that a client was built with.")
class RegisterTrustedDocumentsInput:
    client_name: str = strawberry.field(description='The client, as its requests name it: "field-dashboard".')
    client_version: str = strawberry.field(description='Which build of it: "2026.11.3".')
    documents: list[str] = strawberry.field(
        description=f"The texts, exactly as the client sends them or computes their SHA-256 from: {MOST_AT_ONCE} at"
        " most. All are registered, or none is."
    )
    reason: str | None = strawberry.field(default=None, description="Why, if there is more to say.")


@writes(TrustedDocumentModel, beside=("client_name", "client_version"))
@strawberry.input(description="A build of a client that nobody uses any more.")
class RemoveTrustedDocumentsInput:
    client_name: str = strawberry.field(description="The client.")
    client_version: str = strawberry.field(description="Which build of it.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@writes(OrganizationModel, people="people_documents", programs="program_documents")
@strawberry.input(description="What is run beside trusted documents. What is left out stays as it is.")
class SetTrustedDocumentPolicyInput:
    people: DocumentPolicy | None = strawberry.field(
        default=None, description="For people who signed in, wherever they did."
    )
    programs: DocumentPolicy | None = strawberry.field(default=None, description="For service accounts.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="What was registered, or why nothing was.")
class RegisterTrustedDocumentsPayload:
    document_ids: list[str] | None = strawberry.field(
        description="By what each of the documents is named in `documentId`, in the order of the input.",
        # Made of what was sent: who sends it again under the same key has sent the same.
        metadata={**derived(), SAID_AGAIN: True},
    )
    registered: int | None = strawberry.field(
        description="How many of them were not registered for this build before.", metadata=derived()
    )
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="How many documents are gone, or why none is.")
class RemoveTrustedDocumentsPayload:
    removed: int | None = strawberry.field(description="How many documents the build had.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="The organization after a mutation, or why nothing was done.")
class TrustedDocumentPolicyPayload:
    organization: Organization | None = shows(OrganizationModel, "The organization as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class TrustedDocumentMutation:
    @mutation(
        "Register the documents that a client was built with: the same ones once more do no harm.",
        Action.TRUSTED_DOCUMENT_REGISTER,
        takes=(P.TRUSTED_DOCUMENT_REGISTER,),
        entity=TrustedDocumentModel,
        fresh=True,
    )
    async def register_trusted_documents(
        info: strawberry.Info, input: RegisterTrustedDocumentsInput
    ) -> RegisterTrustedDocumentsPayload | None:
        registered = await register_documents(
            current_change(info),
            build=Build(input.client_name, input.client_version),
            texts=input.documents,
            require_valid=_validator(info),
        )
        ids = [f"sha256:{document_sha256(text)}" for text in input.documents]
        return RegisterTrustedDocumentsPayload(document_ids=ids, registered=registered, errors=[])

    @mutation(
        "Remove the documents of a build. Those that another build registered, too, stay trusted.",
        Action.TRUSTED_DOCUMENT_REMOVE,
        takes=(P.TRUSTED_DOCUMENT_REMOVE,),
        entity=TrustedDocumentModel,
        reason_demanded=True,
    )
    async def remove_trusted_documents(
        info: strawberry.Info, input: RemoveTrustedDocumentsInput
    ) -> RemoveTrustedDocumentsPayload | None:
        build = Build(input.client_name, input.client_version)
        removed = await remove_documents(current_change(info), build=build)
        return RemoveTrustedDocumentsPayload(removed=removed, errors=[])

    @mutation(
        "Decide whether anything is run beside trusted documents.",
        Action.ORGANIZATION_SET_DOCUMENT_POLICY,
        takes=(P.ORGANIZATION_SET_DOCUMENT_POLICY,),
        entity=OrganizationModel,
        reason_demanded=True,
        fresh=True,
    )
    async def set_trusted_document_policy(
        info: strawberry.Info, input: SetTrustedDocumentPolicyInput
    ) -> TrustedDocumentPolicyPayload | None:
        return done(await set_document_policy(current_change(info), people=input.people, programs=input.programs))


def _validator(info: strawberry.Info) -> Callable[[int, str], Awaitable[None]]:
    """Return what raises `InvalidInputError` unless the document at a place of the input could be run today."""
    operations: Any = info.schema.operations  # type: ignore[attr-defined]  # (the schema that runs is an `Api`)

    async def require_valid(place: int, text: str) -> None:
        # What is registered is prepared as it will be, one after the other, and others have their turn in between.
        await asyncio.sleep(0)
        try:
            operations.prepare(text, keep=False)
        except InvalidOperationError as error:
            raise _not_valid(place, error.errors[0].message) from error
        except (GraphQLError, TooComplexError, RecursionError) as error:
            raise _not_valid(place, getattr(error, "message", "It is nested too deeply.")) from error

    return require_valid


def _not_valid(place: int, message: str) -> InvalidInputError:
    said = message.partition(" Did you mean")[0]
    return InvalidInputError(f"The document is not valid: {said}", field=("input", "documents", place))

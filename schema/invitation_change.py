"""Mutations of invitations."""

from dataclasses import dataclass
from typing import Any

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from auth.role import OrganizationRole, ProjectRole
from models.invitation import Invitation as InvitationModel
from resolvers.invitation import NewInvitation, invite_user, resend_invitation, revoke_invitation
from resolvers.joining import accept_invitation
from resolvers.mailing import SEND_MAIL
from resolvers.membership import AT_CUSTOM_ROLE
from schema.context import context_of
from schema.field import derived, resolved, structure
from schema.invitation import Invitation
from schema.mutation import Payload, UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.written import writes

AT_ID = ("input", "id")


@writes(InvitationModel)
@strawberry.input(description="Whom to ask in, and as what.")
class InviteUserInput:
    email: str = strawberry.field(description="The address that the link goes to.")
    name: str = strawberry.field(description="How they will be called.")
    role: OrganizationRole | None = strawberry.field(
        default=None, description="Which built-in role. MEMBER may do only what projects grant."
    )
    custom_role_id: strawberry.ID | None = strawberry.field(
        default=None, description="Or which one of the organization's own, of the level ORGANIZATION."
    )
    project_id: strawberry.ID | None = strawberry.field(
        default=None, description="The project in which they are to have a role as well."
    )
    project_role: ProjectRole | None = strawberry.field(default=None, description="Which built-in role there.")
    reason: str | None = strawberry.field(default=None, description="Why.")


@strawberry.input(description="Which invitation to send again, or to take back.")
class InvitationInput:
    id: strawberry.ID = strawberry.field(description="Which invitation.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(default=None, description="Why.")


@strawberry.input(description="What a link holds, and a password.")
class AcceptInvitationInput:
    token: str = strawberry.field(description="What stands behind `invitation=` in the link.")
    password: str = strawberry.field(
        description="The password that you sign in with; if you have no account yet, the one that it is to have."
    )


@structure
@strawberry.type(description="An invitation after a mutation, or why nothing was done.")
class InvitationPayload:
    invitation: Invitation | None = shows(InvitationModel, "The invitation as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@dataclass(frozen=True, slots=True)
class Accepted(Payload):
    """What the acceptance of an invitation answers: the slug to sign in to, or why nothing was done."""

    organization: str | None = None


@structure
@strawberry.type(description="Where you belong now, or why nothing was done.")
class AcceptInvitationPayload:
    @resolved("The slug of the organization that you can sign in to now.", derived())
    def organization(src: strawberry.Parent[Any]) -> str | None:
        return src.organization if isinstance(src, Accepted) else None

    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class InvitationMutation:
    @mutation(
        "Ask somebody in by mail, with the role that they will have. The link that they get works for seven days.",
        Action.INVITATION_CREATE,
        fresh=True,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=InvitationModel,
    )
    async def invite_user(info: strawberry.Info, input: InviteUserInput) -> InvitationPayload | None:
        role_id, project_id = input.custom_role_id, input.project_id
        new = NewInvitation(
            email=input.email,
            name=input.name,
            role=input.role,
            custom_role_id=parse_id(role_id, "CustomRole", at=AT_CUSTOM_ROLE) if role_id is not None else None,
            project_id=parse_id(project_id, "Project", at=("input", "projectId")) if project_id is not None else None,
            project_role=input.project_role,
        )
        context_of(info).services.wake_afterwards(SEND_MAIL)
        return done(await invite_user(current_change(info), new=new))

    @mutation(
        "Send an invitation again, in your name and with another link. The one before is over.",
        Action.INVITATION_RESEND,
        fresh=True,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=InvitationModel,
        subject="Invitation",
    )
    async def resend_invitation(info: strawberry.Info, input: InvitationInput) -> InvitationPayload | None:
        context_of(info).services.wake_afterwards(SEND_MAIL)
        return done(
            await resend_invitation(
                current_change(info),
                invitation_id=parse_id(input.id, "Invitation", at=AT_ID),
                expected_version=input.expected_version,
            )
        )

    @mutation(
        "Take an invitation back: its link is refused from then on.",
        Action.INVITATION_REVOKE,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=InvitationModel,
        subject="Invitation",
    )
    async def revoke_invitation(info: strawberry.Info, input: InvitationInput) -> InvitationPayload | None:
        return done(
            await revoke_invitation(
                current_change(info),
                invitation_id=parse_id(input.id, "Invitation", at=AT_ID),
                expected_version=input.expected_version,
            )
        )

    @mutation(
        "Accept an invitation. It signs nobody in: do that afterwards.", Action.INVITATION_ACCEPT, notes_itself=True
    )
    async def accept_invitation(info: strawberry.Info, input: AcceptInvitationInput) -> AcceptInvitationPayload | None:
        context = context_of(info)
        joined = await accept_invitation(context.services, context.actor, token=input.token, password=input.password)
        answer: Any = Accepted(organization=joined.organization)
        return answer

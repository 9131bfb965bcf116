"""Taking back what was asked to be erased, before it is carried out.

What a person confirmed of themselves is theirs alone: whoever takes it back and asks anew would put it off for ever.
What an owner asked for the organization, owners take back.
"""

from typing import Final
from uuid import UUID

from auth.errors import ForbiddenError
from auth.escalation import require_owner
from auth.permission import Permission
from auth.policy import require
from auth.role import OrganizationRole
from auth.scope import ORGANIZATION
from models.erasure_request import ErasureKind, ErasureRequest, ErasureStatus
from models.errors import ConflictError
from models.outgoing_mail import MailKind
from resolvers.change import Change
from resolvers.erasure_request import RUN_ERASURES
from resolvers.fresh_sign_in import require_fresh
from resolvers.locking import lock_visible, require_version
from resolvers.mailing import SEND_MAIL, enqueue
from resolvers.membership import lock_standing
from resolvers.services import Services

OPEN: Final = (ErasureStatus.REQUESTED, ErasureStatus.CONFIRMED)
"""As what a request can be taken back."""


async def withdraw_erasure(services: Services, change: Change, *, request_id: UUID, expected_version: int) -> UUID:
    """Take a request back, and return its id. What it said in words is forgotten by the job.

    A person's by themselves, and until they confirmed it by who asked for it; a name's by who asked for it, and by who
    may confirm it; the organization's by its owners, freshly signed in.

    Raises:
        NotFoundError, ForbiddenError: the viewer sees no such request, or is none of these.
        ReauthenticateError: it is the organization's, and their sign-in is not fresh.
        ConflictError: it is at another version, or is carried out already, or was taken back.
    """
    change = await lock_standing(change)
    request = await lock_visible(change, ErasureRequest, request_id)
    _require_may_withdraw(services, change, request)
    require_version(request.version, expected_version)
    if request.status not in OPEN:
        raise ConflictError(f"A request that is {request.status} can't be taken back.", field=("input", "id"))
    request.status = ErasureStatus.WITHDRAWN
    request.withdrawn_by_id = change.viewer.principal_id
    request.name_indexes = request.token_digest = None
    request.version += 1
    await request.save(
        using_db=change.connection,
        update_fields=["status", "withdrawn_by_id", "name_indexes", "token_digest", "version"],
    )
    services.wake_afterwards(RUN_ERASURES)
    if request.user_id is not None and services.mail is not None:
        await enqueue(change, kind=MailKind.ERASURE_WITHDRAWN, user_id=request.user_id, subject_id=request.id)
        services.wake_afterwards(SEND_MAIL)
    return request.id


def _require_may_withdraw(services: Services, change: Change, request: ErasureRequest) -> None:
    viewer = change.viewer
    asked = viewer.principal_id == request.requested_by_id
    if request.kind is ErasureKind.PERSON:
        # Once they confirmed it, it is theirs alone: who takes it back and asks anew would put it off for ever.
        if viewer.membership_id == request.membership_id or (asked and request.status is ErasureStatus.REQUESTED):
            return
        raise ForbiddenError("Only who is to be erased takes this back, or who asked for it, until it is confirmed.")
    if request.kind is ErasureKind.ORGANIZATION:
        require(viewer, Permission.ERASURE_CONFIRM, ORGANIZATION)
        require_owner(viewer, OrganizationRole.OWNER)
        require_fresh(change, fresh_for=services.sessions.fresh_for)
    elif not asked:
        require(viewer, Permission.ERASURE_CONFIRM, ORGANIZATION)

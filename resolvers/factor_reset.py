"""Letting somebody in again who lost all that they had beside their password: an administrator takes it off them.

An account spans organizations, and an administrator speaks for one. So this is for whoever belongs to no other
organization, and added nothing in another; others have their recovery codes alone. Where the password was one of two
factors and is too short to be the only one, it ends as well, and a link to set a longer one goes to the person.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from auth.password import NO_PASSWORD
from models.authenticator import Authenticator, AuthenticatorKind
from models.errors import ConflictError
from models.inventory import entity_of
from models.membership import Membership, MembershipStatus
from models.outgoing_mail import MailKind
from models.session import Session
from models.transaction import fetch, seeing_as
from models.user import User, UserStatus
from resolvers.authenticator_notice import tell_person
from resolvers.change import Change
from resolvers.mailer import require_route
from resolvers.mailing import SEND_MAIL
from resolvers.membership import AT_USER, lock_assignable, lock_standing
from resolvers.services import Services

_AUTHENTICATOR: Final = entity_of(Authenticator).name
# Whoever is becoming a member elsewhere at this moment refers to the account, and is waited for.
_LOCK: Final = (
    "select clock_timestamp() as at, password_is_long from"
    f" (select * from {entity_of(User).name} where id = $1 and status = '{UserStatus.ACTIVE}' for update) locked"
)
_ELSEWHERE: Final = (
    f"select 1 from {entity_of(Membership).name} m where m.user_id = $1 and m.organization_id <> $2"
    f"  and m.status in ('{MembershipStatus.ACTIVE}', '{MembershipStatus.SUSPENDED}')"
    f" union all select 1 from {_AUTHENTICATOR} a where a.user_id = $1 and a.organization_id <> $2"
    "  and a.confirmed_at is not null"
)


async def reset_second_factors(services: Services, change: Change, *, membership_id: UUID) -> UUID:
    """Take all second factors and recovery codes off a member, and return the membership's id.

    All their sign-ins end, they are told by mail, and where a second factor is demanded they add one at the next
    sign-in. A password that is too short to stand alone ends too: they are sent a link to set another.

    Raises:
        NotFoundError, ForbiddenError: without `membership:assign`; somebody who can do more than the viewer; oneself.
        ConflictError: the member can't get in, has no second factor, or uses the account in another organization.
        UnavailableError: a link is to be sent, and the service sends no mail.
    """
    change = await lock_standing(change)
    member = await lock_assignable(change, membership_id)
    user_id = member.user_id
    account = await fetch(change.connection, _LOCK, user_id)
    if member.status is not MembershipStatus.ACTIVE or not account:
        raise ConflictError("The member is not active.", field=AT_USER)
    async with seeing_as(change.connection, user_id):
        is_elsewhere = await fetch(change.connection, _ELSEWHERE, user_id, change.organization_id)
    if is_elsewhere:
        raise ConflictError(
            "This account is used in another organization as well, and only its person speaks for all of them: by their"
            " recovery codes.",
            field=AT_USER,
        )
    here = Authenticator.filter(organization_id=change.organization_id, user_id=user_id).using_db(change.connection)
    if not await here.filter(confirmed_at__isnull=False).exclude(kind=AuthenticatorKind.RECOVERY_CODE).exists():
        raise ConflictError("The member has no second factor.", field=AT_USER)
    await here.delete()
    await _end_sign_ins(services, change, user_id, at=account[0]["at"], keeps_password=account[0]["password_is_long"])
    await tell_person(change, MailKind.AUTHENTICATOR_REMOVED, user_id=user_id)
    services.wake_afterwards(SEND_MAIL)
    return member.id


async def _end_sign_ins(
    services: Services, change: Change, user_id: UUID, *, at: datetime, keeps_password: bool
) -> None:
    """End what the person is signed in to and is signing in to; and their password, for one that a link sets."""
    values: dict[str, Any] = {"sessions_valid_from": at}
    if not keeps_password:
        require_route(services.mail)
        values["password_hash"] = NO_PASSWORD
        await tell_person(change, MailKind.PASSWORD_RESET, user_id=user_id)
    await User.filter(id=user_id).using_db(change.connection).update(**values)
    await (
        Session.filter(organization_id=change.organization_id, user_id=user_id, revoked_at__isnull=True)
        .using_db(change.connection)
        .update(revoked_at=at)
    )

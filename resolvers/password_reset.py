"""Setting a new password by a link in a letter, for who has lost the one before.

Who asks is told nothing: an address that nobody has is answered as one that somebody has, after the same work, since
whose it is is looked up by the job that sends letters (`resolvers/mailing.py`). The link works once and for a while, is
made when the letter is sent, and nobody sees it but who reads the letter: an administrator who starts a reset does not.
By it nobody is signed in, and what else somebody proves who they are with stays.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.errors import UnauthenticatedError
from auth.principal import SYSTEM_ID
from models.challenge import ChallengeKind
from models.errors import ConflictError
from models.inventory import entity_of
from models.membership import MembershipStatus
from models.outgoing_mail import MailKind
from models.user import User
from resolvers.account_index import account_mark, email_index_of
from resolvers.challenge import OVER, find, take
from resolvers.change import Change, Intent, commit_change, record_attempt
from resolvers.checking import require_fit
from resolvers.mailer import require_route
from resolvers.mailing import SEND_MAIL, enqueue
from resolvers.membership import AT_USER, lock_assignable, lock_standing
from resolvers.password_setting import MEMBER, end_elsewhere, load_person, new_password, set_password
from resolvers.services import Services
from resolvers.throttle import Guess, Guessing, count, guessing
from resolvers.trail import Actor

_ACCOUNT: Final = entity_of(User)
_KIND: Final = ChallengeKind.PASSWORD_RESET


async def request_reset(services: Services, actor: Actor, *, email: str) -> None:
    """Have a link sent to the account of an address, if there is one. Nothing says whether there is.

    Raises:
        InvalidInputError: it is too long for an address, or blank.
        RateLimitedError: too many were asked for.
        UnavailableError: the service sends no mail.
    """
    intent = Intent(
        action=Action.USER_REQUEST_PASSWORD_RESET,
        actor=replace(actor, organization_id=SYSTEM_ID, viewer=None),
        entity=_ACCOUNT.name,
    )
    try:
        require_route(services.mail)
        require_fit(_ACCOUNT, {"email": email}, at=("input",))
        # Which account it was for, whether there is one or not, as for a sign-in: the same work, and no address.
        index = await email_index_of(email)
        intent = replace(intent, subjects=[account_mark(index)])
        await count(Guess(Guessing.RESET_REQUEST, actor.origin, index))
    except Exception as error:
        await record_attempt(intent, error)
        raise
    await commit_change(intent, lambda change: enqueue(change, kind=MailKind.PASSWORD_RESET, email_index=index))
    services.wake_afterwards(SEND_MAIL)


async def start_reset(services: Services, change: Change, *, membership_id: UUID) -> UUID:
    """Have a link sent to a member, whom its administrator asked for it, and return the membership's id.

    Their password and sign-ins stay as they are until they use it.

    Raises:
        NotFoundError, ForbiddenError: without `membership:assign`; somebody who can do more than the viewer;
            oneself.
        ConflictError: the member can't get in.
        UnavailableError: the service sends no mail.
    """
    change = await lock_standing(change)
    # Who reads the mail of somebody who can do more could else become them by this.
    member = await lock_assignable(change, membership_id)
    if member.status is not MembershipStatus.ACTIVE:
        raise ConflictError("The member is not active.", field=AT_USER)
    require_route(services.mail)
    await enqueue(change, kind=MailKind.PASSWORD_RESET, user_id=member.user_id)
    services.wake_afterwards(SEND_MAIL)
    return member.id


async def reset_password(services: Services, actor: Actor, *, token: str, new: str) -> None:
    """Set the password of whom the link was sent to. All sign-ins of theirs end; the link does not work again.

    A password that may not be set leaves the link as it is.

    Raises:
        UnauthenticatedError: it is no such link's token, or was used, or is over.
        InvalidInputError: the new password may not be set.
        RateLimitedError: too many were tried in vain, or too many passwords are being checked already.
    """
    # Whoever's token came along, it is not them who acts: the link says who.
    intent = Intent(
        action=Action.USER_RESET_PASSWORD,
        actor=replace(actor, organization_id=SYSTEM_ID, viewer=None),
        entity=_ACCOUNT.name,
    )
    try:
        async with guessing(Guess(Guessing.RESET_TOKEN, actor.origin)):
            asked = await find(_KIND, token)
        if asked.user_id is None:
            raise UnauthenticatedError(OVER)
        intent = replace(intent, actor=replace(intent.actor, user_id=asked.user_id))
        person = await load_person(asked.user_id)
        if not person.places:
            raise UnauthenticatedError(OVER)
        home = person.places[0]
        inside = replace(intent.actor, organization_id=home.organization_id, membership_id=home.membership_id)
        intent = replace(intent, actor=inside, entity=MEMBER, subjects=[home.membership_id])
        prepared = await new_password(services, person, new)
    except Exception as error:
        await record_attempt(intent, error)
        raise

    async def work(change: Change) -> datetime:
        await take(change.connection, _KIND, token)
        return await set_password(change, person, prepared)

    at = await commit_change(intent, work)
    services.wake_afterwards(SEND_MAIL)
    await end_elsewhere(intent.actor, intent.action, person, but=home.organization_id, at=at)

"""Letters to people, on their way: written down with what they are about, made and sent by whoever comes first.

What is written down says what a letter is for and to whom, never what stands in it: a secret, such as that of a link,
is made when the letter is sent, and lies nowhere but in the letter. Who sends takes a letter for a while, in a
transaction of its own, sends, and notes how it went; if it ends in between, the letter is made anew when that while is
over, and what stood in the one before counts no more. What does not go through is tried again, ever later, for a day.

A letter goes to the address that the account has, whatever was typed to ask for it: of that only the blind index is
written down, by which the account is found. Where there is nobody to get one, it is dropped, and the index is
forgotten.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final
from uuid import UUID

import structlog

from auth.principal import SYSTEM_ID
from models.base import new_id
from models.challenge import ChallengeKind
from models.encryption.column import load_keys_for
from models.errors import UnavailableError
from models.membership import MembershipStatus
from models.outgoing_mail import MailKind, MailState, OutgoingMail
from models.reading import OneStatement
from models.searching import load_index_key
from models.transaction import Tenant, fetch, raw_write_transaction, write_transaction
from models.user import User, UserStatus
from resolvers.alarm import wait_before
from resolvers.challenge import About, ask, new_secret, withdraw
from resolvers.change import Change
from resolvers.mail_text import (
    MailText,
    changed_text,
    factor_added_text,
    factor_removed_text,
    recovery_code_text,
    reset_text,
    review_due_text,
    token_expires_text,
    unusual_text,
)
from resolvers.mailer import Letter, MailRoute
from resolvers.sending import LONGEST_S, NotSentError

log = structlog.get_logger()

SEND_MAIL: Final = "send_mail"
"""The name of the job that sends letters."""

RESET_LIFETIME: Final = timedelta(minutes=30)
"""How long the link in a letter about a password works, from when it was sent."""
TAKEN_FOR: Final = timedelta(seconds=2 * LONGEST_S)
"""How long a letter is its sender's: longer than sending takes."""
TRIED_FOR: Final = timedelta(days=1)
"""How long a letter is tried to be sent."""

_TAKE: Final = f"""
    update outgoing_mail set attempts = attempts + 1, next_attempt_at = clock_timestamp() + $2::interval
    where organization_id = $1
      and id = (select m.id from outgoing_mail m
                 where m.organization_id = $1 and m.state = '{MailState.PENDING}'
                   and m.next_attempt_at <= clock_timestamp()
                 order by m.next_attempt_at limit 1 for update skip locked)
    returning *
"""
_ENDED: Final = f"""
    update outgoing_mail
    set state = case when $3 then '{MailState.SENT}' else '{MailState.DROPPED}' end,
        sent_at = case when $3 then clock_timestamp() end, last_error = null, email_index = null
    where organization_id = $1 and id = $2
"""
_FAILED: Final = f"""
    update outgoing_mail
    set last_error = $3, next_attempt_at = clock_timestamp() + $4::interval,
        state = case when clock_timestamp() + $4::interval > created_at + $5::interval
                     then '{MailState.GIVEN_UP}' else '{MailState.PENDING}' end,
        email_index = case when clock_timestamp() + $4::interval <= created_at + $5::interval then email_index end
    where organization_id = $1 and id = $2
    returning state
"""
_PERSON: Final = f"""
    select u.*, exists (select from membership m where m.user_id = u.id
                         and m.status = '{MembershipStatus.ACTIVE}') as is_member
    from user_account u where u.id = $1 and u.status = '{UserStatus.ACTIVE}'
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A letter that is made, and the address that it goes to."""

    recipient: str = field(repr=False)
    text: MailText


Prepare = Callable[[MailRoute, OutgoingMail], Awaitable[Draft | None]]
"""Makes a letter at the moment at which it is sent; None where nobody is to get it."""


async def enqueue(
    change: Change,
    *,
    kind: MailKind,
    user_id: UUID | None = None,
    email_index: bytes | None = None,
    subject_id: UUID | None = None,
) -> None:
    """Have a letter sent once the change is committed: to a person's own address, or to whom it is about.

    email_index: the blind index of the person's address, where it is not known yet whether there is one
        (`resolvers/account_index.py: email_index_of`). subject_id: the row that it is about. The job that sends looks
        every few seconds, and is woken by `SEND_MAIL`.
    """
    await OutgoingMail.create(
        using_db=change.connection,
        id=new_id(),
        organization_id=change.organization_id,
        kind=kind,
        user_id=user_id,
        email_index=email_index,
        about=subject_id,
        next_attempt_at=change.at,
        created_at=change.at,
    )


async def mailing_organizations() -> list[UUID]:
    """Return the organizations that have letters to be sent now, the nil UUID among them."""
    async with OneStatement(Tenant()) as connection:
        return [row[0] for row in await connection.fetch("select fieldward_mailing()")]


class Mailing:
    """Sends letters. route: how they leave; None where no such way is set up.

    others: who makes letters of kinds that are not made here.
    """

    def __init__(self, route: MailRoute | None, others: Mapping[MailKind, Prepare] = MappingProxyType({})) -> None:
        self._route = route
        self._prepare: Mapping[MailKind, Prepare] = {**_PREPARE, **others}

    async def deliver_one(self, organization_id: UUID) -> bool:
        """Send the letter of an organization that is due for longest; return whether there was one.

        Raises:
            UnavailableError: the database is away. What was sent then is made and sent again.
        """
        tenant = Tenant(organization_id=organization_id)
        async with raw_write_transaction(tenant) as connection:
            row = await connection.fetchrow(_TAKE, organization_id, TAKEN_FOR)
        if row is None:
            return False
        mail = OutgoingMail._init_from_db(**dict(row))
        try:
            was_sent = await self._deliver(mail)
        except UnavailableError:
            raise
        except NotSentError as error:
            await self._note_failure(mail, error.kind)
            return True
        except Exception as error:
            # What can't be made holds up no other, and is not tried for ever.
            log.error("mail_not_made", kind=mail.kind, mail=str(mail.id), exc_info=error)
            await self._note_failure(mail, type(error).__name__)
            return True
        async with raw_write_transaction(tenant) as connection:
            await connection.execute(_ENDED, organization_id, mail.id, was_sent)
        return True

    async def _deliver(self, mail: OutgoingMail) -> bool:
        """Make the letter and send it; return whether there was somebody to send it to."""
        if self._route is None:
            raise NotSentError("no way for mail is set up")
        prepare = self._prepare.get(mail.kind)
        if prepare is None:
            raise NotSentError("nobody makes letters of this kind")
        draft = await prepare(self._route, mail)
        if draft is None:
            return False
        await self._route.mailer.send(Letter(mail.id, draft.recipient, draft.text.subject, draft.text.text))
        return True

    async def _note_failure(self, mail: OutgoingMail, kind: str) -> None:
        wait = wait_before(mail.attempts)
        async with raw_write_transaction(Tenant(organization_id=mail.organization_id)) as connection:
            state = await connection.fetchval(_FAILED, mail.organization_id, mail.id, kind[:100], wait, TRIED_FOR)
        event = "mail_given_up" if state == MailState.GIVEN_UP else "mail_not_sent"
        log.warning(event, kind=mail.kind, mail=str(mail.id), failure=kind)


async def address_of(user_id: UUID, *, must_be_member: bool = False) -> str | None:
    """Return the address of an account; None where there is no such account that is active.

    must_be_member: None as well for who is an active member nowhere.
    """
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        row = await connection.fetchrow(_PERSON, user_id)
    if row is None or (must_be_member and not row["is_member"]):
        return None
    values = dict(row)
    del values["is_member"]
    person = User._init_from_db(**values)
    await load_keys_for([person], "email")
    return person.email


async def _reset(route: MailRoute, mail: OutgoingMail) -> Draft | None:
    user_id = mail.user_id or (None if mail.email_index is None else await _account_of(mail.email_index))
    # Who is a member nowhere any more gets in nowhere by a new password.
    address = None if user_id is None else await address_of(user_id, must_be_member=True)
    if user_id is None or address is None:
        return None
    secret = new_secret()
    await load_index_key(SYSTEM_ID)
    async with write_transaction(Tenant(user_id=user_id)) as connection:
        # The newest link counts alone.
        await withdraw(connection, ChallengeKind.PASSWORD_RESET, user_id=user_id)
        [now] = await fetch(connection, "select transaction_timestamp() as at")
        await ask(
            connection,
            ChallengeKind.PASSWORD_RESET,
            secret=secret,
            at=now["at"],
            lifetime=RESET_LIFETIME,
            about=About(user_id=user_id),
        )
    return Draft(address, reset_text(link=route.link(f"reset={secret}"), lifetime=RESET_LIFETIME))


def _notice(text: Callable[[datetime, str], MailText]) -> Prepare:
    """Return who makes letters that tell somebody what happened to their account, and when."""

    async def prepare(route: MailRoute, mail: OutgoingMail) -> Draft | None:
        address = None if mail.user_id is None else await address_of(mail.user_id)
        return None if address is None else Draft(address, text(mail.created_at.astimezone(UTC), route.page))

    return prepare


async def _token_expires(_: MailRoute, mail: OutgoingMail) -> Draft | None:
    address = None if mail.user_id is None else await address_of(mail.user_id, must_be_member=True)
    async with OneStatement(Tenant(organization_id=mail.organization_id)) as connection:
        row = await connection.fetchrow(
            "select a.name, t.hint, t.expires_at, o.name as organization from service_account_token t"
            " join service_account a on a.organization_id = t.organization_id and a.id = t.service_account_id"
            " join organization o on o.id = t.organization_id"
            " where t.organization_id = $1 and t.id = $2 and t.revoked_at is null and a.revoked_at is null",
            mail.organization_id,
            mail.about,
        )
    if address is None or row is None:
        return None
    text = token_expires_text(
        organization=row["organization"],
        account=row["name"],
        hint=row["hint"],
        expires_at=row["expires_at"].astimezone(UTC),
    )
    return Draft(address, text)


async def _review_due(route: MailRoute, mail: OutgoingMail) -> Draft | None:
    address = None if mail.user_id is None else await address_of(mail.user_id, must_be_member=True)
    async with OneStatement(Tenant(organization_id=mail.organization_id)) as connection:
        name = await connection.fetchval("select name from organization where id = $1", mail.organization_id)
    if address is None or name is None:
        return None
    return Draft(address, review_due_text(organization=name, page=route.page))


async def _account_of(index: bytes) -> UUID | None:
    async with OneStatement(Tenant(email_index=index)) as connection:
        found: UUID | None = await connection.fetchval("select id from user_account where email_index = $1", index)
    return found


_PREPARE: Final[Mapping[MailKind, Prepare]] = {
    MailKind.PASSWORD_RESET: _reset,
    MailKind.PASSWORD_CHANGED: _notice(lambda at, page: changed_text(at=at, page=page)),
    MailKind.AUTHENTICATOR_ADDED: _notice(lambda at, page: factor_added_text(at=at, page=page)),
    MailKind.AUTHENTICATOR_REMOVED: _notice(lambda at, page: factor_removed_text(at=at, page=page)),
    MailKind.RECOVERY_CODE_USED: _notice(lambda at, page: recovery_code_text(at=at, page=page)),
    MailKind.SIGN_IN_UNUSUAL: _notice(lambda at, page: unusual_text(at=at, page=page)),
    MailKind.TOKEN_EXPIRES: _token_expires,
    MailKind.ACCESS_REVIEW_DUE: _review_due,
}

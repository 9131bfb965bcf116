"""Adding, naming and removing what somebody proves beside their password, and the codes for when it is gone.

Each is its person's alone, in every organization; what was added in one is named and removed in that one. One change of
them at a time: the account's row is locked, so that two removals can't each leave the other's as the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from auth.errors import ForbiddenError, NotFoundError
from auth.recovery_code import new_recovery_codes, normal_recovery_code
from auth.totp import matching_step, new_totp_secret, totp_uri
from models.authenticator import Authenticator, AuthenticatorKind
from models.base import new_id
from models.encryption.envelope import key_id_of
from models.encryption.keyring import active_keyring
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.membership import MembershipStatus
from models.organization import OrganizationStatus
from models.outgoing_mail import MailKind
from models.reading import OneStatement
from models.session import Factor
from models.transaction import Tenant, fetch
from models.user import User
from resolvers.authenticator_notice import tell_person
from resolvers.change import AGAIN_S, Change, Intent, commit_change
from resolvers.checking import require_fit
from resolvers.fresh_sign_in import require_strong
from resolvers.relying_party import RelyingParty
from resolvers.second_factor import Proof, load_having, recovery_code_digest, totp_secret
from resolvers.services import Services
from resolvers.trail import Actor

MOST: Final = 10
"""Apps that show codes, and passkeys, of one person."""
TIME_TO_CONFIRM: Final = timedelta(hours=1)

_TABLE: Final = entity_of(Authenticator).name
_ELSEWHERE: Final = "It was added in another organization: sign in there."


@dataclass(frozen=True, slots=True)
class BegunTotp:
    """An app that shows codes, to be confirmed: what it is given, shown once."""

    authenticator_id: UUID
    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OwnAuthenticator:
    """One of somebody's authenticators, as they are shown it."""

    id: UUID
    kind: AuthenticatorKind
    name: str | None
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Own:
    """What somebody has: what counts, and how many recovery codes are left."""

    authenticators: Sequence[OwnAuthenticator]
    recovery_codes_left: int


async def own_authenticators(user_id: UUID) -> Own:
    """Return what somebody has confirmed. To be shown to them alone."""
    having = await load_having(user_id)
    shown = [one for one in having.all if one.kind is not AuthenticatorKind.RECOVERY_CODE]
    used = await _last_used(user_id)
    names: list[Any] = [vars(one)["name"] for one in shown]
    await active_keyring().load_ids([key_id_of(one.blob) for one in names if one is not None])
    return Own(
        [OwnAuthenticator(one.id, one.kind, one.name, one.created_at, used.get(one.id)) for one in shown],
        len(having.all) - len(shown),
    )


async def begin_totp(change: Change, party: RelyingParty) -> BegunTotp:
    """Begin to add an app that shows codes, which counts once it is confirmed. One that was begun before is forgotten.

    Raises:
        ForbiddenError: it is a program that asks.
        ConflictError: there are `MOST` already.
    """
    account = await lock_factors(change)
    await require_room(change, account)
    await _forget_begun(change, account)
    secret = new_totp_secret()
    row_id = await insert_authenticator(change, account, kind=AuthenticatorKind.TOTP, secret=secret)
    uri = totp_uri(secret, account=await account_name(account), issuer=party.name)
    return BegunTotp(row_id, secret, uri)


async def confirm_totp(
    change: Change, services: Services, *, authenticator_id: UUID, code: str, name: str | None
) -> Sequence[str] | None:
    """Have an app count from now on, and return recovery codes if it is the first second factor; None if not.

    Raises:
        NotFoundError: there is no such app of the viewer's here.
        ConflictError: it counts already, or was begun more than an hour ago.
        InvalidInputError: the code is not one that it shows now.
    """
    account = await lock_factors(change)
    row = await _lock_own(change, account, authenticator_id)
    if row.confirmed_at is not None or row.kind is not AuthenticatorKind.TOTP:
        raise ConflictError("It is confirmed already.", field=("input", "id"))
    if change.at - row.created_at > TIME_TO_CONFIRM:
        raise ConflictError("It was begun too long ago. Begin again.", field=("input", "id"))
    step = matching_step(await totp_secret(row), code, at=services.clock())
    if step is None:
        raise InvalidInputError("This is not the code that the app shows now.", field=("input", "code"))
    # The code that confirmed it is spent: it does not sign in as well.
    await Proof(row, step=step).use(change.connection, at=change.at)
    is_first = not await _others(change, account, row.id)
    row.confirmed_at = change.at
    row.name = _fitting_name(name)
    await row.save(using_db=change.connection, update_fields=["confirmed_at", "name"])
    return await settle_added(change, account, Factor.TOTP, is_first=is_first)


async def settle_added(change: Change, account: User, factor: Factor, *, is_first: bool) -> Sequence[str] | None:
    """Do what follows when somebody added a factor: this session stands on it, they are told, and if it is their first
    they get recovery codes, which are returned.
    """
    await fetch(
        change.connection,
        "update session set factors ="
        " (select array_agg(distinct one order by one) from unnest(factors || $3::text) one)"
        " where organization_id = $1 and id = $2",
        change.organization_id,
        change.viewer.session_id,
        factor,
    )
    await tell_person(change, MailKind.AUTHENTICATOR_ADDED, user_id=account.id)
    return await _make_recovery_codes(change, account) if is_first else None


async def renew_recovery_codes(change: Change) -> Sequence[str]:
    """Make new recovery codes and return them: those before count no more, wherever they were made.

    Raises:
        ForbiddenError: it is a program that asks.
        ConflictError: there is no second factor that they would stand in for.
    """
    account = await lock_factors(change)
    if not await _others(change, account, None):
        raise ConflictError("Add a second factor first: recovery codes stand in for it.")
    return await _make_recovery_codes(change, account)


async def rename_authenticator(change: Change, *, authenticator_id: UUID, name: str) -> None:
    """Give an app or a passkey another name.

    Raises:
        NotFoundError, ConflictError: it is not the viewer's; or was added in another organization.
        InvalidInputError: the name does not fit.
    """
    account = await lock_factors(change)
    row = await _lock_own(change, account, authenticator_id)
    row.name = _fitting_name(name)
    await row.save(using_db=change.connection, update_fields=["name"])


async def remove_authenticator(change: Change, *, authenticator_id: UUID) -> None:
    """Take an app or a passkey away, and the recovery codes with the last of them.

    What was added where its person does not get in any more is taken away from wherever they do, with an entry in both:
    whoever found it could else sign in by it for good.

    Raises:
        NotFoundError, ConflictError: it is not the viewer's; or was added in another organization that they get into;
            or it is the last, and an organization of theirs demands one, or their password is too short to stand alone.
    """
    account = await lock_factors(change)
    row = await _find_own(change, account, authenticator_id)
    is_here = row.organization_id == change.organization_id
    if not is_here and await _gets_in(change, row):
        raise ConflictError(_ELSEWHERE, field=("input", "id"))
    is_last = row.confirmed_at is not None and not await _others(change, account, row.id)
    if is_last:
        await _require_dispensable(change, account)
    if is_here:
        await row.delete(using_db=change.connection)
    else:
        change.afterwards.append(partial(_delete_elsewhere, change.intent, row))
    if is_last:
        await _forget_recovery_codes(change, account)
    if row.confirmed_at is not None:
        await tell_person(change, MailKind.AUTHENTICATOR_REMOVED, user_id=account.id)


async def lock_account(change: Change) -> User:
    """Return the viewer's account, locked against other changes of what they prove.

    Raises:
        ForbiddenError: it is a program that asks.
    """
    user_id = change.viewer.user_id
    if user_id is None or change.viewer.session_id is None:
        raise ForbiddenError("Only a person who signed in has these.")
    rows = await fetch(change.connection, "select * from user_account where id = $1 for no key update", user_id)
    return User._init_from_db(**rows[0])


async def lock_factors(change: Change) -> User:
    """Return the viewer's account as `lock_account` does, where they may change what they prove.

    Raises:
        ForbiddenError: it is a program that asks.
        ReauthenticateError: the account has a second factor, and the viewer's session stands on none.
    """
    account = await lock_account(change)
    require_strong(change.viewer, has_second_factor=not await is_first_factor(change, account))
    return account


async def account_name(account: User) -> str:
    """Return by what somebody tells this account from others: its address."""
    stored: Any = vars(account)["email"]
    await active_keyring().load_ids([key_id_of(stored.blob)])
    return str(account.email)


async def require_room(change: Change, account: User) -> None:
    """Raise `ConflictError` where somebody has as many authenticators as may be."""
    if len(await _others(change, account, None)) >= MOST:
        raise ConflictError(f"There are {MOST} already. Remove one first.")


async def insert_authenticator(change: Change, account: User, *, kind: AuthenticatorKind, **values: Any) -> UUID:
    """Write a new one of the viewer's, and return its id."""
    row_id = new_id()
    await change.insert(Authenticator, [{**_own(change, account), "id": row_id, "kind": kind, **values}])
    return row_id


async def is_first_factor(change: Change, account: User) -> bool:
    """Return whether somebody has no second factor yet."""
    return not await _others(change, account, None)


def _own(change: Change, account: User) -> dict[str, Any]:
    return {
        "organization_id": change.organization_id,
        "created_at": change.at,
        "user_id": account.id,
        "membership_id": change.viewer.membership_id,
    }


async def _others(change: Change, account: User, besides: UUID | None) -> list[dict[str, Any]]:
    """Return the second factors that count, but for one, in all organizations."""
    return await fetch(
        change.connection,
        f'select id from "{_TABLE}" where user_id = $1 and kind <> $2 and confirmed_at is not null'
        " and id is distinct from $3::uuid",
        account.id,
        AuthenticatorKind.RECOVERY_CODE,
        besides,
    )


async def _lock_own(change: Change, account: User, authenticator_id: UUID) -> Authenticator:
    row = await _find_own(change, account, authenticator_id)
    if row.organization_id != change.organization_id:
        raise ConflictError(_ELSEWHERE, field=("input", "id"))
    return row


async def _find_own(change: Change, account: User, authenticator_id: UUID) -> Authenticator:
    rows = await fetch(
        change.connection,
        f'select * from "{_TABLE}" where user_id = $1 and id = $2 and kind <> $3',
        account.id,
        authenticator_id,
        AuthenticatorKind.RECOVERY_CODE,
    )
    if not rows:
        raise NotFoundError("There is nothing with this id.", field=("input", "id"))
    return Authenticator._init_from_db(**rows[0])


async def _gets_in(change: Change, row: Authenticator) -> bool:
    """Return whether its person may sign in where an authenticator was added."""
    found = await fetch(
        change.connection,
        "select 1 from membership m join organization o on o.id = m.organization_id"
        " where m.organization_id = $1 and m.id = $2 and m.status = $3 and o.status = $4",
        row.organization_id,
        row.membership_id,
        MembershipStatus.ACTIVE,
        OrganizationStatus.ACTIVE,
    )
    return bool(found)


async def _delete_elsewhere(intent: Intent, row: Authenticator) -> None:
    """Delete an authenticator in a transaction of the organization in which it was added, in its person's name."""
    there = Actor(
        row.organization_id,
        intent.actor.origin,
        user_id=row.user_id,
        membership_id=row.membership_id,
        operation=intent.actor.operation,
        floodgate=intent.actor.floodgate,
    )
    removal = Intent(action=intent.action, actor=there, entity=_TABLE, subjects=[row.id])
    await commit_change(removal, lambda change: row.delete(using_db=change.connection), pauses=AGAIN_S)


async def _require_dispensable(change: Change, account: User) -> None:
    if not account.password_is_long:
        raise ConflictError(
            "Your password is too short to stand alone. Change it to a longer one first.", field=("input", "id")
        )
    demanding = await fetch(
        change.connection,
        "select 1 from membership m join organization o on o.id = m.organization_id"
        " where m.user_id = $1 and m.status <> 'REMOVED' and o.demands_second_factor limit 1",
        account.id,
    )
    if demanding:
        raise ConflictError(
            "An organization of yours demands a second factor. Add another one first.", field=("input", "id")
        )


async def _make_recovery_codes(change: Change, account: User) -> Sequence[str]:
    await _forget_recovery_codes(change, account)
    codes = new_recovery_codes()
    own = {**_own(change, account), "kind": AuthenticatorKind.RECOVERY_CODE, "confirmed_at": change.at}
    await change.insert(
        Authenticator,
        [
            {
                **own,
                "id": new_id(),
                "digest": await recovery_code_digest(account.id, normal_recovery_code(code) or code),
            }
            for code in codes
        ],
    )
    return codes


async def _forget_recovery_codes(change: Change, account: User) -> None:
    await (
        Authenticator.filter(
            organization_id=change.organization_id, user_id=account.id, kind=AuthenticatorKind.RECOVERY_CODE
        )
        .using_db(change.connection)
        .delete()
    )


async def _forget_begun(change: Change, account: User) -> None:
    await (
        Authenticator.filter(
            organization_id=change.organization_id,
            user_id=account.id,
            kind=AuthenticatorKind.TOTP,
            confirmed_at__isnull=True,
        )
        .using_db(change.connection)
        .delete()
    )


async def _last_used(user_id: UUID) -> dict[UUID, datetime]:
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        rows = await connection.fetch("select id, used_at from authenticator_use where user_id = $1", user_id)
    return {row["id"]: row["used_at"] for row in rows}


def _fitting_name(name: str | None) -> str | None:
    require_fit(entity_of(Authenticator), {"name": name}, at=("input",))
    return name.strip() or None if name is not None else None

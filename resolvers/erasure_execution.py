"""Carrying out what was asked for and confirmed, when it can't be taken back any more; and what is overdue.

By one process, in steps of which each can be done again: the request is marked as begun, which nobody takes back; keys
are written down and destroyed, and rows changed (`resolvers/erasure.py: carry_out`); the request is marked as done,
with its certificate. Whoever finds a request that was begun goes on with it. So it is with one that the log of
destroyed keys knows and the data do not, which came back from a backup: it is done again, and gets a certificate of its
own.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from models.base import new_id
from models.encryption.keyring import active_keyring
from models.encryption.owner import erasure_owner
from models.erasure_request import ErasureKind, ErasureRequest, ErasureStatus
from models.errors import ConflictError, UnavailableError
from models.inventory import entity_of
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.change import Change, Intent, commit_change, commit_decided
from resolvers.erasure import Erased, carry_out
from resolvers.erasure_certificate import certificate_of, share_of, whole_of
from resolvers.erasure_hold import holding_organizations, holds_on_plan
from resolvers.erasure_lapse import lapse_if_over
from resolvers.erasure_naming import pass_names_on, take_names_back
from resolvers.erasure_owner import Plan, address_of_account, plan_indexes, plan_organization, plan_person
from resolvers.erasure_request import last_confirmation, names_of
from resolvers.mail_text import erasure_done_text
from resolvers.mailer import Letter
from resolvers.sending import NotSentError
from resolvers.services import Services
from resolvers.trail import job_actor

log = structlog.get_logger()

EVERY_S: Final = 60.0
"""Seconds between two looks for requests that are to be carried out."""
SOON: Final = timedelta(days=7)
"""How long before an erasure has to be done somebody is told that it is not."""

_TAKEN_BACK: Final = frozenset({ErasureStatus.WITHDRAWN, ErasureStatus.LAPSED})
_ENTITY: Final = entity_of(ErasureRequest)
_ORGANIZATIONS: Final = "select fieldward_erasing() as id"
_OPEN: Final = """
    select r.*, clock_timestamp() as now from erasure_request r
     where organization_id = $1 and (status in ('REQUESTED', 'CONFIRMED', 'EXECUTING')
           or (status in ('WITHDRAWN', 'LAPSED') and num_nonnulls(named, reason) > 0))
     order by due_at
"""


@dataclass(frozen=True, slots=True)
class Overdue:
    """A request that is not done, and when it has to be. is_late: it was confirmed, be it before the database was
    restored, and that is over."""

    request_id: UUID
    due_at: datetime
    is_late: bool


async def erasing_organizations() -> list[UUID]:
    """Return the organizations with requests that are not over, or of which something is left."""
    async with OneStatement(Tenant()) as connection:
        return [row["id"] for row in await connection.fetch(_ORGANIZATIONS)]


async def overdue(organization_id: UUID, *, grace: timedelta) -> list[Overdue]:
    """Return the requests of an organization that should be done by now, or have to be within `SOON`, those that are to
    be confirmed anew after a restore among them; and those that can be confirmed for so long only, by somebody else
    than who is to be erased.

    grace: how long what was confirmed can be taken back.
    """
    found = []
    for request, now in await _open(organization_id):
        is_waiting = request.status is ErasureStatus.REQUESTED
        was_confirmed = request.confirmed_at is not None
        is_persons = request.kind is ErasureKind.PERSON
        # Whether a person confirms their own is theirs to say, and nobody else can do anything about it. Who has said
        # it already does not know that a restore took it back.
        if request.status in _TAKEN_BACK or (is_waiting and is_persons and not was_confirmed):
            continue
        last = last_confirmation(request.due_at, grace) if is_waiting and not is_persons else request.due_at
        if now >= last - SOON:
            found.append(Overdue(request.id, request.due_at, is_late=was_confirmed and now >= request.due_at))
    return found


class ErasureRunning:
    """Carries out the requests of any organization. One for a process, and one process at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def step(self, organization_id: UUID) -> int:
        """Carry out what is due in an organization; return how many requests that were.

        What can't be done now, such as the erasure of a last owner, is tried again, and told of when it is overdue. One
        that can't holds up no other.

        Raises:
            UnavailableError: a database, the keystore or the key provider was away for one. The others had their turn.
        """
        done = 0
        away: UnavailableError | None = None
        waiting = await _open(organization_id)
        # A backup may be from before a request was confirmed, or even from before it was begun.
        begun = {one.id for one in await self._services.destructions.all()} if waiting else set()
        for request, now in waiting:
            try:
                done += await self._advance(request, now, is_logged=request.id in begun)
            except ConflictError as error:
                log.warning("erasure_waits", erasure_id=str(request.id), said=error.message)
            except Exception as error:
                log.error("erasure_failed", erasure_id=str(request.id), exc_info=error)
                if isinstance(error, UnavailableError):
                    away = away or error
        if away is not None:
            raise away
        return done

    async def _advance(self, request: ErasureRequest, now: datetime, *, is_logged: bool) -> bool:
        """Do what is to be done for a request; return whether it was carried out.

        is_logged: keys were destroyed for it, as far as the log of that knows.
        """
        if request.status in _TAKEN_BACK:
            await take_names_back(request)
            await self._forget(request)
            return False
        if not is_logged and request.status is not ErasureStatus.EXECUTING:
            if await lapse_if_over(request):
                return False
            await pass_names_on(self._services, request)
            if request.status is not ErasureStatus.CONFIRMED or request.execute_after is None:
                return False
            if now < request.execute_after:
                return False
            # Whether it can be done at all, before it is said that it has begun.
            if not await self._begin(request, await self._plan(request, is_begun=False)):
                return False
        return await self._carry_out(request, is_logged=is_logged)

    async def _begin(self, request: ErasureRequest, plan: Plan) -> bool:
        """Mark the request as begun; return whether it may begin: it was not taken back, and nothing keeps it.

        What keeps it in another organization is said nowhere in this one, which learns of no other by it.
        """
        elsewhere = await self._is_held_elsewhere(request, plan)
        is_held = False

        async def decide(connection: BaseDBAsyncClient) -> Intent | None:
            nonlocal is_held
            locked = await _locked(connection, request)
            if locked is None or locked.status is not ErasureStatus.CONFIRMED:
                return None
            is_held = bool(await holds_on_plan(connection, plan, request.organization_id))
            if (is_held or elsewhere) and (locked.held_at is not None) is is_held:
                return None
            return _intent(Action.ERASURE_HOLD if is_held or elsewhere else Action.ERASURE_START, request)

        async def work(change: Change) -> bool:
            locked = await _locked(change.connection, request)
            if locked is None:
                return False
            locked.held_at = (locked.held_at or change.at) if is_held else None
            if is_held or elsewhere:
                await locked.save(using_db=change.connection, update_fields=["held_at"])
                return False
            locked.status = ErasureStatus.EXECUTING
            locked.started_at = change.at
            locked.version += 1
            await locked.save(using_db=change.connection, update_fields=["status", "held_at", "started_at", "version"])
            return True

        return bool(await commit_decided(job_actor(request.organization_id), decide, work))

    async def _is_held_elsewhere(self, request: ErasureRequest, plan: Plan) -> bool:
        others = await holding_organizations(replace(plan, within=plan.within - {request.organization_id}))
        if others:
            log.warning("erasure_held_elsewhere", erasure_id=str(request.id), count=len(others))
        return bool(others)

    async def _carry_out(self, request: ErasureRequest, *, is_logged: bool) -> bool:
        services = self._services
        address = None if request.user_id is None else await address_of_account(request.user_id)
        plan = await self._plan(request, is_begun=True)
        if not is_logged and await self._put_off(request, plan):
            return False
        actor = job_actor(request.organization_id)
        erased = await carry_out(services, actor, plan, reason=None, erasure_id=request.id)
        certificate = await self._finish(request, erased)
        log.info("erasure_done", erasure_id=str(request.id), kind=request.kind, count=erased.keys)
        if address is not None and certificate is not None:
            await self._tell(address, certificate)
        return True

    async def _put_off(self, request: ErasureRequest, plan: Plan) -> bool:
        """Have a request wait again where a hold keeps what it would destroy; return whether one does.

        Of one that was begun and for which no key was destroyed yet: a hold was placed since, in another organization,
        or while no process was at it.
        """
        elsewhere = await self._is_held_elsewhere(request, plan)
        is_held = False

        async def decide(connection: BaseDBAsyncClient) -> Intent | None:
            nonlocal is_held
            locked = await _locked(connection, request)
            is_held = bool(await holds_on_plan(connection, plan, request.organization_id))
            is_waiting = locked is None or locked.status is not ErasureStatus.EXECUTING
            return None if is_waiting or not (is_held or elsewhere) else _intent(Action.ERASURE_HOLD, request)

        async def work(change: Change) -> None:
            locked = await _locked(change.connection, request)
            if locked is None:
                return
            locked.status = ErasureStatus.CONFIRMED
            locked.started_at = None
            locked.held_at = change.at if is_held else None
            locked.version += 1
            await locked.save(using_db=change.connection, update_fields=["status", "held_at", "started_at", "version"])

        await commit_decided(job_actor(request.organization_id), decide, work)
        return is_held or elsewhere

    async def _plan(self, request: ErasureRequest, *, is_begun: bool) -> Plan:
        if request.kind is ErasureKind.ORGANIZATION:
            return plan_organization(request.organization_id)
        if request.user_id is None:
            return await plan_indexes(request.organization_id, names_of(request))
        return await plan_person(self._services, request.user_id, is_begun=is_begun)

    async def _finish(self, request: ErasureRequest, erased: Erased) -> str | None:
        """Mark the request as done, with its certificate, and return the whole one; None where somebody else did."""
        services = self._services
        share = await share_of(services.keystore, erased, request.organization_id)
        whole = await whole_of(services.keystore, erased)
        await self._destroy_words(request)

        async def work(change: Change) -> str | None:
            locked = await _locked(change.connection, request)
            if locked is None or locked.status is ErasureStatus.DONE:
                return None
            # Of what came back from a backup it may not be known that it was confirmed.
            locked.confirmed_at = locked.confirmed_at or change.at
            locked.execute_after = locked.execute_after or locked.confirmed_at
            locked.status = ErasureStatus.DONE
            locked.started_at = locked.started_at or erased.at
            locked.finished_at = change.at
            told = partial(certificate_of, services.sealer, locked, destroyed_at=erased.at or change.at, at=change.at)
            locked.certificate = told(share)
            locked.named = locked.reason = None
            locked.name_indexes = locked.token_digest = None
            locked.version += 1
            await locked.save(using_db=change.connection, update_fields=_FINISHED)
            return told(whole)

        return await commit_change(_intent(Action.ERASURE_FINISH, request), work)

    async def _forget(self, request: ErasureRequest) -> None:
        """Forget what a request said that was taken back, or lapsed."""
        await self._destroy_words(request)

        async def work(change: Change) -> None:
            locked = await _locked(change.connection, request)
            if locked is not None and locked.status in _TAKEN_BACK:
                locked.named = locked.reason = None
                await locked.save(using_db=change.connection, update_fields=["named", "reason"])

        await commit_change(_intent(Action.ERASURE_FORGET, request), work)

    async def _destroy_words(self, request: ErasureRequest) -> None:
        owner = erasure_owner(request.organization_id, request.id)
        key_ids = [key.id for key in await self._services.keystore.keys_of([owner])]
        await self._services.keystore.destroy(key_ids)
        for key_id in key_ids:
            active_keyring().hear_destroyed(key_id)

    async def _tell(self, address: str, certificate: str) -> None:
        """Send the person their certificate. Their address is in this process's memory alone, so it is tried once."""
        if self._services.mail is None:
            return
        text = erasure_done_text(certificate=certificate)
        try:
            await self._services.mail.mailer.send(Letter(new_id(), address, text.subject, text.text))
        except NotSentError as error:
            log.warning("erasure_not_told", failure=error.kind)


_FINISHED: Final = [
    "status",
    "confirmed_at",
    "execute_after",
    "started_at",
    "finished_at",
    "certificate",
    "named",
    "reason",
    "name_indexes",
    "token_digest",
    "version",
]


async def _open(organization_id: UUID) -> list[tuple[ErasureRequest, datetime]]:
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        rows = await connection.fetch(_OPEN, organization_id)
    return [_read(dict(row)) for row in rows]


def _read(columns: dict[str, Any]) -> tuple[ErasureRequest, datetime]:
    now = columns.pop("now")
    return ErasureRequest._init_from_db(**columns), now.astimezone(UTC)


async def _locked(connection: BaseDBAsyncClient, request: ErasureRequest) -> ErasureRequest | None:
    return await (
        ErasureRequest.filter(id=request.id, organization_id=request.organization_id)
        .using_db(connection)
        .select_for_update()
        .get_or_none()
    )


def _intent(action: Action, request: ErasureRequest) -> Intent:
    actor = job_actor(request.organization_id)
    return Intent(action, actor, entity=_ENTITY.name, subjects=[request.id])

"""The jobs of a server process (`fieldward/background.py`)."""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

import structlog

from auth.principal import SYSTEM_ID
from fieldward.background import Job
from fieldward.backup.job import backup_jobs
from fieldward.container import build_outbox, build_place
from fieldward.settings import Settings
from fieldward.turn import Turns
from models.encryption.file_provider import FileKeyProvider
from models.ledger.checkpoint import VerifierKey
from models.outgoing_mail import MailKind
from resolvers.access_review_schedule import open_if_due
from resolvers.alarm import alarming_organizations, deliver_one
from resolvers.alarm_channel import channels_of
from resolvers.erasure_alarm import note_overdue
from resolvers.erasure_execution import EVERY_S as ERASURES_EVERY_S
from resolvers.erasure_execution import ErasureRunning, erasing_organizations
from resolvers.erasure_letter import asked_letter, confirm_letter, scheduled_letter, withdrawn_letter
from resolvers.erasure_request import RUN_ERASURES
from resolvers.export_job import MAKE_EXPORTS, Exporting
from resolvers.field_emptying import EMPTY_FIELDS, FieldEmptying
from resolvers.idempotency import forget_keys
from resolvers.import_running import EVERY_S as IMPORTS_EVERY_S
from resolvers.import_running import RUN_IMPORTS, ImportRunning
from resolvers.incident_judging import Judge, SealingWatch, judge_step, note_sealing, unjudged_organizations
from resolvers.invitation_sending import invitation_letter
from resolvers.key_rotation import reseal, rewrap_data_keys, rotate_overdue_keys, rotate_overdue_signing_key
from resolvers.location_rewrite import REWRITE_LOCATIONS, LocationRewrite
from resolvers.mailing import SEND_MAIL, Mailing, mailing_organizations
from resolvers.publication import PUBLISH_HEADS, HeadPublishing
from resolvers.retention_run import RetentionRuns
from resolvers.retention_watch import note_retention
from resolvers.services import Services
from resolvers.throttle import forget
from resolvers.token_expiry import EVERY_S as WARNINGS_EVERY_S
from resolvers.token_expiry import WARN_OF_EXPIRY, warn_of_expiry
from resolvers.token_use import EVERY_S as USES_EVERY_S
from resolvers.token_use import WRITE_TOKEN_USES
from resolvers.trail import Actor, job_actor
from resolvers.trail_expiry import TrailExpiry
from resolvers.trail_sealing import EVERY_S as SEALING_EVERY_S
from resolvers.trail_sealing import SEAL_TRAIL, TrailSealing
from resolvers.witnessing import Witness

log = structlog.get_logger()

KEEP_KEYS: Final = "keep_keys"
"""The name of the job that replaces keys which are due, and seals anew what lies under old ones."""

EXPIRE_TRAIL: Final = "expire_trail"
"""The name of the job that lets go of entries of the trail whose period is over."""
EXPIRE_EVERY_S: Final = 3600.0
"""Seconds between two looks for such entries."""
DELETE_OVER: Final = "delete_over"
"""The name of the job that deletes data whose period is over: once a day, of each type."""
DELETE_EVERY_S: Final = 300.0
"""Seconds between two looks whether a day is over."""
WATCH_RETENTION: Final = "watch_retention"
"""The name of the job that opens an incident where data whose period is over are not deleted."""
WATCH_EVERY_S: Final = 3600.0
"""Seconds between two looks for that."""
JUDGE_TRAIL: Final = "judge_trail"
"""The name of the job that looks through what was sealed for incidents."""
JUDGE_EVERY_S: Final = 5.0
"""Seconds between two looks for what was sealed since."""
DELIVER_ALARMS: Final = "deliver_alarms"
"""The name of the job that sends the alarms about them. It is woken where there is one to send."""
DELIVER_EVERY_S: Final = 15.0
"""Seconds between two looks for alarms that are to be sent again."""
SEND_MAIL_EVERY_S: Final = 5.0
"""Seconds between two looks for letters to people. Who asks for a new password is waiting for it."""

FORGET: Final = "forget"
"""The name of the job that forgets failed sign-ins, open questions and keys of requests, a day after."""
FORGET_EVERY_S: Final = 3600.0
"""Seconds between two looks for those."""

OPEN_REVIEWS: Final = "open_reviews"
"""The name of the job that opens each organization's review of access in each quarter of the year."""
OPEN_EVERY_S: Final = 3600.0
"""Seconds between two looks whether a quarter has begun."""

EXPORT_EVERY_S: Final = 5.0
"""Seconds between two looks for exports that nobody makes any more, and for such as are over."""

SHARE: Final = 0.25
"""The part of the time that sealing anew works; the rest is the requests'."""
QUIET_S: Final = 3600.0
"""Seconds for which values are left alone where all that is left of them do not open."""
BATCHES: Final = 10
"""Batches that it does before the job is asked whether the process ends."""


def intervals_s(settings: Settings) -> Mapping[str, float]:
    """Return the seconds between two calls of those jobs that wait for longer, or less long, than others."""
    return {
        SEAL_TRAIL: SEALING_EVERY_S,
        PUBLISH_HEADS: settings.audit_publish_interval_s,
        EXPIRE_TRAIL: EXPIRE_EVERY_S,
        DELETE_OVER: DELETE_EVERY_S,
        WATCH_RETENTION: WATCH_EVERY_S,
        JUDGE_TRAIL: JUDGE_EVERY_S,
        DELIVER_ALARMS: DELIVER_EVERY_S,
        FORGET: FORGET_EVERY_S,
        SEND_MAIL: SEND_MAIL_EVERY_S,
        OPEN_REVIEWS: OPEN_EVERY_S,
        WRITE_TOKEN_USES: USES_EVERY_S,
        WARN_OF_EXPIRY: WARNINGS_EVERY_S,
        RUN_IMPORTS: IMPORTS_EVERY_S,
        MAKE_EXPORTS: EXPORT_EVERY_S,
        RUN_ERASURES: ERASURES_EVERY_S,
    }


def build_exporting(services: Services, settings: Settings) -> Exporting:
    """Return who makes exports."""
    return Exporting(services, lifetime=timedelta(hours=settings.export_lifetime_h))


async def _always() -> bool:
    return True


def build_jobs(
    services: Services,
    settings: Settings,
    *,
    leads: Callable[[], Awaitable[bool]] = _always,
    wake: Callable[[str], None] = lambda _: None,
    importing: ImportRunning | None = None,
    exporting: Exporting | None = None,
) -> Mapping[str, Job]:
    """Return the jobs, by their names.

    leads: says whether this process does what only one of several need do.
    wake: has a job called at once, by its name.
    importing, exporting: who imports and exports, where somebody else wants to know what they are at.

    A connection of the service sees the rows of one organization at a time; the keystore says which there are.
    """
    witnesses = [Witness(VerifierKey.parse(key), url) for key, url in settings.witnesses]
    rewrite = LocationRewrite()
    store = services.keystore

    async def rewrite_locations() -> bool:
        turns = Turns("locations_not_rewritten")
        found = False
        for organization_id in await store.organizations():
            async with turns.of(organization_id):
                found |= await rewrite.step(organization_id)
        return turns.end(is_more=found)

    quiet_until = 0.0

    async def keep_keys() -> bool:
        nonlocal quiet_until
        actor = job_actor(SYSTEM_ID)
        rewrapped = await _keep_wrapped(services, actor, settings.key_encryption_key_max_age_days)
        replaced = await rotate_overdue_keys(services.keyring, store, actor, oldest_days=settings.data_key_max_age_days)
        replaced += await rotate_overdue_signing_key(
            services.keyring, store, actor, oldest_days=settings.signing_key_max_age_days
        )
        if time.monotonic() < quiet_until:
            return False
        done = await reseal(store, actor, share=SHARE, lifetime_s=settings.data_key_lifetime_s, most_batches=BATCHES)
        if done.broken and not done.values:
            # Nothing is left but what does not open. It is in the trail, and need not be there every minute.
            quiet_until = time.monotonic() + QUIET_S
        if rewrapped or replaced or done.values or done.broken:
            log.info("keys_kept", rewrapped=rewrapped, replaced=replaced, resealed=done.values, broken=len(done.broken))
        return not done.is_through

    expiry = TrailExpiry()

    async def expire_trail() -> bool:
        turns = Turns("trail_not_expired")
        found = False
        for organization_id in await store.organizations():
            async with turns.of(organization_id):
                for one in await expiry.step(job_actor(organization_id)):
                    found = True
                    log.info("trail_expired", organization_id=str(organization_id), kind=one.kind, entries=one.entries)
        return turns.end(is_more=found)

    runs, emptying = RetentionRuns(), FieldEmptying()

    async def delete_over() -> bool:
        turns = Turns("data_not_deleted")
        found = False
        for organization_id in await store.organizations():
            async with turns.of(organization_id):
                for one in await runs.step(job_actor(organization_id)):
                    found |= not one.is_over
                    whose = str(organization_id)
                    if one.error_code is not None:
                        log.error("data_not_deleted", organization_id=whose, kind=one.kind, code=one.error_code)
                    elif one.deleted:
                        log.info(
                            "data_deleted", organization_id=whose, kind=one.kind, rows=one.deleted, parts=one.parts
                        )
        return turns.end(is_more=found)

    async def empty_fields() -> bool:
        turns = Turns("fields_not_emptied")
        found = False
        for organization_id in await store.organizations():
            async with turns.of(organization_id):
                found |= await emptying.step(organization_id)
        return turns.end(is_more=found)

    outbox = build_outbox(settings)
    judging, watch = Judge(settings.thresholds, channels_of(outbox.senders)), SealingWatch()

    async def judge_trail() -> bool:
        turns = Turns("trail_not_judged")
        opened, is_behind = len((await note_sealing(judging, watch)).opened), False
        for organization_id in await unjudged_organizations():
            async with turns.of(organization_id):
                done = await judge_step(judging, organization_id)
                opened += len(done.opened)
                is_behind |= done.is_behind
        if opened:
            log.warning("incidents_opened", count=opened)
            wake(DELIVER_ALARMS)
        return turns.end(is_more=is_behind)

    async def watch_retention() -> bool:
        turns = Turns("retention_not_watched")
        opened = 0
        for organization_id in await store.organizations():
            async with turns.of(organization_id):
                opened += len((await note_retention(judging, organization_id)).opened)
        if opened:
            wake(DELIVER_ALARMS)
        return turns.end()

    async def deliver_alarms() -> bool:
        found = False
        for organization_id in await alarming_organizations():
            found |= await deliver_one(outbox, organization_id)
        return found

    mailing = Mailing(
        services.mail,
        {
            MailKind.INVITATION: invitation_letter,
            MailKind.ERASURE_ASKED: asked_letter,
            MailKind.ERASURE_CONFIRM: confirm_letter,
            MailKind.ERASURE_SCHEDULED: scheduled_letter,
            MailKind.ERASURE_WITHDRAWN: withdrawn_letter,
        },
    )

    async def send_mail() -> bool:
        found = False
        for organization_id in await mailing_organizations():
            found |= await mailing.deliver_one(organization_id)
        return found

    async def forget_failures() -> bool:
        await forget()
        await forget_keys()
        return False

    async def open_reviews() -> bool:
        turns = Turns("access_review_not_opened")
        for organization_id in await store.organizations():
            async with turns.of(organization_id):
                if await open_if_due(job_actor(organization_id)):
                    log.info("access_review_opened", organization_id=str(organization_id))
        return turns.end()

    async def warn() -> bool:
        turns = Turns("expiry_not_warned_of")
        if await leads():
            for organization_id in await store.organizations():
                async with turns.of(organization_id):
                    if warned := await warn_of_expiry(organization_id):
                        log.info("expiry_warned_of", organization_id=str(organization_id), tokens=warned)
        return turns.end()

    erasing = ErasureRunning(services)

    async def run_erasures() -> bool:
        if not await leads():
            return False
        organizations, opened = await erasing_organizations(), 0
        # First of all: what can't be done is the very thing that somebody has to be told of.
        telling, turns = Turns("erasure_not_told_of"), Turns("erasure_not_run")
        for organization_id in organizations:
            async with telling.of(organization_id):
                opened += len((await note_overdue(judging, organization_id, grace=services.erasure_grace)).opened)
        if opened:
            log.warning("incidents_opened", count=opened)
            wake(DELIVER_ALARMS)
        for organization_id in organizations:
            async with turns.of(organization_id):
                await erasing.step(organization_id)
        return turns.end() or telling.end()

    importing, exporting = importing or ImportRunning(), exporting or build_exporting(services, settings)

    async def run_imports() -> bool:
        return await importing.step() if await leads() else False

    around_backups = backup_jobs(store, settings, judging, leads=leads, alarm=lambda: wake(DELIVER_ALARMS))
    return {
        **around_backups,
        RUN_ERASURES: run_erasures,
        RUN_IMPORTS: run_imports,
        WRITE_TOKEN_USES: services.token_uses.write,
        WARN_OF_EXPIRY: warn,
        REWRITE_LOCATIONS: rewrite_locations,
        KEEP_KEYS: keep_keys,
        SEAL_TRAIL: TrailSealing(services.sealer, leads).step,
        PUBLISH_HEADS: HeadPublishing(leads, build_place(settings), witnesses).step,
        EXPIRE_TRAIL: expire_trail,
        DELETE_OVER: delete_over,
        EMPTY_FIELDS: empty_fields,
        WATCH_RETENTION: watch_retention,
        JUDGE_TRAIL: judge_trail,
        DELIVER_ALARMS: deliver_alarms,
        FORGET: forget_failures,
        SEND_MAIL: send_mail,
        OPEN_REVIEWS: open_reviews,
        MAKE_EXPORTS: exporting.step,
    }


async def _keep_wrapped(services: Services, actor: Actor, oldest_days: float | None) -> int:
    """Replace the key-encryption key where it is too old, and wrap data keys by the newest. Returns how many."""
    if oldest_days is None:
        return 0
    provider, store = services.keyring.provider, services.keystore
    if isinstance(provider, FileKeyProvider) and provider.age_days > oldest_days:
        await provider.rotate()
    if not await store.wrapped_by_others(provider.name, await provider.newest(), most=1):
        return 0
    return await rewrap_data_keys(services.keyring, store, actor)

"""What in the trail is an incident: each rule declared once, and the decision whether entries are one. Pure.

A rule looks at entries of one kind and counts them by whom they are about, over a window of the entries' own time. No
rule looks at changes: what the service writes about incidents is one, and so no incident leads to another.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.classification import Classification
from auth.errors import (
    BlockedDeviceError,
    ClonedPasskeyError,
    Code,
    DeviceProofError,
    MissingProofError,
    ReusedTokenError,
)
from models.audit_entry import EntryKind, Outcome
from models.incident import IncidentSeverity
from models.inventory import entities, entity_of
from models.user import User

Place = tuple[str | None, str | None]
"""A table and a column of it."""

ORGANIZATION_KEY: Final = "organization"
"""The key of what is about the organization, or the installation, as a whole."""


class Whom(StrEnum):
    """What makes two findings of a rule the same incident: that they are about the same.

    PRINCIPAL: a person or a program. ADDRESS: where requests came from that nobody had signed in to. ACCOUNT: what was
    tried to be signed in to, whether there is such an account or not.
    """

    PRINCIPAL = "a person or program"
    ADDRESS = "an address"
    ACCOUNT = "an account"
    DEVICE = "a device"
    COLUMN = "a column"
    REQUEST = "a request"
    ORGANIZATION = "the organization"


class Measure(StrEnum):
    """What of the entries is counted: each, with those that only a count tells of; or the different rows they name."""

    ATTEMPTS = "attempts"
    ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From how many on a rule finds something (`fieldward/settings.py`)."""

    denials: int = 20
    denials_from_address: int = 50
    sign_in_failures: int = 10
    personal_rows: int = 5_000
    role_denials: int = 3
    device_proofs: int = 3
    sealing_lag_s: int = 60
    backup_age_h: int = 26
    backup_kept_days: int = 30
    archiving_lag_s: int = 600


DEFAULTS: Final = Thresholds()


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the sealed trail, as far as rules look at it.

    address: what stands for the address that it came from, where that is asked for. entity_ids: empty where no rule
    that is asked looks at them.
    """

    id: UUID
    leaf_index: int
    at: datetime
    kind: str
    action: str
    outcome: str
    error_code: str | None = None
    repeated: int = 0
    user_id: UUID | None = None
    membership_id: UUID | None = None
    service_account_id: UUID | None = None
    device_id: UUID | None = None
    entity: str | None = None
    field: str | None = None
    entity_ids: tuple[UUID, ...] = ()
    address: str | None = None

    @property
    def weight(self) -> int:
        """How many attempts it tells of."""
        return 1 + self.repeated


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom or what a finding is about. `key` tells subjects of a rule apart, and is no secret."""

    key: str
    user_id: UUID | None = None
    membership_id: UUID | None = None
    service_account_id: UUID | None = None
    device_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which entries a rule looks at: those for which all that is given holds."""

    kind: EntryKind
    outcome: Outcome
    actions: frozenset[str] = frozenset()
    error_codes: frozenset[str] = frozenset()
    entity: str | None = None
    columns: frozenset[Place] = frozenset()

    def holds(self, entry: Entry) -> bool:
        """Return whether it is one of them."""
        return (
            entry.kind == self.kind
            and entry.outcome == self.outcome
            and (not self.actions or entry.action in self.actions)
            and (not self.error_codes or entry.error_code in self.error_codes)
            and (self.entity is None or entry.entity == self.entity)
            and (not self.columns or (entry.entity, entry.field) in self.columns)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. `looks_for` is a sentence for people.

    pattern: None where it looks at no entries, but at what the trail lacks.
    threshold: the name of its threshold in `Thresholds`; None: each entry is one too many.
    window: over how long it counts; None where each entry counts for itself.
    """

    name: str
    severity: IncidentSeverity
    looks_for: str
    whom: Whom
    pattern: Pattern | None
    threshold: str | None = None
    window: timedelta | None = None
    measure: Measure = Measure.ATTEMPTS

    def limit(self, thresholds: Thresholds) -> int:
        """Return from how many on it finds something."""
        return 1 if self.threshold is None else int(getattr(thresholds, self.threshold))

    def subject(self, entry: Entry) -> Subject | None:
        """Return whom or what the entry is about for this rule; None where it is about nobody."""
        return _SUBJECTS[self.whom](entry)

    def looks_at(self, entry: Entry) -> bool:
        """Return whether the rule looks at the entry."""
        return self.pattern is not None and self.pattern.holds(entry)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found about one subject: the entries, in the order of the trail, and what was counted of them."""

    rule: Rule
    subject: Subject
    entries: tuple[Entry, ...] = ()

    def count(self, after: int = -1) -> int:
        """Return how much of what is counted lies in leaves behind that one; 1 where nothing is counted."""
        counted = [entry for entry in self.entries if entry.leaf_index > after]
        if self.rule.measure is Measure.ROWS:
            return len({one for entry in counted for one in entry.entity_ids})
        return sum(entry.weight for entry in counted) if self.entries else 1


def judge(rule: Rule, limit: int, entries: Iterable[Entry], *, new_from: int) -> list[Finding]:
    """Return what the rule finds among the entries, one finding for each subject.

    entries: those that the rule looks at, with those of its window that were judged before.
    new_from: the first leaf that was not judged yet: what lies before is only counted with.
    """
    by_subject: dict[str, tuple[Subject, list[Entry]]] = {}
    for entry in entries:
        subject = rule.subject(entry) if rule.looks_at(entry) else None
        if subject is not None:
            by_subject.setdefault(subject.key, (subject, []))[1].append(entry)
    found = []
    for subject, about in by_subject.values():
        telling = _telling(rule, limit, sorted(about, key=lambda one: (one.at, one.leaf_index)), new_from)
        if telling:
            # Who did it may have become known only later.
            newest = rule.subject(telling[-1]) or subject
            found.append(Finding(rule, newest, tuple(sorted(telling, key=lambda one: one.leaf_index))))
    return found


def _telling(rule: Rule, limit: int, entries: Sequence[Entry], new_from: int) -> list[Entry]:
    """Return the entries of every window that reaches the limit and has something new in it.

    entries: in the order of their time.
    """
    if rule.window is None:
        return [entry for entry in entries if entry.leaf_index >= new_from and entry.weight >= limit]
    telling: dict[UUID, Entry] = {}
    counted, rows, first, new = 0, Counter[UUID](), 0, 0
    for place, entry in enumerate(entries):
        while entries[first].at <= entry.at - rule.window:
            gone = entries[first]
            counted -= gone.weight
            new -= gone.leaf_index >= new_from
            for one in gone.entity_ids:
                rows[one] -= 1
                if not rows[one]:
                    del rows[one]
            first += 1
        counted += entry.weight
        new += entry.leaf_index >= new_from
        rows.update(entry.entity_ids)
        reached = len(rows) if rule.measure is Measure.ROWS else counted
        if new and reached >= limit:
            telling.update((one.id, one) for one in entries[first : place + 1])
    return list(telling.values())


def _principal(entry: Entry) -> Subject | None:
    if entry.membership_id is not None:
        return Subject(f"membership:{entry.membership_id}", entry.user_id, entry.membership_id)
    if entry.service_account_id is not None:
        return Subject(f"service_account:{entry.service_account_id}", service_account_id=entry.service_account_id)
    return None if entry.user_id is None else Subject(f"user:{entry.user_id}", entry.user_id)


def _address(entry: Entry) -> Subject | None:
    if entry.address is None or _principal(entry) is not None:
        return None
    return Subject(f"address:{entry.address}")


def _account(entry: Entry) -> Subject | None:
    return Subject(f"account:{entry.entity_ids[0]}", entry.user_id) if entry.entity_ids else None


def _device(entry: Entry) -> Subject | None:
    if entry.device_id is None:
        return None
    person = Subject(f"device:{entry.device_id}", entry.user_id, entry.membership_id)
    return replace(person, device_id=entry.device_id)


def _column(entry: Entry) -> Subject | None:
    return Subject(f"column:{entry.entity}.{entry.field}")


def _organization(_: Entry) -> Subject | None:
    return Subject(ORGANIZATION_KEY)


def _request(_: Entry) -> Subject | None:
    # No entry tells of what was not done.
    return None


_SUBJECTS: Final[dict[Whom, Callable[[Entry], Subject | None]]] = {
    Whom.PRINCIPAL: _principal,
    Whom.ADDRESS: _address,
    Whom.ACCOUNT: _account,
    Whom.DEVICE: _device,
    Whom.COLUMN: _column,
    Whom.REQUEST: _request,
    Whom.ORGANIZATION: _organization,
}

_COLUMNS: Final = tuple(column for entity in entities() for column in entity.columns.values())
_SEALED: Final = frozenset((column.entity, column.name) for column in _COLUMNS if column.is_sealed)
_PERSONAL: Final = frozenset(
    (column.entity, column.name) for column in _COLUMNS if column.classification is Classification.PERSONAL
)
_REFUSED: Final = frozenset({Code.FORBIDDEN, Code.NOT_FOUND})
_ROLES: Final = frozenset(
    {
        Action.INVITATION_CREATE,
        Action.INVITATION_RESEND,
        Action.MEMBERSHIP_ASSIGN,
        Action.MEMBERSHIP_REMOVE,
        Action.PROJECT_MEMBERSHIP_ASSIGN,
        Action.PROJECT_MEMBERSHIP_REMOVE,
        Action.ROLE_CREATE,
        Action.ROLE_DELETE,
        Action.ROLE_UPDATE,
        Action.SERVICE_ACCOUNT_CREATE,
    }
)

SEALING_BEHIND: Final = Rule(
    "sealing_behind",
    IncidentSeverity.CRITICAL,
    "The oldest entry that is not sealed is older than this many seconds, in any organization, and grows older still.",
    Whom.ORGANIZATION,
    pattern=None,
    threshold="sealing_lag_s",
)

BACKUP_BEHIND: Final = Rule(
    "backup_behind",
    IncidentSeverity.HIGH,
    "The newest backup is older than this many hours.",
    Whom.ORGANIZATION,
    pattern=None,
    threshold="backup_age_h",
)
BACKUP_KEPT_TOO_LONG: Final = Rule(
    "backup_kept_too_long",
    IncidentSeverity.HIGH,
    "A backup is older than this many days, and holds keys that were destroyed since: erasure does not reach it.",
    Whom.ORGANIZATION,
    pattern=None,
    threshold="backup_kept_days",
)
ARCHIVING_BEHIND: Final = Rule(
    "archiving_behind",
    IncidentSeverity.CRITICAL,
    "WAL waits to be archived, and none was for this many seconds: what is written meanwhile is in no backup.",
    Whom.ORGANIZATION,
    pattern=None,
    threshold="archiving_lag_s",
)
RETENTION_BEHIND: Final = Rule(
    "retention_behind",
    IncidentSeverity.HIGH,
    "Data whose period is over are not deleted: no run of the type began for three days, or one stands still for one.",
    Whom.ORGANIZATION,
    pattern=None,
)
ERASURE_DUE: Final = Rule(
    "erasure_due",
    IncidentSeverity.HIGH,
    "An erasure has to be done within a week, and is not; or it can be confirmed for a week only, and nobody did.",
    Whom.REQUEST,
    pattern=None,
)
ERASURE_OVERDUE: Final = Rule(
    "erasure_overdue",
    IncidentSeverity.CRITICAL,
    "An erasure that was asked for more than 30 days ago, and was confirmed, is not done.",
    Whom.REQUEST,
    pattern=None,
)

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "refresh_reuse",
        IncidentSeverity.HIGH,
        "A refresh token was used a second time: one of the two who used it stole it. The session is ended already.",
        Whom.PRINCIPAL,
        Pattern(EntryKind.ATTEMPT, Outcome.DENIED, error_codes=frozenset({ReusedTokenError.noted or ""})),
    ),
    Rule(
        "blocked_device",
        IncidentSeverity.HIGH,
        "Somebody signs in, refreshes or asks for something on a device that was blocked.",
        Whom.DEVICE,
        Pattern(EntryKind.ATTEMPT, Outcome.DENIED, error_codes=frozenset({BlockedDeviceError.noted or ""})),
    ),
    Rule(
        "cloned_passkey",
        IncidentSeverity.HIGH,
        "A passkey said a count that it was past already: there are two of it, and one may be somebody else's.",
        Whom.PRINCIPAL,
        Pattern(EntryKind.ATTEMPT, Outcome.DENIED, error_codes=frozenset({ClonedPasskeyError.noted or ""})),
    ),
    Rule(
        "device_proofs",
        IncidentSeverity.HIGH,
        "A good refresh token of a device comes again and again without the proof of the device's key: it was stolen.",
        Whom.DEVICE,
        Pattern(
            EntryKind.ATTEMPT,
            Outcome.DENIED,
            actions=frozenset({Action.SESSION_REFRESH}),
            error_codes=frozenset({DeviceProofError.noted or "", MissingProofError.noted or ""}),
        ),
        threshold="device_proofs",
        window=timedelta(hours=1),
    ),
    Rule(
        "sign_in_failures",
        IncidentSeverity.HIGH,
        "Sign-ins to one account are refused again and again, from wherever.",
        Whom.ACCOUNT,
        Pattern(
            EntryKind.ATTEMPT,
            Outcome.DENIED,
            actions=frozenset({Action.SESSION_SIGN_IN}),
            entity=entity_of(User).name,
        ),
        threshold="sign_in_failures",
        window=timedelta(minutes=15),
    ),
    Rule(
        "denials",
        IncidentSeverity.MEDIUM,
        "One person or program is refused again and again for want of a permission, or asks for what it does not see.",
        Whom.PRINCIPAL,
        Pattern(EntryKind.ATTEMPT, Outcome.DENIED, error_codes=_REFUSED),
        threshold="denials",
        window=timedelta(minutes=10),
    ),
    Rule(
        "denials_from_address",
        IncidentSeverity.MEDIUM,
        "Requests from one address that nobody is signed in to are refused again and again.",
        Whom.ADDRESS,
        Pattern(EntryKind.ATTEMPT, Outcome.DENIED),
        threshold="denials_from_address",
        window=timedelta(minutes=10),
    ),
    Rule(
        "role_escalation",
        IncidentSeverity.HIGH,
        "One person or program tries to give, take or define roles, or to make programs, and may not.",
        Whom.PRINCIPAL,
        Pattern(EntryKind.ATTEMPT, Outcome.DENIED, actions=_ROLES, error_codes=_REFUSED),
        threshold="role_denials",
        window=timedelta(hours=1),
    ),
    Rule(
        "mass_read",
        IncidentSeverity.HIGH,
        "One person or program reads personal values of very many different rows.",
        Whom.PRINCIPAL,
        Pattern(EntryKind.READ, Outcome.DONE, actions=frozenset({Action.FIELD_READ}), columns=frozenset(_PERSONAL)),
        threshold="personal_rows",
        window=timedelta(hours=1),
        measure=Measure.ROWS,
    ),
    Rule(
        "failed_decryption",
        IncidentSeverity.CRITICAL,
        "A stored value does not open in its place: it was moved, swapped or changed behind the service's back.",
        Whom.COLUMN,
        Pattern(EntryKind.ATTEMPT, Outcome.FAILED, error_codes=frozenset({Code.INTERNAL}), columns=frozenset(_SEALED)),
    ),
    Rule(
        "verification_failure",
        IncidentSeverity.CRITICAL,
        "The trail does not verify, or could not be sealed.",
        Whom.ORGANIZATION,
        Pattern(EntryKind.ATTEMPT, Outcome.FAILED, actions=frozenset({"audit.verify", "audit.seal"})),
    ),
    SEALING_BEHIND,
    BACKUP_BEHIND,
    BACKUP_KEPT_TOO_LONG,
    ARCHIVING_BEHIND,
    Rule(
        "retention_failure",
        IncidentSeverity.HIGH,
        "A run that deletes data whose period is over failed.",
        Whom.ORGANIZATION,
        Pattern(EntryKind.ATTEMPT, Outcome.FAILED, actions=frozenset({Action.RETENTION_RUN})),
    ),
    RETENTION_BEHIND,
    ERASURE_DUE,
    ERASURE_OVERDUE,
)

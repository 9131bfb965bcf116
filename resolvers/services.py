"""What use cases need of the outside, built once by the composition root and handed down."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

from auth.errors import RateLimitedError
from auth.password import Passwords
from auth.token import VerifiedTokens
from models.encryption.destruction import DestructionLog
from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore
from models.encryption.signing import SigningKeys
from models.tracing import Tracing
from resolvers.allowance import Allowances, Quota
from resolvers.entry_writer import EntryWriter
from resolvers.flood import Floodgate
from resolvers.mailer import MailRoute
from resolvers.meter import Meter
from resolvers.relying_party import RelyingParty
from resolvers.sealing import Sealer
from resolvers.stale_reads import StaleReads
from resolvers.standing import session_states, token_states
from resolvers.state_batch import StateBatches
from resolvers.token_use import TokenUses

P = ParamSpec("P")
T = TypeVar("T")


class Hashing:
    """Runs password hashing in threads, few at once: each takes the memory that Argon2id is given.

    Raises `RateLimitedError` when too many wait already, so that a flood of sign-ins or signatures can't pile up.
    """

    def __init__(self, *, at_once: int = 2, most_waiting: int = 64) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._most_waiting = most_waiting

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the work returns, when its turn has come."""
        if self._waiting >= self._most_waiting:
            raise RateLimitedError("Too many passwords are being checked at once. Try again in a moment.")
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work, *args, **kwargs)
        finally:
            self._waiting -= 1


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long sign-ins last, the defaults as NIST SP 800-63B-4 bounds them for two factors (section 2.2.3).

    access_lifetime: of an access token, five minutes at most. session_lifetime: of a session, used or not.
    session_idle: how long it may rest. device_lifetime, device_idle: of one on an enrolled device, which proves its key
        each time. fresh_for: for how long an identity that was proved is fresh enough for what asks for that.
    """

    issuer: str
    audience: str
    access_lifetime: timedelta = timedelta(minutes=5)
    session_lifetime: timedelta = timedelta(hours=12)
    session_idle: timedelta = timedelta(hours=1)
    device_lifetime: timedelta = timedelta(days=14)
    device_idle: timedelta = timedelta(days=3)
    fresh_for: timedelta = timedelta(minutes=15)


def _leave_asleep(_: str) -> None:
    """Wake nothing: where there is no background, its jobs find their work by themselves in the next one."""


@dataclass(frozen=True, slots=True)
class Services:
    """Keys, passwords, tokens, the clock and who seals the trail, and what requests of the same moment do together.

    mail: how letters to people leave; None where no such way is set up.
    wake_afterwards: has a background job, by its name, look for work when the running task has ended.
    public_url: where people reach the service, where that is set: for links.
    enforces_limits: whether an operation that asks for too much is refused, or only noted in the log.
    allowances: how much each caller may ask for in a while.
    import_limit: bytes of the largest file that is imported.
    stale_reads: what may be answered from standbys.
    erasure_grace: how long an erasure that was confirmed can be taken back.
    operation_timeout_s: seconds that an operation may take in all.
    meter: what is counted of requests. tracing: what makes spans; None where nothing is traced.
    """

    keyring: Keyring
    keystore: KeyStore
    destructions: DestructionLog
    passwords: Passwords
    signing_keys: SigningKeys
    sealer: Sealer
    sessions: SessionPolicy
    relying_party: RelyingParty
    clock: Callable[[], datetime]
    hashing: Hashing = field(default_factory=Hashing)
    floodgate: Floodgate = field(default_factory=Floodgate)
    entries: EntryWriter = field(default_factory=EntryWriter)
    verified: VerifiedTokens = field(default_factory=VerifiedTokens)
    session_states: StateBatches = field(default_factory=lambda: StateBatches(session_states))
    token_states: StateBatches = field(default_factory=lambda: StateBatches(token_states))
    mail: MailRoute | None = None
    token_uses: TokenUses = field(default_factory=TokenUses)
    wake_afterwards: Callable[[str], None] = _leave_asleep
    public_url: str | None = None
    enforces_limits: bool = True
    allowances: Allowances = field(default_factory=lambda: Allowances(Quota(None, None), Quota(None, None)))
    import_limit: int = 2047 * 1024**2
    stale_reads: StaleReads = field(default_factory=StaleReads)
    erasure_grace: timedelta = timedelta(days=7)
    operation_timeout_s: float = 30.0
    meter: Meter = field(default_factory=Meter)
    tracing: Tracing | None = None

"""The keys that sign access tokens: data keys of the installation, which all of its processes share, and which rotate.

The keystore says which there are. The private half of each is derived from its data key at every signature, and is in
memory no longer than that is; public halves are, so that a token is verified without I/O.

Which one signs follows from the keys' ages by the keystore's clock alone, so that no process has to tell another. A new
key is published `PUBLISHED_S` before it signs: each process has looked since, or does not sign. A key that was replaced
signs until then, and verifies until the last token that it may have signed has run out. After that it is not published
any more, and the schedule destroys it.

Standards: RFC 8037 (Ed25519 in JOSE), NIST SP 800-57 part 1 (periods of signing and of verifying).
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from tortoise.exceptions import OperationalError

from auth.token import LONGEST_LIFETIME_S, PublicKey, SigningKey
from models.encryption.envelope import DataKey
from models.encryption.keyring import UNWRAPPABLE, Keyring, load_each
from models.encryption.keystore import AgedKey, KeyStore
from models.encryption.owner import SYSTEM_SIGNING
from models.errors import SealedError, UnavailableError

log = structlog.get_logger()

PUBLISHED_S: Final = 120.0
"""Seconds for which a new key is published before it signs; who has not looked for so long does not sign either."""
SLACK_S: Final = 60.0
"""Seconds for what clocks of machines differ by, and for what a signature takes on its way."""
VERIFIES_S: Final = PUBLISHED_S + LONGEST_LIFETIME_S + SLACK_S
"""Seconds for which a key verifies after it was replaced."""
LOOK_EVERY_S: Final = 30.0
"""Seconds between two looks which keys there are, where nobody says that something changed."""
LEARN_EVERY_S: Final = 5.0
"""Seconds between two looks for the sake of tokens whose key is not known: anybody can make such a token up."""
RETRY_S: Final = 2.0
"""Seconds for which it is not tried again after the keystore or the key provider did not answer."""

_SEED: Final = b"access token signature"
_AWAY: Final = "The keys of access tokens can't be had at the moment. Try again later."


@dataclass(frozen=True, slots=True)
class _Known:
    """A key as the newest look found it; moments by the process's own clock.

    signs_from: since when it may sign. signs_until, verifies_until: infinite for the current one.
    """

    data_key_id: UUID
    public: PublicKey
    signs_from: float
    signs_until: float
    verifies_until: float


class SigningKeys:
    """The keys of access tokens, as this process knows them.

    clock: seconds that never go back.
    """

    def __init__(self, keyring: Keyring, store: KeyStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._keyring = keyring
        self._store = store
        self._clock = clock
        self._known: Sequence[tuple[str, _Known]] = ()
        self._publics: dict[UUID, tuple[str, PublicKey]] = {}
        self._verifying: Mapping[str, PublicKey] = {}
        self._verifying_until = math.inf
        self._looked_at = -math.inf
        self._failed_at = -math.inf
        self._learned_at = -math.inf
        self._is_due = False
        self._looking = asyncio.Lock()

    @property
    def verifying(self) -> Mapping[str, PublicKey]:
        """The public halves that tokens are verified by, by id. Those whose time has ended are not among them."""
        if self._clock() >= self._verifying_until:
            self._note(self._known)
        return self._verifying

    async def signer(self) -> SigningKey:
        """Return the key that signs now. To be used at once, and not kept.

        Raises:
            UnavailableError: the keystore or the key provider is away.
        """
        if self._clock() - self._looked_at >= PUBLISHED_S:
            await self.look()
        for _ in range(2):
            chosen = self._chosen()
            await self._keyring.load_ids([chosen])
            try:
                return _signing_key(self._keyring.get(chosen))
            except SealedError:
                # It was destroyed since the last look.
                await self.look()
        raise UnavailableError(_AWAY)

    async def published(self) -> Sequence[PublicKey]:
        """Return the public halves that verify, the newest in front.

        Raises:
            UnavailableError: they were never had, and can't be had now.
        """
        if self._looked_at == -math.inf:
            await self.look()
        verifying = self.verifying
        return [verifying[key_id] for key_id, _ in self._known if key_id in verifying]

    async def learn(self, key_id: str) -> bool:
        """Return whether a key that a token names verifies, after another look if there was none just before.

        However many unknown keys are named, there is one look in `LEARN_EVERY_S`.

        Raises:
            UnavailableError: the keys were never had, and can't be had now.
        """
        if self._looked_at == -math.inf:
            await self.look()
        elif self._looking.locked():
            async with self._looking:
                pass  # What is under way may bring it.
        elif key_id not in self.verifying and self._clock() - self._learned_at >= LEARN_EVERY_S:
            self._learned_at = self._clock()
            await self.look()
        return key_id in self.verifying

    def hear(self, key_id: UUID) -> None:
        """Have the next `keep` look, if the data key that ended is one of these, or was."""
        self._is_due |= key_id in self._publics

    async def keep(self) -> None:
        """Look if it is time to. To be called every few seconds. Where keys can't be had, what is known serves on."""
        if not self._is_due and self._clock() - self._looked_at < LOOK_EVERY_S:
            return
        try:
            await self.look()
        except UnavailableError as error:
            log.warning("signing_keys_not_renewed", failure=type(error.__cause__ or error).__name__)

    async def look(self) -> None:
        """Ask the keystore which keys there are. The installation's first one is made.

        Raises:
            UnavailableError: the keystore or the key provider is away, or was a moment ago.
        """
        asked_at = self._clock()
        async with self._looking:
            if self._looked_at > asked_at:
                return  # Somebody else's began since.
            if self._clock() - self._failed_at < RETRY_S:
                raise UnavailableError(_AWAY)
            self._is_due = False
            at = self._clock()
            try:
                found = await self._found()
            except (UnavailableError, OperationalError, *UNWRAPPABLE) as error:
                # The second is that of a keystore that has no schema yet.
                self._failed_at = self._clock()
                raise UnavailableError(_AWAY) from error
            self._looked_at = at
            self._note(_judged(found, self._publics, at))

    async def _found(self) -> Sequence[AgedKey]:
        """Return the keys that there are, with each one's public half known as far as it unwraps."""
        found = await self._store.signing()
        if all(one.retired_for_s is not None for one in found):
            # What is in memory as the current one was replaced, and no word of it came.
            self._keyring.forget([SYSTEM_SIGNING])
            await self._keyring.load([SYSTEM_SIGNING])
            found = await self._store.signing()
        found = [one for one in found if (one.retired_for_s or 0) < VERIFIES_S]
        new = [one.stored.id for one in found if one.stored.id not in self._publics]
        broken = await load_each(self._keyring.load_ids, new)
        for key_id, why in broken.items():
            log.error("signing_key_does_not_open", key_id=str(key_id), failure=type(why).__name__)
        publics = {one.stored.id: self._publics[one.stored.id] for one in found if one.stored.id in self._publics}
        for key_id in new:
            if self._keyring.has(key_id):
                signing = _signing_key(self._keyring.get(key_id))
                publics[key_id] = signing.id, signing.public
        self._publics = publics
        return found

    def _chosen(self) -> UUID:
        """Return which data key signs now: the newest that is published long enough, or else the oldest."""
        now = self._clock()
        able = [one for _, one in self._known if now < one.signs_until]
        for one in able:
            if one.signs_from <= now:
                return one.data_key_id
        if not able:
            raise UnavailableError(_AWAY)
        return able[-1].data_key_id

    def _note(self, known: Sequence[tuple[str, _Known]]) -> None:
        now = self._clock()
        self._known = [(key_id, one) for key_id, one in known if now < one.verifies_until]
        self._verifying = {key_id: one.public for key_id, one in self._known}
        self._verifying_until = min((one.verifies_until for _, one in self._known), default=math.inf)


def _judged(
    found: Sequence[AgedKey], publics: Mapping[UUID, tuple[str, PublicKey]], at: float
) -> Sequence[tuple[str, _Known]]:
    """Return the keys that open, with their moments. at: the process's moment just before the keystore was asked."""
    judged = []
    for one in found:
        if one.stored.id not in publics:
            continue
        key_id, public = publics[one.stored.id]
        retired_at = math.inf if one.retired_for_s is None else at - one.retired_for_s
        known = _Known(
            data_key_id=one.stored.id,
            public=public,
            signs_from=at - one.age_s + PUBLISHED_S,
            # A little longer, for the moment between the end of one key and the making of the next.
            signs_until=retired_at + PUBLISHED_S + SLACK_S / 2,
            verifies_until=retired_at + VERIFIES_S,
        )
        judged.append((key_id, known))
    return judged


def _signing_key(key: DataKey) -> SigningKey:
    return SigningKey(key.derive(_SEED))

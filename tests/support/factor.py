"""Second factors of the demo's people, added through the API as they would."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pyotp

from auth.action import Action
from auth.totp import STEP_S
from fieldward.cli.environment import operator
from fieldward.demo.people import PEOPLE
from models.authenticator import Authenticator, AuthenticatorKind
from models.base import new_id
from resolvers.account import member_viewer
from resolvers.change import Change, Intent, commit_change
from tests.support.mutation import mutate
from tests.support.passkey import Passkey
from tests.support.world import Client, World

TOKENS = "accessToken refreshToken"
CHALLENGE = "challenge { token methods passkeyOptions expiresAt }"


@dataclass
class Generator:
    """An app that shows codes."""

    id: str
    secret: str
    recovery_codes: list[str] | None

    def code(self, at: datetime, *, steps: int = 0) -> str:
        """Return the code of a moment, or of so many steps from it."""
        return pyotp.TOTP(self.secret).at(at + timedelta(seconds=steps * STEP_S))


async def add_totp(world: World, key: str, *, steps: int = -1) -> Generator:
    """Add a generator of codes, confirmed by the code of the step before: that of this one is unused.

    steps: by the code of which step it is confirmed, from this one.
    """
    client = await world.client(key)
    begun = await done(client, "beginTotp", {}, "authenticatorId secret")
    left_s = STEP_S - world.services.clock().timestamp() % STEP_S
    if left_s < 1:
        # The step would be over before the code is looked at.
        await asyncio.sleep(left_s)
    generator = Generator(begun["authenticatorId"], begun["secret"], None)
    given = {"id": generator.id, "code": generator.code(world.services.clock(), steps=steps), "name": "My phone"}
    generator.recovery_codes = (await done(client, "confirmTotp", given, "recoveryCodes"))["recoveryCodes"]
    return generator


async def add_passkey(world: World, key: str, **made: Any) -> Passkey:
    """Add a passkey."""
    client, passkey = await world.client(key), a_passkey(world, **made)
    asked = await done(client, "beginPasskeyRegistration", {}, "token options")
    given = {"challenge": asked["token"], "passkey": passkey.create(asked["options"]), "name": "My key"}
    await done(client, "registerPasskey", given, "recoveryCodes")
    return passkey


def a_passkey(world: World, **made: Any) -> Passkey:
    """Return a passkey on a page of the service's own, which nobody has registered."""
    return Passkey(**{"origin": world.services.relying_party.origins[0], **made})


async def challenged(world: World, key: str) -> dict[str, Any]:
    """Return what the right password of somebody with a second factor gets."""
    answer = await world.anonymous.run(
        f"mutation($input: SignInInput!) {{ signIn(input: $input) {{ {TOKENS} {CHALLENGE} errors {{ code }} }} }}",
        {"input": world.credentials(key)},
    )
    payload: dict[str, Any] = answer.data["signIn"]
    assert payload["accessToken"] is payload["refreshToken"] is None
    found: dict[str, Any] = payload["challenge"]
    return found


async def done(client: Client, name: str, given: dict[str, Any], shown: str = "") -> Any:
    """Run a mutation that goes well, and return its payload."""
    answer = await mutate(client, name, given, shown)
    assert answer.data[name]["errors"] == [], answer.data
    return answer.data[name]


async def put_passkey(world: World, key: str, *, is_confirmed: bool) -> None:
    """Give a person of the demo a passkey, which nobody has the other half of."""
    person = next(one for one in PEOPLE if one.key == key)
    viewer = await member_viewer(person.organization, email=person.email)
    actor = replace(operator(), organization_id=viewer.organization_id, viewer=viewer)

    async def add(change: Change) -> None:
        await Authenticator.create(
            using_db=change.connection,
            id=new_id(),
            organization_id=viewer.organization_id,
            user_id=viewer.user_id,
            membership_id=viewer.membership_id,
            kind=AuthenticatorKind.PASSKEY,
            name="Key ring",
            credential=new_id().bytes,
            public_key=b"a public key",
            confirmed_at=change.at if is_confirmed else None,
            created_at=change.at,
        )

    await commit_change(Intent(action=Action.AUTHENTICATOR_ADD, actor=actor, entity="authenticator"), add)

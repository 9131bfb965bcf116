"""Second factors that people of the demo have."""

from dataclasses import replace

from auth.action import Action
from fieldward.cli.environment import operator
from fieldward.demo.people import PEOPLE
from models.authenticator import Authenticator, AuthenticatorKind
from models.base import new_id
from resolvers.account import member_viewer
from resolvers.change import Change, Intent, commit_change
from tests.support.world import World


async def a_passkey(world: World, key: str, *, is_confirmed: bool) -> None:
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

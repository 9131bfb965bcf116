"""Attacks on keys, erasures and rotations, each of which once worked or might have."""

from typing import Any
from uuid import UUID

import pytest

from auth.errors import UnauthenticatedError
from auth.principal import Channel, Origin
from auth.role import OrganizationRole
from auth.token import AccessClaims
from fieldward.cli.environment import operator
from models.base import new_id
from models.encryption.destruction import Destruction
from models.encryption.keyring import active_keyring
from models.encryption.keystore import KeyStore
from models.encryption.owner import index_owner, organization_owner, person_owner, subject_owner
from models.inventory import entity_named
from models.searching import index_of
from resolvers import erasure
from resolvers.account import NewPerson, create_person
from resolvers.collector import COLLECTOR
from resolvers.erasure import apply_erasures, erase_name, erase_person
from resolvers.key_rotation import reseal
from resolvers.session import authenticate
from tests.support.mutation import mutate
from tests.support.tampering import store
from tests.support.world import SIGN_IN, Client, World

PASSWORD = "correct horse battery staple"  # noqa: S105


async def a_person(world: World, name: str = "Bo Berg") -> tuple[UUID, str]:
    """Make a member whom no other test knows, and return their account's id and address."""
    organization_id = await world.organization_id("clearwater")
    email = f"{new_id()}@clearwater.example"
    member_id = await create_person(
        world.services,
        operator(),
        organization_id=organization_id,
        new=NewPerson(email, PASSWORD, name, OrganizationRole.MEMBER),
    )
    return await world.value("select user_id from membership where id = $1", member_id), email


async def signed_in(world: World, email: str) -> Client:
    """Return a client of a person's own."""
    answer = await world.anonymous.run(SIGN_IN, {"input": {"email": email, "password": PASSWORD}})
    return Client(world.http, answer.data["signIn"]["accessToken"])


async def test_no_key_is_made_for_who_was_erased(world: World) -> None:
    user_id, email = await a_person(world)
    client = await signed_in(world, email)
    assert (await client.run("{ viewer { role } }")).data["viewer"]
    await erase_person(world.services, operator(), email=email)

    assert (await client.run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]
    # As on a server that heard of it.
    organization_id = await world.organization_id("clearwater")
    origin = Origin(channel=Channel.API, request_id=new_id(), ip_address="192.0.2.7", user_agent="BosPhone/1")
    claims = AccessClaims(user_id=user_id, session_id=new_id(), organization_id=organization_id)
    since = await world.now()
    with pytest.raises(UnauthenticatedError):
        await authenticate(world.services, origin, claims=claims)

    # What they are refused is in the trail, without where they were.
    (entry,) = await world.entries(since=since)
    assert (entry["user_id"], entry["outcome"]) == (user_id, "DENIED")
    assert (entry["ip_address"], entry["user_agent"]) == (None, None)
    assert await world.services.keystore.keys_of([person_owner(user_id)]) == []


async def test_an_older_backup_does_not_let_in_who_was_erased(world: World) -> None:
    user_id, _ = await a_person(world)
    keys = await world.services.keystore.keys_of([person_owner(user_id)])
    # As the data are, where a backup is from before they joined the organization that comes last.
    within = (await world.organization_id("clearwater"), await world.organization_id("suncoast"))
    assert within[0] < within[1]
    one = Destruction(new_id(), await world.now(), user_id, None, within, tuple(key.id for key in keys))
    await world.services.destructions.add(one)

    await apply_erasures(world.services, operator())

    assert await world.value("select status from user_account where id = $1", user_id) == "ERASED"

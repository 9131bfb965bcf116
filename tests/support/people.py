"""Inviting people, and accepting as they do: by the link that their mail would hold."""

from typing import Any
from uuid import UUID

from auth.role import OrganizationRole
from fieldward.cli.environment import operator
from models.base import new_id
from resolvers.account import NewPerson, create_person
from resolvers.invitation_sending import make_link
from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World

NEW_PASSWORD = "ochre heron walks at dawn 42"


PASSWORD = "correct horse battery staple"
"""The password of who is made here."""


async def invite(client: Client, email: str, **given: Any) -> str:
    """Invite somebody, as a MEMBER if nothing else is said, and return the invitation's id."""
    role = {} if "customRoleId" in given else {"role": "MEMBER"}
    answer = await mutate(
        client, "inviteUser", {"email": email, "name": "Nia Nyx", **role, **given}, "invitation { id }"
    )
    assert answer.data["inviteUser"]["errors"] == [], answer.data
    return str(answer.data["inviteUser"]["invitation"]["id"])


async def link_of(world: World, invitation: str, slug: str = "clearwater") -> str:
    """Return the token that the invitation's mail holds, made as whoever sends it makes it."""
    link = await make_link(await world.organization_id(slug), UUID(invitation.removeprefix("Invitation:")))
    assert link is not None
    return link.token


async def accept(world: World, token: str, password: str = NEW_PASSWORD) -> Answer:
    """Accept an invitation, signed in as nobody."""
    return await mutate(world.anonymous, "acceptInvitation", {"token": token, "password": password}, "organization")


async def sign_in_as(world: World, email: str, password: str = NEW_PASSWORD) -> Client:
    """Return a client of somebody who joined."""
    query = "mutation($input: SignInInput!) { signIn(input: $input) { accessToken errors { message } } }"
    given = {"email": email, "password": password, "organization": "clearwater"}
    payload = (await world.anonymous.run(query, {"input": given})).data["signIn"]
    assert payload["errors"] == [], payload
    return Client(world.http, payload["accessToken"], password=password)


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

"""Everything reached: somebody is put wherever words can be, erased, and looked for with every key that is left."""

import base64
from typing import Any, Final
from uuid import UUID

import pytest

from auth.action import Action
from auth.errors import UnauthenticatedError
from auth.principal import Channel, Origin
from fieldward.cli.environment import operator
from models.base import new_id
from models.erasure_request import ErasureKind
from resolvers.account_index import email_index_of
from resolvers.change import Intent, record_attempt
from resolvers.erasure import apply_erasures, erase_name, erase_organization
from resolvers.erasure_owner import indexes_of_names
from resolvers.erasure_reach import FORGOTTEN, NOBODYS, STAYS, Reach, columns_to_hold_words, reach_of, remainders
from resolvers.trail import Actor
from tests.conftest import Template
from tests.support.erasure import done, later, of, run_erasures
from tests.support.erasure_canary import Copy, Found, found_words
from tests.support.export import ask, exporting, work
from tests.support.importing import many_rows, uploaded
from tests.support.mutation import mutate
from tests.support.people import PASSWORD, a_person, invite, sign_in_as
from tests.support.priced import fresh_process
from tests.support.world import Client, World

NAME: Final = "Quillon Vandersee-Obst"
ALIAS: Final = "Q. Vandersee"
WORD: Final = "vandersee"
ADDRESS: Final = "2001:db8:77::bad:cafe"
"""From where somebody comes."""

PLANTED_BY_HAND: Final = {("authenticator", "secret")}
"""Columns under the person's key that hold what nobody types: a canary in them would be no seed of codes."""


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys end."""
    return own_keystore


def test_of_every_column_that_can_hold_words_it_is_said_what_becomes_of_it() -> None:
    unsaid = [f"{one.entity}.{one.name}" for one in columns_to_hold_words() if reach_of(one) is None]
    assert unsaid == [], "Say in resolvers/erasure_reach.py what an erasure does to them."


def test_nothing_is_said_of_columns_that_there_are_not() -> None:
    there = {(one.entity, one.name) for one in columns_to_hold_words()}
    assert set(STAYS) <= there
    assert there >= FORGOTTEN
    assert there >= NOBODYS
    assert set(STAYS).isdisjoint(FORGOTTEN | NOBODYS)
    assert FORGOTTEN.isdisjoint(NOBODYS)


@pytest.mark.parametrize("kind", ErasureKind)
def test_a_certificate_says_what_is_left_and_why(kind: ErasureKind) -> None:
    left = list(remainders(kind))
    assert left
    assert all(one.what and one.why for one in left)
    if kind is ErasureKind.PERSON:
        assert {name for one in left for name in one.columns} == {f"{table}.{name}" for table, name in STAYS}


async def plant(world: World) -> tuple[UUID, str, Client]:
    """Have somebody leave their name wherever there is a place for it, as people do. Returns their id and address."""
    user_id, email = await a_person(world, NAME)
    member = await world.value("select id from membership where user_id = $1", user_id)
    owner = await world.client("owner")
    given = {
        "userId": f"User:{member}",
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "role": "MANAGER",
        "reason": "Joined.",
    }
    assert (await mutate(owner, "assignProjectRole", given)).data["assignProjectRole"]["errors"] == []
    world.http.headers["user-agent"] = f"{NAME}'s phone"
    client = await sign_in_as(world, email, PASSWORD)
    await _record(world, client, NAME)
    await _record(world, client, ALIAS)
    session = (await client.run("{ viewer { session { id } } }")).data["viewer"]["session"]["id"]
    await _done(client, "renameSession", {"id": session, "name": f"{NAME}'s tablet"})
    begun = (await mutate(client, "beginTotp", {}, "authenticatorId")).data["beginTotp"]
    await _done(client, "renameAuthenticator", {"id": begun["authenticatorId"], "name": f"{NAME}'s key"})
    # Refused, and so in the trail with their reason.
    await mutate(client, "createRole", {"name": "x", "level": "PROJECT", "permissions": [], "reason": f"Ask {NAME}."})
    del world.http.headers["user-agent"]
    # Asked in elsewhere, by their address, and where they are already, before that.
    await invite(await world.client("other-owner"), email, name=NAME)
    await mutate(world.anonymous, "requestPasswordReset", {"email": email})
    origin = Origin(channel=Channel.API, request_id=new_id(), ip_address=ADDRESS)
    elsewhere = Actor(await world.organization_id("clearwater"), origin, user_id=user_id)
    await record_attempt(Intent(Action.SESSION_SIGN_IN, elsewhere), UnauthenticatedError("No."))
    await _export(world, client)
    await uploaded(world, "manager", "CANAL", many_rows(1) + f'"{NAME}"\n'.encode())
    return user_id, email, client


async def _done(client: Client, name: str, given: dict[str, Any]) -> None:
    answer = await mutate(client, name, given)
    assert answer.data[name]["errors"] == [], answer.data


async def _record(world: World, client: Client, collector: str) -> None:
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "W-1",
        "collectedAt": "2026-02-03T04:05:06Z",
        "medium": "WATER",
        "collector": collector,
    }
    await _done(client, "createRecord", given)


async def _export(world: World, client: Client) -> None:
    """Have an export of theirs that is ready, and one of somebody else's that looks for them."""
    # As a collector's, a name would not be kept with what was asked for; as words it is.
    await ask(client, search=NAME)
    await ask(client)
    await work(exporting(world))
    await ask(await world.client("manager"), filter={"collector": {"eq": NAME}})


async def test_a_person_is_nowhere_any_more_and_not_after_an_older_copy_came_back(world: World) -> None:
    user_id, email, client = await plant(world)
    index = await email_index_of(email)
    request = await done(client, "requestMyErasure", {"alsoNamed": [ALIAS], "reason": f"I am {NAME}."})
    request = await done(client, "confirmErasure", of(request, password=PASSWORD))
    await run_erasures(world)
    asked = await _confirm_names(world)
    # What was asked for in an export holds the index of a name, and no name.
    (collector,) = await indexes_of_names(await world.organization_id("clearwater"), [NAME])
    words = (WORD, email, ADDRESS, base64.b64encode(collector).decode())

    before = await found_words(world, words)
    _expect_planted(before)
    copy = Copy(world)
    await copy.take()

    for one in (request, asked):
        await later(world, one, days=8)
    await run_erasures(world)

    assert await found_words(world, words) == {}
    await _expect_forgotten(world, user_id, index)

    # Data and keystore of before, which know of no erasure: the service starts.
    await copy.bring_back()
    assert (await found_words(world, words)).keys() == before.keys()
    assert await apply_erasures(world.services, operator()) > 0
    assert await found_words(world, words) == {}
    await _expect_forgotten(world, user_id, index)
    # The requests came back as ones that are confirmed: they are done again, with certificates of their own.
    await run_erasures(world)
    assert [row["status"] for row in await world.sql("select status from erasure_request")] == ["DONE", "DONE"]
    assert await found_words(world, words) == {}


async def _confirm_names(world: World) -> Any:
    """Have the owner confirm the other spellings that somebody told, and return that request."""
    owner = await world.client("owner")
    asked = await owner.run("{ erasureRequests(filter: { kind: { eq: NAME } }) { nodes { id version } } }")
    (request,) = asked.data["erasureRequests"]["nodes"]
    return await done(owner, "confirmErasure", of(request, password=owner.password))


def _expect_planted(before: Found) -> None:
    """Have a column fail that nobody put the person into."""
    wanted = {
        (one.entity, one.name)
        for one in columns_to_hold_words()
        if reach_of(one) is Reach.KEY and (one.entity, one.name) not in PLANTED_BY_HAND
    }
    missing = {f"{table}.{name}" for table, name in wanted - before.keys()}
    assert missing == set(), f"Nothing puts the person there: {missing}"
    # Nor were they put anywhere else: what stays is what people write there.
    assert before.keys() <= wanted


async def _expect_forgotten(world: World, user_id: UUID, index: bytes) -> None:
    assert await world.value("select count(*) from user_account where email_index = $1", index) == 0
    assert await world.value("select password_hash from user_account where id = $1", user_id) == "!"
    assert await world.value("select count(*) from outgoing_mail where email_index = $1", index) == 0
    assert await world.value("select count(*) from outgoing_mail where state = 'PENDING' and user_id is not null") == 0
    assert await world.value("select count(*) from authenticator where user_id = $1", user_id) == 0
    assert await world.value("select count(*) from data_export where searched_for is not null") == 0
    assert await world.value("select count(*) from invitation where status = 'PENDING'") == 0
    assert await world.value("select count(*) from import_chunk") == 0


async def test_a_name_that_has_no_account_goes_from_wherever_it_stands(world: World) -> None:
    collector = await world.client("collector")
    await _record(world, collector, NAME)
    await ask(await world.client("manager"), filter={"collector": {"eq": NAME}})
    await done(
        await world.client("admin"),
        "requestErasure",
        {"kind": "NAME", "names": [NAME], "reason": "They asked for it."},
    )
    before = await found_words(world, [WORD])
    # An export that was asked for by the name holds it by its blind index alone.
    assert set(before) == {
        ("record", "collector"),
        ("erasure_request", "named"),
    }
    copy = Copy(world)
    await copy.take()

    await erase_name(world.services, operator(), slug="clearwater", names=[NAME], reason="Asked for it.")

    assert await found_words(world, [WORD]) == {}
    await copy.bring_back()
    assert await apply_erasures(world.services, operator()) > 0
    assert await found_words(world, [WORD]) == {}


async def test_what_others_asked_to_be_exported_stays_readable(world: World, template: Template) -> None:
    await plant(world)
    manager = await world.client("manager")
    await ask(manager, filter={"siteCode": {"startsWith": "W-"}})

    await erase_name(world.services, operator(), slug="clearwater", names=[NAME, ALIAS], reason="Asked for it.")

    async with fresh_process(world, template) as http:
        shown = await Client(http, manager.token).run("{ exports(first: 10) { nodes { filter } } }")
    filters = [node["filter"] for node in shown.data["exports"]["nodes"]]
    assert '{"siteCode":{"startsWith":"W-"}}' in filters
    assert not any(WORD in (one or "").casefold() for one in filters)


async def test_nothing_that_an_organization_sealed_opens_any_more(world: World) -> None:
    await plant(world)
    await erase_organization(world.services, operator(), slug="clearwater", reason="The contract ended.")

    left = await found_words(world, [WORD])
    # Their account is theirs, and so is where they were; who invited them is another organization.
    assert set(left) <= {
        ("membership", "name"),
        ("session", "name"),
        ("authenticator", "name"),
        ("audit_entry", "reason"),
        ("audit_entry", "user_agent"),
        ("invitation", "name"),
    }

"""Who sees which sign-ins, names them and ends them."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.browser import Browser
from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World

ME = "{ viewer { role } }"
MINE = """
query($first: Int, $after: String) { viewer { session { id } sessions(first: $first, after: $after) {
  totalCount pageInfo { hasNextPage endCursor }
  nodes { id name createdAt lastSeenAt authenticatedAt idleExpiresAt expiresAt factors isCurrent user { id }
    device { id } } } } }
"""
THEIRS = "query($id: ID!) { user(id: $id) { sessions { totalCount nodes { id name user { id } } } } }"
OTHERS = "mutation { revokeOtherSessions { revoked errors { code } } }"
REFRESH = "mutation($t: String!) { refreshSession(input: {refreshToken: $t}) { accessToken refreshToken } }"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


async def signed_in(world: World, key: str, **more: Any) -> Client:
    """Return a client of a sign-in of its own."""
    payload = (await world.sign_in(key, **more)).data["signIn"]
    return Client(world.http, payload["accessToken"], password=world.password(key))


async def id_of(client: Client) -> str:
    """Return the id of the client's sign-in."""
    return str((await client.run("{ viewer { session { id } } }")).data["viewer"]["session"]["id"])


async def test_everyone_sees_their_own_sign_ins_and_which_one_asks(world: World) -> None:
    laptop = await signed_in(world, "viewer", clientName="The laptop at the river")
    browser = Browser(world.http)
    await browser.sign_in(world, "viewer")
    await world.client("collector")

    found = (await laptop.run(MINE)).data["viewer"]

    assert [one["isCurrent"] for one in found["sessions"]["nodes"]] == [False, True]
    by_cookie, own = found["sessions"]["nodes"]
    assert own["id"] == found["session"]["id"]
    assert own["name"] == "The laptop at the river"
    assert own["factors"] == by_cookie["factors"] == ["PASSWORD"]
    assert own["device"] is None
    assert own["lastSeenAt"] is None
    assert own["createdAt"] == own["authenticatedAt"] < own["idleExpiresAt"] < own["expiresAt"]
    assert {one["user"]["id"] for one in found["sessions"]["nodes"]} == {f"User:{await world.member_id('viewer')}"}


async def test_a_sign_in_without_a_name_is_called_by_its_browser(world: World) -> None:
    browser = Browser(world.http)
    given = {"email": world.email("viewer"), "password": world.password("viewer"), "delivery": "COOKIE"}
    sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { errors { code } } }"
    await browser.run(sign_in, {"input": given}, user_agent=FIREFOX)

    found = (await browser.run(MINE)).data["viewer"]["sessions"]["nodes"]

    assert [one["name"] for one in found] == ["Firefox on Linux"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 201])
async def test_what_can_be_no_name_opens_no_session(world: World, name: str) -> None:
    since = await world.now()

    answer = await world.sign_in("viewer", clientName=name)

    assert [(one["code"], one["field"]) for one in answer.data["signIn"]["errors"]] == [
        ("INVALID_INPUT", ["input", "clientName"])
    ]
    assert await world.value("select count(*) from session where created_at > $1", since) == 0


async def test_a_refresh_is_when_it_was_last_seen(world: World) -> None:
    payload = (await world.sign_in("viewer")).data["signIn"]
    refreshed = (await world.anonymous.run(REFRESH, {"t": payload["refreshToken"]})).data["refreshSession"]

    found = (await Client(world.http, refreshed["accessToken"]).run(MINE)).data["viewer"]["sessions"]["nodes"]

    assert found[0]["lastSeenAt"] > found[0]["createdAt"]


async def test_sign_ins_come_in_pages(world: World) -> None:
    clients = [await signed_in(world, "viewer") for _ in range(3)]
    seen: list[str] = []
    after = None

    for page in range(2):
        found = (await clients[0].run(MINE, {"first": 2, "after": after})).data["viewer"]["sessions"]
        seen += [one["id"] for one in found["nodes"]]
        after = found["pageInfo"]["endCursor"]
        assert found["totalCount"] == 3
        assert found["pageInfo"]["hasNextPage"] is (page == 0)

    assert seen == [await id_of(client) for client in reversed(clients)]


async def test_a_sign_in_that_is_over_is_not_listed(world: World) -> None:
    clients = [await signed_in(world, "viewer") for _ in range(4)]
    ids = [await id_of(client) for client in clients]
    await mutate(clients[0], "revokeSession", {"id": ids[1]})
    await _move(world, ids[2], "idle_expires_at")
    await _move(world, ids[3], "expires_at")

    found = (await clients[0].run(MINE)).data["viewer"]["sessions"]

    assert [one["id"] for one in found["nodes"]] == [ids[0]]
    assert found["totalCount"] == 1


@pytest.mark.parametrize("who", ["owner", "admin", "auditor"])
async def test_who_sees_all_people_sees_their_sign_ins(world: World, who: str) -> None:
    person = await signed_in(world, "viewer", clientName="The tablet")
    user = f"User:{await world.member_id('viewer')}"

    found = (await (await world.client(who)).run(THEIRS, {"id": user})).data["user"]["sessions"]

    assert {"id": await id_of(person), "name": "The tablet", "user": {"id": user}} in found["nodes"]


@pytest.mark.parametrize("who", ["manager", "collector", "reviewer", "outsider"])
async def test_who_does_not_finds_no_sign_in_of_another(world: World, who: str) -> None:
    person = await signed_in(world, "viewer")
    session, user = await id_of(person), f"User:{await world.member_id('viewer')}"
    client = await (_outsider(world) if who == "outsider" else world.client(who))

    by_id = await client.run("query($id: ID!) { node(id: $id) { id } }", {"id": session})
    by_person = await client.run(THEIRS, {"id": user})

    assert by_id.data == {"node": None}
    assert by_person.data == {"user": None}


async def test_a_name_is_given_by_whose_sign_in_it_is(world: World) -> None:
    person = await signed_in(world, "viewer")
    session = await id_of(person)

    answer = await mutate(person, "renameSession", {"id": session, "name": "Office"}, "session { name }")

    assert answer.data["renameSession"] == {"session": {"name": "Office"}, "errors": []}
    dump = await world.value("select string_agg(t::text, '') from session t")
    assert "Office" not in dump


@pytest.mark.parametrize(("who", "code"), [("owner", "FORBIDDEN"), ("manager", "NOT_FOUND"), ("outsider", "NOT_FOUND")])
async def test_nobody_else_gives_it_one(world: World, who: str, code: str) -> None:
    person = await signed_in(world, "viewer")
    session = await id_of(person)
    client = await (_outsider(world) if who == "outsider" else world.client(who))
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(client, "renameSession", {"id": session, "name": "Mine now"})

    assert [one["code"] for one in answer.data["renameSession"]["errors"]] == [code]
    assert await world.fingerprint() == before
    assert await _attempts(world, since) == [("session.rename", "DENIED", code)]


async def test_ending_ones_own_sign_in_ends_it_at_once(world: World) -> None:
    phone = (await world.sign_in("viewer")).data["signIn"]
    laptop, other = await signed_in(world, "viewer"), Client(world.http, phone["accessToken"])

    answer = await mutate(laptop, "revokeSession", {"id": await id_of(other)}, "session { revokedAt }")

    assert answer.data["revokeSession"]["errors"] == []
    assert answer.data["revokeSession"]["session"]["revokedAt"] is not None
    assert (await other.run("{ projects { nodes { code } } }")).codes == ["UNAUTHENTICATED"]
    assert (await world.anonymous.run(REFRESH, {"t": phone["refreshToken"]})).codes == ["UNAUTHENTICATED"]
    assert (await laptop.run(ME)).data == {"viewer": {"role": "MEMBER"}}


async def test_a_browser_that_ends_its_own_sign_in_forgets_the_cookie(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "viewer")
    session = (await browser.run(MINE)).data["viewer"]["session"]["id"]
    revoke = "mutation($id: ID!) { revokeSession(input: {id: $id}) { errors { code } } }"

    await browser.run(revoke, {"id": session})

    assert browser.session is None


async def test_ending_all_others_leaves_the_one_that_asks(world: World) -> None:
    clients = [await signed_in(world, "viewer") for _ in range(3)]
    browser = Browser(world.http)
    await browser.sign_in(world, "viewer")
    somebody = await world.client("collector")
    since = await world.now()

    answer = await clients[1].run(OTHERS)

    assert answer.data["revokeOtherSessions"] == {"revoked": 3, "errors": []}
    assert [(one["action"], one["outcome"]) for one in await world.entries(since=since)] == [("session.revoke", "DONE")]
    for ended in (clients[0], clients[2]):
        assert (await ended.run("{ organization { slug } }")).codes == ["UNAUTHENTICATED"]
    assert (await browser.run("{ organization { slug } }")).codes == ["UNAUTHENTICATED"]
    assert (await clients[1].run(ME)).data == {"viewer": {"role": "MEMBER"}}
    assert (await somebody.run(ME)).data == {"viewer": {"role": "MEMBER"}}


@pytest.mark.parametrize("name", ["renameSession", "revokeSession", "revokeOtherSessions"])
async def test_who_is_not_signed_in_ends_and_names_none(world: World, name: str) -> None:
    session = await id_of(await signed_in(world, "viewer"))
    before = await world.fingerprint()

    answer = await mutate(world.anonymous, name, {"id": session, "name": "x"} if "rename" in name else {"id": session})

    assert answer.codes == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before


async def test_an_admin_ends_all_sign_ins_of_a_member(world: World) -> None:
    person, admin = await signed_in(world, "viewer"), await world.client("admin")
    user = f"User:{await world.member_id('viewer')}"
    open_ones = await world.value(
        "select count(*) from session where membership_id = $1 and revoked_at is null", await world.member_id("viewer")
    )

    given = {"userId": user, "reason": "The phone was stolen."}
    answer = await mutate(admin, "revokeUserSessions", given, "revoked")

    assert answer.data["revokeUserSessions"] == {"revoked": open_ones, "errors": []}
    assert (await person.run("{ organization { slug } }")).codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize(
    ("who", "whose", "code"),
    [
        ("admin", "owner", "FORBIDDEN"),
        ("admin", "admin", "FORBIDDEN"),
        ("auditor", "viewer", "FORBIDDEN"),
        ("manager", "viewer", "NOT_FOUND"),
        ("outsider", "viewer", "NOT_FOUND"),
    ],
)
async def test_nobody_ends_those_of_who_can_do_more_or_of_another_house(
    world: World, who: str, whose: str, code: str
) -> None:
    person = await signed_in(world, whose)
    user = f"User:{await world.member_id(whose)}"
    client = await (_outsider(world) if who == "outsider" else world.client(who))
    since, before = await world.now(), await world.fingerprint()

    answers: list[Answer] = [await mutate(client, "revokeUserSessions", {"userId": user, "reason": "Because."})]
    if who != whose:
        answers.append(await mutate(client, "revokeSession", {"id": await id_of(person), "reason": "Because."}))

    for answer in answers:
        (payload,) = answer.data.values()
        assert [one["code"] for one in payload["errors"]] == [code]
    assert await world.fingerprint() == before
    assert await _attempts(world, since) == [("session.revoke", "DENIED", code)] * len(answers)
    assert (await person.run(ME)).data["viewer"] is not None


async def test_a_sign_in_that_was_ended_is_not_ended_again(world: World) -> None:
    laptop, other = await signed_in(world, "viewer"), await signed_in(world, "viewer")
    session = await id_of(other)
    await mutate(laptop, "revokeSession", {"id": session})

    answer = await mutate(laptop, "revokeSession", {"id": session})

    assert [one["code"] for one in answer.data["revokeSession"]["errors"]] == ["CONFLICT"]


async def test_a_program_has_no_sign_ins(world: World) -> None:
    admin = await world.client("admin")
    expires = (await world.now() + timedelta(days=1)).isoformat()
    given = {"name": "Pull", "permissions": ["PROJECT_READ"], "expiresAt": expires, "reason": "Set up."}
    created = await mutate(admin, "createServiceAccount", given, "token")
    program = Client(world.http, created.data["createServiceAccount"]["token"])

    answer = await program.run("{ viewer { session { id } sessions { nodes { id } } } }")
    revoked = await program.run(OTHERS)

    assert answer.data == {"viewer": {"session": None, "sessions": None}}
    assert [one["code"] for one in revoked.data["revokeOtherSessions"]["errors"]] == ["FORBIDDEN"]


@pytest.mark.parametrize("column", ["idle_expires_at", "expires_at"])
async def test_a_refresh_token_used_again_ends_the_family_though_its_time_is_over(world: World, column: str) -> None:
    first = (await world.sign_in("viewer")).data["signIn"]
    newest = (await world.anonymous.run(REFRESH, {"t": first["refreshToken"]})).data["refreshSession"]
    session = await id_of(Client(world.http, newest["accessToken"]))
    await _move(world, session, column)
    since = await world.now()

    reused = await world.anonymous.run(REFRESH, {"t": first["refreshToken"]})

    assert reused.codes == ["UNAUTHENTICATED"]
    assert ("session.refresh", "DENIED", "REFRESH_REUSED") in await _attempts(world, since)
    row = (await world.sql("select * from session where id = $1", _uuid(session)))[0]
    assert row["revoked_at"] is not None
    again = await world.anonymous.run(REFRESH, {"t": newest["refreshToken"]})
    assert again.codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize(
    "statement",
    [
        "update session set idle_expires_at = clock_timestamp() - interval '1 second' where id = $1",
        "update session set expires_at = clock_timestamp() - interval '1 second' where id = $1",
        "update user_account set sessions_valid_from = clock_timestamp()"
        " where id = (select user_id from session where id = $1)",
    ],
)
async def test_tokens_are_refused_after_the_times_are_over_and_after_a_password_was_changed(
    world: World, statement: str
) -> None:
    payload = (await world.sign_in("viewer")).data["signIn"]
    client = Client(world.http, payload["accessToken"])
    session = await id_of(client)
    await _tamper(world, statement, session)
    since = await world.now()

    assert (await client.run("{ organization { slug } }")).codes == ["UNAUTHENTICATED"]
    assert (await world.anonymous.run(REFRESH, {"t": payload["refreshToken"]})).codes == ["UNAUTHENTICATED"]
    assert await _attempts(world, since) == [
        ("session.authenticate", "DENIED", "UNAUTHENTICATED"),
        ("session.refresh", "DENIED", "UNAUTHENTICATED"),
    ]


async def test_a_refresh_puts_off_the_idle_end_and_not_the_absolute_one(world: World) -> None:
    payload = (await world.sign_in("viewer")).data["signIn"]
    session = await id_of(Client(world.http, payload["accessToken"]))
    await _tamper(
        world, "update session set idle_expires_at = idle_expires_at - interval '50 minutes' where id = $1", session
    )
    before = (await world.sql("select * from session where id = $1", _uuid(session)))[0]

    await world.anonymous.run(REFRESH, {"t": payload["refreshToken"]})

    after = (await world.sql("select * from session where id = $1", _uuid(session)))[0]
    assert after["idle_expires_at"] >= before["idle_expires_at"] + timedelta(minutes=49)
    assert after["expires_at"] == before["expires_at"]


def _uuid(session: str) -> str:
    return session.removeprefix("Session:")


async def _outsider(world: World) -> Client:
    """Return a client of the owner of the other organization."""
    return await world.client("other-owner")


async def _attempts(world: World, since: Any) -> list[tuple[str, str, str]]:
    found = await world.entries(since=since, kinds=["ATTEMPT"])
    return [(one["action"], one["outcome"], one["error_code"]) for one in found]


async def _move(world: World, session: str, column: str) -> None:
    await _tamper(
        world, f"update session set {column} = clock_timestamp() - interval '1 second' where id = $1", session
    )


async def _tamper(world: World, statement: str, session: str) -> None:
    for table in ("session", "user_account"):
        await world.sql(f"alter table {table} disable trigger all")
    await world.sql(statement, _uuid(session))
    for table in ("session", "user_account"):
        await world.sql(f"alter table {table} enable trigger all")

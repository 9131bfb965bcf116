"""Setting a new password by a link in a letter: for who asks, for whom an administrator asks, and for nobody else."""

from typing import Any

import pytest

from auth.principal import SYSTEM_ID
from models.base import new_id
from models.challenge import ChallengeKind
from models.searching import load_index_key
from resolvers.account_index import email_index_of
from resolvers.challenge import digest_of
from tests.support.factor import put_passkey
from tests.support.mail import send_mail, taking_mail, text_of, token_in
from tests.support.world import Answer, Client, World

REQUEST = """
mutation Ask($input: RequestPasswordResetInput!) {
  requestPasswordReset(input: $input) { errors { code message field } }
}
"""
START = """
mutation Start($input: StartPasswordResetInput!) {
  startPasswordReset(input: $input) { user { id } errors { code message field permission } }
}
"""
RESET = """
mutation Reset($input: ResetPasswordInput!) { resetPassword(input: $input) { errors { code message field } } }
"""
ME = "{ viewer { user { id } } }"
NEW = "gravel psalm otter kiln"
ADDRESS = "manager@clearwater.example"
UNKNOWN = "nobody@clearwater.example"


async def request(world: World, email: str = ADDRESS) -> Answer:
    return await world.anonymous.run(REQUEST, {"input": {"email": email}})


async def start(client: Client, user: str, reason: str = "Phone call from Mara.") -> Answer:
    return await client.run(START, {"input": {"userId": user, "reason": reason}})


async def reset(world: World, token: str, new: str = NEW) -> Answer:
    return await world.anonymous.run(RESET, {"input": {"token": token, "newPassword": new}})


async def _asked(world: World, email: str = ADDRESS) -> str:
    """Ask for a link, and return what it ends with."""
    with taking_mail(world) as box:
        await request(world, email)
        await send_mail(world)
        return token_in(box.messages[-1])


async def _user(world: World, key: str) -> str:
    return f"User:{await world.member_id(key)}"


async def _mails(world: World) -> list[Any]:
    return await world.sql("select * from outgoing_mail order by created_at")


async def _hash(world: World, key: str = "manager") -> Any:
    member = await world.member_id(key)
    return await world.value(
        "select u.password_hash from user_account u join membership m on m.user_id = u.id where m.id = $1", member
    )


async def test_a_link_sets_a_new_password_once_and_signs_nobody_in(world: World) -> None:
    client = await world.client("manager")
    token = await _asked(world)
    since = await world.now()

    answer = await reset(world, token)

    assert answer.data == {"resetPassword": {"errors": []}}
    assert (await world.sign_in("manager")).codes == ["UNAUTHENTICATED"]
    assert (await world.sign_in("manager", password=NEW)).data["signIn"]["errors"] == []
    assert (await client.run(ME)).codes == ["UNAUTHENTICATED"]
    entry = (await world.entries(since=since))[0]
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("CHANGE", "user.reset_password", "DONE")
    assert entry["organization_id"] == await world.organization_id("clearwater")
    assert entry["user_id"] is not None
    assert entry["session_id"] is None
    again = await reset(world, token, "another gravel psalm kiln")
    assert again.codes == ["UNAUTHENTICATED"]
    assert (await world.sign_in("manager", password=NEW)).data["signIn"]["errors"] == []


async def test_known_and_unknown_addresses_are_answered_alike_and_written_down_alike(world: World) -> None:
    since = await world.now()

    known, unknown = await request(world), await request(world, UNKNOWN)

    assert known.body == unknown.body == {"data": {"requestPasswordReset": {"errors": []}}}
    entries = await world.entries(since=since)
    assert len(entries) == 2
    for entry in entries:
        assert (entry["kind"], entry["action"], entry["outcome"]) == ("CHANGE", "user.request_password_reset", "DONE")
        assert entry["organization_id"] == SYSTEM_ID
        assert entry["user_id"] is None
    one, other = await _mails(world)
    assert {name for name, value in one.items() if value is None} == {
        name for name, value in other.items() if value is None
    }
    assert one["user_id"] is None
    # No address lies there, only by what an account is found.
    assert len(one["email_index"]) == len(other["email_index"]) == 16
    assert one["email_index"] == await email_index_of(ADDRESS)


async def test_an_unknown_address_gets_no_mail_and_is_forgotten(world: World) -> None:
    with taking_mail(world) as box:
        await request(world, UNKNOWN)
        await send_mail(world)

        assert box.messages == []
    [mail] = await _mails(world)
    assert (mail["state"], mail["email_index"], mail["user_id"], mail["last_error"]) == ("DROPPED", None, None, None)
    assert await world.value("select count(*) from challenge") == 0


async def test_the_mail_goes_to_the_address_of_the_account_and_not_to_the_one_that_was_typed(world: World) -> None:
    with taking_mail(world) as box:
        await request(world, "  MANAGER@Clearwater.example ")
        await send_mail(world)

        assert box.recipients == [[ADDRESS]]
    [mail] = await _mails(world)
    assert (mail["state"], mail["email_index"]) == ("SENT", None)


async def test_no_token_lies_in_the_database_and_the_newest_link_counts_alone(world: World) -> None:
    first = await _asked(world)
    second = await _asked(world)

    for table in ("outgoing_mail", "challenge", "audit_entry", "change"):
        told = await world.value(f"select coalesce(string_agg(t::text, ''), '') from {table} t")
        assert first not in told
        assert first.encode().hex() not in told
    assert first != second
    before = await _hash(world)
    assert (await reset(world, first)).codes == ["UNAUTHENTICATED"]
    assert await _hash(world) == before
    assert (await reset(world, second)).data["resetPassword"]["errors"] == []


async def test_a_link_ends_after_half_an_hour(world: World) -> None:
    token = await _asked(world)
    before = await _hash(world)
    assert await world.value("select max(expires_at - created_at) = interval '30 minutes' from challenge")
    await world.sql("update challenge set expires_at = clock_timestamp() - interval '1 second'")
    since = await world.now()

    answer = await reset(world, token)

    assert answer.codes == ["UNAUTHENTICATED"]
    assert await _hash(world) == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("ATTEMPT", "user.reset_password", "DENIED")


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "\ud83d", "é" * 43, "x" * 5000])
async def test_what_is_no_token_of_ours_is_refused_and_noted(world: World, token: str) -> None:
    await _asked(world)
    before, since = await world.fingerprint(), await world.now()

    answer = await reset(world, token)

    assert answer.codes in (["UNAUTHENTICATED"], ["INVALID_INPUT"])
    assert await world.fingerprint() == before
    assert [(one["action"], one["kind"]) for one in await world.entries(since=since)] in (
        [("user.reset_password", "ATTEMPT")],
        [],
    )


async def test_a_secret_of_another_kind_resets_nothing(world: World) -> None:
    secret = "s" * 43
    await load_index_key(SYSTEM_ID)
    user_id = await world.value("select user_id from membership where id = $1", await world.member_id("manager"))
    await world.sql(
        "insert into challenge (id, kind, digest, user_id, attempts, created_at, expires_at)"
        " values ($1, 'SIGN_IN', $2, $3, 0, now(), now() + interval '1 hour')",
        new_id(),
        digest_of(ChallengeKind.SIGN_IN, secret),
        user_id,
    )
    before = await _hash(world)

    assert (await reset(world, secret)).codes == ["UNAUTHENTICATED"]

    assert await _hash(world) == before


async def test_a_password_that_may_not_be_set_leaves_the_link_as_it_is(world: World) -> None:
    token = await _asked(world)
    before, since = await _hash(world), await world.now()

    [error] = (await reset(world, token, "Mara Mann Clearwater")).data["resetPassword"]["errors"]

    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "newPassword"])
    assert await _hash(world) == before
    [entry] = await world.entries(since=since)
    assert (entry["action"], entry["outcome"], entry["error_code"]) == (
        "user.reset_password",
        "FAILED",
        "INVALID_INPUT",
    )
    assert (await reset(world, token)).data["resetPassword"]["errors"] == []


async def test_a_reset_ends_a_sign_in_that_is_half_done_and_keeps_the_second_factor(world: World) -> None:
    user_id = await world.value("select user_id from membership where id = $1", await world.member_id("manager"))
    await put_passkey(world, "manager", is_confirmed=True)
    await world.sql(
        "insert into challenge (id, kind, digest, user_id, attempts, created_at, expires_at)"
        " values ($1, 'SIGN_IN', $2, $3, 0, now(), now() + interval '1 hour')",
        new_id(),
        b"half done",
        user_id,
    )
    token = await _asked(world)

    assert (await reset(world, token, "kelp vow trio")).data["resetPassword"]["errors"] == []

    assert await world.value("select answered_at is not null from challenge where kind = 'SIGN_IN'")
    assert await world.value("select count(*) from authenticator where user_id = $1", user_id) == 1


async def test_an_administrator_starts_a_reset_and_never_sees_the_link(world: World) -> None:
    admin, user = await world.client("admin"), await _user(world, "manager")
    since = await world.now()
    with taking_mail(world) as box:
        answer = await start(admin, user)
        await send_mail(world)

        [message] = box.messages
        assert box.recipients == [[ADDRESS]]
    token = token_in(message)
    assert answer.data == {"startPasswordReset": {"user": {"id": user}, "errors": []}}
    assert token not in answer.text
    # Until the member follows it, all stays as it was.
    assert (await world.sign_in("manager")).data["signIn"]["errors"] == []
    entry = (await world.entries(since=since))[0]
    assert (entry["action"], entry["membership_id"]) == ("user.start_password_reset", await world.member_id("admin"))
    shown = await admin.run("{ auditEntries(first: 50) { nodes { action reason changes { columns { after } } } } }")
    assert token not in shown.text
    assert (await reset(world, token)).data["resetPassword"]["errors"] == []
    assert (await world.sign_in("manager", password=NEW)).data["signIn"]["errors"] == []


@pytest.mark.parametrize(
    ("who", "whom", "code"),
    [
        ("admin", "owner", "FORBIDDEN"),
        ("admin", "admin", "FORBIDDEN"),
        ("manager", "member", "NOT_FOUND"),
        ("auditor", "member", "FORBIDDEN"),
        ("other-owner", "member", "NOT_FOUND"),
    ],
)
async def test_nobody_starts_a_reset_of_who_can_do_more_of_oneself_or_of_a_stranger(
    world: World, who: str, whom: str, code: str
) -> None:
    client, user = await world.client(who), await _user(world, whom)
    before, since = await world.fingerprint(), await world.now()

    answer = await start(client, user)

    assert [error["code"] for error in answer.data["startPasswordReset"]["errors"]] == [code]
    assert await _mails(world) == []
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"], entry["error_code"]) == (
        "ATTEMPT",
        "user.start_password_reset",
        "DENIED",
        code,
    )


@pytest.mark.parametrize(("table", "column"), [("membership", "user_id"), ("user_account", "id")])
async def test_who_gets_in_nowhere_is_sent_no_link(world: World, table: str, column: str) -> None:
    user_id = await world.value("select user_id from membership where id = $1", await world.member_id("manager"))
    await world.sql(f"alter table {table} disable trigger user")
    await world.sql(f"update {table} set status = 'SUSPENDED' where {column} = $1", user_id)

    with taking_mail(world) as box:
        assert (await request(world)).data["requestPasswordReset"]["errors"] == []
        await send_mail(world)

        assert box.messages == []
    [mail] = await _mails(world)
    assert (mail["state"], mail["email_index"]) == ("DROPPED", None)


async def test_the_letter_says_what_it_is_and_how_long_the_link_works(world: World) -> None:
    with taking_mail(world) as box:
        await request(world)
        await send_mail(world)
        [message] = box.messages

    said = text_of(message)
    assert message["subject"] == "Set a new password for Fieldward"
    assert "https://fieldward.example/account#reset=" in said
    assert "within 30 minutes" in said
    assert message["message-id"].endswith("@fieldward.example>")

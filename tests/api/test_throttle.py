"""Guessing at accounts: who waits, for how long, and who does not."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from auth.errors import RateLimitedError, UnauthenticatedError
from auth.password import Passwords, Verdict
from auth.principal import Channel, Origin
from models.base import new_id
from models.errors import UnavailableError
from resolvers.account_index import account_mark, email_index_of
from resolvers.throttle import Guess, Guessing, count, forget, guessing, known_client_token
from tests.support.browser import Browser
from tests.support.world import SIGN_IN, Answer, World, json_body

FREE = 10
"""Failures of one account from one network that delay nothing."""
FREE_OF_ACCOUNT = 50
FREE_OF_NETWORK = 100
WRONG = "wrong but long enough"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What passwords were compared with."""
    seen: list[str | None] = []
    verify = Passwords.verify

    def noting(self: Passwords, encoded: str | None, password: str) -> Verdict:
        seen.append(encoded)
        return verify(self, encoded, password)

    monkeypatch.setattr(Passwords, "verify", noting)
    return seen


async def test_after_some_failures_no_password_is_looked_at_until_the_wait_is_over(
    world: World, hashed: list[str | None]
) -> None:
    for _ in range(FREE + 1):
        assert (await guess(world, "manager")).codes == ["UNAUTHENTICATED"]
    await hold(world)
    tried, since, before = len(hashed), await world.now(), await world.fingerprint()

    answer = await guess(world, "manager", password=world.password("manager"))

    error = answer.data["signIn"]["errors"][0]
    assert error["code"] == "RATE_LIMITED"
    assert 1 <= error["retryAfter"] <= 60
    assert len(hashed) == tried
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", "session.sign_in", "DENIED", "THROTTLED")
    ]
    assert entries[0]["entity_ids"] is not None
    await wait_over(world)
    assert (await guess(world, "manager", password=world.password("manager"))).data["signIn"]["errors"] == []


async def test_each_failure_more_doubles_the_wait_up_to_a_bound(world: World) -> None:
    account = await email_index_of(world.email("manager"))
    waits = []

    for _ in range(FREE + 13):
        await fail(origin("192.0.2.1"), account)
        waits.append(await world.value("select max(extract(epoch from free_at - clock_timestamp())) from throttle"))
        await wait_over(world)

    assert all(wait <= 0 for wait in waits[:FREE])
    assert [round(float(wait)) for wait in waits[FREE:]] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


async def test_a_success_takes_back_what_was_counted(world: World) -> None:
    for _ in range(FREE):
        await guess(world, "manager")

    assert (await guess(world, "manager", password=world.password("manager"))).data["signIn"]["errors"] == []

    for _ in range(FREE):
        assert (await guess(world, "manager")).codes == ["UNAUTHENTICATED"]


async def test_who_gives_the_right_password_is_never_slowed(world: World) -> None:
    for _ in range(FREE + 5):
        assert (await world.sign_in("manager")).data["signIn"]["errors"] == []

    rows = await world.sql("select failures, free_at > clock_timestamp() as waits from throttle")
    assert {(row["failures"], row["waits"]) for row in rows} == {(0, False)}


async def test_guesses_made_at_once_each_count(world: World, hashed: list[str | None]) -> None:
    answers = await asyncio.gather(*(guess(world, "manager") for _ in range(FREE + 10)))

    limited = [one for one in answers if not one.errors and one.body["data"]["signIn"]["errors"]]
    # On a slow machine a second passes while they are tried, and lets one more be looked at.
    assert FREE < len(hashed) <= FREE + 3
    assert len(limited) >= 5


async def test_an_account_that_there_is_not_is_answered_as_one_that_there_is(world: World) -> None:
    nobody = "nobody@clearwater.example"
    pairs = [(await guess(world, "manager"), await guess(world, "manager", email=nobody)) for _ in range(FREE + 1)]
    rows = await world.sql("select failures from throttle")
    await hold(world)
    refused = await guess(world, "manager"), await guess(world, "manager", email=nobody)

    for one, other in pairs:
        assert (one.status, one.body) == (other.status, other.body)
    # Of each, by account and network and by account; and what is of the network.
    assert sorted(row["failures"] for row in rows) == [11, 11, 11, 11, 22]
    told = [one.data["signIn"]["errors"][0] for one in refused]
    assert told[0].pop("retryAfter") - told[1].pop("retryAfter") in {0, 1, 2}
    assert told[0] == told[1]
    assert told[0]["code"] == "RATE_LIMITED"


async def test_somebody_elses_account_is_not_held_up_by_it(world: World) -> None:
    for _ in range(FREE + 1):
        await guess(world, "manager")
    await world.sql(
        "update throttle set free_at = clock_timestamp() + interval '1 minute'"
        " where free_at = (select max(free_at) from throttle)"
    )

    assert (await world.sign_in("manager")).data["signIn"]["errors"][0]["code"] == "RATE_LIMITED"
    assert (await world.sign_in("owner")).data["signIn"]["errors"] == []


async def test_one_network_that_tries_many_accounts_waits(world: World) -> None:
    for number in range(FREE_OF_NETWORK + 1):
        await fail(origin("192.0.2.1"), b"account %d" % number)

    with pytest.raises(RateLimitedError):
        await fail(origin("192.0.2.1"), b"another")
    await fail(origin("192.0.2.2"), b"another")


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
async def test_an_ipv6_line_is_one_network_and_an_ipv4_address_is(
    world: World, one: str, other: str, *, is_one: bool
) -> None:
    for _ in range(FREE + 1):
        await fail(origin(one), b"account")

    if is_one:
        with pytest.raises(RateLimitedError):
            await fail(origin(other), b"account")
    else:
        await fail(origin(other), b"account")


async def test_an_account_that_many_networks_try_waits_for_seconds_only(world: World) -> None:
    for number in range(FREE_OF_ACCOUNT + 40):
        await fail(origin(f"198.51.100.{number}"), b"account")
        await wait_over(world, but_say=number == FREE_OF_ACCOUNT + 39)

    with pytest.raises(RateLimitedError) as refused:
        await fail(origin("203.0.113.1"), b"account")

    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s <= 15


async def test_a_victim_gets_in_by_a_browser_that_is_known_while_the_attack_goes_on(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    assert browser.client is not None
    account = await email_index_of(world.email("manager"))
    for number in range(FREE_OF_ACCOUNT + 1):
        await fail(origin(f"198.51.100.{number}"), account)
    for _ in range(FREE + 1):
        await fail(origin("127.0.0.1"), account, again=True)
    await hold(world)
    stranger = Browser(world.http)

    assert (await stranger.sign_in(world, "manager")).data["signIn"]["errors"][0]["code"] == "RATE_LIMITED"
    assert (await browser.sign_in(world, "manager")).data["signIn"]["errors"] == []


async def test_a_program_is_known_by_the_token_that_a_sign_in_gave_it(world: World) -> None:
    sign_in = SIGN_IN.replace("refreshToken", "refreshToken clientToken")
    given = {"email": world.email("manager"), "password": world.password("manager")}
    token = (await world.anonymous.run(sign_in, {"input": given})).data["signIn"]["clientToken"]
    for _ in range(FREE + 1):
        await guess(world, "manager")
    await hold(world)
    body = json_body({"query": SIGN_IN, "variables": {"input": given}})

    assert token.startswith("fwc_")
    held_up = await world.anonymous.post(body)
    known = await world.anonymous.post(body, **{"fieldward-client": token})

    assert held_up.data["signIn"]["errors"][0]["code"] == "RATE_LIMITED"
    assert known.data["signIn"]["errors"] == []


async def test_a_known_client_that_guesses_waits_as_everybody(world: World) -> None:
    account = await email_index_of(world.email("manager"))
    token = await known_client_token(account, now=world.services.clock())

    for _ in range(FREE + 1):
        await fail(origin("192.0.2.1", token), account)
    with pytest.raises(RateLimitedError):
        await fail(origin("198.51.100.1", token), account)


@pytest.mark.parametrize("kind", ["another account's", "too old", "changed", "made up"])
async def test_a_token_of_a_known_client_is_good_for_its_account_and_time_alone(world: World, kind: str) -> None:
    account = await email_index_of(world.email("manager"))
    now = world.services.clock()
    good = await known_client_token(account, now=now)
    tokens = {
        "another account's": await known_client_token(await email_index_of(world.email("owner")), now=now),
        "too old": await known_client_token(account, now=now.replace(year=now.year - 1)),
        "changed": good[:8] + ("A" if good[8] != "A" else "B") + good[9:],
        "made up": "fwc_" + "A" * 72,
    }
    for _ in range(FREE + 1):
        await fail(origin("192.0.2.1"), account)

    with pytest.raises(RateLimitedError):
        await fail(origin("192.0.2.1", tokens[kind]), account)


async def test_failures_of_a_busy_network_are_forgotten_though_it_is_never_quiet(world: World) -> None:
    for number in range(60):
        await fail(origin("192.0.2.1"), b"account %d" % number)
    for _ in range(30):
        # 20 seconds pass, in which somebody signs in: two in three of these times a failure is forgotten.
        await world.sql("update throttle set failed_at = failed_at - interval '20 seconds'")
        async with guessing(Guess(Guessing.PASSWORD, origin("192.0.2.1"), b"somebody")):
            pass

    assert await world.value("select max(failures) from throttle") == 40


async def test_a_database_that_goes_away_during_a_guess_is_no_failure(world: World) -> None:
    for _ in range(FREE + 5):
        with pytest.raises(UnavailableError):
            async with guessing(Guess(Guessing.PASSWORD, origin("192.0.2.1"), b"account")):
                raise UnavailableError("The database does not answer. Try again.")

    assert await world.value("select max(failures) from throttle") == 0


async def test_what_is_counted_each_time_is_never_taken_back(world: World) -> None:
    guess = Guess(Guessing.RESET_REQUEST, origin("192.0.2.1"), b"account")
    for _ in range(4):
        await count(guess)

    with pytest.raises(RateLimitedError):
        await count(guess)
    await count(Guess(Guessing.RESET_REQUEST, origin("192.0.2.1"), b"another"))
    await fail(origin("192.0.2.1"), b"account")


async def test_what_is_kept_names_nobody_and_is_forgotten_after_a_day(world: World) -> None:
    account = await email_index_of(world.email("manager"))
    await fail(origin("192.0.2.1"), account)
    dump = await world.value("select string_agg(t::text, '') from throttle t")
    assert account.hex() not in dump
    assert "192.0.2.1" not in dump
    assert await forget() == 0
    await world.sql("update throttle set failed_at = failed_at - interval '25 hours'")

    assert await forget() == 3
    assert await world.value("select count(*) from throttle") == 0


async def test_a_throttled_guess_counts_towards_the_incident(world: World) -> None:
    """What the rule over the trail reads: the account's mark, in attempts to sign in that were refused."""
    for _ in range(FREE + 1):
        await guess(world, "manager")
    await hold(world)
    since = await world.now()
    for _ in range(3):
        await guess(world, "manager")

    entries = await world.entries(since=since, kinds=["ATTEMPT"])

    mark = account_mark(await email_index_of(world.email("manager")))
    assert [(one["outcome"], one["entity"], one["entity_ids"]) for one in entries] == [
        ("DENIED", "user_account", [mark])
    ] * 3


async def guess(world: World, key: str, **more: Any) -> Answer:
    """Try a wrong password of a person over HTTP, from this machine."""
    query = SIGN_IN.replace("errors { code", "errors { retryAfter code")
    given: Mapping[str, Any] = {"email": world.email(key), "password": WRONG, **more}
    return await world.anonymous.run(query, {"input": given})


def origin(address: str, token: str | None = None) -> Origin:
    """Return where a guess comes from."""
    return Origin(Channel.API, new_id(), ip_address=address, client_token=token)


async def fail(where: Origin, account: bytes, *, again: bool = False) -> None:
    """Guess wrong. again: or be told to wait."""
    try:
        async with guessing(Guess(Guessing.PASSWORD, where, account)):
            raise UnauthenticatedError("Wrong.")
    except UnauthenticatedError:
        pass
    except RateLimitedError:
        if not again:
            raise


async def hold(world: World) -> None:
    """Make each wait a minute, so that a slow machine does not let it pass."""
    await world.sql("update throttle set free_at = clock_timestamp() + interval '1 minute'")


async def wait_over(world: World, *, but_say: bool = False) -> None:
    """Let the wait be over, as if so much time had passed that nothing is forgotten in."""
    if not but_say:
        await world.sql("update throttle set free_at = clock_timestamp()")

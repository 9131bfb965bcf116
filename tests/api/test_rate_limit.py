"""How much one caller may ask for in a while, what every answer says of it, and what is answered once it is spent."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from fieldward.database import Databases
from fieldward.settings import Settings
from fieldward.web.app import build_app
from fieldward.web.limits import ANONYMOUS_LIMIT
from models.waiting import CROWDED_AFTER_S, LONGEST_WAIT_S
from resolvers.allowance import MOST_CALLERS, WINDOW_S, Allowances, OverspentError, Quota
from resolvers.flood import WRITTEN_EACH
from tests.api.test_introspection import EVERYTHING, fields_in
from tests.conftest import Template
from tests.support.world import Client, World, connect, json_body

CHEAP = "{ viewer { user { name } } }"
DEAR = "{ records(first: 100) { nodes { siteCode } } }"
POLICY = re.compile(r'"requests";q=(\d+);qu="requests";w=60, "cost";q=(\d+);qu="cost";w=60')
STATE = re.compile(r'"requests";r=(\d+);t=(\d+), "cost";r=(\d+);t=(\d+)')

DEFAULT = {name: one.default for name, one in Settings.model_fields.items() if "rate_limit_" in name}
"""The quotas as they are where nobody sets them."""

Limited = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def limited(world: World, template: Template, databases: str, keystore_database: str) -> AsyncIterator[Limited]:
    """Makes the application of the world with quotas."""
    made: list[httpx.AsyncClient] = []
    postgres = template.postgres
    reached = Databases(
        main={**postgres.service(databases).dsn_parameters()},
        keystore={**postgres.service(keystore_database).dsn_parameters()},
    )

    async def make(**quotas: int) -> httpx.AsyncClient:
        settings = template.settings.model_copy(update=quotas)
        app = build_app(settings, reached, api=world.api)
        made.append(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fieldward.test"))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def test_every_answer_says_what_is_left(world: World, limited: Limited) -> None:
    http = await limited(rate_limit_requests=100, rate_limit_cost=5000)
    owner = Client(http, (await world.client("owner")).token)

    first, second = await owner.run(CHEAP), await owner.run(DEAR)

    for answer in (first, second):
        assert POLICY.fullmatch(answer.headers["ratelimit-policy"]).groups() == ("100", "5000")  # type: ignore[union-attr]
        assert "retry-after" not in answer.headers
        left, full_s, cost, _ = map(int, STATE.fullmatch(answer.headers["ratelimit"]).groups())  # type: ignore[union-attr]
        # How much comes back while an answer is made is the machine's. Exactly, it is looked at by a clock below.
        assert 98 <= left <= 100
        assert full_s <= 2
        assert 4890 <= cost <= 5000


async def test_the_schema_is_paid_for_like_data(world: World, limited: Limited) -> None:
    http = await limited(rate_limit_requests=100, rate_limit_cost=60_000)
    owner = Client(http, (await world.client("owner")).token)

    shown, refused = await asyncio.gather(*(owner.run(EVERYTHING, extensions={"cost": True}) for _ in range(2)))

    cost = shown.body["extensions"]["cost"]["requested"]
    left = int(STATE.fullmatch(shown.headers["ratelimit"])[3])  # type: ignore[index]
    assert shown.errors == []
    assert cost == fields_in(shown.body["data"]) > 30_000
    # Some comes back while it is answered, a thousand in a second.
    assert left < 60_000 - cost / 2
    assert refused.errors[0]["extensions"]["detail"] == "QUOTA_SPENT"


async def test_many_at_once_ask_for_no_more_of_the_schema_than_the_quota_has(world: World, limited: Limited) -> None:
    quota = 10_000
    http = await limited(anonymous_rate_limit_cost=quota)
    anyone = Client(http)

    answers = await asyncio.gather(*(anyone.run(EVERYTHING) for _ in range(12)))

    shown = [one for one in answers if one.status == 200]
    cost = len(shown) and fields_in(shown[0].data)
    assert 2 <= len(shown) <= 5
    # What comes back in the seconds that it takes is a tenth of it at the most.
    assert len(shown) * cost <= quota * 1.5
    assert {one.errors[0]["extensions"]["detail"] for one in answers if one.status != 200} == {"QUOTA_SPENT"}


@pytest.mark.parametrize("who", ["nobody", "owner"])
async def test_a_tool_asks_for_all_of_the_schema_several_times_in_a_minute(
    world: World, limited: Limited, who: str
) -> None:
    http = await limited(**DEFAULT)
    client = Client(http) if who == "nobody" else Client(http, (await world.client(who)).token)

    answers = [await client.run(EVERYTHING) for _ in range(8)]

    assert [one.errors for one in answers] == [[]] * 8


async def test_what_is_counted_of_the_schema_and_refused_is_paid_for(world: World, limited: Limited) -> None:
    http = await limited(anonymous_rate_limit_cost=1_000)

    often = " ".join(f"a{i}: __schema {{ types {{ fields {{ name description }} }} }}" for i in range(30))
    answers = [await Client(http).run(f"{{ {often} }}") for _ in range(4)]

    assert [one.codes for one in answers[:2]] == [["TOO_COMPLEX"]] * 2
    assert answers[3].codes == ["RATE_LIMITED"]


UNKNOWN = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}}
KNOWN: dict[str, tuple[bytes, int]] = {
    "a document that is not known": (json_body(UNKNOWN), 200),
    "no JSON": (b"no JSON", 400),
    "a batch": (b"[]", 400),
    "no operation": (b"{}", 400),
    "an operation that there is not": (json_body({"query": CHEAP, "operationName": "Other"}), 400),
    "a text that is too long": (json_body({"query": "#" * 70_000}), 413),
    "what is not valid": (json_body({"query": "{ nope }"}), 200),
}


@pytest.mark.parametrize("name", KNOWN)
async def test_what_is_refused_once_it_is_known_who_asks_says_what_is_left(
    world: World, limited: Limited, name: str
) -> None:
    http = await limited(rate_limit_requests=100, rate_limit_cost=5000)
    body, status = KNOWN[name]

    answer = await Client(http, (await world.client("owner")).token).post(body)

    assert (answer.status, bool(answer.errors)) == (status, True)
    assert POLICY.fullmatch(answer.headers["ratelimit-policy"]).groups() == ("100", "5000")  # type: ignore[union-attr]
    assert STATE.fullmatch(answer.headers["ratelimit"])


UNASKED: dict[str, tuple[str, bytes, dict[str, str], int]] = {
    "another method": ("PUT", b"", {}, 405),
    "no JSON by its name": ("POST", json_body({"query": CHEAP}), {"content-type": "text/plain"}, 415),
    "an answer of another type": ("POST", json_body({"query": CHEAP}), {"accept": "text/html"}, 406),
    "no key": ("POST", json_body({"query": CHEAP}), {"idempotency-key": "two words"}, 400),
    "more than is read": ("POST", b" " * (ANONYMOUS_LIMIT + 1), {}, 413),
}


@pytest.mark.parametrize("name", UNASKED)
async def test_what_is_refused_before_it_is_known_who_asks_says_nothing_of_it(limited: Limited, name: str) -> None:
    http = await limited(anonymous_rate_limit_requests=100)
    method, body, headers, status = UNASKED[name]

    answer = await http.request(
        method, "/graphql", content=body, headers={"content-type": "application/json", **headers}
    )

    assert answer.status_code == status
    assert "ratelimit" not in answer.headers


async def test_who_asked_for_too_much_waits_and_nothing_is_done_meanwhile(world: World, limited: Limited) -> None:
    http = await limited(rate_limit_requests=3)
    admin = Client(http, (await world.client("admin")).token)
    create = "mutation($i: CreateProjectInput!) { createProject(input: $i) { project { id } errors { code } } }"
    for _ in range(3):
        assert (await admin.run(CHEAP)).status == 200
    count = await world.value("select count(*) from project")

    refused = await admin.run(create, {"i": {"code": "LATE", "name": "Late"}})

    assert refused.status == 429
    (error,) = refused.errors
    wait_s = int(refused.headers["retry-after"])
    assert 1 <= wait_s <= 20
    assert error["extensions"] == {"code": "RATE_LIMITED", "detail": "QUOTA_SPENT", "retryAfter": wait_s}
    assert '"requests";r=0;' in refused.headers["ratelimit"]
    assert refused.headers["cache-control"] == "no-store"
    assert await world.value("select count(*) from project") == count


async def test_what_operations_cost_is_spent_before_they_run(world: World, limited: Limited) -> None:
    http = await limited(rate_limit_cost=150)
    owner = Client(http, (await world.client("owner")).token)

    assert (await owner.run(DEAR)).status == 200
    dear, cheap = await owner.run(DEAR), await owner.run(CHEAP)

    assert (dear.status, dear.codes) == (429, ["RATE_LIMITED"])
    assert "data" not in dear.body
    assert "siteCode" not in dear.text
    assert cheap.status == 200


async def test_nobody_spends_what_is_another_ones(world: World, limited: Limited) -> None:
    http = await limited(rate_limit_requests=1, anonymous_rate_limit_requests=1)
    owner, admin = [Client(http, (await world.client(who)).token) for who in ("owner", "admin")]

    assert (await owner.run(CHEAP)).status == 200
    assert (await owner.run(CHEAP)).status == 429
    assert (await admin.run(CHEAP)).status == 200
    anonymous = Client(http)
    assert (await anonymous.run("{ __typename }")).status == 200
    assert (await anonymous.run("{ __typename }")).status == 429
    refused_token = Client(http, "nonsense")
    assert (await refused_token.run("{ __typename }")).status == 429
    token = await http.post("/oauth/token", data={"grant_type": "client_credentials"})
    assert (token.status_code, token.json()["error"]) == (429, "temporarily_unavailable")
    assert 1 <= int(token.headers["retry-after"]) <= 60


async def test_who_looks_as_another_spends_their_own(world: World, limited: Limited) -> None:
    http = await limited(rate_limit_requests=2)
    admin, collector = [Client(http, (await world.client(who)).token) for who in ("admin", "collector")]
    as_collector = {"fieldward-run-as": f"User:{await world.member_id('collector')}"}
    body = b'{"query": "{ __typename }"}'

    statuses = [(await admin.post(body, **as_collector)).status for _ in range(3)]

    assert statuses == [200, 200, 429]
    assert (await collector.run(CHEAP)).status == 200


async def test_counting_takes_no_statement(world: World, limited: Limited) -> None:
    """Refused requests are refused by memory: of many at once each is, whatever the database does."""
    http = await limited(rate_limit_requests=1)
    owner = Client(http, (await world.client("owner")).token)
    await owner.run(CHEAP)
    since = await world.now()

    with capture_logs() as logged:
        answers = await asyncio.gather(*(owner.run(CHEAP) for _ in range(30)))

    assert {one.status for one in answers} == {429}
    assert await world.entries(since=since) == []
    assert [one["event"] for one in logged] == ["quota_spent"] * WRITTEN_EACH


async def test_without_quotas_answers_say_nothing_of_them(world: World) -> None:
    answer = await (await world.client("owner")).run(CHEAP)

    assert "ratelimit" not in answer.headers
    assert "ratelimit-policy" not in answer.headers


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def spent(ask: Callable[..., None], *arguments: Any) -> int:
    with pytest.raises(OverspentError) as refused:
        ask(*arguments)
    assert refused.value.retry_after_s is not None
    return refused.value.retry_after_s


def test_a_bucket_fills_again_steadily_and_no_further_than_its_size() -> None:
    clock = Clock()
    one = Allowances(Quota(6, None), Quota(None, None), clock=clock).of_principal("a")
    for _ in range(6):
        one.ask()

    assert spent(one.ask) == 10
    clock.now += 9.9
    assert spent(one.ask) == 1
    clock.now += 0.1
    one.ask()
    assert spent(one.ask) == 10
    clock.now += 10 * WINDOW_S
    for _ in range(6):
        one.ask()
    assert spent(one.ask) == 10


def test_what_costs_more_than_all_of_a_quota_takes_all_of_it() -> None:
    clock = Clock()
    one = Allowances(Quota(None, 100), Quota(None, None), clock=clock).of_principal("a")

    one.spend(5000)

    assert spent(one.spend, 5000) == WINDOW_S
    clock.now += WINDOW_S
    one.spend(5000)


def test_what_is_given_back_is_there_again_and_never_more_than_the_quota() -> None:
    one = Allowances(Quota(None, 100), Quota(None, None), clock=Clock()).of_principal("a")
    one.spend(5000)

    one.give_back(30)
    one.spend(30)
    assert spent(one.spend, 1) == 1
    one.give_back(5000)
    one.give_back(5000)

    one.spend(100)
    assert spent(one.spend, 1) == 1


def test_the_callers_that_are_told_apart_are_bounded() -> None:
    allowances = Allowances(Quota(1, 1), Quota(1, 1), clock=Clock())
    first = allowances.of_network(b"\x7f\x00\x00\x01")
    first.ask()
    for number in range(MOST_CALLERS):
        allowances.of_network(number.to_bytes(4))

    assert len(allowances._kept) == MOST_CALLERS
    assert allowances.of_network(b"\x7f\x00\x00\x01") is not first


def test_what_is_left_is_said_in_whole_units_and_seconds() -> None:
    clock = Clock()
    one = Allowances(Quota(120, 600), Quota(None, None), clock=clock).of_principal("a")
    for _ in range(4):
        one.ask()
    one.spend(35)

    assert dict(one.headers()) == {
        b"ratelimit-policy": b'"requests";q=120;qu="requests";w=60, "cost";q=600;qu="cost";w=60',
        b"ratelimit": b'"requests";r=116;t=2, "cost";r=565;t=4',
    }
    clock.now += 1.2
    assert dict(one.headers())[b"ratelimit"] == b'"requests";r=118;t=1, "cost";r=577;t=3'


async def test_who_sends_large_texts_that_are_refused_is_soon_not_looked_at_any_more(
    world: World, limited: Limited
) -> None:
    http = await limited(rate_limit_cost=100_000)
    owner, admin = [Client(http, (await world.client(who)).token) for who in ("owner", "admin")]
    large = "{" + " ".join(f"abc{number}" for number in range(3000)) + "}"

    answers = [await owner.run(large) for _ in range(5)]

    assert [one.codes for one in answers[:3]] == [["TOO_COMPLEX"]] * 3
    assert [(one.status, one.codes) for one in answers[3:]] == [(429, ["RATE_LIMITED"])] * 2
    # What is small costs nothing but what it asks for, and nobody else pays for it.
    assert (await owner.run(CHEAP)).status == 200
    assert (await admin.run(large)).codes == ["TOO_COMPLEX"]


async def test_a_large_text_is_paid_for_once_as_long_as_it_is_kept(world: World, limited: Limited) -> None:
    http = await limited(rate_limit_cost=30_000)
    owner = Client(http, (await world.client("owner")).token)
    large = "query (" + " ".join(f"$v{number}: Int = 1" for number in range(99)) + ") { "
    large += " ".join(f"a{number}: records(first: $v{number}) {{ nodes {{ id }} }}" for number in range(99)) + " }"

    answers = [await owner.run(large) for _ in range(4)]

    assert [one.errors for one in answers] == [[]] * 4


async def test_one_caller_has_so_many_operations_at_work_and_another_ones_go_on(world: World, limited: Limited) -> None:
    http = await limited(concurrency=2)
    owner, admin = [Client(http, (await world.client(who)).token) for who in ("owner", "admin")]
    create = "mutation($i: CreateProjectInput!) { createProject(input: $i) { project { id } errors { code } } }"

    async with held(world, "project", "record"):
        running = [asyncio.create_task(owner.run(DEAR)) for _ in range(2)]
        await asyncio.sleep(0.3)
        refused = await owner.run(create, {"i": {"code": "MORE", "name": "More"}})
        began = asyncio.get_running_loop().time()
        again = await owner.run(CHEAP)
        took_s = asyncio.get_running_loop().time() - began
        others = await admin.run(CHEAP)
    done = await asyncio.gather(*running)

    assert [one.status for one in done] == [200, 200]
    assert (refused.status, again.status, others.status) == (429, 429, 200)
    (error,) = refused.errors
    assert error["extensions"] == {"code": "RATE_LIMITED", "detail": "TOO_MANY_AT_ONCE", "retryAfter": 1}
    assert refused.headers["retry-after"] == "1"
    assert "data" not in refused.body
    assert took_s < 1
    assert await world.value("select count(*) from project where code = 'MORE'") == 0
    # Whoever has waited is served: no place is lost.
    assert (await owner.run(CHEAP)).status == 200


async def test_a_network_has_so_many_at_work_without_a_sign_in(world: World, limited: Limited) -> None:
    http = await limited(anonymous_concurrency=1)
    given = {"email": "nobody@clearwater.example", "password": "x" * 20}
    sign_in = "mutation($i: SignInInput!) { signIn(input: $i) { errors { code } } }"
    owner = Client(http, (await world.client("owner")).token)

    async with held(world, "throttle"):
        guessing = asyncio.create_task(Client(http).run(sign_in, {"i": given}))
        await asyncio.sleep(0.3)
        refused = await Client(http).run("{ __typename }")
        token = await http.post(
            "/oauth/token", data={"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}
        )
        signed_in = await owner.run(CHEAP)
    await guessing

    assert (refused.status, refused.errors[0]["extensions"]["detail"]) == (429, "TOO_MANY_AT_ONCE")
    assert (token.status_code, token.json()["error"]) == (429, "temporarily_unavailable")
    assert signed_in.status == 200


async def test_an_operation_ends_when_its_time_is_over_and_holds_nothing(world: World, limited: Limited) -> None:
    http = await limited(operation_timeout_s=1)
    owner = Client(http, (await world.client("owner")).token)
    create = "mutation($i: CreateProjectInput!) { createProject(input: $i) { project { id } errors { code message } } }"
    attempts = "select count(*) from audit_entry where action = 'project.create' and kind = 'ATTEMPT'"
    before = await world.value(attempts)

    async with held(world, "project", "record"):
        began = asyncio.get_running_loop().time()
        query, mutation = await asyncio.gather(
            owner.run(DEAR), owner.run(create, {"i": {"code": "SLOW", "name": "Slow"}})
        )
        took_s = asyncio.get_running_loop().time() - began
        # Neither waits for the lock any more: what was asked was taken back from the database, too.
        await asyncio.sleep(0.2)
        waiting = await world.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")

    assert took_s < 3
    assert (query.status, query.codes) == (503, ["UNAVAILABLE"])
    assert "data" not in query.body
    assert "took too long" in query.errors[0]["message"]
    assert (mutation.status, mutation.codes) == (200, ["UNAVAILABLE"])
    assert mutation.body["data"] == {"createProject": None}
    assert waiting == 0
    assert await world.value("select count(*) from project where code = 'SLOW'") == 0
    assert await world.value(attempts) == before + 1
    assert (await owner.run(DEAR)).status == 200


@contextlib.asynccontextmanager
async def held(world: World, *tables: str) -> AsyncIterator[None]:
    """Hold up whoever reads or writes these tables, while the block runs."""
    superuser = await connect(world.superuser)
    try:
        async with superuser.transaction():
            await superuser.execute(f"lock table {', '.join(tables)} in access exclusive mode")
            yield
    finally:
        await superuser.close()


async def test_where_changes_wait_for_long_others_are_told_to_come_again(world: World, template: Template) -> None:
    """And of each organization one may wait all the same."""
    settings = template.settings
    owner, other = [await world.client(who) for who in ("owner", "other-owner")]
    create = "mutation($i: CreateProjectInput!) { createProject(input: $i) { project { id } errors { code } } }"
    two = (
        "mutation($i: CreateProjectInput!) { a: createProject(input: $i) { project { id } errors { code } }"
        " b: createProject(input: $i) { project { id } errors { code } } }"
    )
    since = await world.now()

    async with held(world, "project"):
        running = [
            asyncio.create_task(owner.run(create, {"i": {"code": f"AT-{number}", "name": "At work"}}))
            for number in range(settings.changing_pool_size + 1)
        ]
        await asyncio.sleep(CROWDED_AFTER_S + 0.5)
        began = asyncio.get_running_loop().time()
        refused = [await owner.run(text, {"i": {"code": "MORE", "name": "More"}}) for text in (create, two)]
        reading = await owner.run(CHEAP)
        took_s = asyncio.get_running_loop().time() - began
        theirs = asyncio.create_task(other.run(create, {"i": {"code": "THEIRS", "name": "Theirs"}}))
        await asyncio.sleep(0.3)
        let_in = not theirs.done()
    done = await asyncio.gather(*running, theirs)

    assert let_in
    for one in done:
        assert (one.status, one.errors, one.data["createProject"]["errors"]) == (200, [], [])
    assert (reading.status, reading.errors) == (200, [])
    assert took_s < LONGEST_WAIT_S
    for answer in refused:
        assert answer.status == 503
        (error,) = answer.errors
        assert error["message"] == "The service has too much to do. Try again in a moment. Nothing was changed."
        assert error["extensions"] == {"code": "UNAVAILABLE", "retryAfter": int(answer.headers["retry-after"])}
        assert 1 <= error["extensions"]["retryAfter"] <= 3
        assert "data" not in answer.body
    assert await world.value("select count(*) from project where code = 'MORE'") == 0
    # Nothing was tried, and the trail has no more of it than of a request that was not let in.
    assert not [one for one in await world.entries(since=since) if one["kind"] == "ATTEMPT"]
    again = await owner.run(create, {"i": {"code": "MORE", "name": "More"}})
    assert (again.status, again.data["createProject"]["errors"]) == (200, [])

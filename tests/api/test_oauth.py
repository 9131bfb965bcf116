"""OAuth 2 client credentials: what is answered (RFC 6749, 5), what a token allows, and what ends it."""

import base64
from typing import Any
from urllib.parse import quote_plus

import httpx
import jwt
import pytest

from auth.opaque_token import ServiceToken
from auth.permission import Permission as P
from fieldward.database import Databases
from fieldward.web.app import build_app
from models.base import new_id
from tests.conftest import Template
from tests.support.access import (
    Program,
    codes,
    content,
    make_program,
    names,
    permissions_of,
    program_input,
    put_into_the_past,
)
from tests.support.mutation import mutate
from tests.support.world import Client, World

BRINGS = frozenset({P.PROJECT_READ, P.RECORD_READ, P.RECORD_CREATE})
ALIVE = "{ viewer { permissions } projects { nodes { code } } }"
RECORD = {"siteCode": "W-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}
GRANT = {"grant_type": "client_credentials"}
FORM = "application/x-www-form-urlencoded"


def client_id(program: Program) -> str:
    """Return the program's id as OAuth has it."""
    return program.id.removeprefix("ServiceAccount:")


def basic(user: str, secret: str) -> dict[str, str]:
    """Return the header of HTTP Basic, as RFC 6749 encodes both parts."""
    given = f"{quote_plus(user)}:{quote_plus(secret)}".encode()
    return {"authorization": f"Basic {base64.b64encode(given).decode()}"}


async def ask(world: World, program: Program, **form: str) -> httpx.Response:
    """Ask for a token as the program."""
    return await world.http.post(
        "/oauth/token", data={**GRANT, **form}, headers=basic(client_id(program), program.token)
    )


async def granted(world: World, program: Program, **form: str) -> Client:
    """Return a client that has an access token of the program."""
    answer = await ask(world, program, **form)
    assert answer.status_code == 200, answer.text
    return Client(world.http, answer.json()["access_token"])


def is_refusal(answer: httpx.Response, code: str, status: int = 400) -> bool:
    """Return whether it is an error of RFC 6749, 5.2, in all of its form."""
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"] == "application/json"
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert set(answer.json()) == {"error", "error_description"}
    return (answer.status_code, answer.json()["error"]) == (status, code)


async def test_a_program_gets_a_token_for_five_minutes_and_is_itself_with_it(world: World) -> None:
    program = await make_program(world, BRINGS, ["CANAL"])

    answer = await ask(world, program)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    body = answer.json()
    assert {**body, "access_token": ""} == {
        "access_token": "",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "project:read record:create record:read",
    }
    # Whoever has the published keys alone verifies it.
    keys = jwt.PyJWKSet.from_dict((await world.http.get("/.well-known/jwks.json")).json())
    header = jwt.get_unverified_header(body["access_token"])
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
    said = jwt.decode(
        body["access_token"],
        keys[header["kid"]].key,
        algorithms=["EdDSA"],
        audience="fieldward-api",
        issuer=world.services.sessions.issuer,
    )
    assert said["exp"] - said["iat"] == 300
    assert (said["client_id"], said["sub"]) == (client_id(program), client_id(program))
    client = Client(world.http, body["access_token"])
    assert (await client.run(ALIVE)).data == (await program.client.run(ALIVE)).data
    since = await world.now()
    given = {"projectId": str(await world.project_id("CANAL")), **RECORD}
    assert await codes(client, "createRecord", given) == []
    (entry,) = await world.entries(since=since)
    assert (str(entry["service_account_id"]), entry["user_id"]) == (client_id(program), None)


async def test_a_program_may_send_its_secret_in_the_form(world: World) -> None:
    program = await make_program(world, BRINGS)
    form = {**GRANT, "client_id": client_id(program), "client_secret": program.token}

    answer = await world.http.post("/oauth/token", data=form)

    assert answer.status_code == 200
    assert not (await Client(world.http, answer.json()["access_token"]).run(ALIVE)).errors


async def test_a_scope_only_cuts_down(world: World) -> None:
    program = await make_program(world, BRINGS)
    project = await world.project_id("CANAL")

    answer = await ask(world, program, scope="record:read project:read")

    assert answer.json()["scope"] == "project:read record:read"
    client = Client(world.http, answer.json()["access_token"])
    assert await permissions_of(client, project) == set(names({P.PROJECT_READ, P.RECORD_READ}))
    since, before = await world.now(), await content(world)
    given = {"projectId": str(project), **RECORD}
    assert await codes(client, "createRecord", given) == ["FORBIDDEN"]
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in entries] == [("record.create", "DENIED")]
    assert await content(world) == before
    assert await codes(program.client, "createRecord", given) == []

    since = await world.now()
    for scope in ("record:read record:approve", "record:delete", "audit:read"):
        assert is_refusal(await ask(world, program, scope=scope), "invalid_scope")
    for scope in ("everything", "record:read;record:create"):
        assert is_refusal(await ask(world, program, scope=scope), "invalid_scope")
    entries = await world.entries(since=since)
    assert {(one["action"], one["outcome"]) for one in entries} == {
        ("service_account.authenticate", "DENIED"),
        ("service_account.authenticate", "FAILED"),
    }
    assert {str(one["entity_ids"][0]) for one in entries} == {client_id(program)}
    assert len(entries) == 5


WRONG: dict[str, tuple[dict[str, Any], str, int]] = {
    "no grant type": ({"data": {}}, "invalid_request", 400),
    "an empty one": ({"data": {"grant_type": ""}}, "invalid_request", 400),
    "another one": ({"data": {"grant_type": "password"}}, "unsupported_grant_type", 400),
    "a field twice": ({"content": "grant_type=client_credentials&grant_type=password"}, "invalid_request", 400),
    "no form": (
        {"content": '{"grant_type": "client_credentials"}', "type": "application/json"},
        "invalid_request",
        400,
    ),
    "no type": ({"content": "grant_type=client_credentials", "type": ""}, "invalid_request", 400),
    "nonsense": ({"content": "grant_type"}, "invalid_request", 400),
    "no text": ({"content": b"grant_type=%ff"}, "invalid_request", 400),
    "no ASCII": ({"content": "grant_type=\xe9".encode()}, "invalid_request", 400),
    "too many fields": ({"content": "&".join(f"a{n}=1" for n in range(30))}, "invalid_request", 400),
    "too large": ({"content": b"a=" + b"1" * 70_000}, "invalid_request", 413),
    "both ways at once": ({"data": {**GRANT, "client_secret": "x"}}, "invalid_request", 400),
    "two ids": ({"data": {**GRANT, "client_id": "x"}}, "invalid_request", 400),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_is_no_request_is_answered_as_one_that_is_none(world: World, wrong: str) -> None:
    program = await make_program(world, BRINGS)
    said, code, status = WRONG[wrong]
    headers = {"content-type": said.get("type", FORM), **basic(client_id(program), program.token)}
    sent = {name: value for name, value in said.items() if name != "type"}

    answer = await world.http.post("/oauth/token", headers=headers, **sent)

    assert is_refusal(answer, code, status)


async def test_a_token_is_not_given_by_an_address(world: World) -> None:
    program = await make_program(world, BRINGS)
    query = {**GRANT, "client_id": client_id(program), "client_secret": program.token}

    assert (await world.http.get("/oauth/token", params=query)).status_code == 405
    answer = await world.http.post("/oauth/token", params=query, content=b"", headers={"content-type": FORM})
    assert is_refusal(answer, "invalid_client", 401)


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic x", "Basic é", "Basic YWJj", "Bearer abc", "Basic " + base64.b64encode(b"\xff:\xff").decode()],
)
async def test_a_header_that_names_no_client_is_refused(world: World, header: str) -> None:
    answer = await world.http.post("/oauth/token", data=GRANT, headers={b"authorization": header.encode()})

    assert is_refusal(answer, "invalid_client", 401)


async def test_whoever_is_not_the_client_is_refused_alike_and_each_leaves_an_entry(world: World) -> None:
    program, other = await make_program(world, BRINGS), await make_program(world, BRINGS)
    clearwater, suncoast = [await world.organization_id(slug) for slug in ("clearwater", "suncoast")]
    known = ServiceToken.parse(program.token)
    nobody = await world.now()
    tries = {
        "another's secret": (client_id(program), other.token, clearwater),
        "a wrong secret": (client_id(program), ServiceToken.new(clearwater, known.token_id).encode(), clearwater),
        "no such token": (client_id(program), ServiceToken.new(clearwater, new_id()).encode(), None),
        "another tenant": (client_id(program), ServiceToken(suncoast, known.token_id, known.secret).encode(), None),
        "no such tenant": (client_id(program), ServiceToken.new(new_id(), new_id()).encode(), None),
        "no token": (client_id(program), "secret", None),
        "no such client": (str(new_id()), program.token, clearwater),
        "the global id": (program.id, program.token, clearwater),
    }

    answers = {}
    for name, (user, secret, organization) in tries.items():
        since = await world.now()
        answers[name] = await world.http.post("/oauth/token", data=GRANT, headers=basic(user, secret))
        (entry,) = await world.entries(since=since)
        assert (entry["kind"], entry["action"], entry["outcome"], entry["error_code"]) == (
            "ATTEMPT",
            "service_account.authenticate",
            "DENIED",
            "UNAUTHENTICATED",
        ), name
        assert entry["organization_id"].int == (organization.int if organization else 0), name

    assert all(is_refusal(answer, "invalid_client", 401) for answer in answers.values())
    assert len({answer.text for name, answer in answers.items() if name != "no token"}) == 1
    assert await world.sql("select 1 from service_account_use where used_at > $1", nobody) == []


async def test_an_access_token_ends_with_what_it_was_had_by(world: World) -> None:
    admin = await world.client("admin")
    for what in ("token", "account", "expiry", "maker"):
        program = await make_program(world, BRINGS, by="admin" if what == "maker" else "owner")
        client = await granted(world, program, scope="record:read project:read")
        assert not (await client.run(ALIVE)).errors
        if what == "token":
            token = f"ServiceAccountToken:{ServiceToken.parse(program.token).token_id}"
            assert await codes(admin, "revokeServiceAccountToken", {"id": token}) == []
        elif what == "account":
            assert await codes(admin, "revokeServiceAccount", {"id": program.id, "expectedVersion": 1}) == []
        elif what == "expiry":
            await put_into_the_past(world, "service_account_token", "expires_at", "revoked_at is null")
        else:
            await world.sql("alter table membership disable trigger user")
            await world.sql("update membership set status = 'SUSPENDED' where id = $1", await world.member_id("admin"))
        since, before = await world.now(), await content(world)

        answer = await client.run(ALIVE)

        assert answer.codes == ["UNAUTHENTICATED"] * 2
        assert answer.body["data"] == {"viewer": None, "projects": None}
        assert (await mutate(client, "createRecord", {"projectId": str(new_id()), **RECORD})).codes == [
            "UNAUTHENTICATED"
        ]
        assert is_refusal(await ask(world, program), "invalid_client", 401)
        entries = await world.entries(since=since)
        denied = [one for one in entries if one["action"] == "service_account.authenticate"]
        assert [one["outcome"] for one in denied] == ["DENIED"] * 3
        assert {str(one["entity_ids"][0]) for one in denied} == {client_id(program)}
        assert await content(world) == before


async def test_an_access_token_of_a_foreign_address_is_neither_given_nor_taken(
    world: World, template: Template
) -> None:
    given = {**program_input(BRINGS), "networks": ["192.0.2.0/24"]}
    made = await mutate(await world.client("owner"), "createServiceAccount", given, "token serviceAccount { id }")
    payload = made.data["createServiceAccount"]
    headers = basic(payload["serviceAccount"]["id"].removeprefix("ServiceAccount:"), payload["token"])
    reached = Databases({**world.service.dsn_parameters()}, {**world.keystore.dsn_parameters()})
    app = build_app(template.settings, reached, api=world.api)

    def at(address: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://fieldward.test"
        )

    async with at("192.0.2.7") as there, at("198.51.100.7") as elsewhere:
        token = (await there.post("/oauth/token", data=GRANT, headers=headers)).json()["access_token"]
        assert not (await Client(there, token).run(ALIVE)).errors
        since = await world.now()
        assert is_refusal(await elsewhere.post("/oauth/token", data=GRANT, headers=headers), "invalid_client", 401)
        assert (await Client(elsewhere, token).run(ALIVE)).codes == ["UNAUTHENTICATED"] * 2
    entries = await world.entries(since=since)
    assert [(one["outcome"], one["error_code"]) for one in entries] == [("DENIED", "FOREIGN_NETWORK")] * 2


async def test_a_secret_and_a_token_are_in_no_table_and_no_log(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    program = await make_program(world, BRINGS)
    token = (await ask(world, program)).json()["access_token"]
    await Client(world.http, token).run(ALIVE)
    await world.http.post("/oauth/token", data=GRANT, headers=basic("x", program.token))

    forms = [program.token, program.token[4:], program.token[48:88], token, token.rpartition(".")[2]]
    dumps = [*capfd.readouterr()]
    dumps += [
        await world.value(f"select coalesce(string_agg(t::text, ''), '') from {table['tablename']} t")
        for table in await world.sql("select tablename from pg_tables where schemaname = 'public'")
    ]
    for dump in dumps:
        assert not [form for form in forms if form in dump]


async def test_a_program_signs_nobody_out_and_has_no_session(world: World) -> None:
    client = await granted(world, await make_program(world, BRINGS))

    answer = await client.run("mutation { signOut { errors { code } } }")

    assert answer.data["signOut"]["errors"] == [{"code": "FORBIDDEN"}]


async def test_the_server_says_where_tokens_are_had(world: World, template: Template) -> None:
    reached = Databases({**world.service.dsn_parameters()}, {**world.keystore.dsn_parameters()})
    # Where nobody said how the service is reached, nothing is made up.
    unsaid = build_app(template.settings.model_copy(update={"public_url": None}), reached, api=world.api)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(unsaid), base_url="https://fieldward.example") as http:
        assert (await http.get("/.well-known/oauth-authorization-server")).status_code == 404
    settings = template.settings.model_copy(update={"public_url": "https://fieldward.example/"})
    app = build_app(settings, reached, api=world.api)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://fieldward.example") as http:
        answer = await http.get("/.well-known/oauth-authorization-server")
        said = answer.json()
        assert answer.headers["content-type"] == "application/json"
        assert (await http.get(said["jwks_uri"])).status_code == 200
        program = await make_program(world, BRINGS)
        got = await http.post(said["token_endpoint"], data=GRANT, headers=basic(client_id(program), program.token))

    assert said["issuer"] == "https://fieldward.example"
    assert jwt.decode(got.json()["access_token"], options={"verify_signature": False})["iss"] == said["issuer"]
    assert said["grant_types_supported"] == ["client_credentials"]
    assert said["token_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
    assert "record:read" in said["scopes_supported"]
    assert "membership:assign" not in said["scopes_supported"]

"""The stage of the sweep: a copy of the demo's database, cut to a size that is read whole, and everybody who asks.

Roles and programs are made through the API, by the owner; what the API refuses to make (grants that are over, an owner
of a program who is suspended) is written by the superuser, with an entry of the trail as every change has.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx
import jwt

from auth.role import SERVICE_ACCOUNT_LEVEL, OrganizationRole
from auth.token import LONGEST_LIFETIME_S, AccessClaims, SigningKey, issue_access_token
from fieldward.cli.environment import operator
from fieldward.demo.people import PEOPLE
from fieldward.embedded import Endpoint
from models.errors import ConflictError
from resolvers.account import NewPerson, create_person
from resolvers.incident_rule import DEFAULTS
from tests.support.device import enrolled
from tests.support.entry import insert_entry
from tests.support.export import ask, look
from tests.support.incident import incidents, look_through, refuse
from tests.support.mutation import Stage, mutate, prepare, with_import, with_invitation, with_review
from tests.support.served import Caller
from tests.support.world import Client, World, connect
from tests.sweep.principal import Names, Principal, Standing

HOME: Final = "clearwater"
FIRST, SECOND = "CANAL", "PARKS"
KEPT: Final = 12
"""Imported records kept of each project: few enough to read all of them with everything below."""

PLAIN_READS: Final = frozenset(
    {
        *("audit:read", "device:read", "membership:read", "organization:read", "project:read"),
        *("project_membership:read", "record:read", "role:read", "service_account:read"),
    }
)
LOOKS_ON: Final = PLAIN_READS | {
    *("record:create", "record:update", "record:submit", "record:review"),
    *("device:register", "project:create", "project:update", "project_membership:assign", "record:export", "site:read"),
}
"""In the organization: all that is plain, nothing that is confidential or personal; and writes all the same."""
MENDS: Final = frozenset(
    {
        *("project:read", "project_membership:read", "record:read", "record:read_personal"),
        *("record:create", "record:update", "record:submit", "record:delete"),
    }
)
"""In a project: changes records, and may not read what is noted in them."""
RECORDS: Final = frozenset(str(one) for one in SERVICE_ACCOUNT_LEVEL if one.noun == "record") | {"project:read"}
"""All of records, and nothing of imports: what it may import by it does not read, and so does not write."""
READS: Final = tuple(sorted(str(one) for one in SERVICE_ACCOUNT_LEVEL if one.is_reading))
"""What there is to read for a program: one of them for each."""

MORE_PEOPLE: Final = {
    "custom-organization": "MEMBER",
    "custom-project": "MEMBER",
    "two-projects": "MEMBER",
    "expired-organization": "ADMIN",
    "expired-project": "MEMBER",
    "suspended": "OWNER",
    "blocked": "ADMIN",
    "maker": "OWNER",
    "spare": "MEMBER",
}
PERSONS: Final = (
    *("owner", "admin", "auditor", "member", "manager", "reviewer", "collector", "viewer", "other-owner"),
    *("custom-organization", "custom-project", "two-projects", "expired-organization", "expired-project"),
)
TOKENS: Final = (*(f"token-{one}" for one in READS), "token-reads", "token-reads-project", "token-records")
OUTSIDE: Final = ("anonymous", "suspended", "blocked", "token-orphan", "token-revoked", "token-expired")
INSIDE: Final = (*PERSONS, *TOKENS)
PRINCIPALS: Final = (*INSIDE, *OUTSIDE)


@dataclass(frozen=True)
class Cast:
    """Everybody who asks, by key; and of the first organization the projects by code, and what is there to act on.

    trail_until: the end of the trail that is asked about. It grows by each question, whoever reads it too.
    """

    principals: Mapping[str, Principal]
    projects: Mapping[str, UUID]
    targets: Stage
    roles: Mapping[str, str]
    spare: UUID
    spare_sign_in: Mapping[str, str]
    organization: UUID
    superuser: Endpoint
    trail_until: datetime


async def set_the_stage(world: World, calls: httpx.Client) -> Cast:
    """Make everybody, and everything that they will ask for.

    world: whose requests go to the server. calls: what everybody will ask it through.
    """
    people = {person.key: (person.email, world.passwords[person.email]) for person in PEOPLE}
    http, services, superuser = world.http, world.services, world.superuser
    organization = await world.organization_id(HOME)
    other = await world.organization_id("suncoast")
    await _cut(superuser, (organization, other))
    members = {key: await world.member_id(key) for key in people}
    for key, role in MORE_PEOPLE.items():
        email, password = f"{key}@{HOME}.example", secrets.token_urlsafe(15)
        new = NewPerson(email, password, f"Somebody {key}", OrganizationRole(role))
        members[key] = await create_person(services, operator(), organization_id=organization, new=new)
        people[key] = (email, password)
    targets = await prepare(world)
    owner = await world.client("owner")
    projects = {code: await world.project_id(code) for code in (FIRST, SECOND)}
    roles = {
        "ORGANIZATION": await _define(owner, "Looks on everything", "ORGANIZATION", LOOKS_ON),
        "PROJECT": await _define(owner, "Mends", "PROJECT", MENDS),
    }
    await _give_roles(owner, members, projects, roles)
    await _hide_places(owner, projects[SECOND])
    kept = {"kind": "ATTEMPT", "days": 365, "reason": "Set up."}
    await _done(owner, "setTrailRetention", kept, "trailRetention { days }")
    built = {"clientName": "dashboard", "clientVersion": "1", "documents": ["{ viewer { role } }", "{ __typename }"]}
    await _done(owner, "registerTrustedDocuments", built, "registered")
    await _fill_what_is_empty(world, targets, members)
    targets = replace(targets, incident=await _find_incidents(world, owner, targets))
    targets = await with_import(world, await with_review(world, await with_invitation(world, targets)))
    targets = replace(targets, export=await _exported(world))
    over = {"id": targets.review, "expectedVersion": 1, "reason": "Set up."}
    await _done(owner, "closeAccessReview", over, "accessReview { id }")
    device = await _device_of(owner, members["blocked"])
    tokens = await _programs(owner, projects[FIRST])
    made = await _sign_in(http, people["maker"])
    orphan = {"name": "Orphan", "permissions": [_enum(one) for one in READS]}
    tokens["token-orphan"] = await _program(made, orphan)
    phone = await enrolled(world, device)
    proof = phone.proof("sign-in", "", people["blocked"][0])
    on_device = await _sign_in(http, people["blocked"], deviceId=device, deviceProof=proof)
    # The trail knows which device a name was read on.
    assert (await on_device.run("{ viewer { user { name } } }")).data["viewer"]["user"]["name"]
    first_tokens = {"suspended": (await _sign_in(http, people["suspended"])).token, "blocked": on_device.token}
    await _done(owner, "blockDevice", {"id": device, "expectedVersion": 2, "reason": "Lost."}, "device { id }")
    revoked = {"id": f"ServiceAccount:{tokens['token-revoked'][0]}", "expectedVersion": 1, "reason": "Done."}
    await _done(owner, "revokeServiceAccount", revoked, "serviceAccount { id }")
    await _end(superuser, organization, members, tokens)
    everybody = {"anonymous": Principal("anonymous", None, Caller(calls), is_let_in=False)}
    for key in PERSONS:
        email, password = people[key]
        everybody[key] = Principal(
            key,
            other if key == "other-owner" else organization,
            Caller(calls, sign_in={"email": email, "password": password}),
            member_id=members[key],
            standing=_standing(key, projects),
        )
    signer = await services.signing_keys.signer()
    for key, token in first_tokens.items():
        # Longer than a token lives, they are let in by none that is good.
        assert token is not None
        outside = Caller(calls, token=token, sign=partial(_signed_anew, signer, token))
        everybody[key] = Principal(key, None, outside, is_let_in=False, member_id=members[key])
    for key, (account_id, token) in tokens.items():
        everybody[key] = replace(
            _program_principal(key, organization, projects[FIRST], Caller(calls, token=token)),
            account_id=account_id,
        )
    assert set(everybody) == set(PRINCIPALS)
    # And that a program read something.
    reading = Client(http, tokens["token-reads"][1])
    read = (await reading.run("{ records(first: 200) { nodes { comment } } }")).data["records"]["nodes"]
    assert any(one["comment"] for one in read)
    spare = {"email": people["spare"][0], "password": people["spare"][1]}
    session = await (await _sign_in(http, people["spare"])).run("{ viewer { session { id } } }")
    return Cast(
        principals=everybody,
        projects=projects,
        targets=replace(targets, session=session.data["viewer"]["session"]["id"]),
        roles=roles,
        spare=members["spare"],
        spare_sign_in=spare,
        organization=organization,
        superuser=superuser,
        trail_until=await world.now(),
    )


def _signed_anew(signer: SigningKey, token: str) -> str:
    """Return the token as it would be if it had been made now."""
    said = jwt.decode(token, options={"verify_signature": False})
    claims = AccessClaims(UUID(said["sub"]), UUID(said["sid"]), UUID(said["org"]))
    now = datetime.now(UTC)
    return issue_access_token(
        signer, claims, now=now, issuer=said["iss"], audience=said["aud"], lifetime_s=LONGEST_LIFETIME_S
    )


async def _exported(world: World) -> str:
    """Have the manager export, and return the export's id once the server has made it; another one is called off."""
    manager = await world.client("manager")
    filters = {"siteCode": {"startsWith": "W"}}
    called_off = await ask(manager, "GEOJSON", filter=filters, reason="Set up.")
    await _done(manager, "cancelExport", {"id": called_off}, "export { id }")
    export_id = await ask(manager)
    for _ in range(300):
        if (await look(manager, export_id))["status"] == "READY":
            return export_id
        await asyncio.sleep(0.2)
    raise AssertionError("the server does not make the export")


def _standing(key: str, projects: Mapping[str, UUID]) -> Standing:
    first, second = projects[FIRST], projects[SECOND]
    if key in {"manager", "reviewer", "collector", "viewer"}:
        return Standing(projects={first: key.upper()})
    if key in {"owner", "admin", "auditor"}:
        return Standing(role=key.upper())
    return {
        "other-owner": Standing(role="OWNER"),
        "custom-organization": Standing(role=LOOKS_ON),
        "custom-project": Standing(projects={first: MENDS}),
        "two-projects": Standing(projects={first: "VIEWER", second: "MANAGER"}),
    }.get(key, Standing())


def _program_principal(key: str, organization: UUID, first: UUID, caller: Caller) -> Principal:
    is_let_in = key not in OUTSIDE
    limited = frozenset({first}) if key in {"token-reads-project", "token-records"} else None
    return Principal(
        key,
        organization if is_let_in else None,
        caller,
        is_let_in=is_let_in,
        standing=Standing(role="OWNER"),
        scope=_scope(key),
        limited_to=limited,
    )


def _scope(key: str) -> Names:
    named = key.removeprefix("token-")
    if named in READS:
        reading = f"{named.partition(':')[0]}:read"
        return frozenset({named, reading} & set(READS))
    return RECORDS if key == "token-records" else frozenset(READS)


async def _cut(superuser: Endpoint, organizations: Sequence[UUID]) -> None:
    """Leave a few records of each project, and no change of one that is gone."""
    connection = await connect(superuser)
    kept = (
        "select id from (select id, row_number() over (partition by project_id order by created_by_id is null,"
        " created_by_id, id desc) as place from record) r where place <= $1"
    )
    try:
        for organization in organizations:
            async with connection.transaction():
                await _answer_for(connection, organization)
                for table, column in (("measurement", "record_id"), ("record", "id")):
                    await connection.execute(
                        f"delete from {table} where {column} not in ({kept}) and organization_id = $2",
                        KEPT,
                        organization,
                    )
        async with connection.transaction():
            # Of the trail so far too, a few entries of each tenant.
            newest = "select id from (select id, row_number() over (partition by organization_id order by at desc) as n"
            for table, kept_rows in (
                (
                    "change",
                    f"entry_id in ({newest} from audit_entry) e where n <= 8) and (entity = 'record'"
                    " and entity_id in (select id from record) or entity = 'measurement'"
                    " and entity_id in (select id from measurement) or entity not in ('record', 'measurement'))",
                ),
                ("audit_entry", f"id in ({newest} from audit_entry) e where n <= 8)"),
            ):
                await connection.execute(f"alter table {table} disable trigger refuse")
                await connection.execute(f"delete from {table} where not ({kept_rows})")
                await connection.execute(f"alter table {table} enable always trigger refuse")
    finally:
        await connection.close()


async def _answer_for(connection: asyncpg.Connection, organization: UUID) -> None:
    """Write the entry without which nothing of the tenant changes in this transaction, not even for a superuser."""
    await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
    await insert_entry(connection, organization)


async def _give_roles(
    owner: Client, members: Mapping[str, UUID], projects: Mapping[str, UUID], roles: Mapping[str, str]
) -> None:
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    await _assign(owner, members["custom-organization"], customRoleId=roles["ORGANIZATION"], expiresAt=later)
    await _assign(owner, members["custom-project"], projects[FIRST], customRoleId=roles["PROJECT"], expiresAt=later)
    await _assign(owner, members["two-projects"], projects[FIRST], role="VIEWER")
    await _assign(owner, members["two-projects"], projects[SECOND], role="MANAGER")
    await _assign(owner, members["expired-project"], projects[FIRST], role="MANAGER")


async def _assign(owner: Client, member: UUID, project: UUID | None = None, **given: Any) -> None:
    given = {"userId": f"User:{member}", "reason": "Set up.", **given}
    if project is None:
        await _done(owner, "assignOrganizationRole", given, "user { id }")
    else:
        await _done(owner, "assignProjectRole", {**given, "projectId": f"Project:{project}"}, "user { id }")


async def _define(owner: Client, name: str, level: str, permissions: Names) -> str:
    given = {"name": name, "level": level, "permissions": [_enum(one) for one in sorted(permissions)]}
    more = {"description": f"{name}.", "reason": "Set up."}
    return str((await _done(owner, "createRole", {**given, **more}, "role { id }"))["role"]["id"])


async def _hide_places(owner: Client, project: UUID) -> None:
    """Declare the locations of a project sensitive, and wait until the server has rewritten what is there."""
    given = {"id": f"Project:{project}", "expectedVersion": 1, "sensitive": True, "reason": "Private wells."}
    await _done(owner, "setLocationSensitivity", given, "project { id }")
    query = f'{{ project(id: "Project:{project}") {{ locationsRewriting }} }}'
    for _ in range(600):
        if not (await owner.run(query)).data["project"]["locationsRewriting"]:
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("The records were not rewritten.")


async def _fill_what_is_empty(world: World, targets: Stage, members: Mapping[str, UUID]) -> None:
    """Give every field a value somewhere, in each project, and every reader something of their own."""
    owner, admin, collector = [await world.client(key) for key in ("owner", "admin", "collector")]
    device = {"userId": f"User:{members['viewer']}", "platform": "IOS", "model": "iPhone 15"}
    more = {"serialNumber": "SN-V-0001", "appVersion": "2.4.0"}
    own = (await _done(admin, "registerDevice", {**device, **more}, "device { id }"))["device"]["id"]
    await enrolled(world, own)
    for index, code in enumerate((FIRST, SECOND)):
        project = f"Project:{await world.project_id(code)}"
        version = (await owner.run(f'{{ project(id: "{project}") {{ version }} }}')).data["project"]["version"]
        days = {"startsOn": f"2024-0{index + 1}-01", "endsOn": f"2029-0{index + 1}-28"}
        await _done(owner, "updateProject", {"id": project, "expectedVersion": version, **days}, "project { id }")
        given = {
            "projectId": project,
            "siteCode": f"{code}-S{index}",
            "siteName": f"Weir {code}",
            "latitude": 51.5,
            "longitude": -0.1,
            "collectedAt": f"2026-0{index + 1}-02T03:04:05Z",
            "medium": "SEDIMENT",
            "activityType": "Field Replicate",
            "method": "Grab",
            "collector": f"Colin {code} Quill",
            "comment": f"Sealed words of {code}",
            "deviceId": own,
            "measurements": [_measurement(code), {**_measurement(code), "value": 8.25, "valueReported": "8.25"}],
        }
        for site, name in ((given["siteCode"], f"Weir {code}"), *([(f"{FIRST}-S0", "Its namesake")] if index else [])):
            place = {"projectId": project, "code": site, "name": name, "latitude": 51.5, "longitude": -0.1}
            await _done(owner, "createSite", place, "site { id }")
        maker = collector if code == FIRST else admin
        if maker is collector:
            given.pop("deviceId")
        made = (await _done(maker, "createRecord", given, "record { id }"))["record"]["id"]
        await _done(maker, "submitRecord", {"id": made, "expectedVersion": 1}, "record { id }")
        rejected = {"id": made, "expectedVersion": 2, "reason": f"The cap was loose in {code}."}
        await _done(owner, "rejectRecord", rejected, "record { id }")


def _measurement(code: str) -> dict[str, Any]:
    return {
        "characteristic": "Zinc",
        "fraction": "Dissolved",
        "value": 1.5,
        "valueReported": "1.50",
        "unit": "mg/L",
        "qualifier": "J",
        "detectionCondition": "Present Below Quantification Limit",
        "detectionLimit": 0.5,
        "detectionLimitUnit": "mg/L",
        "detectionLimitType": "Method Detection Level",
        "method": "ICP",
        "resultStatus": "Final",
        "valueType": "Actual",
        "comment": f"Bottle broken in {code}",
    }


async def _find_incidents(world: World, owner: Client, targets: Stage) -> str:
    """Have an incident found about a person, closed, one about a device and one about a program; return one more."""
    device, program = [UUID(one.partition(":")[2]) for one in (targets.blocked_device, targets.program)]
    member, organization = await world.member_id("viewer"), await world.organization_id(HOME)
    connection: asyncpg.Connection = await connect(world.superuser)
    try:
        for columns in (
            {"membership_id": member, "error_code": "REFRESH_REUSED"},
            {"device_id": device, "error_code": "DEVICE_BLOCKED"},
            {"service_account_id": program, "error_code": "REFRESH_REUSED"},
        ):
            await connection.execute(
                "insert into audit_entry (id, organization_id, kind, action, outcome, repeated, channel, request_id,"
                f" {', '.join(columns)}) values (gen_random_uuid(), $1, 'ATTEMPT', 'session.refresh', 'DENIED', 0,"
                " 'API', gen_random_uuid(), $2, $3)",
                organization,
                *columns.values(),
            )
    finally:
        await connection.close()
    found = await _found(world, membership_id=member)
    incident = f"Incident:{found['id']}"
    await _done(owner, "acknowledgeIncident", {"id": incident, "expectedVersion": 1}, "incident { id }")
    closing = {"id": incident, "expectedVersion": 2, "note": "Vera's second laptop."}
    await _done(owner, "closeIncident", closing, "incident { id }")
    await _an_incident(world, "suncoast")
    return f"Incident:{await _an_incident(world, HOME)}"


async def _an_incident(world: World, slug: str) -> UUID:
    """Have an incident found about an address, by whoever looks first, and return its id."""
    organization_id = await world.organization_id(slug)
    for _ in range(DEFAULTS.denials_from_address):
        await refuse(organization_id, address="192.0.2.7")
    found: UUID = (await _found(world, organization_id=organization_id, rule="denials_from_address"))["id"]
    return found


async def _found(world: World, **wanted: Any) -> asyncpg.Record:
    """Return the incident once it is there: the running server seals and judges as well, and may be faster."""
    async with asyncio.timeout(30):
        while True:
            with suppress(ConflictError):
                await look_through(world)
            for one in await incidents(world, **wanted):
                return one
            await asyncio.sleep(0.2)


async def _device_of(owner: Client, member: UUID) -> str:
    given = {"userId": f"User:{member}", "platform": "LOGGER", "model": "CR1000", "serialNumber": "SN-B-0001"}
    return str((await _done(owner, "registerDevice", given, "device { id }"))["device"]["id"])


async def _programs(owner: Client, first: UUID) -> dict[str, tuple[UUID, str]]:
    tokens = {}
    for key in (*TOKENS, "token-revoked", "token-expired"):
        limited = key in {"token-reads-project", "token-records"}
        given = {
            "name": key,
            "permissions": [_enum(one) for one in sorted(_scope(key))],
            "projectIds": [f"Project:{first}"] if limited else None,
        }
        tokens[key] = await _program(owner, given)
    return tokens


async def _program(client: Client, given: Mapping[str, Any]) -> tuple[UUID, str]:
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    named = {**given, "expiresAt": later, "reason": "Set up."}
    made = await _done(client, "createServiceAccount", named, "token serviceAccount { id }")
    return UUID(made["serviceAccount"]["id"].partition(":")[2]), made["token"]


async def _end(
    superuser: Endpoint, organization: UUID, members: Mapping[str, UUID], tokens: Mapping[str, tuple[UUID, str]]
) -> None:
    """Let grants and a program expire, and suspend people: what the API takes for the future alone, or not at all."""
    over = datetime.now(UTC) - timedelta(hours=1)
    connection: asyncpg.Connection = await connect(superuser)
    try:
        async with connection.transaction():
            await _answer_for(connection, organization)
            for statement, row_id in (
                ("update membership set role_expires_at = $2 where id = $1", members["expired-organization"]),
                ("update project_membership set expires_at = $2 where membership_id = $1", members["expired-project"]),
                ("update service_account set expires_at = $2 where id = $1", tokens["token-expired"][0]),
            ):
                assert (await connection.execute(statement, row_id, over)) == "UPDATE 1"
            for key in ("suspended", "maker"):
                await connection.execute("update membership set status = 'SUSPENDED' where id = $1", members[key])
    finally:
        await connection.close()


async def _sign_in(http: httpx.AsyncClient, account: tuple[str, str], **more: Any) -> Client:
    query = "mutation($input: SignInInput!) { signIn(input: $input) { accessToken errors { message } } }"
    given = {"email": account[0], "password": account[1], **more}
    payload = (await Client(http).run(query, {"input": given})).data["signIn"]
    assert payload["errors"] == [], payload
    return Client(http, payload["accessToken"])


async def _done(client: Client, name: str, given: Mapping[str, Any], shown: str) -> Any:
    answer = await mutate(client, name, dict(given), shown)
    assert answer.data[name]["errors"] == [], answer.data
    return answer.data[name]


def _enum(permission: str) -> str:
    return permission.upper().replace(":", "_")

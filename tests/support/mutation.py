"""What mutations act on, made through the API by those who may."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from schema.api import build_api
from tests.support.importing import FIELD_SHEET, many_rows, uploaded
from tests.support.incident import an_incident
from tests.support.world import Answer, Client, World

REVIEW = "accessReview { id items(first: 100) { nodes { id subjectId } } }"

_CORE = build_api()._schema

OPEN_TO_ALL = {
    *("signIn", "completeSignIn", "beginPasskeySignIn", "signInWithPasskey", "refreshSession", "enrolDevice"),
    *("requestPasswordReset", "resetPassword", "acceptInvitation", "confirmErasureByLink"),
}
"""The mutations that take no sign-in. Each is one more way in."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Global ids of things in the demo's first project, each in the state that its name says."""

    project: str
    person: str
    viewer: str
    auditor: str
    draft: str
    submitted: str
    device: str
    blocked_device: str
    role: str
    program: str
    program_token: str
    site: str = ""
    session: str = ""
    incident: str = ""
    invitation: str = ""
    suspended: str = ""
    review: str = ""
    review_item: str = ""
    data_import: str = ""
    import_mapping: str = ""
    export: str = ""
    pending_export: str = ""
    hold: str = ""
    erasure: str = ""


async def prepare(world: World) -> Stage:
    """Make the stage."""
    project = f"Project:{await world.project_id('CANAL')}"
    person = f"User:{await world.member_id('member')}"
    collector, admin = await world.client("collector"), await world.client("admin")
    device, blocked = [await _device(admin, person, serial) for serial in ("SN-A", "SN-B")]
    reason = {"reason": "Lost."}
    await _done(admin, "blockDevice", {"id": blocked, "expectedVersion": 1, **reason}, "device { id }")
    role, (program, program_token) = await _role(admin), await _program(admin, project)
    draft, submitted = [await _record(collector, project) for _ in range(2)]
    await _done(collector, "submitRecord", {"id": submitted, "expectedVersion": 1}, "record { id }")
    return Stage(
        project=project,
        person=person,
        viewer=f"User:{await world.member_id('viewer')}",
        auditor=f"User:{await world.member_id('auditor')}",
        draft=draft,
        submitted=submitted,
        device=device,
        blocked_device=blocked,
        role=role,
        program=program,
        session=(await collector.run("{ viewer { session { id } } }")).data["viewer"]["session"]["id"],
        program_token=program_token,
        site=await _site(await world.client("manager"), project),
    )


async def prepare_with_incident(world: World) -> Stage:
    """Make the stage, with an incident that is open."""
    return replace(await prepare(world), incident=f"Incident:{await an_incident(world)}")


async def prepare_with_document(world: World) -> Stage:
    """Make the stage, with a build that registered its document."""
    stage, admin = await prepare(world), await world.client("admin")
    build = {"clientName": "dashboard", "clientVersion": "1", "documents": ["{ __typename }"]}
    await _done(admin, "registerTrustedDocuments", build, "documentIds")
    return stage


async def prepare_with_hold(world: World) -> Stage:
    """Make the stage, with a hold on the draft."""
    stage = await prepare(world)
    return await with_hold(world, stage, stage.draft)


async def with_hold(world: World, stage: Stage, subject: str) -> Stage:
    """Return the stage with a hold on something."""
    given = {"subjectId": subject, "reason": "A client goes to court."}
    placed = await _done(await world.client("admin"), "placeLegalHold", given, "legalHold { id }")
    return replace(stage, hold=placed["legalHold"]["id"])


async def prepare_with_people(world: World) -> Stage:
    """Make the stage, with somebody who was invited and somebody who is suspended."""
    stage, admin = await with_invitation(world, await prepare(world)), await world.client("admin")
    reviewer = f"User:{await world.member_id('reviewer')}"
    await _done(admin, "suspendUser", {"userId": reviewer, "reason": "On leave."}, "user { id }")
    return replace(stage, suspended=reviewer)


async def with_invitation(world: World, stage: Stage) -> Stage:
    """Return the stage with somebody who was invited."""
    given = {"email": "ines@clearwater.example", "name": "Ines Ito", "role": "MEMBER"}
    invited = await _done(await world.client("admin"), "inviteUser", given, "invitation { id }")
    return replace(stage, invitation=invited["invitation"]["id"])


async def prepare_with_review(world: World) -> Stage:
    """Make the stage, with an access review that is open, and its item of the auditor's role."""
    return await with_review(world, await prepare(world))


async def with_review(world: World, stage: Stage) -> Stage:
    """Return the stage with an access review that is open, and its item of the auditor's role."""
    opened = await _done(await world.client("admin"), "openAccessReview", {}, REVIEW)
    review = opened["accessReview"]
    item = next(one for one in review["items"]["nodes"] if one["subjectId"] == stage.auditor)
    return replace(stage, review=review["id"], review_item=item["id"])


async def prepare_with_import(world: World) -> Stage:
    """Make the stage, with an import whose file is there, and a mapping."""
    return await with_import(world, await prepare(world))


async def with_import(world: World, stage: Stage) -> Stage:
    """Return the stage with an import whose file is there, and a mapping."""
    made = await uploaded(world, "manager", "CANAL", many_rows(3))
    given = {"projectId": stage.project, "name": "Field sheet", "mapping": FIELD_SHEET}
    shown = "importMapping { id }"
    mapped = await _done(await world.client("manager"), "createImportMapping", given, shown)
    return replace(stage, data_import=made.id, import_mapping=mapped["importMapping"]["id"])


async def prepare_with_erasure(world: World) -> Stage:
    """Make the stage, with a request that a name be erased, which the admin asked for."""
    return await with_erasure(world, await prepare(world))


async def with_erasure(world: World, stage: Stage) -> Stage:
    """Return the stage with a request that a name be erased, which the admin asked for."""
    given = {"kind": "NAME", "names": ["Ines Ito"], "reason": "Asked for it."}
    asked = await _done(await world.client("admin"), "requestErasure", given, "erasureRequest { id }")
    return replace(stage, erasure=asked["erasureRequest"]["id"])


async def mutate(client: Client, name: str, given: dict[str, Any], shown: str = "") -> Answer:
    """Run a mutation with its one input. One that signs is signed by the client's person if nothing else is said."""
    assert _CORE.mutation_type is not None
    arguments = _CORE.mutation_type.fields[name].args
    declared, passed = "", ""
    if arguments:
        declared, passed = f"($input: {arguments['input'].type})", "(input: $input)"
    if takes(name, "meaning"):
        given = {"meaning": "APPROVAL", "password": client.password, **given}
    elif name == "confirmErasure":
        given = {"password": client.password, **given}
    errors = "errors { code message field permission }"
    query = f"mutation Mutate{declared} {{ {name}{passed} {{ {shown} {errors} }} }}"
    return await client.run(query, {"input": given} if arguments else {}, operationName="Mutate")


def takes(name: str, field: str) -> bool:
    """Return whether the mutation's input has a field of that name."""
    assert _CORE.mutation_type is not None
    argument: Any = _CORE.mutation_type.fields[name].args.get("input")
    return argument is not None and field in argument.type.of_type.fields


async def _done(client: Client, name: str, given: dict[str, Any], shown: str) -> Any:
    answer = await mutate(client, name, given, shown)
    assert answer.data[name]["errors"] == [], answer.data
    return answer.data[name]


async def _site(client: Client, project: str) -> str:
    given = {
        **{"projectId": project, "code": "W-1", "name": "The stage", "kind": "Well", "description": "A stage."},
        **{"latitude": 51.5, "longitude": -0.25},
    }
    return str((await _done(client, "createSite", given, "site { id }"))["site"]["id"])


async def _device(client: Client, person: str, serial: str) -> str:
    given = {"userId": person, "platform": "ANDROID", "model": "Pixel 8", "serialNumber": serial}
    return str((await _done(client, "registerDevice", given, "device { id }"))["device"]["id"])


async def _role(client: Client) -> str:
    given = {
        "name": "Looks on",
        "level": "PROJECT",
        "permissions": ["PROJECT_READ", "RECORD_READ"],
        "reason": "Set up.",
    }
    return str((await _done(client, "createRole", given, "role { id }"))["role"]["id"])


async def _program(client: Client, project: str) -> tuple[str, str]:
    given = {
        "name": "Export",
        "permissions": ["PROJECT_READ", "RECORD_READ"],
        "projectIds": [project],
        "expiresAt": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        "reason": "Set up.",
    }
    created = await _done(client, "createServiceAccount", given, "serviceAccount { id tokens { id } }")
    account = created["serviceAccount"]
    return str(account["id"]), str(account["tokens"][0]["id"])


async def _record(client: Client, project: str) -> str:
    given = {
        "projectId": project,
        "siteCode": "W-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        "comment": "First thoughts.",
        "collector": "Cleo Cole",
    }
    return str((await _done(client, "createRecord", given, "record { id }"))["record"]["id"])

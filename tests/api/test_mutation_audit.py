"""Every mutation leaves exactly one audit entry: of what it did, or of what it tried."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schema.api import build_api
from schema.mutation import mutation_of
from tests.support.export import prepare_with_export
from tests.support.factor import add_totp
from tests.support.importing import FIELD_SHEET
from tests.support.mutation import (
    Stage,
    mutate,
    prepare,
    prepare_with_document,
    prepare_with_erasure,
    prepare_with_hold,
    prepare_with_import,
    prepare_with_incident,
    prepare_with_people,
    prepare_with_review,
)
from tests.support.world import World

REASON = "Because the laboratory said so."

# By mutation: who does it, what of the stage it takes, and the audit action, entity and changed columns it must leave.
CASES: dict[str, tuple[str, Callable[[Stage], dict[str, Any]], str, str, set[str]]] = {
    "createProject": (
        "owner",
        lambda _: {"code": "NEW-1", "name": "New"},
        "project.create",
        "project",
        {"code", "name", "status"},
    ),
    "updateProject": (
        "owner",
        lambda stage: {"id": stage.project, "expectedVersion": 1, "name": "Renamed", "reason": REASON},
        "project.update",
        "project",
        {"name", "version"},
    ),
    "setLocationSensitivity": (
        "manager",
        lambda stage: {"id": stage.project, "expectedVersion": 1, "sensitive": True, "reason": REASON},
        "project.set_location_sensitivity",
        "project",
        {"locations_are_sensitive", "locations_rewriting", "version"},
    ),
    "archiveProject": (
        "owner",
        lambda stage: {"id": stage.project, "expectedVersion": 1, "reason": REASON},
        "project.archive",
        "project",
        {"status", "version"},
    ),
    "registerDevice": (
        "admin",
        lambda stage: {"userId": stage.person, "platform": "IOS", "model": "iPhone 15", "serialNumber": "SN-1"},
        "device.register",
        "device",
        {"membership_id", "platform", "model", "serial_number"},
    ),
    "blockDevice": (
        "admin",
        lambda stage: {"id": stage.device, "expectedVersion": 1, "reason": REASON},
        "device.block",
        "device",
        {"status", "blocked_by_id", "blocked_at", "block_reason", "version"},
    ),
    "unblockDevice": (
        "admin",
        lambda stage: {"id": stage.blocked_device, "expectedVersion": 2, "reason": REASON},
        "device.unblock",
        "device",
        {"status", "blocked_by_id", "blocked_at", "block_reason", "version"},
    ),
    "handOverDevice": (
        "admin",
        lambda stage: {"id": stage.device, "userId": stage.viewer, "expectedVersion": 1, "reason": REASON},
        "device.hand_over",
        "device",
        {"membership_id", "version"},
    ),
    # What it makes is a code, of which nothing is in the trail but that there is one.
    "startDeviceEnrolment": ("admin", lambda stage: {"id": stage.device}, "device.start_enrolment", "device", set()),
    "assignOrganizationRole": (
        "owner",
        lambda stage: {"userId": stage.person, "role": "AUDITOR", "reason": REASON},
        "membership.assign_role",
        "membership",
        {"role", "version"},
    ),
    "removeOrganizationRole": (
        "owner",
        lambda stage: {"userId": stage.auditor, "reason": REASON},
        "membership.remove_role",
        "membership",
        {"role", "version"},
    ),
    "resetSecondFactors": (
        "admin",
        lambda stage: {"userId": stage.person, "reason": REASON},
        "authenticator.reset",
        "user_account",
        {"sessions_valid_from"},
    ),
    "startPasswordReset": (
        "admin",
        lambda stage: {"userId": stage.person, "reason": REASON},
        "user.start_password_reset",
        "membership",
        set(),
    ),
    "assignProjectRole": (
        "manager",
        lambda stage: {"userId": stage.person, "projectId": stage.project, "role": "VIEWER", "reason": REASON},
        "project_membership.assign_role",
        "project_membership",
        {"project_id", "membership_id", "role"},
    ),
    "removeProjectRole": (
        "manager",
        lambda stage: {"userId": stage.viewer, "projectId": stage.project, "reason": REASON},
        "project_membership.remove_role",
        "project_membership",
        {"project_id", "membership_id", "role"},
    ),
    "setTrailRetention": (
        "owner",
        lambda _: {"kind": "READ", "days": 365, "reason": REASON},
        "audit.set_retention",
        "trail_retention",
        {"kind", "days"},
    ),
    "setRetention": (
        "owner",
        lambda _: {"kind": "RECORD", "days": 365, "reason": REASON},
        "retention.set",
        "data_retention",
        {"kind", "days"},
    ),
    "placeLegalHold": (
        "admin",
        lambda stage: {"subjectId": stage.project, "reason": REASON},
        "hold.place",
        "legal_hold",
        {"subject_kind", "subject", "reason", "placed_by_id"},
    ),
    "liftLegalHold": (
        "owner",
        lambda stage: {"id": stage.hold, "expectedVersion": 1, "reason": REASON},
        "hold.lift",
        "legal_hold",
        {"lifted_at", "lifted_by_id", "lift_reason", "version"},
    ),
    "setProjectFields": (
        "manager",
        lambda stage: {
            "id": stage.project,
            "expectedVersion": 1,
            "fieldsOff": ["COMMENT"],
            "emptyKept": True,
            "reason": REASON,
        },
        "project.set_fields",
        "project",
        {"fields_off", "fields_emptying", "version"},
    ),
    "setSignInPolicy": (
        "owner",
        lambda _: {"demandsSecondFactor": True, "reason": REASON},
        "organization.set_sign_in_policy",
        "organization",
        {"demands_second_factor"},
    ),
    "registerTrustedDocuments": (
        "admin",
        lambda _: {"clientName": "dashboard", "clientVersion": "2", "documents": ["{ viewer { role } }"]},
        "trusted_document.register",
        "trusted_document",
        {"sha256", "text", "client_name", "client_version"},
    ),
    "removeTrustedDocuments": (
        "admin",
        lambda _: {"clientName": "dashboard", "clientVersion": "1", "reason": REASON},
        "trusted_document.remove",
        "trusted_document",
        {"sha256", "text"},
    ),
    "setTrustedDocumentPolicy": (
        "admin",
        lambda _: {"programs": "TRUSTED_ONLY", "reason": REASON},
        "organization.set_document_policy",
        "organization",
        {"program_documents"},
    ),
    "createRole": (
        "owner",
        lambda _: {"name": "Writer", "level": "PROJECT", "permissions": ["RECORD_READ"], "reason": REASON},
        "role.create",
        "custom_role",
        {"name", "level", "permissions"},
    ),
    "updateRole": (
        "admin",
        lambda stage: {"id": stage.role, "expectedVersion": 1, "permissions": ["RECORD_READ"], "reason": REASON},
        "role.update",
        "custom_role",
        {"permissions", "version"},
    ),
    "deleteRole": (
        "admin",
        lambda stage: {"id": stage.role, "expectedVersion": 1, "reason": REASON},
        "role.delete",
        "custom_role",
        {"name", "level", "permissions"},
    ),
    "createServiceAccount": (
        "owner",
        lambda stage: {
            "name": "Pull",
            "permissions": ["RECORD_READ"],
            "expiresAt": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            "projectIds": [stage.project],
            "reason": REASON,
        },
        "service_account.create",
        "service_account",
        {"name", "permissions", "project_ids", "created_by_id", "expires_at"},
    ),
    "revokeServiceAccount": (
        "admin",
        lambda stage: {"id": stage.program, "expectedVersion": 1, "reason": REASON},
        "service_account.revoke",
        "service_account",
        {"revoked_at", "revoked_by_id", "version"},
    ),
    "renameSession": (
        "collector",
        lambda stage: {"id": stage.session, "name": "The tablet in the truck"},
        "session.rename",
        "session",
        {"name"},
    ),
    "revokeSession": (
        "admin",
        lambda stage: {"id": stage.session, "reason": REASON},
        "session.revoke",
        "session",
        {"revoked_at"},
    ),
    "revokeUserSessions": (
        "admin",
        lambda stage: {"userId": stage.person, "reason": REASON},
        "session.revoke",
        "session",
        {"revoked_at"},
    ),
    "issueServiceAccountToken": (
        "owner",
        lambda stage: {
            "id": stage.program,
            "expiresAt": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            "reason": REASON,
        },
        "service_account.issue_token",
        "service_account_token",
        {"service_account_id", "token_digest", "hint", "expires_at", "created_by_id"},
    ),
    "revokeServiceAccountToken": (
        "admin",
        lambda stage: {"id": stage.program_token, "reason": REASON},
        "service_account.revoke_token",
        "service_account_token",
        {"revoked_at", "revoked_by_id"},
    ),
    "acknowledgeIncident": (
        "admin",
        lambda stage: {"id": stage.incident, "expectedVersion": 1},
        "incident.acknowledge",
        "incident",
        {"status", "acknowledged_by_id", "acknowledged_at", "version"},
    ),
    "closeIncident": (
        "owner",
        lambda stage: {"id": stage.incident, "expectedVersion": 1, "note": "A test of ours."},
        "incident.close",
        "incident",
        {"status", "closed_by_id", "closed_at", "note", "version"},
    ),
    "createImport": (
        "manager",
        lambda stage: {"projectId": stage.project, "kind": "WQX_CSV", "fileName": "results.csv", "size": 100},
        "data_import.create",
        "data_import",
        {"project_id", "kind", "status", "file_name", "size", "created_by_id", "run", "is_dry_run"},
    ),
    "startImport": (
        "manager",
        lambda stage: {"id": stage.data_import, "dryRun": True},
        "data_import.start",
        "data_import",
        {"status", "run", "is_dry_run", "started_by_id", "started_at"},
    ),
    "cancelImport": (
        "manager",
        lambda stage: {"id": stage.data_import},
        "data_import.cancel",
        "data_import",
        {"status", "ended_at"},
    ),
    "createImportMapping": (
        "manager",
        lambda stage: {"projectId": stage.project, "name": "Another sheet", "mapping": FIELD_SHEET},
        "import_mapping.create",
        "import_mapping",
        {"project_id", "name", "mapping", "created_by_id"},
    ),
    "updateImportMapping": (
        "manager",
        lambda stage: {"id": stage.import_mapping, "expectedVersion": 1, "name": "Renamed"},
        "import_mapping.update",
        "import_mapping",
        {"name", "version"},
    ),
    "deleteImportMapping": (
        "manager",
        lambda stage: {"id": stage.import_mapping, "expectedVersion": 1},
        "import_mapping.delete",
        "import_mapping",
        {"project_id", "name", "mapping"},
    ),
    "inviteUser": (
        "admin",
        lambda stage: {
            "email": "Nia@clearwater.example",
            "name": "Nia Nyx",
            "role": "MEMBER",
            "projectId": stage.project,
            "projectRole": "COLLECTOR",
            "reason": REASON,
        },
        "invitation.create",
        "invitation",
        {"email", "email_index", "name", "role", "project_id", "project_role", "invited_by_id", "expires_at"},
    ),
    "resendInvitation": (
        "owner",
        lambda stage: {"id": stage.invitation, "expectedVersion": 1, "reason": REASON},
        "invitation.resend",
        "invitation",
        {"invited_by_id", "expires_at", "version"},
    ),
    "revokeInvitation": (
        "admin",
        lambda stage: {"id": stage.invitation, "expectedVersion": 1, "reason": REASON},
        "invitation.revoke",
        "invitation",
        {"status", "version"},
    ),
    "suspendUser": (
        "admin",
        lambda stage: {"userId": stage.person, "reason": REASON},
        "user.suspend",
        "membership",
        {"status", "version"},
    ),
    "reinstateUser": (
        "admin",
        lambda stage: {"userId": stage.suspended, "reason": REASON},
        "user.reinstate",
        "membership",
        {"status", "version"},
    ),
    "removeUser": (
        "owner",
        lambda stage: {"userId": stage.auditor, "reason": REASON},
        "user.remove",
        "membership",
        {"status", "role", "version"},
    ),
    "openAccessReview": (
        "admin",
        lambda _: {"reason": REASON},
        "access_review.open",
        "access_review",
        {"opened_by_id", "due_at"},
    ),
    "decideAccessReviewItem": (
        "admin",
        lambda stage: {"id": stage.review_item, "decision": "KEEP", "reason": REASON},
        "access_review.decide",
        "access_review_item",
        {"decision", "decided_by_id", "decided_at"},
    ),
    "closeAccessReview": (
        "owner",
        lambda stage: {"id": stage.review, "expectedVersion": 1, "reason": REASON},
        "access_review.close",
        "access_review",
        {"closed_by_id", "closed_at", "version"},
    ),
    "createSite": (
        "manager",
        lambda stage: {"projectId": stage.project, "code": "W-9", "name": "Weir", "latitude": 51.5, "longitude": -0.25},
        "site.create",
        "site",
        {"code", "name", "latitude", "longitude", "project_id"},
    ),
    "updateSite": (
        "manager",
        lambda stage: {"id": stage.site, "expectedVersion": 1, "name": "The weir", "reason": REASON},
        "site.update",
        "site",
        {"name", "version"},
    ),
    "deleteSite": (
        "manager",
        lambda stage: {"id": stage.site, "expectedVersion": 1, "reason": REASON},
        "site.delete",
        "site",
        {"code", "name", "project_id"},
    ),
    "createRecord": (
        "collector",
        lambda stage: {
            "projectId": stage.project,
            "siteCode": "W-9",
            "collectedAt": "2026-02-03T04:05:06Z",
            "medium": "WATER",
            "comment": "Cap was loose.",
            "measurements": [{"characteristic": "pH", "value": 7.1}],
        },
        "record.create",
        "record",
        {"site_code", "comment", "status"},
    ),
    "updateRecord": (
        "collector",
        lambda stage: {"id": stage.draft, "expectedVersion": 1, "siteCode": "W-10", "reason": REASON},
        "record.update",
        "record",
        {"site_code", "version"},
    ),
    "submitRecord": (
        "collector",
        lambda stage: {"id": stage.draft, "expectedVersion": 1, "reason": REASON},
        "record.submit",
        "record",
        {"status", "version"},
    ),
    "approveRecord": (
        "reviewer",
        lambda stage: {"id": stage.submitted, "expectedVersion": 2, "reason": REASON},
        "record.approve",
        "record",
        {"status", "reviewed_by_id", "reviewer", "reviewed_at", "review_reason", "review_meaning", "version"},
    ),
    "rejectRecord": (
        "reviewer",
        lambda stage: {"id": stage.submitted, "expectedVersion": 2, "reason": REASON},
        "record.reject",
        "record",
        {"status", "reviewed_by_id", "reviewed_at", "review_reason", "version"},
    ),
    "deleteRecord": (
        "manager",
        lambda stage: {"id": stage.draft, "expectedVersion": 1, "reason": REASON},
        "record.delete",
        "record",
        {"site_code", "status", "comment"},
    ),
    "createExport": (
        "manager",
        lambda _: {"format": "CSV", "filter": {"siteCode": {"startsWith": "W"}}, "reason": REASON},
        "export.create",
        "data_export",
        {"format", "filter_given", "request", "status", "created_by_id"},
    ),
    "createArchive": (
        "owner",
        lambda _: {"reason": REASON},
        "export.create",
        "data_export",
        {"format", "status", "created_by_id"},
    ),
    "cancelExport": (
        "manager",
        lambda stage: {"id": stage.pending_export, "reason": REASON},
        "export.cancel",
        "data_export",
        {"status", "finished_at"},
    ),
    "deleteExport": (
        "manager",
        lambda stage: {"id": stage.export, "reason": REASON},
        "export.delete",
        "data_export",
        {"status"},
    ),
    "createExportLink": (
        "manager",
        lambda stage: {"id": stage.export, "reason": REASON},
        "export.create_link",
        "data_export",
        {"link_digest", "link_expires_at", "link_holder"},
    ),
    "requestErasure": (
        "admin",
        lambda _: {"kind": "NAME", "names": ["Ines Ito"], "reason": REASON},
        "erasure.request",
        "erasure_request",
        {"kind", "status", "named", "name_indexes", "reason", "requested_by_id", "due_at"},
    ),
    "confirmErasure": (
        "owner",
        lambda stage: {"id": stage.erasure, "expectedVersion": 1, "reason": REASON},
        "erasure.confirm",
        "erasure_request",
        {"status", "confirmed_at", "confirmed_by_id", "execute_after", "version"},
    ),
    "withdrawErasure": (
        "owner",
        lambda stage: {"id": stage.erasure, "expectedVersion": 1, "reason": REASON},
        "erasure.withdraw",
        "erasure_request",
        {"status", "withdrawn_by_id", "name_indexes", "version"},
    ),
}
DEMAND_A_REASON = {
    *("archiveProject", "setLocationSensitivity", "blockDevice", "unblockDevice", "rejectRecord", "deleteRecord"),
    *("handOverDevice", "deleteSite"),
    *("assignOrganizationRole", "removeOrganizationRole", "assignProjectRole", "removeProjectRole"),
    *("createRole", "updateRole", "deleteRole", "createServiceAccount", "revokeServiceAccount"),
    *("setTrailRetention", "revokeUserSessions", "setSignInPolicy", "startPasswordReset", "resetSecondFactors"),
    *("suspendUser", "reinstateUser", "removeUser", "issueServiceAccountToken", "revokeServiceAccountToken"),
    *("removeTrustedDocuments", "setTrustedDocumentPolicy"),
    *("createArchive", "setRetention", "placeLegalHold", "liftLegalHold", "setProjectFields"),
    "requestErasure",
}
"""What is not done without a reason. A change of a record that is under review or approved demands one as well."""
SESSION = {
    *("signIn", "completeSignIn", "beginPasskeySignIn", "signInWithPasskey", "refreshSession", "signOut"),
    *("reauthenticate", "beginPasskeyProof", "revokeOtherSessions"),
}
OWN = {
    *("beginTotp", "confirmTotp", "beginPasskeyRegistration", "registerPasskey"),
    *("renewRecoveryCodes", "renameAuthenticator", "removeAuthenticator"),
}
"""What everybody does with what they sign in with, and takes no permission: `test_second_factor.py` tries it."""
BY_A_SECRET = {"enrolDevice", "acceptInvitation", "confirmErasureByLink"}
"""What nobody is signed in for: `tests/api/test_device_enrolment.py`, `tests/api/test_invitation.py` and
`tests/api/test_erasure_request.py`.
"""
THEIRS = {"requestMyErasure", "exportMyData"}
"""What everybody does with what is about them: `tests/api/test_erasure_request.py`, `test_person_archive.py` there."""
PASSWORD = {"changePassword", "requestPasswordReset", "resetPassword"}
"""What says itself who acts: tests/api/test_password_change.py and tests/api/test_password_reset.py."""


_PREPARED = {
    **dict.fromkeys(("acknowledgeIncident", "closeIncident"), prepare_with_incident),
    **dict.fromkeys(("resendInvitation", "revokeInvitation", "reinstateUser"), prepare_with_people),
    "removeTrustedDocuments": prepare_with_document,
    "liftLegalHold": prepare_with_hold,
    **dict.fromkeys(("decideAccessReviewItem", "closeAccessReview"), prepare_with_review),
    **dict.fromkeys(("startImport", "cancelImport"), prepare_with_import),
    **dict.fromkeys(("updateImportMapping", "deleteImportMapping"), prepare_with_import),
    **dict.fromkeys(("confirmErasure", "withdrawErasure"), prepare_with_erasure),
    **dict.fromkeys(("cancelExport", "deleteExport", "createExportLink"), prepare_with_export),
}


async def prepared(world: World, name: str) -> Stage:
    """Make the stage on which a mutation can be done."""
    if name in {"setSignInPolicy", "resetSecondFactors"}:
        await add_totp(world, "owner" if name == "setSignInPolicy" else "member")
    return await _PREPARED.get(name, prepare)(world)


def test_every_mutation_of_the_schema_is_tried_here() -> None:
    core = build_api()._schema
    assert core.mutation_type is not None
    assert set(core.mutation_type.fields) == set(CASES) | SESSION | OWN | BY_A_SECRET | PASSWORD | THEIRS
    assert {mutation_of(core.mutation_type.fields[name]).action for name in CASES} == {  # type: ignore[union-attr]
        action for _, _, action, _, _ in CASES.values()
    }


@pytest.mark.parametrize("name", CASES)
async def test_a_mutation_leaves_exactly_one_entry_with_who_when_how_and_what(world: World, name: str) -> None:
    who, given, action, entity, columns = CASES[name]
    client, stage = await world.client(who), await prepared(world, name)
    since = await world.now()

    answer = await mutate(client, name, given(stage))

    assert answer.data[name]["errors"] == []
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"]) for one in entries] == [("CHANGE", action, "DONE")]
    entry = entries[0]
    assert entry["membership_id"] == await world.member_id(who)
    assert entry["session_id"] is not None
    assert entry["channel"] == "API"
    assert str(entry["request_id"]) == answer.headers["x-request-id"]
    assert len(entry["operation_hash"]) == 64
    assert entry["operation_name"] == "Mutate"
    assert entry["ip_address"] is not None
    assert entry["user_agent"] is not None
    assert (entry["reason"] is not None) == ("reason" in given(stage))
    changes = await world.sql(
        "select entity, operation, columns::text from change where entry_id = $1 and entity = $2", entry["id"], entity
    )
    # What is sent to somebody is no change of a row that the trail tells of.
    assert len(changes) == bool(columns)
    assert all(f'"{column}"' in one["columns"] for one in changes for column in columns)


@pytest.mark.parametrize("name", CASES)
async def test_a_mutation_without_its_permission_leaves_one_entry_and_no_change(world: World, name: str) -> None:
    _, given, action, _, _ = CASES[name]
    stage = await prepared(world, name)
    # Whoever reads records exports what they read.
    who = "member" if name == "createExport" else "viewer"
    client = await world.client(who)
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(client, name, given(stage))

    codes = [error["code"] for error in answer.data[name]["errors"]]
    assert codes in (["FORBIDDEN"], ["NOT_FOUND"])
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", action, "DENIED", codes[0])
    ]
    assert entries[0]["membership_id"] == await world.member_id(who)


@pytest.mark.parametrize("name", CASES)
async def test_a_mutation_without_a_sign_in_changes_nothing_and_is_logged(world: World, name: str) -> None:
    _, given, action, _, _ = CASES[name]
    stage = await prepared(world, name)
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(world.anonymous, name, given(stage))

    assert answer.codes == ["UNAUTHENTICATED"]
    assert answer.body["data"] == {name: None}
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"], one["user_id"]) for one in entries] == [(action, "DENIED", None)]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[4]])
async def test_a_mutation_that_breaks_half_way_leaves_one_entry_and_no_change(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses the last thing that the transaction does: everything before it was written by then."""
    who, given, action, _, _ = CASES[name]
    client, stage = await world.client(who), await prepared(world, name)
    await world.sql(
        """
        create function break_it() returns trigger language plpgsql as
          $$ begin raise exception 'half-way'; end $$;
        """
    )
    await world.sql(
        "create constraint trigger break_it after insert on change deferrable initially deferred"
        " for each row execute function break_it()"
    )
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(client, name, given(stage))

    assert answer.codes == ["INTERNAL"]
    assert "half-way" not in answer.text
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", action, "FAILED", "INTERNAL")
    ]


@pytest.mark.parametrize("reason", [None, "", " \n\t"])
@pytest.mark.parametrize("name", sorted(DEMAND_A_REASON))
async def test_what_must_say_why_is_not_done_without(world: World, name: str, reason: str | None) -> None:
    who, given, action, _, _ = CASES[name]
    client, stage = await world.client(who), await prepared(world, name)
    without = {key: value for key, value in given(stage).items() if key != "reason"}
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(client, name, without if reason is None else {**without, "reason": reason})

    assert [(one["code"], one["field"]) for one in answer.data[name]["errors"]] == [
        ("INVALID_INPUT", ["input", "reason"])
    ]
    assert answer.data[name]["errors"][0]["message"] == "Expected a reason: this change must say why."
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", action, "FAILED", "INVALID_INPUT")
    ]


def test_what_must_say_why_is_declared() -> None:
    core = build_api()._schema
    assert core.mutation_type is not None
    said = {name: mutation_of(core.mutation_type.fields[name]) for name in CASES}
    assert {name for name, one in said.items() if one is not None and one.reason_demanded} == DEMAND_A_REASON
    assert {name for name, one in said.items() if one is not None and one.signs} == {
        *("approveRecord", "confirmErasure")
    }


async def test_the_trail_shows_before_and_after_to_the_auditor(world: World) -> None:
    stage = await prepare(world)
    await mutate(
        await world.client("collector"),
        "updateRecord",
        {"id": stage.draft, "expectedVersion": 1, "comment": "Second thoughts.", "siteCode": "W-77"},
    )
    auditor = await world.client("auditor")

    answer = await auditor.run(
        """
        { auditEntries(first: 1, filter: {action: {eq: "record.update"}}) { nodes {
            action outcome at channel user { name } operationName
            changes { operation entity entityId columns { column before after } } } } }
        """
    )

    entry = answer.data["auditEntries"]["nodes"][0]
    assert (entry["action"], entry["outcome"], entry["user"]["name"]) == ("record.update", "DONE", "Cleo Cole")
    columns = {one["column"]: (one["before"], one["after"]) for one in entry["changes"][0]["columns"]}
    assert columns["site_code"] == ("W-1", "W-77")
    assert columns["comment"] == ("First thoughts.", "Second thoughts.")
    assert columns["version"] == ("1", "2")

"""What there is to write: a complete input of each mutation, and where in it the fields are that the page names."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any, Final
from uuid import UUID

from graphql import GraphQLInputField, GraphQLInputObjectType, get_named_type, is_required_input_field

from tests.support.entry import let_in, open_incident
from tests.support.importing import FIELD_SHEET, an_import
from tests.support.served import Caller, Reply
from tests.sweep.contract import Contract
from tests.sweep.page import FieldRow, Page
from tests.sweep.stage import FIRST, Cast

Input = dict[str, Any]
Place = tuple[str | int, ...]

REASON: Final = "Because the laboratory said so."
BESIDE: Final = frozenset(
    {"id", "expectedVersion", "reason", "doneAt", "meaning", "password", "measurements", "mappingId", "siteProperties"}
)
"""Input fields that write nothing of their own."""
RENAMED: Final[Mapping[tuple[str, str], str]] = {
    ("assignOrganizationRole", "roleExpiresAt"): "expiresAt",
    ("setLocationSensitivity", "locationsAreSensitive"): "sensitive",
    ("registerTrustedDocuments", "text"): "documents",
    ("requestErasure", "named"): "names",
    ("setTrustedDocumentPolicy", "peopleDocuments"): "people",
    ("setTrustedDocumentPolicy", "programDocuments"): "programs",
    ("startImport", "dropsSwitchedOff"): "dropSwitchedOff",
}
NOT_WRITTEN: Final = frozenset(
    {
        *((name, "userId") for name in ("assignOrganizationRole", "removeOrganizationRole", "removeUser")),
        *((name, "userId") for name in ("suspendUser", "reinstateUser", "startPasswordReset", "resetSecondFactors")),
        ("removeUser", "handOverTo"),
        ("requestErasure", "userId"),
        ("placeLegalHold", "subjectId"),
        ("setProjectFields", "emptyKept"),
        ("createExport", "search"),
        *(("removeTrustedDocuments", name) for name in ("clientName", "clientVersion")),
    }
)
"""Input fields that only name the row, say how it is changed, or are kept beside another one in its column."""
IN_PROJECTS: Final = frozenset(
    {
        *(
            "updateProject",
            "setLocationSensitivity",
            "setProjectFields",
            "archiveProject",
            "assignProjectRole",
            "removeProjectRole",
        ),
        *("createRecord", "updateRecord", "submitRecord", "approveRecord", "rejectRecord", "deleteRecord"),
        *("createSite", "updateSite", "deleteSite"),
        *("createImport", "startImport", "cancelImport"),
        *("createImportMapping", "updateImportMapping", "deleteImportMapping"),
    }
)
OF_PROJECTS: Final = ("updateProject", "setLocationSensitivity", "setProjectFields", "archiveProject")
"""What acts on a project itself."""
SESSION: Final = frozenset(
    {
        *("signIn", "completeSignIn", "beginPasskeySignIn", "signInWithPasskey", "refreshSession", "signOut"),
        *("reauthenticate", "beginPasskeyProof", "enrolDevice"),
        *("beginTotp", "confirmTotp", "beginPasskeyRegistration", "registerPasskey"),
        *("renewRecoveryCodes", "renameAuthenticator", "removeAuthenticator"),
        *("changePassword", "requestPasswordReset", "resetPassword", "acceptInvitation", "revokeOtherSessions"),
        *("requestMyErasure", "exportMyData", "confirmErasureByLink"),
    }
)
"""What is about who signs in, and writes nothing that the page has; what everybody does with what is about them,
`tests/api/test_erasure_request.py` and `tests/api/test_person_archive.py` do.
"""
DONE_ELSEWHERE: Final = frozenset(
    {
        *("setSignInPolicy", "resetSecondFactors", "setTrustedDocumentPolicy"),
        *("createExport", "createArchive", "cancelExport", "deleteExport", "createExportLink"),
        *("confirmErasure", "withdrawErasure"),
    }
)
"""What shuts out whoever else is signed in, where it is done: `tests/api/test_fresh_sign_in.py`,
`tests/api/test_factor_reset.py` and `tests/api/test_trusted_document.py` do it. And what waits for a file, or for a
second person: `tests/sweep/test_exporting.py`, `tests/api/test_export.py` and `tests/api/test_erasure_request.py` do.
"""
NO_EXPORT: Final = "Export:0198c1de-0000-7000-8000-000000000000"
"""There is none on the stage: who is refused is told so of one that never was."""
NO_ERASURE: Final = "ErasureRequest:0198c1de-0000-7000-8000-000000000000"
"""As that."""
OF_ONES_OWN: Final = frozenset({"renameSession", "revokeSession"})
"""What every person does with what is their own, whatever their roles. Who assigns roles ends others' sign-ins, too."""
OF_THE_SPARE: Final = frozenset(
    {
        *("suspendUser", "reinstateUser", "removeUser", "openAccessReview", "decideAccessReviewItem"),
        "revokeUserSessions",
        *("assignOrganizationRole", "removeOrganizationRole", "assignProjectRole", "removeProjectRole"),
    }
)
"""What acts on somebody who may have been removed by it before."""
OLD_BUILD: Final = {"clientName": "sweep", "clientVersion": "old"}
"""The build whose documents are removed."""

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Aim:
    """What a mutation acts on, by global ids. `version`: of what the input's id names."""

    project: str
    person: str
    device: str
    role: str
    subject: str = ""
    version: int = 1


def complete(aim: Aim) -> dict[str, Input]:
    """Return for each mutation an input with all that it takes."""
    number = next(_numbers)
    later = (datetime.now(UTC) + timedelta(days=1, seconds=number)).isoformat()
    much_later = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    subject = {"id": aim.subject, "expectedVersion": aim.version}
    reasoned = {**subject, "reason": REASON}
    project = {
        "code": f"SWEEP-{number}",
        "name": f"Sweep {number}",
        "description": "Written by the sweep.",
        "startsOn": "2026-01-01",
        "endsOn": "2026-12-31",
    }
    record = {
        "siteCode": f"W-{number}",
        "siteName": "Weir",
        "latitude": 51.5,
        "longitude": -0.25,
        "collectedAt": "2026-02-03T04:05:06Z",
        "medium": "WATER",
        "activityType": "Sample-Routine",
        "method": "Grab",
        "collector": "Nadia Noor",
        "comment": "The gate was open.",
        "measurements": [
            {
                "characteristic": "pH",
                "fraction": "Total",
                "value": 7.1,
                "valueReported": "7.10",
                "unit": "None",
                "qualifier": "J",
                "detectionCondition": "Not Detected",
                "detectionLimit": 0.1,
                "detectionLimitUnit": "mg/L",
                "detectionLimitType": "Method Detection Level",
                "method": "Meter",
                "resultStatus": "Final",
                "valueType": "Actual",
                "comment": "Shaken.",
            }
        ],
    }
    site = {
        "code": f"SITE-{number}",
        "name": "Weir",
        "kind": "River/Stream",
        "latitude": 51.5,
        "longitude": -0.25,
        "description": "By the mill.",
    }
    role = {"name": f"Role {number}", "permissions": ["PROJECT_READ", "RECORD_READ"], "description": "Of the sweep."}
    build = {"clientName": "sweep", "clientVersion": str(number)}
    in_project = {"userId": aim.person, "projectId": aim.project, "reason": REASON}
    return {
        "createImport": {"projectId": aim.project, "kind": "WQX_CSV", "fileName": "sweep.csv", "size": 10},
        "startImport": {"id": aim.subject, "dryRun": True, "dropSwitchedOff": True},
        "cancelImport": {"id": aim.subject},
        "createImportMapping": {"projectId": aim.project, "name": f"Sheet {number}", "mapping": FIELD_SHEET},
        "updateImportMapping": {**subject, "name": f"Sheet {number} again", "mapping": FIELD_SHEET},
        "deleteImportMapping": subject,
        "createProject": project,
        "updateProject": {**reasoned, **project},
        # What it is said to be already, in the first project: the records there stay as they are for those who follow.
        "setLocationSensitivity": {**reasoned, "sensitive": False},
        "archiveProject": reasoned,
        "createRecord": {**record, "projectId": aim.project, "deviceId": aim.device},
        "updateRecord": {**reasoned, **record},
        **dict.fromkeys(("submitRecord", "rejectRecord", "deleteRecord"), reasoned),
        "approveRecord": {**reasoned, "meaning": "APPROVAL"},
        "createSite": {**site, "projectId": aim.project},
        "updateSite": {**reasoned, **site},
        "deleteSite": reasoned,
        "registerDevice": {
            "userId": aim.person,
            "platform": "IOS",
            "model": "iPhone 15",
            "serialNumber": f"SN-{number}",
            "appVersion": "2.5.0",
        },
        **dict.fromkeys(("blockDevice", "unblockDevice"), reasoned),
        "handOverDevice": {**reasoned, "userId": aim.person},
        "startDeviceEnrolment": {"id": aim.subject},
        "assignOrganizationRole": {
            "userId": aim.person,
            "role": "MEMBER",
            "customRoleId": aim.role,
            "expiresAt": later,
            "reason": REASON,
        },
        "removeOrganizationRole": {"userId": aim.person, "reason": REASON},
        "renameSession": {"id": aim.subject, "name": f"Sign-in {number}"},
        "revokeSession": {"id": aim.subject, "reason": REASON},
        "revokeUserSessions": {"userId": aim.person, "reason": REASON},
        **{name: {"userId": aim.person, "reason": REASON} for name in ("startPasswordReset", "resetSecondFactors")},
        "assignProjectRole": {**in_project, "role": "VIEWER", "customRoleId": aim.role, "expiresAt": later},
        "removeProjectRole": in_project,
        "createRole": {**role, "level": "PROJECT", "reason": REASON},
        "updateRole": {**reasoned, **role},
        "deleteRole": reasoned,
        "createServiceAccount": {
            "name": f"Program {number}",
            "permissions": ["PROJECT_READ"],
            "expiresAt": much_later,
            "projectIds": [aim.project],
            "networks": ["192.0.2.0/24"],
            "reason": REASON,
        },
        "revokeServiceAccount": reasoned,
        "setSignInPolicy": {"demandsSecondFactor": True, "reason": REASON},
        "issueServiceAccountToken": {"id": aim.subject, "expiresAt": later, "reason": REASON},
        "revokeServiceAccountToken": {"id": aim.subject, "reason": REASON},
        "registerTrustedDocuments": {**build, "documents": [f"query Sweep{number} {{ __typename }}"]},
        "removeTrustedDocuments": {**OLD_BUILD, "reason": REASON},
        "setTrustedDocumentPolicy": {"people": "TRUSTED_ONLY", "programs": "TRUSTED_ONLY", "reason": REASON},
        "setTrailRetention": {"kind": "READ", "days": 365 + number, "reason": REASON},
        "setRetention": {"kind": "RECORD", "days": 365 + number, "reason": REASON},
        "placeLegalHold": {"subjectId": aim.person, "reason": REASON},
        "liftLegalHold": reasoned,
        "setProjectFields": {**reasoned, "fieldsOff": ["SOURCE_ROW"], "emptyKept": False},
        "inviteUser": {
            "email": f"sweep-{number}@clearwater.example",
            "name": "Somebody new",
            "role": "MEMBER",
            "customRoleId": aim.role,
            "projectId": aim.project,
            "projectRole": "VIEWER",
            "reason": REASON,
        },
        **dict.fromkeys(("resendInvitation", "revokeInvitation"), reasoned),
        **{name: {"userId": aim.person, "reason": REASON} for name in ("suspendUser", "reinstateUser")},
        "removeUser": {"userId": aim.person, "handOverTo": None, "reason": REASON},
        "openAccessReview": {"dueAt": later, "reason": REASON},
        "decideAccessReviewItem": {"id": aim.subject, "decision": "KEEP", "reason": REASON},
        "closeAccessReview": reasoned,
        "acknowledgeIncident": subject,
        "closeIncident": {**subject, "note": "A test of ours."},
        "createExport": {
            "format": "CSV",
            "filter": {"siteCode": {"startsWith": "W"}},
            "search": "weir",
            "reason": REASON,
        },
        "createArchive": {"reason": REASON},
        "requestErasure": {"kind": "NAME", "userId": None, "names": ["Somebody new"], "reason": REASON},
        **dict.fromkeys(("confirmErasure", "withdrawErasure"), reasoned),
        **{
            name: {"id": aim.subject, "reason": REASON} for name in ("cancelExport", "deleteExport", "createExportLink")
        },
    }


def input_of(contract: Contract, mutation: str) -> GraphQLInputObjectType:
    """Return a mutation's one input."""
    given = get_named_type(contract.mutation[mutation].args["input"].type)
    assert isinstance(given, GraphQLInputObjectType)
    return given


def place_of(contract: Contract, mutation: str, said: FieldRow) -> Place:
    """Return where in the input the mutation takes the field."""
    taken = input_of(contract, mutation).fields
    if said.type_name == "Measurement":
        return "measurements", 0, said.field
    name = RENAMED.get((mutation, said.field), said.field)
    found = name if name in taken else f"{name}Id"
    assert found in taken, f"the page says that {mutation} writes {said.type_name}.{said.field}, and it takes no {name}"
    return (found,)


@cache
def written(page: Page, contract: Contract) -> tuple[tuple[str, FieldRow, Place], ...]:
    """Return every field that the page says is written: by which mutation, and where in its input."""
    return tuple(
        (mutation, said, place_of(contract, mutation, said))
        for fields in page.fields.values()
        for said in fields.values()
        for mutation in said.written_by
    )


def with_only(contract: Contract, mutation: str, whole: Input, places: Sequence[Place]) -> Input:
    """Return the input with what it can't be without, and these fields of it."""
    taken = input_of(contract, mutation).fields
    kept = {
        name: whole[name]
        for name, one in taken.items()
        if name in whole and (is_required_input_field(one) or name == "reason")
    }
    kept |= {str(place[0]): whole[str(place[0])] for place in places if len(place) == 1}
    if any(len(place) > 1 for place in places):
        one_result = get_named_type(taken["measurements"].type)
        assert isinstance(one_result, GraphQLInputObjectType)
        named = {place[2] for place in places if len(place) > 1}
        kept["measurements"] = [_only(one, named, one_result.fields) for one in whole["measurements"]]
    if {"role", "customRoleId"} <= taken.keys() and "customRoleId" not in kept:
        kept["role"] = whole["role"]
    elif "customRoleId" in kept:
        kept.pop("role", None)
    return kept


def _only(one: Input, named: set[Any], fields: Mapping[str, GraphQLInputField]) -> Input:
    return {name: value for name, value in one.items() if name in named or is_required_input_field(fields[name])}


def signed(contract: Contract, caller: Caller, mutation: str, given: Input) -> Input:
    """Return the input with what the caller signs by, where the mutation is a signature."""
    return {**given, "password": caller.password} if "password" in input_of(contract, mutation).fields else given


def run_mutations(contract: Contract, caller: Caller, inputs: Sequence[tuple[str, Input]]) -> Reply:
    """Run mutations in one operation, each under `m` and its number."""
    declared = ", ".join(f"$i{index}: {input_of(contract, name)}!" for index, (name, _) in enumerate(inputs))
    parts = [
        f"m{index}: {name}(input: $i{index}) {{ errors {{ code field permission scope }} }}"
        for index, (name, _) in enumerate(inputs)
    ]
    given = {f"i{index}": signed(contract, caller, name, one) for index, (name, one) in enumerate(inputs)}
    return caller.run(f"mutation({declared}) {{ {' '.join(parts)} }}", given)


@dataclass(frozen=True, slots=True)
class Ground:
    """Makes what there is to act on, as the owner, so that whoever comes next finds it as it must be."""

    cast: Cast
    contract: Contract

    def standing(self, mutation: str) -> Aim:
        """Return what stands in the first project for those who are refused; nobody changes it."""
        targets = self.cast.targets
        subjects: Mapping[str, tuple[str, int]] = {
            # The stage gave it its days.
            **dict.fromkeys(OF_PROJECTS, (targets.project, 2)),
            **dict.fromkeys(("updateRecord", "submitRecord", "deleteRecord"), (targets.draft, 1)),
            **dict.fromkeys(("approveRecord", "rejectRecord"), (targets.submitted, 2)),
            **dict.fromkeys(("updateSite", "deleteSite"), (targets.site, 1)),
            **dict.fromkeys(("blockDevice", "handOverDevice", "startDeviceEnrolment"), (targets.device, 1)),
            "unblockDevice": (targets.blocked_device, 2),
            **dict.fromkeys(("updateRole", "deleteRole"), (targets.role, 1)),
            **dict.fromkeys(("revokeServiceAccount", "issueServiceAccountToken"), (targets.program, 1)),
            "revokeServiceAccountToken": (targets.program_token, 1),
            **dict.fromkeys(("acknowledgeIncident", "closeIncident"), (targets.incident, 1)),
            **dict.fromkeys(("resendInvitation", "revokeInvitation"), (targets.invitation, 1)),
            **dict.fromkeys(OF_ONES_OWN, (targets.session, 1)),
            "decideAccessReviewItem": (targets.review_item, 1),
            "closeAccessReview": (targets.review, 1),
            **dict.fromkeys(("startImport", "cancelImport"), (targets.data_import, 1)),
            **dict.fromkeys(("updateImportMapping", "deleteImportMapping"), (targets.import_mapping, 1)),
            **dict.fromkeys(("cancelExport", "deleteExport", "createExportLink"), (NO_EXPORT, 1)),
            "liftLegalHold": (targets.hold, 1),
            **dict.fromkeys(("confirmErasure", "withdrawErasure"), (NO_ERASURE, 1)),
        }
        subject, version = subjects.get(mutation, ("", 1))
        role = self._role(mutation)
        return Aim(targets.project, targets.person, targets.device, role, subject, version)

    def fresh(self, mutation: str, project: UUID | None, maker: Caller, version_of: Callable[[str], int]) -> Aim:
        """Return what the mutation can be done to. `maker`: whose it is to be, where it is to be one's own."""
        owner = self.cast.principals["owner"].caller
        aim = Aim(
            f"Project:{project or self.cast.projects[FIRST]}",
            f"User:{self.cast.spare}",
            self.cast.targets.device,
            self._role(mutation),
        )
        inputs = complete(aim)
        subject = ""
        if mutation in OF_THE_SPARE:
            # Somebody else may have removed them before.
            asyncio.run(let_in(self.cast.superuser, self.cast.organization, self.cast.spare))
        if mutation in {"updateRecord", "submitRecord", "deleteRecord", "approveRecord", "rejectRecord"}:
            draft = {name: inputs["createRecord"][name] for name in ("projectId", "siteCode", "collectedAt", "medium")}
            subject = self._made(maker, "createRecord", draft, "record")
            if mutation in {"approveRecord", "rejectRecord"}:
                self._made(maker, "submitRecord", {"id": subject, "expectedVersion": 1}, "record")
        elif mutation in {"blockDevice", "unblockDevice", "handOverDevice", "startDeviceEnrolment"}:
            whose = {"userId": f"User:{self.cast.principals['owner'].member_id}"}
            given = inputs["registerDevice"] | (whose if mutation == "handOverDevice" else {})
            subject = self._made(owner, "registerDevice", given, "device")
            if mutation == "unblockDevice":
                blocked = {"id": subject, "expectedVersion": 1, "reason": REASON}
                self._made(owner, "blockDevice", blocked, "device")
        elif mutation in {"updateSite", "deleteSite"}:
            subject = self._made(owner, "createSite", inputs["createSite"], "site")
        elif mutation in {"updateRole", "deleteRole"}:
            subject = self._made(owner, "createRole", inputs["createRole"], "role")
        elif mutation in {"revokeServiceAccount", "issueServiceAccountToken", "revokeServiceAccountToken"}:
            subject = self._made(owner, "createServiceAccount", inputs["createServiceAccount"], "serviceAccount")
            if mutation == "revokeServiceAccountToken":
                given = {**inputs["issueServiceAccountToken"], "id": subject}
                subject = self._made(owner, "issueServiceAccountToken", given, "serviceAccountToken")
        elif mutation in {"acknowledgeIncident", "closeIncident"}:
            subject = f"Incident:{asyncio.run(open_incident(self.cast.superuser, self.cast.organization))}"
        elif mutation in {"resendInvitation", "revokeInvitation"}:
            invited = {name: inputs["inviteUser"][name] for name in ("email", "name", "role")}
            subject = self._made(owner, "inviteUser", invited, "invitation")
        elif mutation in {"startImport", "cancelImport"}:
            subject = f"DataImport:{asyncio.run(an_import(self.cast.superuser, self.cast.organization, aim.project))}"
        elif mutation in {"updateImportMapping", "deleteImportMapping"}:
            subject = self._made(owner, "createImportMapping", inputs["createImportMapping"], "importMapping")
        elif mutation == "liftLegalHold":
            subject = self._made(owner, "placeLegalHold", inputs["placeLegalHold"], "legalHold")
        elif mutation == "reinstateUser":
            self._made(owner, "suspendUser", inputs["suspendUser"], "user")
        elif mutation in {"openAccessReview", "decideAccessReviewItem", "closeAccessReview"}:
            self._close_review(owner, inputs["closeAccessReview"])
            if mutation != "openAccessReview":
                subject = self._made(owner, "openAccessReview", inputs["openAccessReview"], "accessReview")
            if mutation == "decideAccessReviewItem":
                item = self._item_of_spare(owner)
                return Aim(aim.project, aim.person, aim.device, aim.role, item)
        elif mutation == "removeTrustedDocuments":
            self._register_old_build(owner)
        elif mutation in OF_ONES_OWN:
            subject = f"Session:{self._another_sign_in(maker)}"
        elif mutation == "revokeUserSessions":
            self._another_sign_in(Caller(owner.http, sign_in=self.cast.spare_sign_in))
        elif mutation in OF_PROJECTS:
            is_any = project is None
            subject = self._made(owner, "createProject", inputs["createProject"], "project") if is_any else aim.project
        elif mutation in {"removeProjectRole", "removeOrganizationRole"}:
            name = mutation.replace("remove", "assign")
            given = with_only(self.contract, name, inputs[name], [("expiresAt",)])
            self._made(owner, name, given, "user")
        is_counted = "expectedVersion" in input_of(self.contract, mutation).fields
        version = version_of(subject) if subject and is_counted else 1
        return Aim(aim.project, aim.person, aim.device, aim.role, subject, version)

    def _another_sign_in(self, whose: Caller) -> UUID | None:
        """Sign somebody in once more."""
        caller = Caller(whose.http, sign_in=whose.sign_in)
        caller.freshen()
        return caller.session_id

    def _register_old_build(self, owner: Caller) -> None:
        """Register a document of the build that is removed."""
        query = "mutation($input: RegisterTrustedDocumentsInput!) { registerTrustedDocuments(input: $input) {"
        given = {"input": {**OLD_BUILD, "documents": ["{ __typename }"]}}
        payload: Any = owner.run(f"{query} errors {{ code }} }} }}", given).data["registerTrustedDocuments"]
        assert payload["errors"] == [], payload

    def _close_review(self, owner: Caller, given: Input) -> None:
        """Close the newest review where it is open."""
        query = "{ accessReviews(first: 1) { nodes { id version closedAt } } }"
        for one in owner.run(query).data["accessReviews"]["nodes"]:
            if one["closedAt"] is None:
                over = {**given, "id": one["id"], "expectedVersion": one["version"]}
                self._made(owner, "closeAccessReview", over, "accessReview")

    def _item_of_spare(self, owner: Caller) -> str:
        """Return the item of a role in the newest review, of somebody who decides about none."""
        query = (
            "query($user: ID!) { accessReviews(first: 1) { nodes { items(filter: { userId: { eq: $user },"
            " kind: { eq: MEMBERSHIP } }) { nodes { id } } } } }"
        )
        found = owner.run(query, {"user": f"User:{self.cast.spare}"}).data["accessReviews"]["nodes"][0]
        return str(found["items"]["nodes"][0]["id"])

    def _role(self, mutation: str) -> str:
        is_in_organization = mutation in {"assignOrganizationRole", "inviteUser"}
        return self.cast.roles["ORGANIZATION"] if is_in_organization else self.cast.targets.role

    def _made(self, caller: Caller, mutation: str, given: Input, shown: str) -> str:
        query = (
            f"mutation($input: {input_of(self.contract, mutation)}!) {{ {mutation}(input: $input)"
            f" {{ {shown} {{ id }} errors {{ code message field }} }} }}"
        )
        payload: Any = caller.run(query, {"input": given}).data[mutation]
        assert payload["errors"] == [], (mutation, payload)
        return str(payload[shown]["id"])

"""Loads the demo through the same doors as everybody's data: audited changes, in somebody's name."""

import csv
import io
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.permission import Permission as P
from auth.principal import Viewer
from auth.role import ProjectRole
from fieldward.demo.people import ORGANIZATIONS, PEOPLE, PROGRAM, PROJECTS, DemoPerson
from models.custom_role import RoleLevel
from models.device import DevicePlatform
from models.record import Medium
from resolvers.account import NewPerson, create_organization, create_person, member_viewer
from resolvers.change import Change, Intent, commit_change
from resolvers.custom_role import NewRole, create_role
from resolvers.device import NewDevice, register_device
from resolvers.import_report import ImportReport
from resolvers.membership import Assignment, assign_project_role
from resolvers.project import NewProject, create_project
from resolvers.record import NewMeasurement, NewRecord, create_record
from resolvers.record_import import import_results
from resolvers.record_review import submit_record
from resolvers.service_account import NewServiceAccount, create_service_account
from resolvers.services import Services
from resolvers.trail import Actor

RESULTS: Final = Path(__file__).with_name("water-quality-results.csv")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What was loaded: by project code, what became of its rows of the file; and the token of the demo's program."""

    imports: Mapping[str, ImportReport]
    program_token: str


def new_passwords() -> dict[str, str]:
    """Return a fresh password for each person of the demo."""
    return {person.email: secrets.token_urlsafe(15) for person in PEOPLE}


async def load_demo(
    services: Services, actor: Actor, passwords: Mapping[str, str], *, progress: Progress = lambda *_: None
) -> DemoReport:
    """Load organizations, people, projects, a device and the file's records.

    passwords: by address. progress: told the step, and how many of how many of its parts are done.
    """
    organizations: dict[str, UUID] = {}
    members: dict[str, UUID] = {}
    for done, person in enumerate(PEOPLE, 1):
        slug = person.organization
        new = NewPerson(person.email, passwords[person.email], person.name, person.role)
        if slug not in organizations:
            # The first of an organization's people is its first owner.
            organizations[slug], members[person.key] = await create_organization(
                services, actor, slug=slug, name=ORGANIZATIONS[slug], owner=new
            )
        else:
            members[person.key] = await create_person(services, actor, organization_id=organizations[slug], new=new)
        progress("people", done, len(PEOPLE))
    imports: dict[str, ImportReport] = {}
    program_token = ""
    total = _rows()
    for project in PROJECTS:
        owner = await _viewer(_owner_of(project.organization))
        project_id = await _create_project(actor, owner, project.code, project.name)
        if project is PROJECTS[0]:
            await _grant_roles(actor, owner, members, project_id)
        done = sum(report.rows for report in imports.values())
        imports[project.code] = await import_results(
            _as(actor, owner), owner, _results_of(project.providers), project_id=project_id
        )
        progress("results", done + imports[project.code].rows, total)
        if project is PROJECTS[0]:
            await _collect(actor, owner, members, project_id)
            await _define_role(actor, owner)
            program_token = await _create_program(actor, owner, project_id)
    return DemoReport(imports, program_token)


def _owner_of(organization: str) -> DemoPerson:
    return next(one for one in PEOPLE if one.organization == organization)


async def _viewer(person: DemoPerson) -> Viewer:
    return await member_viewer(person.organization, email=person.email)


def _as(actor: Actor, viewer: Viewer) -> Actor:
    return Actor(viewer.organization_id, actor.origin, viewer)


async def _create_project(actor: Actor, owner: Viewer, code: str, name: str) -> UUID:
    async def create(change: Change) -> UUID:
        return await create_project(change, project_id=None, new=NewProject(code=code, name=name))

    return await commit_change(Intent(action=Action.PROJECT_CREATE, actor=_as(actor, owner), entity="project"), create)


async def _grant_roles(actor: Actor, owner: Viewer, members: Mapping[str, UUID], project_id: UUID) -> None:
    for person in PEOPLE:
        role = person.project_role
        if role is None:
            continue
        member_id = members[person.key]

        async def grant(change: Change, member_id: UUID = member_id, role: ProjectRole = role) -> UUID:
            return await assign_project_role(
                change, membership_id=member_id, project_id=project_id, given=Assignment(role=role)
            )

        await commit_change(_intent(Action.PROJECT_MEMBERSHIP_ASSIGN, actor, owner, "project_membership"), grant)


async def _define_role(actor: Actor, owner: Viewer) -> None:
    async def define(change: Change) -> UUID:
        new = NewRole(
            name="Field technician",
            level=RoleLevel.PROJECT,
            permissions=(P.PROJECT_READ, P.RECORD_READ, P.RECORD_CREATE, P.RECORD_UPDATE_OWN, P.RECORD_SUBMIT),
            description="Brings records in; reads neither names nor comments.",
        )
        return await create_role(change, role_id=None, new=new)

    await commit_change(_intent(Action.ROLE_CREATE, actor, owner, "custom_role"), define)


async def _create_program(actor: Actor, owner: Viewer, project_id: UUID) -> str:
    async def create(change: Change) -> str:
        new = NewServiceAccount(
            name=PROGRAM,
            permissions=(P.PROJECT_READ, P.RECORD_READ),
            expires_at=change.at + timedelta(days=90),
            project_ids=(project_id,),
        )
        return (await create_service_account(change, new=new)).token

    return await commit_change(_intent(Action.SERVICE_ACCOUNT_CREATE, actor, owner, "service_account"), create)


def _intent(action: Action, actor: Actor, owner: Viewer, entity: str) -> Intent:
    return Intent(action=action, actor=_as(actor, owner), reason="Set up for the demo.", entity=entity)


async def _collect(actor: Actor, owner: Viewer, members: Mapping[str, UUID], project_id: UUID) -> None:
    """Have the collector make a record on a registered phone, and hand it over for review."""

    async def register(change: Change) -> UUID:
        new = NewDevice(
            membership_id=members["collector"],
            platform=DevicePlatform.ANDROID,
            model="XCover 6 Pro",
            serial_number="R5CT20DEMO1",
            app_version="2.4.0",
        )
        return await register_device(change, device_id=None, new=new)

    device_id = await commit_change(
        Intent(action=Action.DEVICE_REGISTER, actor=_as(actor, owner), entity="device"), register
    )
    collector = await _viewer(next(one for one in PEOPLE if one.key == "collector"))

    async def collect(change: Change) -> UUID:
        new = NewRecord(
            project_id=project_id,
            site_code="CANAL-07",
            site_name="Canal bridge, left bank",
            latitude=27.94218,
            longitude=-82.45837,
            collected_at=change.at - timedelta(hours=3),
            medium=Medium.WATER,
            method="Grab sample",
            collector=PEOPLE[5].name,
            comment="Gate unlocked on arrival; owner asked us to call before the next visit.",
            device_id=device_id,
            measurements=(
                NewMeasurement(characteristic="pH", value=7.4, unit="None"),
                NewMeasurement(characteristic="Temperature, water", value=22.8, unit="deg C"),
            ),
        )
        return await create_record(change, record_id=None, new=new)

    mine = _as(actor, collector)
    record_id = await commit_change(Intent(action=Action.RECORD_CREATE, actor=mine, entity="record"), collect)

    async def submit(change: Change) -> UUID:
        return await submit_record(change, record_id=record_id, expected_version=1)

    await commit_change(Intent(action=Action.RECORD_SUBMIT, actor=mine, entity="record", subjects=[record_id]), submit)


def _rows() -> int:
    with RESULTS.open(encoding="utf-8-sig", newline="") as file:
        return sum(1 for _ in csv.DictReader(file))


def _results_of(providers: frozenset[str]) -> io.StringIO:
    """Return the part of the file that these organizations of the portal reported, as a file of its own."""
    with RESULTS.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        part = io.StringIO(newline="")
        writer = csv.DictWriter(part, fieldnames=reader.fieldnames or [])
        writer.writeheader()
        writer.writerows(row for row in reader if row["OrganizationIdentifier"] in providers)
    part.seek(0)
    return part

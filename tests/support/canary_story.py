"""The story of a run: who is there, what they do and are answered, and what is kept of it for the search."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import httpx

from auth.role import OrganizationRole
from fieldward.cli.environment import embedded_databases, operator, services
from fieldward.database import migrate
from fieldward.settings import Settings
from models.transaction import CHANGED
from resolvers.account import NewPerson, create_organization, create_person
from tests.support.canary import Canaries, Hit
from tests.support.canary_house import House
from tests.support.canary_traffic import Traffic
from tests.support.canary_writing import Writing
from tests.support.mutation import Stage
from tests.support.served import Caller
from tests.support.world import connect
from tests.support.wqx import a_file, a_row
from tests.sweep.contract import Contract
from tests.sweep.facts import TABLES
from tests.sweep.principal import Principal
from tests.sweep.stage import FIRST, Cast

ENTRIES: Final = """
query($after: String) {
  auditEntries(first: 100, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes { reason userAgent changes { columns { before after } } }
  }
}
"""
ROWS: Final = """
{
  users(first: 100) { nodes { name email sessions(first: 100) { nodes { name } } } }
  invitations(first: 100) { nodes { email name } }
  devices(first: 100) { nodes { serialNumber blockReason } }
  incidents(first: 100) { nodes { note } }
  exports(first: 100) { nodes { filter manifest } }
  records(first: 100) { nodes { comment collector reviewReason measurements { comment sourceRow } } }
}
"""
PROJECT: Final = "CANARY-1"
PEOPLE: Final = {
    "owner": OrganizationRole.OWNER,
    "second": OrganizationRole.OWNER,
    "watcher": OrganizationRole.MEMBER,
    "spare": OrganizationRole.MEMBER,
    "leaver": OrganizationRole.MEMBER,
}
BY_COMMAND: Final = ("owner", "leaver")
"""Who is made by commands, in the run that has them."""


@dataclass
class Account:
    """A person of the run. All of it is a canary."""

    email: str
    name: str
    password: str

    @classmethod
    def made(cls, canaries: Canaries, who: str) -> "Account":
        """Return somebody nobody has heard of."""
        word = canaries.plant
        return cls(f"{word(f'address of {who}')}@acme.example", word(f"name of {who}"), word(f"password of {who}"))


@dataclass
class Story:
    """What was done in a run, and what was found.

    readable: the canaries that were stored beside those that mutations were given. control: what is plain by design.
    read: all that somebody is answered at the end. scanned: how many places, and how many bytes, by when.
    """

    house: House
    is_talkative: bool
    accounts: dict[str, Account] = field(default_factory=dict)
    writing: Writing | None = None
    traffic: Traffic | None = None
    readable: set[str] = field(default_factory=set)
    control: Canaries = field(default_factory=Canaries)
    read: dict[str, str] = field(default_factory=dict)
    hits: list[Hit] = field(default_factory=list)
    scanned: dict[str, tuple[int, int]] = field(default_factory=dict)
    notified: list[str] = field(default_factory=list)
    changes_told: list[str] = field(default_factory=list)

    @property
    def canaries(self) -> Canaries:
        """Those of the run."""
        return self.house.canaries


async def people(story: Story) -> None:
    """Make the organization and its people."""
    made = story.house
    for who in PEOPLE:
        story.accounts[who] = Account.made(story.canaries, who)
    settings = Settings(data_directory=made.data, password_cost="test")
    await migrate(embedded_databases(made.postgres, owner=True), settings)
    if story.is_talkative:
        await asyncio.to_thread(_people_by_commands, story)
    async with services(settings, embedded_databases(made.postgres, owner=False)) as built:
        if story.is_talkative:
            organization = (await made.sql("select id from organization"))[0]["id"]
        else:
            organization, _ = await create_organization(
                built, operator(), slug="acme", name="Acme", owner=_new(story, "owner", OrganizationRole.OWNER)
            )
        for who, role in PEOPLE.items():
            if who not in (BY_COMMAND if story.is_talkative else ("owner",)):
                await create_person(built, operator(), organization_id=organization, new=_new(story, who, role))
    for who in PEOPLE:
        if who != "watcher":
            story.readable |= story.canaries.within(f"{story.accounts[who].email} {story.accounts[who].name}")


def _new(story: Story, who: str, role: OrganizationRole) -> NewPerson:
    one = story.accounts[who]
    return NewPerson(one.email, one.password, one.name, role)


def _people_by_commands(story: Story) -> None:
    """Make the organization and one more of its people by commands, and fail to make others."""
    made, word = story.house, story.canaries.plant
    owner = story.accounts["owner"]
    names = ["--owner-email", owner.email, "--owner-name", owner.name]
    done = made.command("organization", "create", "acme", "Acme", *names, given=owner.password + "\n")
    assert done.returncode == 0, done.stderr
    one = story.accounts["leaver"]
    given = [
        (one.email, one.name, one.password, 0),
        (owner.email, word("name at a taken address"), word("password at a taken address"), 1),
        (f"{word('an address')}@acme.example", word("long name") * 20, word("a password beside a long name"), 2),
        (f"{word('an address')}@acme.example", word("a name"), word("a long password") * 10, 2),
    ]

    def create(email: str, name: str, password: str, code: int) -> None:
        as_owner = ["--organization", "acme", "--as", owner.email]
        done = made.command("user", "create", email, "--name", name, *as_owner, given=password + "\n")
        assert done.returncode == code, (done.stdout, done.stderr)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: create(*each), given))


async def ground(story: Story, contract: Contract, url: str) -> Writing:
    """Sign everybody in, and make what mutations act on."""
    made, canaries = story.house, story.canaries
    agent = canaries.plant("user agent of the owner")
    story.readable.add(agent)

    def caller(who: str, told: str, **headers: str) -> Caller:
        account = story.accounts[who]
        return made.caller(told, url, sign_in={"email": account.email, "password": account.password}, **headers)

    control = story.control.plant("client's name")
    owner = caller("owner", "writer", user_agent=agent, graphql_client_name=control)
    second, watcher = caller("second", "writer"), caller("watcher", "watcher")
    members = {
        who: one.run("{ viewer { user { id } } }").data["viewer"]["user"]["id"]
        for who, one in (("owner", owner), ("watcher", watcher), ("spare", caller("spare", "spare")))
    }

    def do(mutation: str, shown: str, **given: Any) -> str:
        kind = contract.mutation[mutation].args["input"].type
        query = f"mutation($input: {kind}) {{ {mutation}(input: $input) {{ {shown} {{ id }} errors {{ message }} }} }}"
        payload = owner.run(query, {"input": given}).data[mutation]
        assert payload["errors"] == [], payload
        return str(payload[shown]["id"])

    project = do("createProject", "project", code=PROJECT, name=story.control.plant("name of a project"))
    device = do("registerDevice", "device", userId=members["spare"], platform="IOS", model="iPhone 15")
    roles = {
        level: do(
            "createRole", "role", name=f"Role {level}", level=level, permissions=["RECORD_READ"], reason="Set up."
        )
        for level in ("ORGANIZATION", "PROJECT")
    }
    nothing = ""
    cast = Cast(
        principals={"owner": Principal("owner", None, owner, member_id=UUID(members["owner"].partition(":")[2]))},
        projects={FIRST: UUID(project.partition(":")[2])},
        targets=Stage(
            project=project,
            person=members["spare"],
            viewer=members["watcher"],
            auditor=nothing,
            draft=nothing,
            submitted=nothing,
            device=device,
            blocked_device=nothing,
            role=roles["PROJECT"],
            program=nothing,
            program_token=nothing,
        ),
        roles=roles,
        spare=UUID(members["spare"].partition(":")[2]),
        spare_sign_in={"email": story.accounts["spare"].email, "password": story.accounts["spare"].password},
        organization=(await made.sql("select id from organization"))[0]["id"],
        superuser=made.postgres.superuser("fieldward"),
        trail_until=datetime.now(UTC),
    )
    return Writing(
        canaries=canaries,
        contract=contract,
        cast=cast,
        owner=owner,
        second=second,
        watcher=watcher,
        anonymous=made.caller("anonymous", url),
        version_of=lambda one: asyncio.run(_version(story, one)),
    )


async def _version(story: Story, subject: str) -> int:
    type_name, _, row_id = subject.partition(":")
    rows = await story.house.sql(f'select version from "{TABLES[type_name].name}" where id = $1', UUID(row_id))
    return int(rows[0]["version"])


def write(story: Story, writing: Writing, url: str) -> None:
    """Have everything written that can be, and send what is no operation."""
    writing.everything()
    account = story.accounts["second"]
    writing.sessions(account.email, account.password)
    writing.signatures()
    with httpx.Client(base_url=url, timeout=60) as http:
        writing.odd_requests(http)


async def exchange(story: Story, url: str) -> None:
    """Have files come and go, ask, and follow what changes, with somebody listening to what processes tell."""

    def caller(told: str, who: str | None = None) -> Caller:
        account = story.accounts[who] if who else None
        sign_in = {"email": account.email, "password": account.password} if account else None
        return story.house.caller(told, url, sign_in=sign_in)

    assert story.writing is not None
    made = story.traffic = Traffic(
        story.canaries,
        caller("exchange", "owner"),
        caller("watcher", "watcher"),
        # Nobody in particular, who has a link.
        caller("exchange"),
        story.writing.cast.targets.project,
        # What a talkative database logs is looked for by nobody.
        Canaries() if story.is_talkative else story.canaries,
    )
    listener = await connect(story.house.postgres.superuser("fieldward"))
    try:
        await listener.add_listener(CHANGED, lambda *told: story.changes_told.append(str(told[3])))
        await asyncio.to_thread(made.everything)
        await made.subscriptions()
    finally:
        await listener.close()
    story.readable |= made.kept


def commands(story: Story) -> None:
    """Import a file, suspend somebody, explain a decision: rightly and wrongly."""
    made, word = story.house, story.canaries.plant
    as_owner = ["--organization", "acme", "--as", story.accounts["owner"].email]
    file = made.root / "results.csv"
    good = [
        a_row(
            ACTIVITY=f"ACT-{number}",
            ACTIVITY_COMMENT=word("comment of an activity"),
            CONDUCTING_ORGANIZATION=word("collector of an activity"),
            RESULT_COMMENT=word("comment of a result"),
            SITE="STF_WQX-TMS01",
        )
        for number in range(3)
    ]
    good[0]["LaboratoryName"] = word("a column that is not read")
    story.readable |= story.canaries.within(json.dumps(good))
    bad = [
        a_row(ACTIVITY="", ACTIVITY_COMMENT=word("comment of a row without an activity")),
        a_row(DATE=word("a date"), RESULT_COMMENT=word("comment beside a wrong date")),
        a_row(ACTIVITY="ACT-0", ACTIVITY_COMMENT=word("a comment that contradicts")),
        a_row(RESULT_COMMENT=word("a long comment") * 1000),
        a_row(CONDUCTING_ORGANIZATION=word("a long collector") * 100),
    ]
    file.write_text(a_file(*good, *bad, header=[*good[0]]).getvalue())
    broken = made.root / "broken.csv"
    broken.write_text(f"{word('a header')},{word('another')}\n{word('a cell')}\n")
    owner_id = story.accounts["owner"].email
    left = word("why somebody is suspended")
    story.readable.add(left)
    given: list[tuple[list[str], int]] = [
        (["import", "wqx-csv", str(file), "--project", PROJECT, *as_owner], 3),
        (["import", "wqx-csv", str(broken), "--project", PROJECT, *as_owner], 2),
        (["user", "suspend", story.accounts["leaver"].email, "--reason", left, *as_owner], 0),
        (["user", "suspend", story.accounts["spare"].email, "--reason", word("a long reason") * 200, *as_owner], 2),
        (["access", "explain", "--principal", owner_id, "--on", word("nothing"), "--field", "comment", *as_owner], 2),
    ]

    def run(arguments: list[str], code: int) -> None:
        done = made.command(*arguments)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: run(*each), given))


def read_all(story: Story, who: str, url: str) -> str:
    """Return all that somebody is answered who asks for everything that is guarded."""
    account = story.accounts[who]
    caller = story.house.caller(who, url, sign_in={"email": account.email, "password": account.password})
    answers = [caller.run(ROWS).text]
    after = None
    while True:
        reply = caller.run(ENTRIES, {"after": after})
        answers.append(reply.text)
        page = (reply.data or {}).get("auditEntries") or {"pageInfo": {"hasNextPage": False}}
        if not page["pageInfo"] or not page["pageInfo"]["hasNextPage"]:
            return "".join(answers)
        after = page["pageInfo"]["endCursor"]

"""No value that is guarded, no password and no token is found anywhere but in the answers of those who may read it.

Canaries are given to everything that takes something guarded, in every way that is done or refused, to commands and to
a real server; then the server is made to fail and crash. Every place that something may have been written to meanwhile
is searched: once over PostgreSQL as the service sets it up, once over one that tells all it can.
"""

import asyncio
import json
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx
import pytest

from auth.role import OrganizationRole
from auth.token import SERVICE_PREFIX, RefreshToken, ServiceToken
from fieldward.cli.environment import embedded_databases, operator, services
from fieldward.database import migrate
from fieldward.embedded_roles import OWNER, SERVICE
from fieldward.settings import Settings
from models.encryption.keystore import CHANNEL, KeyStore
from models.encryption.owner import person_owner
from resolvers.account import NewPerson, create_organization, create_person
from schema.api import Api
from tests.support.canary import Canaries, Hit, Scan, forms
from tests.support.canary_house import TALKATIVE, House, house
from tests.support.canary_writing import Writing
from tests.support.entry import insert_entry
from tests.support.mutation import Stage
from tests.support.served import Caller
from tests.support.world import connect
from tests.support.wqx import a_file, a_row
from tests.sweep.contract import Contract
from tests.sweep.facts import TABLES
from tests.sweep.principal import Principal
from tests.sweep.stage import FIRST, Cast
from tests.sweep.writing import SESSION, Aim, complete

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
  users(first: 100) { nodes { name email } }
  devices(first: 100) { nodes { serialNumber blockReason } }
  records(first: 100) { nodes { comment collector reviewReason measurements { comment sourceRow } } }
}
"""
TOKEN: Final = re.compile(r'"(?:accessToken|refreshToken|token)":"([^"]+)"')
UNTOLD: Final = {"fsync": "off"}
"""What is written is the same, and the test need not wait for the disk."""
PROJECT: Final = "CANARY-1"
PEOPLE: Final = {
    "owner": OrganizationRole.OWNER,
    "second": OrganizationRole.OWNER,
    "watcher": OrganizationRole.MEMBER,
    "spare": OrganizationRole.MEMBER,
    "leaver": OrganizationRole.MEMBER,
}
BY_COMMAND: Final = ("owner", "leaver")
LEAST_KEPT: Final = 45
LEAST_RUN: Final = 1000
"""Requests of a run, at the least: a part that was left out would be found nowhere."""


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
    """What was done in a run, and what was found."""

    house: House
    is_talkative: bool
    accounts: dict[str, Account] = field(default_factory=dict)
    writing: Writing | None = None
    readable: set[str] = field(default_factory=set)
    control: Canaries = field(default_factory=Canaries)
    read: dict[str, str] = field(default_factory=dict)
    hits: list[Hit] = field(default_factory=list)
    scanned: dict[str, tuple[int, int]] = field(default_factory=dict)
    notified: list[str] = field(default_factory=list)

    @property
    def canaries(self) -> Canaries:
        """Those of the run."""
        return self.house.canaries


@pytest.fixture(
    scope="module",
    params=[UNTOLD, {**UNTOLD, **TALKATIVE}],
    ids=["as the service sets it up", "as talkative as it gets"],
)
def story(request: pytest.FixtureRequest, api: Api) -> Iterator[Story]:
    """A run, from an empty directory to its end."""
    root = Path(tempfile.mkdtemp(prefix="fw"))
    try:
        with house(root, request.param) as made:
            yield asyncio.run(_tell(Story(made, "log_statement" in request.param), api))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_no_canary_is_found_where_it_must_not_be(story: Story) -> None:
    places = sum(count for count, _ in story.scanned.values())

    assert places > 3000
    assert {"while it runs", "after a clean stop"} == set(story.scanned)
    assert not story.hits, f"{len(story.hits)} found, among them:\n" + "\n".join(map(str, story.hits[:20]))


def test_what_is_plain_is_found_by_the_same_search(story: Story) -> None:
    data = story.house.data / "postgres"
    scan = Scan({"control": forms(story.control.marker)}, story.control)

    scan.tree(data)

    kinds = {Path(hit.place).relative_to(data).parts[0] for hit in scan.hits}
    assert {"base", "pg_wal"} <= kinds
    if story.is_talkative:
        # The reports hold the variables of functions.
        assert story.control.marker in story.house.reports.read_text()
    logged = story.control.marker in (story.house.data / "postgresql.log").read_text(errors="replace")
    assert logged is story.is_talkative


def test_every_value_that_was_stored_is_in_the_answers_of_who_may_read_it(story: Story) -> None:
    assert story.writing is not None

    lost = (story.writing.kept | story.readable) - story.canaries.within(story.read["owner"])

    assert len(story.writing.kept) >= LEAST_KEPT
    assert not lost, sorted(story.canaries.planted[one] for one in lost)


def test_who_may_not_read_is_answered_none_but_their_own(story: Story) -> None:
    own = story.accounts["watcher"]

    told = story.canaries.within("".join(story.house.told["watcher"]))

    assert {story.canaries.planted[one] for one in told} <= {"address of watcher", "name of watcher"}, own


def test_no_answer_to_a_change_repeats_what_was_given(story: Story) -> None:
    told = story.canaries.within("".join(story.house.told["writer"] + story.house.told["anonymous"]))

    said = sorted(story.canaries.planted[one] for one in told)
    # The text of an operation that can't be read is the client's own, and the message says where it is wrong.
    assert not [one for one in said if not re.search(r"a field|an argument|a word behind|wrong type|cut", one)], said


def test_every_mutation_was_run_and_refused(story: Story, api: Api) -> None:
    assert story.writing is not None
    counts = story.writing.counts
    mutations = set(story.writing.contract.mutation)

    assert set(complete(Aim("", "", "", ""))) == mutations - SESSION
    assert counts["done"] == 2 * len(mutations - SESSION)
    assert sum(counts.values()) > LEAST_RUN, counts


def test_what_processes_tell_each_other_is_ids_alone(story: Story) -> None:
    assert len(story.notified) == 2
    for payload in story.notified:
        assert re.fullmatch(r"(retired|destroyed) [0-9a-f-]{36}", payload)
    root = Path(__file__).parents[2]
    telling = [
        path.relative_to(root).as_posix()
        for package in ("auth", "models", "resolvers", "schema", "fieldward")
        for path in (root / package).rglob("*")
        if path.suffix in {".py", ".sql"} and "pg_notify" in path.read_text()
    ]
    assert telling == ["models/encryption/keystore.py"]


async def _tell(story: Story, api: Api) -> Story:
    made = story.house
    if story.is_talkative:
        made.control = story.control.plant("a variable of a function that failed")
        for role in (OWNER, SERVICE):
            await made.sql(f"alter role {role} set log_min_messages = 'debug2'")
    await _people(story)
    url = made.serve()
    writing = story.writing = await _ground(story, Contract(api._schema), url)
    await asyncio.to_thread(_write, story, writing, url)
    if story.is_talkative:
        await asyncio.to_thread(_commands, story)
    await _fail(story, writing)
    story.read = {"owner": _read_all(story, "owner", url), "watcher": _read_all(story, "watcher", url)}
    await _crash(story)
    await _scan(story, "while it runs", is_running=True)
    made.postgres.stop()
    await _scan(story, "after a clean stop", is_running=False)
    return story


async def _people(story: Story) -> None:
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


async def _ground(story: Story, contract: Contract, url: str) -> Writing:
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
        for who, one in (("watcher", watcher), ("spare", caller("spare", "spare")))
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
        principals={"owner": Principal("owner", None, owner)},
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
        ),
        roles=roles,
        spare=UUID(members["spare"].partition(":")[2]),
        superuser=made.postgres.superuser("fieldward"),
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


def _write(story: Story, writing: Writing, url: str) -> None:
    writing.everything()
    account = story.accounts["second"]
    writing.sessions(account.email, account.password)
    with httpx.Client(base_url=url, timeout=60) as http:
        writing.odd_requests(http)


def _commands(story: Story) -> None:
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
    given: list[tuple[list[str], int]] = [
        (["import", "wqx-csv", str(file), "--project", PROJECT, *as_owner], 3),
        (["import", "wqx-csv", str(broken), "--project", PROJECT, *as_owner], 2),
        (["user", "suspend", story.accounts["leaver"].email, *as_owner], 0),
        (["access", "explain", "--principal", owner_id, "--on", word("nothing"), "--field", "comment", *as_owner], 2),
    ]

    def run(arguments: list[str], code: int) -> None:
        done = made.command(*arguments)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: run(*each), given))


async def _fail(story: Story, writing: Writing) -> None:
    """Make the server meet what it does not expect: a value that was changed, a connection that is cut."""
    made, word = story.house, story.canaries.plant
    owner = writing.owner
    record = {"projectId": writing.cast.targets.project, "siteCode": "W-1", "medium": "WATER"}
    create = "mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code } } }"
    update = "mutation($input: UpdateRecordInput!) { updateRecord(input: $input) { record { id } errors { code } } }"

    def make() -> str:
        given = {**record, "collectedAt": "2026-02-03T04:05:06Z", "comment": word("comment that is spoilt")}
        return str(owner.run(create, {"input": given}).data["createRecord"]["record"]["id"])

    def change(subject: str, how: str) -> Any:
        values = {name: word(f"{name}, {how}") for name in ("comment", "collector", "reason")}
        return owner.run(update, {"input": {"id": subject, "expectedVersion": 1, **values}})

    spoilt, held = make(), make()
    connection = await connect(made.postgres.superuser("fieldward"))
    try:
        async with connection.transaction():
            organization = await connection.fetchval("select id from organization")
            await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(connection, organization)
            blob = await connection.fetchval("select comment from record where id = $1", UUID(spoilt.partition(":")[2]))
            other = blob[:-1] + bytes([blob[-1] ^ 1])
            await connection.execute(
                "update record set comment = $1 where id = $2", other, UUID(spoilt.partition(":")[2])
            )
        query = f'{{ record(id: "{spoilt}") {{ comment siteCode }} }}'
        broken = await asyncio.to_thread(owner.run, query)
        assert [one["extensions"]["code"] for one in broken.errors] == ["INTERNAL"]
        await asyncio.to_thread(change, spoilt, "over a spoilt one")
        async with connection.transaction():
            await connection.execute("select from record where id = $1 for update", UUID(held.partition(":")[2]))
            waiting = asyncio.create_task(asyncio.to_thread(change, held, "cut off"))
            pid = await _waiting(connection)
            told = await connection.fetch("select * from pg_stat_activity")
            await connection.execute("select pg_terminate_backend($1)", pid)
            cut = await waiting
        assert cut.errors or cut.data["updateRecord"]["errors"], cut.text
    finally:
        await connection.close()
    (made.output / "activity while something waits").write_text("\n".join(map(str, told)))
    await _end_keys(story)
    if story.is_talkative:
        await _spoil_keys(story)


async def _spoil_keys(story: Story) -> None:
    """Have a command, which was given a password, meet data keys that were changed."""
    made, word = story.house, story.canaries.plant
    connection = await connect(made.postgres.superuser("fieldward_keys"))
    spoil = (
        "update wrapped_key set wrapped = set_byte(wrapped, 25, get_byte(wrapped, 25) # 1) where wrapped is not null"
    )
    as_owner = ["--organization", "acme", "--as", story.accounts["owner"].email]
    arguments = ["user", "create", f"{word('address')}@acme.example", "--name", word("name"), *as_owner]
    try:
        await connection.execute(spoil)
        done = await asyncio.to_thread(made.command, *arguments, given=word("password") + "\n")
        await connection.execute(spoil)
    finally:
        await connection.close()
    assert done.returncode == 1
    assert "models.errors.TamperedError" in done.stderr
    assert "Traceback" not in done.stderr


async def _waiting(connection: asyncpg.Connection) -> int:
    """Return the process of the connection that waits for a lock."""
    for _ in range(500):
        pid = await connection.fetchval(
            "select pid from pg_stat_activity where wait_event_type = 'Lock' and usename = $1", SERVICE
        )
        if pid is not None:
            return int(pid)
        await asyncio.sleep(0.02)
    raise AssertionError("nothing waits")


async def _end_keys(story: Story) -> None:
    """End data keys, with somebody listening."""
    made = story.house
    listener = await connect(made.postgres.superuser("fieldward_keys"))
    heard = asyncio.Event()

    def hear(_: object, __: int, ___: str, payload: object) -> None:
        story.notified.append(str(payload))
        if len(story.notified) == 2:
            heard.set()

    await listener.add_listener(CHANNEL, hear)
    settings = Settings(data_directory=made.data, password_cost="test")
    owner = person_owner(UUID(int=5))
    async with services(settings, embedded_databases(made.postgres, owner=False)) as built:
        store = KeyStore()
        await built.keyring.load([owner])
        await store.retire([built.keyring.current(owner).id])
        await store.destroy([owner])
        await asyncio.wait_for(heard.wait(), 10)
    await listener.close()


def _read_all(story: Story, who: str, url: str) -> str:
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


async def _crash(story: Story) -> None:
    """End the server in the ways that leave most behind: while it works, and twice."""
    made = story.house
    for number in (signal.SIGABRT, signal.SIGKILL):
        if number is signal.SIGKILL:
            made.serve()
        account = story.accounts["owner"]
        url = f"http://127.0.0.1:{_port(made)}"
        caller = made.caller("last", url, sign_in={"email": account.email, "password": account.password})
        asked = threading.Event()

        def ask(one: Caller = caller, begun: threading.Event = asked) -> None:
            while True:
                try:
                    one.run(ENTRIES)
                except httpx.TransportError:
                    return
                begun.set()

        asking = threading.Thread(target=ask)
        asking.start()
        assert asked.wait(30)
        assert made.stop(number) == -number
        asking.join(30)
    # A stack of functions, without what they hold.
    assert any(b"Fatal Python error: Aborted" in path.read_bytes() for path in made.output.glob("*.err"))


def _port(made: House) -> int:
    arguments = Path(f"/proc/{made.processes[-1].pid}/environ").read_bytes().split(b"\0")
    return int(next(one for one in arguments if one.startswith(b"FIELDWARD_PORT=")).partition(b"=")[2])


async def _scan(story: Story, when: str, *, is_running: bool) -> None:
    """Search every place."""
    made = story.house
    scan = Scan(_words(story), story.canaries)
    if is_running:
        await made.sql("checkpoint")
        await made.sql("select pg_switch_wal()")
        for name in ("fieldward", "fieldward_keys", "postgres"):
            scan.content(f"dump of {name}", await asyncio.to_thread(made.dump, name))
        for view in ("pg_stat_activity", "pg_settings", "pg_stat_statements", "pg_file_settings", "pg_prepared_xacts"):
            if await made.sql("select from pg_class where relname = $1", view):
                scan.content(view, "\n".join(map(str, await made.sql(f"select * from {view}"))).encode())
        for pid in made.pids():
            for part in ("cmdline", "environ"):
                _scan_process(scan, pid, part)
    else:
        scan.content("what was told", "\n".join(story.notified).encode())
    passwords, keys = made.data / "database.json", ("key-encryption-key", "signing-key.pem")
    spared: Mapping[Path, list[str]] = {
        passwords: [f"database password {role}" for role in ("postgres", OWNER, SERVICE)],
        **{made.data / name: [name] for name in keys},
    }
    for directory in (made.data, made.temporary, made.output):
        scan.tree(directory, spared=spared)
    story.hits += scan.hits
    story.scanned[when] = (scan.places, scan.size)
    told = f"canaries: {len(story.canaries.planted)}, places: {scan.places}, bytes: {scan.size}, {when}"
    print(told, "requests:", sum(story.writing.counts.values()) if story.writing else 0)


def _scan_process(scan: Scan, pid: int, part: str) -> None:
    try:
        content = Path(f"/proc/{pid}/{part}").read_bytes()
    except OSError:
        return
    # The operator hands the service the URLs of the databases, with their passwords, by its environment.
    names = [name for name in scan.words if part == "environ" and name.startswith("database password")]
    scan.content(f"{part} of {pid}", content, spared=names)


def _words(story: Story) -> dict[str, Mapping[str, bytes]]:
    """Return what is sought: the canaries, tokens, keys, and passwords of the database."""
    made = story.house
    words: dict[str, Mapping[str, bytes]] = {"canary": forms(story.canaries.marker)}
    tokens = {token for answers in made.told.values() for text in answers for token in TOKEN.findall(text)}
    kinds: dict[str, list[str]] = {}
    for token in sorted(tokens):
        kinds.setdefault(token[:4], []).append(token)
    assert {"fwr_", SERVICE_PREFIX, "eyJh"} == set(kinds), set(kinds)
    for kind, found in kinds.items():
        for number, token in enumerate(found[:3]):
            words[f"token {kind} {number}"] = _token_forms(kind, token)
    for role, password in json.loads((made.data / "database.json").read_text()).items():
        words[f"database password {role}"] = {"plain": password.encode()}
    key = (made.data / "key-encryption-key").read_bytes()
    words["key-encryption-key"] = {"raw": key, "hexadecimal": key.hex().encode()}
    pem = (made.data / "signing-key.pem").read_bytes().splitlines()[1]
    words["signing-key.pem"] = {"base64": pem}
    return words


def _token_forms(kind: str, token: str) -> dict[str, bytes]:
    if kind == "eyJh":
        return {"signature": token.rpartition(".")[2].encode()}
    secret = (RefreshToken if kind == "fwr_" else ServiceToken).parse(token).secret
    return {"plain": token.encode(), "secret": secret, "secret, hexadecimal": secret.hex().encode()}

"""Approving a record is an electronic signature: who may give one, by what they prove who they are, and what it leaves.

21 CFR 11.50 (name, time and meaning), 11.70 (bound to what was signed) and 11.200 (a proof with each signature).
"""

import asyncio
import threading
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from auth.password import Passwords, Verdict
from auth.permission import Permission as P
from resolvers.identity_proof import MOST_WRONG
from tests.support.access import make_program
from tests.support.device import enrolled
from tests.support.mutation import Stage, mutate, prepare
from tests.support.scene import Looking, as_superuser
from tests.support.world import Answer, Client, World

REASON = "Checked against the laboratory's report."
WRONG = "zqk not the password"
SIGNED = "record { status version reviewer reviewedAt reviewReason reviewMeaning }"
RECORD = "query($id: ID!) { record(id: $id) { status version reviewer reviewedAt reviewReason reviewMeaning } }"
TRAIL = """
query($action: String!) {
  auditEntries(first: 1, filter: {action: {eq: $action}}) {
    nodes { reason at user { name } changes { entity columns { column before after } } }
  }
}
"""


async def sign(client: Client, stage: Stage, **given: Any) -> Answer:
    """Approve the record that is under review."""
    whole = {"id": stage.submitted, "expectedVersion": 2, "reason": REASON, **given}
    return await mutate(client, "approveRecord", whole, SIGNED)


async def again(world: World, who: str, **more: Any) -> Client:
    """Return somebody in a sign-in of its own, which may be ended."""
    payload = (await world.sign_in(who, **more)).data["signIn"]
    assert payload["errors"] == [], payload
    return Client(world.http, payload["accessToken"], password=world.password(who))


def codes(answer: Answer) -> list[str]:
    """Return the codes of a signature that was refused, wherever they stand."""
    payload = (answer.body.get("data") or {}).get("approveRecord")
    return answer.codes if payload is None else [error["code"] for error in payload["errors"]]


async def row(world: World, stage: Stage) -> Any:
    """Return the record under review as it is stored."""
    return (await world.sql("select * from record where id = $1", UUID(stage.submitted.partition(":")[2])))[0]


async def kept(world: World, since: Any) -> list[tuple[str, str, str, str | None]]:
    """Return what the trail says was done and tried since then."""
    entries = await world.entries(since=since)
    return [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries]


async def test_a_signature_has_the_signers_name_its_time_and_its_meaning(world: World) -> None:
    stage, reviewer = await prepare(world), await world.client("reviewer")
    since = await world.now()

    answer = await sign(reviewer, stage, meaning="RESPONSIBILITY")

    assert answer.data["approveRecord"]["errors"] == []
    signed = answer.data["approveRecord"]["record"]
    entry = (await world.entries(since=since))[0]
    assert signed == {
        "status": "APPROVED",
        "version": 3,
        "reviewer": "Rafi Reyes",
        "reviewedAt": entry["at"].isoformat(),
        "reviewReason": REASON,
        "reviewMeaning": "RESPONSIBILITY",
    }
    assert await kept(world, since) == [("CHANGE", "record.approve", "DONE", None)]


async def test_the_trail_has_all_of_a_signature_in_one_change_with_the_version_that_was_signed(world: World) -> None:
    stage, auditor = await prepare(world), await world.client("auditor")
    await sign(await world.client("reviewer"), stage, meaning="REVIEW")

    entry = (await auditor.run(TRAIL, {"action": "record.approve"})).data["auditEntries"]["nodes"][0]

    assert (entry["reason"], entry["user"]["name"]) == (REASON, "Rafi Reyes")
    assert [one["entity"] for one in entry["changes"]] == ["record"]
    columns = {one["column"]: (one["before"], one["after"]) for one in entry["changes"][0]["columns"]}
    assert columns["status"] == ("SUBMITTED", "APPROVED")
    assert columns["version"] == ("2", "3")
    assert columns["review_meaning"] == (None, "REVIEW")
    assert columns["review_reason"] == (None, REASON)
    assert columns["reviewer"] == (None, "Rafi Reyes")
    assert columns["reviewed_by_id"] == (None, str(await world.member_id("reviewer")))
    # A moment is written by the database there and by Python here: only one of them keeps zeros at its end.
    assert datetime.fromisoformat(columns["reviewed_at"][1]) == datetime.fromisoformat(entry["at"])


async def test_a_wrong_password_signs_nothing_and_is_in_the_trail_without_itself(world: World) -> None:
    stage, reviewer = await prepare(world), await again(world, "reviewer")
    since, before = await world.now(), await row(world, stage)

    answer = await sign(reviewer, stage, password=WRONG)

    payload = answer.data["approveRecord"]
    assert payload["record"] is None
    assert [(one["code"], one["field"], one["permission"]) for one in payload["errors"]] == [
        ("FORBIDDEN", ["input", "password"], None)
    ]
    assert WRONG not in answer.text
    assert await row(world, stage) == before
    assert await kept(world, since) == [
        ("CHANGE", "session.refuse_proof", "DONE", None),
        ("ATTEMPT", "record.approve", "DENIED", "FORBIDDEN"),
    ]
    counted, refused = await world.entries(since=since)
    assert refused["membership_id"] == counted["membership_id"] == await world.member_id("reviewer")
    assert refused["entity_ids"] == [UUID(stage.submitted.partition(":")[2])]
    assert counted["entity_ids"] == [refused["session_id"]]
    for table in ("audit_entry", "change", "session", "record"):
        assert not await world.sql(f"select 1 from {table} t where t::text like '%zqk%'")


@pytest.mark.parametrize("password", ["x" * 129, ""])
async def test_what_can_be_no_password_signs_nothing(world: World, password: str) -> None:
    stage, reviewer = await prepare(world), await again(world, "reviewer")
    before = await row(world, stage)

    answer = await sign(reviewer, stage, password=password)

    errors = answer.data["approveRecord"]["errors"]
    assert [one["field"] for one in errors] == [["input", "password"]]
    assert [one["code"] for one in errors] == (["INVALID_INPUT"] if password else ["FORBIDDEN"])
    assert await row(world, stage) == before


@pytest.mark.parametrize("missing", ["meaning", "password"])
async def test_a_signature_says_what_it_means_and_proves_whose_it_is(world: World, missing: str) -> None:
    stage, reviewer = await prepare(world), await world.client("reviewer")
    given = {"id": stage.submitted, "expectedVersion": 2, "meaning": "APPROVAL", "password": reviewer.password}
    del given[missing]
    before = await row(world, stage)

    answer = await reviewer.run(
        "mutation($input: ApproveRecordInput!) { approveRecord(input: $input) { errors { code } } }", {"input": given}
    )

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == ["input", missing]
    assert reviewer.password not in answer.text
    assert await row(world, stage) == before


@pytest.mark.parametrize("meaning", ["AUTHORSHIP", "approval", None])
async def test_a_meaning_is_one_of_those_that_a_reviewer_can_vouch_for(world: World, meaning: str | None) -> None:
    stage, reviewer = await prepare(world), await world.client("reviewer")

    answer = await sign(reviewer, stage, meaning=meaning)

    assert answer.codes == ["INVALID_INPUT"]
    assert (await row(world, stage))["status"] == "SUBMITTED"


async def test_the_password_of_another_is_not_ones_own(world: World) -> None:
    stage, reviewer = await prepare(world), await again(world, "reviewer")

    answer = await sign(reviewer, stage, password=world.password("manager"))

    assert codes(answer) == ["FORBIDDEN"]
    assert (await row(world, stage))["status"] == "SUBMITTED"


@pytest.mark.parametrize("password_of", ["owner", None])
async def test_a_program_signs_nothing_whosever_password_it_was_given(world: World, password_of: str | None) -> None:
    stage = await prepare(world)
    program = await make_program(world, {P.PROJECT_READ, P.RECORD_READ, P.RECORD_SUBMIT}, ["CANAL"], by="owner")
    since, before = await world.now(), await world.fingerprint()

    answer = await sign(program.client, stage, password=world.password(password_of) if password_of else WRONG)

    assert codes(answer) == ["FORBIDDEN"]
    assert await world.fingerprint() == before
    assert await kept(world, since) == [("ATTEMPT", "record.approve", "DENIED", "FORBIDDEN")]
    assert f"ServiceAccount:{(await world.entries(since=since))[0]['service_account_id']}" == program.id


@pytest.mark.parametrize("password", [None, WRONG])
async def test_who_looks_as_another_signs_for_nobody(world: World, password: str | None) -> None:
    stage, owner = await prepare(world), await world.client("owner")
    acting_as = f"User:{await world.member_id('reviewer')}"
    since, before = await world.now(), await world.fingerprint()

    answer = await sign(Looking(owner, acting_as), stage, password=password or world.password("reviewer"))

    assert codes(answer) == ["FORBIDDEN"]
    assert await world.fingerprint() == before
    entries = [one for one in await world.entries(since=since) if one["action"] == "record.approve"]
    assert [(one["outcome"], one["acting_as"]) for one in entries] == [("DENIED", acting_as)]
    assert entries[0]["membership_id"] == await world.member_id("owner")


async def test_who_is_suspended_signs_nothing(world: World) -> None:
    stage, reviewer = await prepare(world), await world.client("reviewer")
    member_id = await world.member_id("reviewer")
    await as_superuser(world, "membership", "set status = 'SUSPENDED' where id = $1", member_id)
    since, before = await world.now(), await world.fingerprint()

    answer = await sign(reviewer, stage)

    assert codes(answer) == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before
    assert ("ATTEMPT", "record.approve", "DENIED", "UNAUTHENTICATED") in await kept(world, since)


async def test_nobody_signs_on_a_blocked_device(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    person = f"User:{await world.member_id('reviewer')}"
    given = {"userId": person, "platform": "ANDROID", "model": "Pixel 8", "serialNumber": "SN-R"}
    made = (await mutate(admin, "registerDevice", given, "device { id }")).data["registerDevice"]["device"]["id"]
    on_device = await (await enrolled(world, made)).client(world, "reviewer")
    blocked = {"id": made, "expectedVersion": 2, "reason": "Lost."}
    assert (await mutate(admin, "blockDevice", blocked)).data["blockDevice"]["errors"] == []
    since, before = await world.now(), await world.fingerprint()

    answer = await sign(on_device, stage)

    assert codes(answer) == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before
    assert ("ATTEMPT", "record.approve", "DENIED", "DEVICE_BLOCKED") in await kept(world, since)


async def test_a_record_of_another_tenant_is_not_there_to_be_signed(world: World) -> None:
    stage, stranger = await prepare(world), await world.client("other-owner")
    since, before = await world.now(), await world.fingerprint()

    answer = await sign(stranger, stage)

    assert codes(answer) == ["NOT_FOUND"]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in entries] == [("record.approve", "DENIED")]
    assert {one["organization_id"] for one in entries} == {await world.organization_id("suncoast")}


@pytest.mark.parametrize("who", ["viewer", "collector"])
async def test_the_right_password_is_no_permission(world: World, who: str) -> None:
    stage, client = await prepare(world), await world.client(who)
    since, before = await world.now(), await world.fingerprint()

    answer = await sign(client, stage)

    assert [(one["code"], one["permission"]) for one in answer.data["approveRecord"]["errors"]] == [
        ("FORBIDDEN", "record:review")
    ]
    assert await world.fingerprint() == before
    assert await kept(world, since) == [("ATTEMPT", "record.approve", "DENIED", "FORBIDDEN")]


async def test_who_had_a_hand_in_a_record_does_not_sign_it(world: World) -> None:
    stage, manager = await prepare(world), await world.client("manager")
    changed = {"id": stage.submitted, "expectedVersion": 2, "siteName": "Weir", "reason": "Misspelt."}
    assert (await mutate(manager, "updateRecord", changed)).data["updateRecord"]["errors"] == []
    submitted = {"id": stage.submitted, "expectedVersion": 3}
    assert (await mutate(manager, "submitRecord", submitted)).data["submitRecord"]["errors"] == []
    since, before = await world.now(), await world.fingerprint()

    answer = await sign(manager, stage, expectedVersion=4)

    assert codes(answer) == ["FORBIDDEN"]
    assert await world.fingerprint() == before
    assert await kept(world, since) == [("ATTEMPT", "record.approve", "DENIED", "FORBIDDEN")]


async def test_five_wrong_passwords_end_the_sign_in_and_no_other(world: World) -> None:
    stage, reviewer, elsewhere = await prepare(world), await again(world, "reviewer"), await world.client("reviewer")
    since, before = await world.now(), await row(world, stage)

    answers = [await sign(reviewer, stage, password=f"{WRONG} {number}") for number in range(MOST_WRONG)]
    after = await sign(reviewer, stage)

    assert [codes(one) for one in answers] == [*[["FORBIDDEN"]] * (MOST_WRONG - 1), ["UNAUTHENTICATED"]]
    assert answers[-1].errors[0]["message"] == "Too many wrong proofs. The session has been ended."
    assert codes(after) == ["UNAUTHENTICATED"]
    assert await row(world, stage) == before
    tried = await kept(world, since)
    assert tried.count(("CHANGE", "session.refuse_proof", "DONE", None)) == MOST_WRONG
    assert tried.count(("ATTEMPT", "record.approve", "DENIED", "FORBIDDEN")) == MOST_WRONG - 1
    assert tried[-3:-1] == [
        ("ATTEMPT", "record.approve", "DENIED", "UNAUTHENTICATED"),
        ("ATTEMPT", "session.authenticate", "DENIED", "UNAUTHENTICATED"),
    ]
    ended = await world.sql("select wrong_proofs from session where revoked_at is not null")
    assert [one["wrong_proofs"] for one in ended] == [MOST_WRONG]
    assert codes(await sign(elsewhere, stage)) == []


async def test_a_right_password_in_between_takes_no_wrong_one_back(world: World) -> None:
    stage, reviewer = await prepare(world), await again(world, "reviewer")
    for number in range(MOST_WRONG - 1):
        await sign(reviewer, stage, password=f"{WRONG} {number}")

    right = await sign(reviewer, stage, expectedVersion=99)
    last = await sign(reviewer, stage, password=WRONG)

    assert codes(right) == ["CONFLICT"]
    assert codes(last) == ["UNAUTHENTICATED"]


async def test_wrong_passwords_at_once_are_each_counted(world: World) -> None:
    stage, reviewer = await prepare(world), await again(world, "reviewer")
    tries = [WRONG] * 16

    answers = await asyncio.gather(*(sign(reviewer, stage, password=one) for one in tries))
    after = await sign(reviewer, stage)

    assert sorted(codes(one)[0] for one in answers) == [
        *["FORBIDDEN"] * (MOST_WRONG - 1),
        *["UNAUTHENTICATED"] * (len(tries) - MOST_WRONG + 1),
    ]
    assert await world.value("select max(wrong_proofs) from session") == MOST_WRONG
    assert codes(after) == ["UNAUTHENTICATED"]
    assert (await row(world, stage))["status"] == "SUBMITTED"


async def test_after_the_sign_in_was_ended_a_right_guess_is_answered_as_a_wrong_one(world: World) -> None:
    stage, reviewer = await prepare(world), await again(world, "reviewer")
    fields = " ".join(
        f"m{number}: approveRecord(input: {{id: $id, expectedVersion: 2, meaning: APPROVAL, password: $p{number}}})"
        " { errors { code } }"
        for number in range(MOST_WRONG + 2)
    )
    declared = ", ".join(f"$p{number}: String!" for number in range(MOST_WRONG + 2))
    passwords = {f"p{number}": f"{WRONG} {number}" for number in range(MOST_WRONG + 1)}

    answer = await reviewer.run(
        f"mutation($id: ID!, {declared}) {{ {fields} }}",
        {"id": stage.submitted, **passwords, f"p{MOST_WRONG + 1}": reviewer.password},
    )

    wrong, right = answer.errors[-2:]
    assert (wrong["message"], wrong["extensions"]) == (right["message"], right["extensions"])
    assert (await row(world, stage))["status"] == "SUBMITTED"


async def test_nothing_is_locked_while_a_password_is_checked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, reviewer, manager = await prepare(world), await world.client("reviewer"), await world.client("manager")
    verify, asked, let_go = Passwords.verify, asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def waiting(self: Passwords, encoded: str | None, password: str) -> Verdict:
        loop.call_soon_threadsafe(asked.set)
        assert let_go.wait(30)
        return verify(self, encoded, password)

    monkeypatch.setattr(Passwords, "verify", waiting)
    signing = asyncio.create_task(sign(reviewer, stage))
    try:
        await asyncio.wait_for(asked.wait(), 30)
        open_ones = await world.value(
            "select count(*) from pg_stat_activity where datname = current_database() and xact_start is not null"
            " and pid <> pg_backend_pid()"
        )
        rejected = {"id": stage.submitted, "expectedVersion": 2, "reason": "The cap was loose."}
        meanwhile = await mutate(manager, "rejectRecord", rejected)
    finally:
        let_go.set()
    answer = await signing

    assert open_ones == 0
    assert meanwhile.data["rejectRecord"]["errors"] == []
    assert codes(answer) == ["CONFLICT"]
    assert (await row(world, stage))["status"] == "REJECTED"


async def test_of_two_who_sign_at_once_one_does(world: World) -> None:
    stage = await prepare(world)
    clients = [await world.client(who) for who in ("reviewer", "admin")]
    since = await world.now()

    answers = await asyncio.gather(*(sign(one, stage, meaning="APPROVAL") for one in clients))

    assert sorted(codes(one) for one in answers) == [[], ["CONFLICT"]]
    assert (await row(world, stage))["version"] == 3
    assert sorted(await kept(world, since)) == [
        ("ATTEMPT", "record.approve", "FAILED", "CONFLICT"),
        ("CHANGE", "record.approve", "DONE", None),
    ]


async def test_a_rejection_is_no_signature_and_takes_none(world: World) -> None:
    stage, reviewer = await prepare(world), await world.client("reviewer")

    answer = await mutate(
        reviewer, "rejectRecord", {"id": stage.submitted, "expectedVersion": 2, "reason": "The cap was loose."}, SIGNED
    )

    assert answer.data["rejectRecord"]["errors"] == []
    assert answer.data["rejectRecord"]["record"]["reviewMeaning"] is None
    assert answer.data["rejectRecord"]["record"]["reviewer"] == "Rafi Reyes"


async def test_a_changed_approved_record_loses_its_approval_and_is_signed_anew_by_somebody_else(world: World) -> None:
    stage = await prepare(world)
    reviewer, manager, auditor = [await world.client(who) for who in ("reviewer", "manager", "auditor")]
    await sign(reviewer, stage, meaning="APPROVAL")
    change = {"id": stage.submitted, "expectedVersion": 3, "siteName": "Weir", "reason": "The site was renamed."}

    changed = await mutate(manager, "updateRecord", change, SIGNED)

    assert changed.data["updateRecord"]["errors"] == []
    nothing = dict.fromkeys(("reviewer", "reviewedAt", "reviewReason", "reviewMeaning"))
    assert changed.data["updateRecord"]["record"] == {"status": "DRAFT", "version": 4, **nothing}
    stored = await row(world, stage)
    assert {value for name, value in stored.items() if name.startswith("review")} == {None}

    entry = (await auditor.run(TRAIL, {"action": "record.update"})).data["auditEntries"]["nodes"][0]
    columns = {one["column"]: (one["before"], one["after"]) for one in entry["changes"][0]["columns"]}
    assert entry["reason"] == change["reason"]
    assert columns["status"] == ("APPROVED", "DRAFT")
    assert columns["review_meaning"] == ("APPROVAL", None)
    assert columns["reviewer"] == ("Rafi Reyes", None)
    assert columns["review_reason"] == (REASON, None)
    assert columns["site_name"] == (None, "Weir")

    at = {"id": stage.submitted, "expectedVersion": 4}
    assert codes(await sign(reviewer, stage, expectedVersion=4)) == ["CONFLICT"]
    assert (await mutate(manager, "submitRecord", at)).data["submitRecord"]["errors"] == []
    assert codes(await sign(manager, stage, expectedVersion=5)) == ["FORBIDDEN"]
    assert codes(await sign(reviewer, stage, expectedVersion=5)) == []


@pytest.mark.parametrize("reason", [None, "", " \n\t"])
async def test_an_approved_record_does_not_change_without_a_reason(world: World, reason: str | None) -> None:
    stage, manager = await prepare(world), await world.client("manager")
    await sign(await world.client("reviewer"), stage)
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(
        manager, "updateRecord", {"id": stage.submitted, "expectedVersion": 3, "siteName": "Weir", "reason": reason}
    )

    assert [(one["code"], one["field"], one["message"]) for one in answer.data["updateRecord"]["errors"]] == [
        (
            "INVALID_INPUT",
            ["input", "reason"],
            "Expected a reason: a change of a record that is approved must say why.",
        )
    ]
    assert await world.fingerprint() == before
    assert await kept(world, since) == [("ATTEMPT", "record.update", "FAILED", "INVALID_INPUT")]


async def test_results_of_an_approved_record_do_not_change_without_a_reason_either(world: World) -> None:
    stage, manager = await prepare(world), await world.client("manager")
    await sign(await world.client("reviewer"), stage)
    given = {"id": stage.submitted, "expectedVersion": 3, "measurements": [{"characteristic": "pH", "value": 7.0}]}
    before = await world.fingerprint()

    without = await mutate(manager, "updateRecord", given)
    unchanged = await world.fingerprint()
    having = await mutate(manager, "updateRecord", {**given, "reason": "Read off wrongly."}, "record { status }")

    assert [one["field"] for one in without.data["updateRecord"]["errors"]] == [["input", "reason"]]
    assert unchanged == before
    assert having.data["updateRecord"]["record"] == {"status": "DRAFT"}


async def test_who_may_change_their_own_alone_does_not_change_what_is_approved(world: World) -> None:
    stage, collector = await prepare(world), await world.client("collector")
    await sign(await world.client("reviewer"), stage)
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(
        collector, "updateRecord", {"id": stage.submitted, "expectedVersion": 3, "siteName": "Weir", "reason": REASON}
    )

    assert [(one["code"], one["permission"]) for one in answer.data["updateRecord"]["errors"]] == [
        ("FORBIDDEN", "record:update")
    ]
    assert await world.fingerprint() == before
    assert await kept(world, since) == [("ATTEMPT", "record.update", "DENIED", "FORBIDDEN")]


@pytest.mark.parametrize(
    ("mutation", "field", "value"),
    [
        (mutation, field, value)
        for mutation in ("createRecord", "updateRecord")
        for field, value in (
            ("receivedAt", "2020-01-01T00:00:00Z"),
            ("createdAt", "2020-01-01T00:00:00Z"),
            ("createdById", "User:0195a1b2-0000-7000-8000-000000000000"),
            ("contributorIds", []),
            ("reviewedById", "User:0195a1b2-0000-7000-8000-000000000000"),
            ("reviewer", "Somebody else"),
            ("reviewedAt", "2020-01-01T00:00:00Z"),
            ("reviewMeaning", "APPROVAL"),
            ("status", "APPROVED"),
            ("version", 7),
        )
    ],
)
async def test_who_when_and_by_whose_hand_is_nobodys_to_say(
    world: World, mutation: str, field: str, value: Any
) -> None:
    stage, manager = await prepare(world), await world.client("manager")
    wholes: dict[str, dict[str, Any]] = {
        "createRecord": {
            "projectId": stage.project,
            "siteCode": "W-1",
            "collectedAt": "2026-01-02T03:04:05Z",
            "medium": "WATER",
        },
        "updateRecord": {"id": stage.draft, "expectedVersion": 1},
    }
    before = await world.fingerprint()

    answer = await mutate(manager, mutation, {**wholes[mutation], field: value})

    assert answer.codes == ["INVALID_INPUT"]
    assert await world.fingerprint() == before

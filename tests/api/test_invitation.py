"""Who is invited joins with what was promised, by a link that works once, while who invited could do it, too."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.support.mutation import mutate
from tests.support.people import NEW_PASSWORD, accept, invite, link_of, sign_in_as
from tests.support.world import Answer, World

NIA = "nia@clearwater.example"
REASON = "Because."
OTHER = "owner@suncoast.example"
ME = "{ viewer { user { role status } } projects { nodes { code } } }"


async def _outcome(world: World, since: Any, action: str = "invitation.accept") -> list[tuple[str, str, str | None]]:
    entries = await world.entries(since=since)
    return [(one["kind"], one["outcome"], one["error_code"]) for one in entries if one["action"] == action]


def _said(answer: Answer, name: str = "acceptInvitation") -> tuple[Any, Any]:
    """Return all that an answer says, but for what each answer has of its own."""
    errors = [
        (one["message"], one["path"], {key: value for key, value in one["extensions"].items() if key != "requestId"})
        for one in answer.errors
    ]
    return answer.body["data"][name], errors


async def test_who_is_invited_joins_with_the_roles_that_were_promised_and_signs_in_afterwards(world: World) -> None:
    admin = await world.client("admin")
    project = f"Project:{await world.project_id('CANAL')}"
    invitation = await invite(admin, NIA, projectId=project, projectRole="COLLECTOR")
    token = await link_of(world, invitation)
    since, sessions = await world.now(), await world.value("select count(*) from session")

    answer = await accept(world, token)

    assert answer.data["acceptInvitation"] == {"organization": "clearwater", "errors": []}
    assert await world.value("select count(*) from session") == sessions
    assert "set-cookie" not in answer.headers
    assert await _outcome(world, since) == [("CHANGE", "DONE", None)]
    nia = await sign_in_as(world, NIA)
    seen = (await nia.run(ME)).data
    assert seen["viewer"]["user"] == {"role": "MEMBER", "status": "ACTIVE"}
    assert [one["code"] for one in seen["projects"]["nodes"]] == ["CANAL"]
    shown = await admin.run(
        "query($id: ID!) { invitation(id: $id) { status email name user { name } invitedBy { name } } }",
        {"id": invitation},
    )
    assert shown.data["invitation"] == {
        "status": "ACCEPTED",
        "email": NIA,
        "name": "Nia Nyx",
        "user": {"name": "Nia Nyx"},
        "invitedBy": {"name": "Adam Adler"},
    }


async def test_a_link_is_made_when_its_mail_is_sent_and_lies_nowhere(world: World) -> None:
    invitation = await invite(await world.client("admin"), NIA)

    assert await world.value("select token_digest from invitation") is None
    mail = (await world.sql("select kind, about, state, user_id from outgoing_mail"))[0]
    assert dict(mail) | {"about": f"Invitation:{mail['about']}"} == {
        "kind": "INVITATION",
        "about": invitation,
        "state": "PENDING",
        "user_id": None,
    }
    token = await link_of(world, invitation)
    assert token.startswith("fwi_")
    for table in ("invitation", "outgoing_mail", "change", "audit_entry"):
        stored = await world.value(f"select coalesce(string_agg(t::text, ''), '') from {table} t")
        assert token not in stored
        assert NIA not in stored


@pytest.mark.parametrize(
    ("who", "given", "code"),
    [
        ("admin", {"role": "OWNER"}, "FORBIDDEN"),
        ("admin", {"role": "AUDITOR"}, "FORBIDDEN"),
        ("auditor", {"role": "MEMBER"}, "FORBIDDEN"),
        ("manager", {"role": "MEMBER"}, "FORBIDDEN"),
        ("member", {"role": "MEMBER"}, "FORBIDDEN"),
        ("owner", {"role": "MEMBER", "email": "admin@clearwater.example"}, "CONFLICT"),
        ("owner", {"role": "MEMBER", "email": " ADMIN@clearwater.example "}, "CONFLICT"),
        ("owner", {"role": "MEMBER", "email": "nobody"}, "INVALID_INPUT"),
        ("owner", {}, "INVALID_INPUT"),
        ("owner", {"role": "MEMBER", "projectRole": "VIEWER"}, "INVALID_INPUT"),
        ("owner", {"role": "MEMBER", "projectId": "LAKES", "projectRole": "VIEWER"}, "NOT_FOUND"),
    ],
)
async def test_an_invitation_that_may_not_be_sent(world: World, who: str, given: dict[str, Any], code: str) -> None:
    client = await world.client(who)
    if "projectId" in given:
        given = {**given, "projectId": f"Project:{await world.project_id(given['projectId'])}"}
    since, before = await world.now(), await world.fingerprint()

    answer = await mutate(client, "inviteUser", {"email": NIA, "name": "Nia", **given}, "invitation { id }")

    assert [one["code"] for one in answer.data["inviteUser"]["errors"]] == [code]
    assert answer.data["inviteUser"]["invitation"] is None
    assert await world.fingerprint() == before
    assert await world.value("select count(*) from outgoing_mail") == 0
    outcome = "DENIED" if code in ("FORBIDDEN", "NOT_FOUND") else "FAILED"
    assert await _outcome(world, since, "invitation.create") == [("ATTEMPT", outcome, code)]


async def test_nobody_gives_a_role_of_the_organizations_own_that_can_do_more_than_they_can(world: World) -> None:
    owner, admin = await world.client("owner"), await world.client("admin")
    permissions = ["AUDIT_READ", "AUDIT_READ_PERSONAL"]
    made = {"name": "Looks through", "level": "ORGANIZATION", "permissions": permissions, "reason": REASON}
    role = (await mutate(owner, "createRole", made, "role { id }")).data["createRole"]["role"]["id"]

    answer = await mutate(admin, "inviteUser", {"email": NIA, "name": "Nia", "customRoleId": role})

    assert [one["code"] for one in answer.data["inviteUser"]["errors"]] == ["FORBIDDEN"]
    token = await link_of(world, await invite(owner, NIA, customRoleId=role))
    assert (await accept(world, token)).data["acceptInvitation"]["errors"] == []
    assert await world.value("select custom_role_id from membership where custom_role_id is not null") is not None


async def test_an_address_has_one_invitation_at_a_time_whatever_its_case(world: World) -> None:
    owner, admin = await world.client("owner"), await world.client("admin")
    first = await invite(owner, NIA)

    answer = await mutate(admin, "inviteUser", {"email": "NIA@Clearwater.example", "name": "Nia", "role": "MEMBER"})

    assert [one["code"] for one in answer.data["inviteUser"]["errors"]] == ["CONFLICT"]
    revoked = await mutate(admin, "revokeInvitation", {"id": first, "expectedVersion": 1})
    assert revoked.data["revokeInvitation"]["errors"] == []
    await invite(admin, NIA)


async def test_every_link_that_is_no_good_gets_the_same_answer_changes_nothing_and_is_in_the_trail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await world.client("admin")
    used = await link_of(world, await invite(admin, "used@clearwater.example"))
    assert (await accept(world, used)).data["acceptInvitation"]["errors"] == []
    resent = await invite(admin, "resent@clearwater.example")
    before_resending = await link_of(world, resent)
    assert (await mutate(admin, "resendInvitation", {"id": resent, "expectedVersion": 1})).data["resendInvitation"][
        "errors"
    ] == []
    revoked = await invite(admin, "revoked@clearwater.example")
    of_revoked = await link_of(world, revoked)
    assert (await mutate(admin, "revokeInvitation", {"id": revoked, "expectedVersion": 1})).data["revokeInvitation"][
        "errors"
    ] == []
    renewed = await invite(admin, "renewed@clearwater.example")
    older, newer = await link_of(world, renewed), await link_of(world, renewed)
    known = await link_of(world, await invite(admin, OTHER))
    monkeypatch.setattr("resolvers.invitation.LIFETIME", timedelta(0))
    over = await link_of(world, await invite(admin, "over@clearwater.example"))
    since, before = await world.now(), await world.fingerprint()

    good_for_nothing = [used, before_resending, of_revoked, older, over]
    answers = [await accept(world, token) for token in good_for_nothing]
    wrong_password = await accept(world, known, "ochre heron walks at dusk 43")

    assert {str(_said(answer)) for answer in (*answers, wrong_password)} == {str(_said(answers[0]))}
    assert answers[0].codes == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before
    assert await _outcome(world, since) == [("ATTEMPT", "DENIED", "UNAUTHENTICATED")] * 6
    tenants = {one["organization_id"] for one in await world.entries(since=since)}
    assert tenants == {await world.organization_id("clearwater")}
    strangers = [f"{newer[:-6]}AAAAAA", "fwi_", "", newer.replace("fwi_", "fwr_")]
    for token in strangers:
        assert str(_said(await accept(world, token))) == str(_said(answers[0]))
    assert await world.fingerprint() == before
    assert (await accept(world, newer)).data["acceptInvitation"]["errors"] == []


@pytest.mark.parametrize("password", ["short", "x" * 200])
async def test_a_password_that_could_not_be_taken_does_not_tell_whether_there_is_an_account(
    world: World, password: str
) -> None:
    admin = await world.client("admin")
    new, known = [await link_of(world, await invite(admin, email)) for email in (NIA, OTHER)]
    before = await world.fingerprint()

    answers = [await accept(world, token, password) for token in (new, known)]

    assert str(_said(answers[0])) == str(_said(answers[1]))
    assert [one["code"] for one in answers[0].data["acceptInvitation"]["errors"]] == ["INVALID_INPUT"]
    assert await world.fingerprint() == before


async def test_an_account_that_there_is_joins_by_its_own_password_which_stays(world: World) -> None:
    token = await link_of(world, await invite(await world.client("admin"), OTHER))
    users = "select md5(string_agg(t::text, '' order by id)) from user_account t"
    before = await world.value(users)

    answer = await accept(world, token, world.password("other-owner"))

    assert answer.data["acceptInvitation"]["errors"] == []
    assert await world.value(users) == before
    client = await sign_in_as(world, OTHER, world.password("other-owner"))
    assert (await client.run("{ viewer { user { role } } }")).data["viewer"]["user"]["role"] == "MEMBER"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("assignOrganizationRole", {"role": "MEMBER"}),
        ("suspendUser", {}),
        ("removeUser", {}),
    ],
)
async def test_who_may_not_invite_any_more_lets_nobody_in(world: World, name: str, given: dict[str, Any]) -> None:
    owner, admin = await world.client("owner"), await world.client("admin")
    invitation = await invite(admin, NIA)
    token = await link_of(world, invitation)
    gone = {"userId": f"User:{await world.member_id('admin')}", "reason": REASON, **given}
    assert (await mutate(owner, name, gone)).data[name]["errors"] == []
    since, before = await world.now(), await world.fingerprint()

    answer = await accept(world, token)

    if name == "removeUser":
        # Their invitations were taken back with them.
        assert answer.codes == ["UNAUTHENTICATED"]
        assert await _outcome(world, since) == [("ATTEMPT", "DENIED", "UNAUTHENTICATED")]
    else:
        errors = answer.data["acceptInvitation"]["errors"]
        assert [(one["code"], "Ask for another" in one["message"]) for one in errors] == [("CONFLICT", True)]
        assert await _outcome(world, since) == [("ATTEMPT", "FAILED", "CONFLICT")]
    assert await world.fingerprint() == before
    if name != "removeUser":
        # Who may sends it again, and vouches for it from then on.
        again = await mutate(owner, "resendInvitation", {"id": invitation, "expectedVersion": 1})
        assert again.data["resendInvitation"]["errors"] == []
        assert (await accept(world, await link_of(world, invitation))).data["acceptInvitation"]["errors"] == []


async def test_a_removed_member_comes_back_on_their_row_with_what_the_invitation_gives_alone(world: World) -> None:
    owner = await world.client("owner")
    member = await world.member_id("manager")
    removed = await mutate(owner, "removeUser", {"userId": f"User:{member}", "reason": REASON})
    assert removed.data["removeUser"]["errors"] == []
    token = await link_of(world, await invite(owner, "manager@clearwater.example", role="AUDITOR"))

    answer = await accept(world, token, world.password("manager"))

    assert answer.data["acceptInvitation"]["errors"] == []
    row = (await world.sql("select status, role from membership where id = $1", member))[0]
    assert (row["status"], row["role"]) == ("ACTIVE", "AUDITOR")
    assert await world.value("select count(*) from project_membership where membership_id = $1", member) == 0
    old = await (await world.client("manager")).run("{ viewer { user { role } } }")
    assert old.codes == ["UNAUTHENTICATED"]


async def test_a_link_that_is_used_twice_at_once_makes_one_member(world: World) -> None:
    token = await link_of(world, await invite(await world.client("admin"), NIA))
    before = await world.value("select count(*) from membership")

    answers = await asyncio.gather(*(accept(world, token, NEW_PASSWORD) for _ in range(4)))

    joined = [one for one in answers if one.body["data"]["acceptInvitation"] is not None]
    assert len(joined) == 1
    assert await world.value("select count(*) from membership") == before + 1
    assert await world.value("select count(*) from invitation where status = 'ACCEPTED'") == 1


@pytest.mark.parametrize("name", ["resendInvitation", "revokeInvitation"])
async def test_nobody_touches_an_invitation_that_promises_more_than_they_can(world: World, name: str) -> None:
    owner, admin, viewer = [await world.client(key) for key in ("owner", "admin", "viewer")]
    invitation = await invite(owner, NIA, role="OWNER")
    since, before = await world.now(), await world.fingerprint()

    for client, code in ((admin, "FORBIDDEN"), (viewer, "NOT_FOUND")):
        answer = await mutate(client, name, {"id": invitation, "expectedVersion": 1})
        assert [one["code"] for one in answer.data[name]["errors"]] == [code]

    assert await world.fingerprint() == before
    action = "invitation.resend" if name == "resendInvitation" else "invitation.revoke"
    assert [outcome for _, outcome, _ in await _outcome(world, since, action)] == ["DENIED", "DENIED"]


async def test_invitations_are_listed_for_who_sees_the_people_and_for_nobody_else(world: World) -> None:
    await invite(await world.client("owner"), NIA)
    query = "{ invitations(filter: { status: { eq: PENDING } }) { nodes { email status } } }"

    for who, nodes in (
        ("admin", [{"email": NIA, "status": "PENDING"}]),
        ("auditor", [{"email": NIA, "status": "PENDING"}]),
        ("manager", []),
        ("other-owner", []),
    ):
        assert (await (await world.client(who)).run(query)).data["invitations"]["nodes"] == nodes, who

"""A password that was lost: a real server process, a real mail server, and the link that arrives there.

The demo prints the same letter on its terminal.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import Template
from tests.support.alarm_servers import Mailbox, mailbox
from tests.support.mail import token_in
from tests.support.served import Caller, serving
from tests.support.server import free_port, own_data_directory, start_demo
from tests.support.world import World

ADDRESS = "manager@clearwater.example"
NEW = "gravel psalm otter kiln"
REQUEST = """
mutation($input: RequestPasswordResetInput!) { requestPasswordReset(input: $input) { errors { code message } } }
"""
START = """
mutation($input: StartPasswordResetInput!) { startPasswordReset(input: $input) { errors { code message } } }
"""
RESET = "mutation($input: ResetPasswordInput!) { resetPassword(input: $input) { errors { code message } } }"
CHANGE = "mutation($input: ChangePasswordInput!) { changePassword(input: $input) { errors { code message } } }"
SIGN_IN = """
mutation($input: SignInInput!) { signIn(input: $input) { accessToken refreshToken errors { code message } } }
"""
REFRESH = """
mutation($input: RefreshSessionInput!) { refreshSession(input: $input) { accessToken errors { code message } } }
"""
LINK = re.compile(r"/account#reset=([A-Za-z0-9_-]{43})\n")
ME = "{ viewer { user { id } } }"


@contextmanager
def _served(template: Template, world: World, directory: Path) -> Iterator[tuple[Caller, Mailbox, Path]]:
    """Run a server over the world's database and a mail server; yield a caller, the mailbox and the server's log."""
    port, log = free_port(), directory / "server.log"
    data = own_data_directory(template.settings.data_directory, directory / "data")
    with (
        mailbox(port, None) as box,
        serving(world.service, world.keystore, data, log, mail_port=port) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield Caller(http), box, log


def _arrived(box: Mailbox, count: int) -> Any:
    end = time.monotonic() + 30
    while len(box.messages) < count:
        assert time.monotonic() < end, "no mail came"
        time.sleep(0.05)
    return box.messages[-1]


def _done(caller: Caller, query: str, given: dict[str, str]) -> Any:
    reply = caller.run(query, {"input": given})
    assert not reply.errors, reply.text
    [payload] = reply.data.values()
    assert payload["errors"] == [], reply.text
    return payload


def _signed_in(caller: Caller, password: str) -> Any:
    return caller.run(SIGN_IN, {"input": {"email": ADDRESS, "password": password}})


def test_a_lost_password_is_replaced_by_the_link_of_a_letter(template: Template, world: World, tmp_path: Path) -> None:
    old = world.password("manager")
    with _served(template, world, tmp_path) as (nobody, box, log):
        before = _done(nobody, SIGN_IN, {"email": ADDRESS, "password": old})
        _done(nobody, REQUEST, {"email": "nobody@clearwater.example"})
        _done(nobody, REQUEST, {"email": ADDRESS})

        token = token_in(_arrived(box, 1))
        _done(nobody, RESET, {"token": token, "newPassword": NEW})

        told = _arrived(box, 2)
        assert told["subject"] == "Your password for Fieldward was changed"
        assert box.recipients == [[ADDRESS], [ADDRESS]]
        # The link is over, the password of before as well, and so are the sign-ins by it.
        again = nobody.run(RESET, {"input": {"token": token, "newPassword": "another gravel psalm kiln"}})
        assert [error["extensions"]["code"] for error in again.errors] == ["UNAUTHENTICATED"]
        assert [error["extensions"]["code"] for error in _signed_in(nobody, old).errors] == ["UNAUTHENTICATED"]
        assert Caller(nobody.http, before["accessToken"]).run(ME).errors
        assert nobody.run(REFRESH, {"input": {"refreshToken": before["refreshToken"]}}).errors
        signed_in = _signed_in(nobody, NEW).data["signIn"]
        assert Caller(nobody.http, signed_in["accessToken"]).run(ME).data["viewer"]["user"]["id"]
        for secret in (token, NEW, old, ADDRESS):
            assert secret not in log.read_text()


def test_an_administrator_starts_it_and_a_member_changes_what_they_set(
    template: Template, world: World, tmp_path: Path
) -> None:
    with _served(template, world, tmp_path) as (nobody, box, _):
        admin_in = {"email": "admin@clearwater.example", "password": world.password("admin")}
        admin = Caller(nobody.http, _done(nobody, SIGN_IN, admin_in)["accessToken"])
        member = _done(nobody, SIGN_IN, {"email": ADDRESS, "password": world.password("manager")})
        user = Caller(nobody.http, member["accessToken"]).run(ME).data["viewer"]["user"]["id"]

        started = admin.run(START, {"input": {"userId": user, "reason": "Mara called."}})
        token = token_in(_arrived(box, 1))
        _done(nobody, RESET, {"token": token, "newPassword": NEW})

        assert started.data == {"startPasswordReset": {"errors": []}}
        assert token not in started.text
        here, there = (_signed_in(nobody, NEW).data["signIn"]["accessToken"] for _ in range(2))
        given = {"currentPassword": NEW, "newPassword": "another gravel psalm kiln"}
        _done(Caller(nobody.http, here), CHANGE, given)
        assert Caller(nobody.http, here).run(ME).data["viewer"]["user"]["id"] == user
        assert [error["extensions"]["code"] for error in Caller(nobody.http, there).run(ME).errors] == [
            "UNAUTHENTICATED"
        ]


def test_the_demo_prints_the_letter_where_it_was_started(tmp_path: Path) -> None:
    server = start_demo(tmp_path / "demo", free_port())
    try:
        with httpx.Client(base_url=server.url, timeout=30) as http:
            email, _ = server.sign_ins["manager"]
            _done(Caller(http), REQUEST, {"email": email})
            end = time.monotonic() + 30
            while (found := LINK.search(server.printed.read_text())) is None:
                assert time.monotonic() < end, "no letter was printed"
                time.sleep(0.05)
            _done(Caller(http), RESET, {"token": found[1], "newPassword": NEW})
            given = {"email": email, "password": NEW}
            assert _done(Caller(http), SIGN_IN, given)["accessToken"]
    finally:
        assert server.stop() == 0
    assert f"Mail to {email}" in server.printed.read_text()
    assert found[1] not in server.errors
    assert email not in server.errors

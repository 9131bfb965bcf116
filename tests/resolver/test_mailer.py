"""Letters to people as they arrive: at a mail server on this machine, and on a terminal."""

from pathlib import Path
from typing import Any

import pytest

from fieldward.container import build_mail_route
from fieldward.settings import Settings
from models.base import new_id
from models.errors import UnavailableError
from resolvers.mail_server import MailServer
from resolvers.mailer import ConsoleMailer, Letter, SmtpMailer, require_route
from resolvers.sending import NotSentError
from tests.support.alarm_servers import NAME, PASSWORD, Mailbox, certificate, mailbox
from tests.support.server import free_port

TEXT = "Følg lenken:\nhttps://fieldward.example/account#reset=a-secret\n"


def _letter(recipient: str = "ada@acme.example") -> Letter:
    return Letter(new_id(), recipient, "Your password for Fieldward – følg lenken", TEXT)


def _mailer(box: Mailbox, client: Any) -> SmtpMailer:
    return SmtpMailer(MailServer("127.0.0.1", box.port, "starttls", NAME, PASSWORD, client), "fieldward@acme.example")


async def test_a_letter_arrives_over_tls_with_what_it_says(tmp_path: Path) -> None:
    server, client = certificate(tmp_path)
    letter = _letter()
    with mailbox(free_port(), server) as box:
        mailer = _mailer(box, client)
        await mailer.send(letter)

        (message,) = box.messages
        assert box.recipients == [["ada@acme.example"]]
        assert mailer.destination == f"smtp://127.0.0.1:{box.port}"
    assert (message["from"], message["to"]) == ("fieldward@acme.example", "ada@acme.example")
    assert message["message-id"] == f"<{letter.id}@acme.example>"
    assert message["auto-submitted"] == "auto-generated"
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().splitlines() == TEXT.splitlines()


@pytest.mark.parametrize(
    "recipient",
    [
        "eve@evil.example, ada@acme.example",
        "ada@acme.example\nBcc: eve@evil.example",
        "Ada <ada@acme.example>",
        "",
        "@",
    ],
)
async def test_an_address_that_names_another_beside_it_gets_nothing_sent(tmp_path: Path, recipient: str) -> None:
    server, client = certificate(tmp_path)
    with mailbox(free_port(), server) as box:
        with pytest.raises(NotSentError) as error:
            await _mailer(box, client).send(_letter(recipient))

        assert box.messages == []
    assert "evil" not in str(error.value)


async def test_what_the_server_does_not_take_is_an_error_without_what_it_said(tmp_path: Path) -> None:
    server, client = certificate(tmp_path)
    with mailbox(free_port(), server) as box:
        box.refuses = True
        with pytest.raises(NotSentError) as error:
            await _mailer(box, client).send(_letter())

    assert error.value.kind == "SMTP 451"


async def test_the_console_prints_a_letter_and_nothing_that_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await ConsoleMailer().send(_letter("\x1b[2Jada@acme.example"))

    printed = capsys.readouterr()
    assert "https://fieldward.example/account#reset=a-secret\n" in printed.out
    assert "ada@acme.example" in printed.out
    assert "\x1b" not in printed.out
    assert printed.err == ""


def test_a_letter_is_not_printed_by_accident() -> None:
    shown = repr(_letter())

    assert "ada" not in shown
    assert "secret" not in shown


def test_which_way_letters_leave_follows_from_the_settings(tmp_path: Path) -> None:
    console = ConsoleMailer()
    plain = Settings(data_directory=tmp_path, port=8111)
    without_address = Settings(data_directory=tmp_path, smtp_host="mail.example", smtp_from="fieldward@acme.example")
    mail = without_address.model_copy(update={"public_url": "https://fieldward.example/"})

    on_terminal = build_mail_route(plain, otherwise=console)
    by_server = build_mail_route(mail, otherwise=console)

    assert on_terminal is not None
    assert on_terminal.mailer is console
    assert on_terminal.link("reset=x") == "http://localhost:8111/account#reset=x"
    assert by_server is not None
    assert by_server.mailer.destination == "smtp://mail.example:587"
    assert by_server.link("reset=x") == "https://fieldward.example/account#reset=x"
    for none in (
        build_mail_route(plain),
        build_mail_route(without_address),
        build_mail_route(without_address, otherwise=console),
    ):
        assert none is None
        with pytest.raises(UnavailableError, match="FIELDWARD_SMTP_HOST"):
            require_route(none)

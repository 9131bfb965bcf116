"""Letters as they arrive at a mail server on this machine, where the world's settings say that one is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Final

from fieldward.jobs import build_jobs
from fieldward.settings import Settings
from resolvers.mailer import SmtpMailer
from resolvers.mailing import SEND_MAIL
from tests.support.alarm_servers import Mailbox, mailbox
from tests.support.world import World

_RESET: Final = re.compile(r"/account#reset=([A-Za-z0-9_-]{43})\n")


@contextmanager
def taking_mail(world: World) -> Iterator[Mailbox]:
    """Run the mail server that the world sends by."""
    assert world.services.mail is not None
    mailer = world.services.mail.mailer
    assert isinstance(mailer, SmtpMailer)
    with mailbox(mailer.server.port, None) as box:
        yield box


async def send_mail(world: World) -> None:
    """Run the job that sends letters until nothing is due."""
    job = build_jobs(world.services, Settings())[SEND_MAIL]
    while await job():
        pass


def text_of(message: Message) -> str:
    """Return what a letter says."""
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode().replace("\r\n", "\n")


def token_in(message: Message) -> str:
    """Return what the link in a letter about a password ends with."""
    found = _RESET.search(text_of(message))
    assert found is not None, text_of(message)
    return found[1]

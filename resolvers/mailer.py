"""How letters to people leave: through a mail server, or onto the terminal of whoever tries the demo out.

A letter holds what is its recipient's alone, such as a link that works once: no log is told of what it says or of
whom it is to.
"""

import sys
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from models.errors import UnavailableError
from resolvers.mail_server import MailServer, new_message

_LINE: Final = "-" * 72


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to one person. id: the same however often it is sent."""

    id: UUID
    recipient: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)


class Mailer(Protocol):
    """A way by which letters leave. `destination` names where they go first, without a secret."""

    @property
    def destination(self) -> str:
        """Where letters go first."""
        ...

    async def send(self, letter: Letter) -> None:
        """Return once the letter has been taken. Raises `NotSentError`."""
        ...


@dataclass(frozen=True, slots=True)
class SmtpMailer:
    """Hands letters in at a mail server. sender: the address that they come from."""

    server: MailServer
    sender: str

    @property
    def destination(self) -> str:
        """The mail server."""
        return self.server.destination

    async def send(self, letter: Letter) -> None:
        """Hand the letter in. Raises `NotSentError` unless the server took it."""
        message = new_message(
            letter.id, sender=self.sender, recipients=[letter.recipient], subject=letter.subject, text=letter.text
        )
        await self.server.hand_in(message, [letter.recipient])


class ConsoleMailer:
    """Prints letters to standard output, for the demo: whoever started it can follow their links."""

    @property
    def destination(self) -> str:
        """The terminal."""
        return "console:"

    async def send(self, letter: Letter) -> None:
        """Print the letter."""
        lines = [_LINE, f"Mail to {letter.recipient}", f"Subject: {letter.subject}", "", letter.text.rstrip(), _LINE]
        sys.stdout.write(_printable("\n".join(lines)) + "\n")
        sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class MailRoute:
    """How letters leave, and where the links in them lead. public_url: where people reach the service."""

    mailer: Mailer
    public_url: str

    @property
    def page(self) -> str:
        """Where people look after their account."""
        return f"{self.public_url.rstrip('/')}/account"

    def link(self, fragment: str) -> str:
        """Return a link into the page of accounts. What is in a fragment, no server on the way gets to see."""
        return f"{self.page}#{fragment}"


def require_route(route: MailRoute | None) -> MailRoute:
    """Return how letters leave. Raises `UnavailableError` where none can, with what an operator has to set."""
    if route is None:
        raise UnavailableError(
            "This service sends no mail. Its operator has to set FIELDWARD_SMTP_HOST, FIELDWARD_SMTP_FROM and"
            " FIELDWARD_PUBLIC_URL."
        )
    return route


def _printable(text: str) -> str:
    """Return the text without what a terminal would take for a command."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )

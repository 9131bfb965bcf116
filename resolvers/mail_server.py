"""Where mail is handed in: the one way by which any leaves, alarms and letters to people alike."""

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal
from uuid import UUID

from resolvers.sending import TIMEOUT_S, NotSentError, send_in_thread


@dataclass(frozen=True, slots=True)
class MailServer:
    """A mail server, and how it is spoken to.

    security: TLS from the start, STARTTLS, or neither, which is for this machine alone.
    """

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    context: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def destination(self) -> str:
        """Where it is, without a secret or an address of anybody."""
        return f"smtp://{self.host}:{self.port}"

    async def hand_in(self, message: EmailMessage, recipients: Sequence[str]) -> None:
        """Return once the server took the message for each recipient. Raises `NotSentError`.

        recipients: addresses, one each: they decide who gets it, whatever its headers say.
        """
        await send_in_thread(lambda: self._hand_in(message, recipients))

    def _hand_in(self, message: EmailMessage, recipients: Sequence[str]) -> None:
        context = self.context or ssl.create_default_context()
        opened: smtplib.SMTP = (
            smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=context)
            if self.security == "tls"
            else smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        )
        with opened as smtp:
            if self.security == "starttls":
                smtp.starttls(context=context)
            if self.username is not None:
                smtp.login(self.username, self.password or "")
            if smtp.send_message(message, to_addrs=list(recipients)):
                raise NotSentError("some recipients were refused")


def new_message(id: UUID, *, sender: str, recipients: Sequence[str], subject: str, text: str) -> EmailMessage:
    """Return a message that a program sends.

    id: the same each time it is sent, so that mail programs show it once.

    Raises:
        NotSentError: a recipient's address is none that mail can go to.
    """
    message = EmailMessage()
    try:
        message["From"] = sender
        # Made of one address each, so that none can name two.
        message["To"] = [Address(addr_spec=one) for one in recipients]
        message["Subject"] = subject
    except (MessageError, ValueError, IndexError) as error:
        raise NotSentError("an address is none") from error
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{id}@{sender.rpartition('@')[2].strip('>')}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message

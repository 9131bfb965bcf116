"""How alarms leave: by mail, and as signed webhooks.

An alarm holds no personal data and no value: a rule, a severity, ids, a count, times and a link. It may come twice,
under the same id, where a process ended between sending it and noting that it was sent; it is never lost.
"""

import asyncio
import base64
import hmac
import http.client
import smtplib
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final, Literal, Protocol
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

import orjson

from models.incident import Channel

TIMEOUT_S: Final = 10.0
"""Seconds that a server may take for each step."""
LONGEST_S: Final = 30.0
"""Seconds that sending may take in all."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  (how a secret is written, not one)
SHORTEST_SECRET: Final = 24
"""Bytes, as Standard Webhooks asks for."""

# A server that answers a byte now and then keeps a thread of these, and none that writes signed heads down.
_threads: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="alarm")


class NotSentError(Exception):
    """An alarm did not leave. `kind` says why, without anything that a server answered or was told."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"The alarm was not sent: {kind}.")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Alarm:
    """What an alarm says. `id` is the same however often it is sent. count: as of the opening of the incident.

    incident_id: None for a test, which is about nothing.
    """

    id: UUID
    rule: str
    severity: str
    organization_id: UUID
    incident_id: UUID | None
    count: int
    first_seen_at: datetime
    opened_at: datetime
    link: str | None = None

    def body(self) -> bytes:
        """Return the alarm as JSON, in the form that Standard Webhooks recommends."""
        kind = "alarm.test" if self.incident_id is None else "incident.opened"
        data = {
            "rule": self.rule,
            "severity": self.severity,
            "organizationId": f"Organization:{self.organization_id}",
            "incidentId": None if self.incident_id is None else f"Incident:{self.incident_id}",
            "count": self.count,
            "firstSeenAt": self.first_seen_at,
            "openedAt": self.opened_at,
            "link": self.link,
        }
        return orjson.dumps({"type": kind, "timestamp": self.opened_at, "data": data})


class AlarmSender(Protocol):
    """A channel as it is set up. `destination` names where its alarms go, without a secret."""

    @property
    def channel(self) -> Channel:
        """Which one it is."""
        ...

    @property
    def destination(self) -> str:
        """Where its alarms go."""
        ...

    async def send(self, alarm: Alarm) -> None:
        """Return once the alarm has been taken. Raises `NotSentError`."""
        ...


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. security: TLS from the start, STARTTLS, or neither, which is for this machine alone."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    context: ssl.SSLContext | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class EmailSender:
    """Sends alarms by mail, one for all recipients."""

    server: MailServer
    sender: str
    recipients: tuple[str, ...]

    @property
    def channel(self) -> Channel:
        """Mail."""
        return Channel.EMAIL

    @property
    def destination(self) -> str:
        """The mail server: recipients' addresses are people's."""
        return f"smtp://{self.server.host}:{self.server.port}"

    async def send(self, alarm: Alarm) -> None:
        """Hand the alarm in. Raises `NotSentError` unless the server took it for every recipient."""
        await _in_thread(lambda: self._send(self._message(alarm)))

    def _message(self, alarm: Alarm) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        what = "test alarm" if alarm.incident_id is None else alarm.rule
        message["Subject"] = f"[Fieldward] {alarm.severity}: {what}"
        message["Date"] = format_datetime(datetime.now(UTC))
        # The same each time it is sent, so that mail programs show it once.
        message["Message-ID"] = f"<{alarm.id}@{self.sender.rpartition('@')[2].strip('>')}>"
        message["Auto-Submitted"] = "auto-generated"
        lines = [
            f"Rule: {alarm.rule}",
            f"Severity: {alarm.severity}",
            f"Organization: {alarm.organization_id}",
            f"Incident: {alarm.incident_id or 'none, this is a test'}",
            f"Count: {alarm.count}",
            f"First seen: {alarm.first_seen_at.isoformat()}",
            f"Opened: {alarm.opened_at.isoformat()}",
            *([f"Sign in: {alarm.link}"] if alarm.link else []),
        ]
        message.set_content("\n".join(lines) + "\n")
        return message

    def _send(self, message: EmailMessage) -> None:
        server, context = self.server, self.server.context or ssl.create_default_context()
        opened: smtplib.SMTP = (
            smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
            if server.security == "tls"
            else smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
        )
        with opened as smtp:
            if server.security == "starttls":
                smtp.starttls(context=context)
            if server.username is not None:
                smtp.login(server.username, server.password or "")
            if smtp.send_message(message):
                raise NotSentError("some recipients were refused")


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Posts alarms to an address, signed by the symmetric scheme of Standard Webhooks. Follows no redirect.

    url: by https, but for this machine.
    """

    url: str
    key: bytes = field(repr=False)
    context: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def channel(self) -> Channel:
        """A webhook."""
        return Channel.WEBHOOK

    @property
    def destination(self) -> str:
        """The server alone: paths of webhooks are often secrets."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    async def send(self, alarm: Alarm) -> None:
        """Post the alarm. Raises `NotSentError` unless the answer is a 2xx."""
        body, now = alarm.body(), datetime.now(UTC)
        headers = {"Content-Type": "application/json", "User-Agent": "fieldward", **signed(self.key, alarm, body, now)}
        await _in_thread(lambda: self._post(urlsplit(self.url), body, headers))

    def _post(self, parts: SplitResult, body: bytes, headers: dict[str, str]) -> None:
        host = parts.hostname or ""
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = self.context or ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body=body, headers=headers)
            status = connection.getresponse().status
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise NotSentError(f"HTTP {status}")


def signed(key: bytes, alarm: Alarm, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers that say which message it is, when it was sent, and that it is ours."""
    message_id, at = f"msg_{alarm.id.hex}", str(int(now.timestamp()))
    digest = hmac.digest(key, f"{message_id}.{at}.".encode() + body, "sha256")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def webhook_key(secret: str) -> bytes:
    """Return the bytes of a secret as Standard Webhooks writes it: base64, with or without `whsec_` before it.

    Raises:
        ValueError: it is none, or too short.
    """
    key = base64.b64decode(secret.strip().removeprefix(SECRET_PREFIX), validate=True)
    if len(key) < SHORTEST_SECRET:
        raise ValueError(f"Expected at least {SHORTEST_SECRET} bytes.")
    return key


def is_sound_url(url: str) -> bool:
    """Return whether alarms may be posted there: by https, or to this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK))


def channels_of(senders: Sequence[AlarmSender]) -> tuple[Channel, ...]:
    """Return through which channels alarms leave."""
    return tuple(one.channel for one in senders)


async def _in_thread(work: Callable[[], None]) -> None:
    try:
        async with asyncio.timeout(LONGEST_S):
            await asyncio.get_running_loop().run_in_executor(_threads, work)
    except smtplib.SMTPResponseException as error:
        raise NotSentError(f"SMTP {error.smtp_code}") from error
    except (OSError, TimeoutError, smtplib.SMTPException, http.client.HTTPException, ValueError) as error:
        raise NotSentError(type(error).__name__) from error

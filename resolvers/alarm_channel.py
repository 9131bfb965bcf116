"""How alarms leave: by mail, and as signed webhooks.

An alarm holds no personal data and no value: a rule, a severity, ids, a count, times and a link. It may come twice,
under the same id, where a process ended between sending it and noting that it was sent; it is never lost.
"""

import base64
import hmac
import http.client
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

import orjson

from models.incident import Channel
from resolvers.mail_server import MailServer, new_message
from resolvers.sending import LOOPBACK, TIMEOUT_S, NotSentError, send_in_thread

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  (how a secret is written, not one)
SHORTEST_SECRET: Final = 24
"""Bytes, as Standard Webhooks asks for."""


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
        return self.server.destination

    async def send(self, alarm: Alarm) -> None:
        """Hand the alarm in. Raises `NotSentError` unless the server took it for every recipient."""
        await self.server.hand_in(self._message(alarm), self.recipients)

    def _message(self, alarm: Alarm) -> EmailMessage:
        what = "test alarm" if alarm.incident_id is None else alarm.rule
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
        return new_message(
            alarm.id,
            sender=self.sender,
            recipients=self.recipients,
            subject=f"[Fieldward] {alarm.severity}: {what}",
            text="\n".join(lines) + "\n",
        )


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
        await send_in_thread(lambda: self._post(urlsplit(self.url), body, headers))

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

"""A device made of software: it makes a key, is enrolled by a code, and proves its key, as an app on a phone does.

Proofs are made here from the words of `auth/device_proof.py` and not by its functions, so that the two are compared.
"""

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World

TYPE = "fieldward-device-proof+jwt"
AUDIENCE = "fieldward-api"
ENROLLED = "deviceId"
REFRESH = """
mutation($input: RefreshSessionInput!) {
  refreshSession(input: $input) { accessToken refreshToken errors { code message field } }
}
"""


@dataclass(slots=True)
class SoftwareDevice:
    """A key pair, and once it is enrolled, the global id of the device that it is of."""

    id: str = ""
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def row_id(self) -> UUID:
        """The id of the device's row."""
        return UUID(self.id.removeprefix("Device:"))

    @property
    def jwk(self) -> dict[str, str]:
        """The public half."""
        numbers = self.private.public_key().public_numbers()
        x, y = (base64url(one.to_bytes(32, "big")) for one in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    def proof(self, *lines: str, at: datetime | None = None, **claims: Any) -> str:
        """Return a proof for what these lines say. claims: what it says otherwise than a good one."""
        return jwt.encode(
            {**claims_for(*lines, at=at), **claims}, self.private, algorithm="ES256", headers={"typ": TYPE}
        )

    def sign_in_proof(self, world: World, key: str, organization: str = "") -> str:
        """Return a proof for the sign-in of a person of the demo."""
        return self.proof("sign-in", organization, world.email(key))

    async def sign_in(self, world: World, key: str, **more: Any) -> Answer:
        """Sign a person of the demo in on the device."""
        return await world.sign_in(
            key, **{"deviceId": self.id, "deviceProof": self.sign_in_proof(world, key, **_named(more)), **more}
        )

    async def client(self, world: World, key: str) -> Client:
        """Return a client of a person of the demo who signed in on the device."""
        signed_in = (await self.sign_in(world, key)).data["signIn"]
        assert signed_in["errors"] == [], signed_in
        return Client(world.http, signed_in["accessToken"], password=world.password(key))

    async def refresh(self, world: World, token: str, **more: Any) -> Answer:
        """Refresh a session that is on the device."""
        given = {"refreshToken": token, "deviceProof": self.proof("refresh", token), **more}
        return await world.anonymous.run(REFRESH, {"input": given})

    async def answer(self, world: World, code: str, **more: Any) -> Answer:
        """Answer an enrolment code with the key."""
        proof = self.proof("enrolment", code)
        given = {"code": code, "publicKey": json.dumps(self.jwk), "proof": proof, **more}
        return await mutate(world.anonymous, "enrolDevice", given, ENROLLED)


async def start(client: Client, device_id: str) -> str:
    """Return a code by which the device can be enrolled."""
    answer = await mutate(client, "startDeviceEnrolment", {"id": device_id}, "code")
    assert answer.data["startDeviceEnrolment"]["errors"] == [], answer.data
    return str(answer.data["startDeviceEnrolment"]["code"])


async def enrolled(world: World, device_id: str, *, by: str = "admin") -> SoftwareDevice:
    """Enrol a registered device, and return it."""
    device = SoftwareDevice()
    answer = await device.answer(world, await start(await world.client(by), device_id))
    assert answer.data["enrolDevice"] == {"deviceId": device_id, "errors": []}
    device.id = device_id
    return device


def claims_for(*lines: str, at: datetime | None = None) -> dict[str, Any]:
    """Return what a good proof for these lines says. at: when it was made; now, if nothing is said."""
    made_at = at if at is not None else datetime.now().astimezone()
    return {
        "aud": AUDIENCE,
        "iat": int(made_at.timestamp()),
        "jti": str(uuid4()),
        "for": base64url(sha256("\n".join(lines).encode()).digest()),
    }


def base64url(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _named(more: dict[str, Any]) -> dict[str, str]:
    return {"organization": more["organization"]} if "organization" in more else {}

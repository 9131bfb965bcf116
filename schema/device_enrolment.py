"""Enrolling a device: the code that somebody gives, and the key that the device answers it with."""

from datetime import datetime
from urllib.parse import urlencode

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.device import Device as DeviceModel
from resolvers.device_enrolment import enrol_device, start_enrolment
from schema.context import context_of
from schema.device_change import AT_ID
from schema.field import derived, structure
from schema.mutation import UserError, current_change, mutation
from schema.node import parse_id
from schema.qr import qr_svg

SCHEME = "fieldward-enrol:"
"""What stands before a code in a QR code where the service knows no address of its own for a link."""


@strawberry.input(description="Which device is to be enrolled.")
class StartDeviceEnrolmentInput:
    id: strawberry.ID = strawberry.field(description="Which device.")


@strawberry.input(description="A code, and the key of the device that answers it.")
class EnrolDeviceInput:
    code: str = strawberry.field(description="The code, whatever case, with or without hyphens.")
    public_key: str = strawberry.field(
        description="The public half of a P-256 key pair that was made on the device: a JWK, as JSON."
    )
    proof: str = strawberry.field(description="The device's proof of that key, for this code.")
    app_version: str | None = strawberry.field(
        default=None, description="The version of the collecting app that runs on the device."
    )


@structure
@strawberry.type(description="A code by which a device is enrolled, or why there is none.")
class StartDeviceEnrolmentPayload:
    code: str | None = strawberry.field(
        description="To be typed on the device. Works once. Shown this once.", metadata=derived()
    )
    uri: str | None = strawberry.field(
        description="The same as a link, or as `fieldward-enrol:…` where the service knows no address of its own, with"
        " the `audience` that the device's proofs name.",
        metadata=derived(),
    )
    qr: str | None = strawberry.field(description="The same as a QR code: an SVG picture.", metadata=derived())
    expires_at: datetime | None = strawberry.field(description="Until when the code works.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why there is none.", metadata=derived())


@structure
@strawberry.type(description="The device that was enrolled, or why none was.")
class EnrolDevicePayload:
    device_id: strawberry.ID | None = strawberry.field(
        description="To be named at each sign-in on the device.", metadata=derived()
    )
    errors: list[UserError] = strawberry.field(description="Why none was.", metadata=derived())


@strawberry.type
class DeviceEnrolmentMutation:
    @mutation(
        "Get a code by which a device is enrolled, or enrolled anew. It works for ten minutes; one before it ends.",
        Action.DEVICE_START_ENROLMENT,
        fresh=True,
        takes=(P.DEVICE_REGISTER,),
        entity=DeviceModel,
        subject="Device",
    )
    async def start_device_enrolment(
        info: strawberry.Info, input: StartDeviceEnrolmentInput
    ) -> StartDeviceEnrolmentPayload | None:
        started = await start_enrolment(current_change(info), device_id=parse_id(input.id, "Device", at=AT_ID))
        services = context_of(info).services
        uri = _uri(services.public_url, started.code, audience=services.sessions.audience)
        return StartDeviceEnrolmentPayload(
            code=started.code, uri=uri, qr=qr_svg(uri), expires_at=started.expires_at, errors=[]
        )

    @mutation(
        "Enrol a device by a code: give it the key that it made. What was signed in on it ends.",
        Action.DEVICE_ENROL,
        notes_itself=True,
    )
    async def enrol_device(info: strawberry.Info, input: EnrolDeviceInput) -> EnrolDevicePayload | None:
        context = context_of(info)
        device_id = await enrol_device(
            context.services,
            context.actor,
            code=input.code,
            public_key=input.public_key,
            proof=input.proof,
            app_version=input.app_version,
        )
        return EnrolDevicePayload(device_id=strawberry.ID(f"Device:{device_id}"), errors=[])


def _uri(public_url: str | None, code: str, *, audience: str) -> str:
    """Return where the code leads: in the fragment of a link, which no server logs.

    audience: whom the device's proofs are for, which an app that follows the link learns from it.
    """
    told = urlencode({"audience": audience})
    return f"{SCHEME}{code}?{told}" if public_url is None else f"{public_url.rstrip('/')}/account?{told}#enrol={code}"

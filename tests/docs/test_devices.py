"""What `docs/devices.md` tells who builds an app: the example is run, and the tables are held to the code."""

import re
from pathlib import Path
from typing import Any

from auth.device_proof import LONGEST_AGE_S
from auth.errors import (
    BlockedDeviceError,
    DeviceProofError,
    MissingProofError,
    StaleProofError,
    UnenrolledDeviceError,
)
from fieldward.settings import Settings
from tests.support.device import start
from tests.support.mutation import prepare
from tests.support.world import World

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "devices.md").read_text()
PYTHON = re.search(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
GRAPHQL = re.findall(r"^```graphql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def test_an_app_that_is_built_by_the_page_enrols_signs_in_and_refreshes(world: World) -> None:
    enrol, sign_in, refresh = GRAPHQL
    stage = await prepare(world)
    code = await start(await world.client("admin"), stage.device)
    app: dict[str, Any] = {}
    assert PYTHON is not None
    exec(PYTHON[1], app)  # noqa: S102  (our own page)

    enrolled = await world.anonymous.run(
        enrol, {"code": code, "publicKey": app["public_jwk"](), "proof": app["proof"]("enrolment", code)}
    )
    given = {
        "email": world.email("member"),
        "password": world.password("member"),
        "deviceId": enrolled.data["enrolDevice"]["deviceId"],
        "deviceProof": app["proof"]("sign-in", "", world.email("member")),
    }
    token = (await world.anonymous.run(sign_in, given)).data["signIn"]["refreshToken"]
    refreshed = await world.anonymous.run(
        refresh, {"refreshToken": token, "deviceProof": app["proof"]("refresh", token)}
    )

    assert given["deviceId"] == stage.device
    assert refreshed.data["refreshSession"]["errors"] == []


def test_the_details_of_the_page_are_those_of_the_code() -> None:
    errors = (
        BlockedDeviceError,
        UnenrolledDeviceError,
        MissingProofError,
        DeviceProofError,
        StaleProofError,
    )

    assert re.findall(r"^\| `(DEVICE_\w+)` \|", PAGE, re.MULTILINE) == [one.detail for one in errors]


def test_the_audience_and_the_time_of_the_page_are_those_of_the_code() -> None:
    assert f"`{Settings.model_fields['audience'].default}`" in PAGE
    assert f"at most {LONGEST_AGE_S} off" in PAGE

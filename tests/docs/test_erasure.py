"""What `docs/erasure.md` shows: each step is taken, in the order of the page, and answered in the shape shown."""

import json
import re
from pathlib import Path
from typing import Any

from fieldward.certificate_verifier import main
from tests.docs.test_audit import SHOWN, shape
from tests.support.erasure import later, run_erasures
from tests.support.people import PASSWORD, a_person, sign_in_as
from tests.support.world import World

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "erasure.md").read_text()
EXAMPLES = {re.search(r"(?:query|mutation) (\w+)", one["query"])[1]: one for one in SHOWN.finditer(PAGE)}  # type: ignore[index]
"""By the operation's name, in the order of the page."""


async def test_the_steps_of_the_page_are_answered_in_the_shape_that_is_shown(world: World, tmp_path: Path) -> None:
    assert list(EXAMPLES) == ["AskForMyErasure", "ConfirmMyErasure", "TakeMyData"]
    _, email = await a_person(world)
    client = await sign_in_as(world, email, PASSWORD)
    told: dict[str, Any] = {"password": PASSWORD}
    for name, example in EXAMPLES.items():
        given = json.loads(example["variables"])
        given["input"] |= {key: told[key] for key, value in given["input"].items() if "…" in str(value)}

        answer = await client.run(example["query"], given)

        assert shape(json.loads(example["answer"])) == shape(answer.body), (name, answer.body)
        if name == "AskForMyErasure":
            told["id"] = answer.data["requestMyErasure"]["erasureRequest"]["id"]

    await later(world, {"id": told["id"]}, days=8)
    await run_erasures(world)
    certificate = tmp_path / "certificate.json"
    certificate.write_text(await world.value("select certificate from erasure_request"))
    sealer = world.services.sealer
    assert main([str(certificate), "--key", str(sealer.signer.verifier_key(sealer.name))]) == 0
    assert "python fieldward/certificate_verifier.py certificate.json --key" in PAGE

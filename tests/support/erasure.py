"""Erasures in tests: asked for through the API, carried out by the job, and time that passes."""

import base64
import json
import re
from email.message import Message
from typing import Any, Final
from uuid import UUID

import httpx

from fieldward.certificate_verifier import verified
from fieldward.jobs import build_jobs
from fieldward.settings import Settings
from resolvers.erasure_request import RUN_ERASURES
from tests.conftest import Template
from tests.support.mail import text_of
from tests.support.mutation import mutate
from tests.support.priced import fresh_process
from tests.support.world import Client, World

SHOWN: Final = "erasureRequest { id status version kind }"
_ALL: Final = (
    "query($id: ID!) { erasureRequest(id: $id) { id kind status version names reason records dueAt confirmedAt"
    " executeAfter heldAt startedAt finishedAt certificate user { id } requestedBy { id } confirmedBy { id } } }"
)
_LINK: Final = re.compile(r"/account#erasure=(fwe_[A-Za-z0-9_-]+)\n")
_TIMES: Final = ("created_at", "due_at", "confirmed_at", "execute_after", "started_at")


NAME: Final = "Cora Lindqvist-Ode"
"""Of a collector who has no account."""
_RECORD: Final = (
    "mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { message } } }"
)
_COLLECTOR: Final = "query($id: ID!) { record(id: $id) { collector } }"


async def a_record(world: World, *, collector: str = NAME) -> str:
    """Have somebody collect something in another one's name, and return the record's id."""
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "W-1",
        "collectedAt": "2026-02-03T04:05:06Z",
        "medium": "WATER",
        "collector": collector,
    }
    answer = await (await world.client("collector")).run(_RECORD, {"input": given})
    return str(answer.data["createRecord"]["record"]["id"])


async def collector_of(world: World, record: str, *, by: httpx.AsyncClient | None = None) -> Any:
    """Return who collected a record, as the owner is shown it. by: another process, such as one without keys."""
    owner = await world.client("owner")
    answer = await Client(by or world.http, owner.token).run(_COLLECTOR, {"id": record})
    return answer.data["record"]["collector"]


async def collector_read_anew(world: World, template: Template, record: str) -> Any:
    """Return who collected a record, as the owner is shown it by a process that has no key in memory."""
    async with fresh_process(world, template) as http:
        return await collector_of(world, record, by=http)


async def done(client: Client, name: str, given: dict[str, Any]) -> Any:
    """Run a mutation of requests that goes well, and return the request."""
    answer = await mutate(client, name, given, SHOWN)
    assert answer.data[name]["errors"] == [], answer.data
    return answer.data[name]["erasureRequest"]


async def refused(client: Client, name: str, given: dict[str, Any]) -> str:
    """Run a mutation of requests that is refused, and return the code."""
    answer = await mutate(client, name, given, SHOWN)
    assert answer.data[name]["erasureRequest"] is None
    (error,) = answer.data[name]["errors"]
    return str(error["code"])


async def ask_for_name(world: World, *names: str, who: str = "admin") -> Any:
    """Ask for the erasure of a name, and return the request."""
    given = {"kind": "NAME", "names": list(names), "reason": "Asked for it by letter."}
    return await done(await world.client(who), "requestErasure", given)


def of(request: Any, **more: Any) -> dict[str, Any]:
    """Return the input that names a request as it is."""
    return {"id": request["id"], "expectedVersion": request["version"], **more}


async def look(client: Client, request: Any) -> Any:
    """Return a request as the client is shown it."""
    return (await client.run(_ALL, {"id": request["id"]})).data["erasureRequest"]


async def run_erasures(world: World) -> None:
    """Run the job that carries out what is due, and tells of what is overdue."""
    await build_jobs(world.services, Settings())[RUN_ERASURES]()


async def later(world: World, request: Any, *, days: float) -> None:
    """Let days pass for a request."""
    await world.sql("alter table erasure_request disable trigger change_update")
    moved = ", ".join(f"{name} = {name} - make_interval(secs => $1)" for name in _TIMES)
    await world.sql(f"update erasure_request set {moved} where id = $2", days * 86400, uuid_of(request))
    await world.sql("alter table erasure_request enable always trigger change_update")


def uuid_of(request: Any) -> UUID:
    """Return the id of a request's row."""
    return UUID(request["id"].removeprefix("ErasureRequest:"))


def link_in(message: Message) -> str:
    """Return what the link in a letter about an erasure holds."""
    found = _LINK.search(text_of(message))
    assert found is not None, text_of(message)
    return found[1]


def said_by(world: World, certificate: str) -> dict[str, Any]:
    """Return what a certificate says, verified by the installation's published key as anybody would."""
    sealer = world.services.sealer
    return verified(certificate, str(sealer.signer.verifier_key(sealer.name)))


def payload_of(certificate: str) -> str:
    """Return the text that a certificate signs, without looking whether it does."""
    return base64.b64decode(json.loads(certificate)["payload"]).decode()

"""The limit: PostgreSQL makes the whole answer as JSON, and a bare ASGI application passes it on.

No GraphQL is parsed: a request names its workload and brings its variables. What any server over the same database
could at most do, give or take.
"""

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

_COLUMNS: Final = {
    "id": "id",
    "siteCode": "site_code",
    "siteName": "site_name",
    "latitude": "latitude",
    "longitude": "longitude",
    "collectedAt": "collected_at",
    "medium": "medium",
    "activityType": "activity_type",
    "method": "method",
    "status": "status",
    "comment": "comment",
    "version": "version",
}
_NIL: Final = UUID(int=0)


def _object(names: list[str]) -> str:
    return "json_build_object(" + ", ".join(f"'{name}', r.{_COLUMNS[name]}" for name in names) + ")"


_NESTED: Final = """json_build_object('id', r.id, 'siteCode', r.site_code, 'collectedAt', r.collected_at,
  'project', json_build_object('name', p.name), 'device', json_build_object('model', d.model),
  'measurements', (select json_agg(json_build_object('characteristic', m.characteristic, 'value', m.value,
                                                     'unit', m.unit) order by m.position)
                     from measurement m where m.record_id = r.id))"""
_PAGE: Final = """
  select json_build_object('data', json_build_object('records', json_build_object(
    'nodes', coalesce(json_agg(s.node order by s.id) filter (where s.place <= $3), '[]'),
    'pageInfo', json_build_object('hasNextPage', count(*) > $3,
                                  'endCursor', max(s.id::text) filter (where s.place <= $3)))))::text
    from (select r.id, row_number() over (order by r.id) as place, {node} as node
            from (select * from record where project_id = $1 and id > $2 order by id limit $3 + 1) r {joins}) s"""
_FLAT: Final = _PAGE.format(node=_object(list(_COLUMNS)), joins="")
_ONE: Final = [name for name in _COLUMNS if name not in {"activityType", "comment"}]
_STATEMENTS: Final = {
    "A": _FLAT,
    "E": _FLAT,
    "B": _PAGE.format(node=_NESTED, joins="join project p on p.id = r.project_id join device d on d.id = r.device_id"),
    "C": (
        f"select json_build_object('data', json_build_object('record', {_object(_ONE)}))::text"
        " from record r where id = $1"
    ),
    "D": """
  with r as (
    insert into record (organization_id, project_id, device_id, site_code, site_name, latitude, longitude, collected_at,
                        medium, activity_type, method, comment)
    select organization_id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 from project where id = $1
    returning *),
  entry as (
    insert into audit_entry (organization_id, actor, action, object_type, object_id, change)
    select organization_id, 'mara', 'INSERT', 'record', id, to_jsonb(r) from r)
  select json_build_object('data', json_build_object('createRecord', json_build_object('record',
           json_build_object('id', id, 'siteCode', site_code, 'status', status))))::text from r""",
}

_CREATED: Final = (
    "siteCode",
    "siteName",
    "latitude",
    "longitude",
    "collectedAt",
    "medium",
    "activityType",
    "method",
    "comment",
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def _arguments(work: str, variables: dict[str, Any]) -> list[Any]:
    if work == "C":
        return [UUID(variables["id"])]
    if work == "D":
        given = variables["input"]
        values = [given[name] for name in _CREATED]
        values[_CREATED.index("collectedAt")] = datetime.fromisoformat(given["collectedAt"])
        return [UUID(given["projectId"]), UUID(given["deviceId"]), *values]
    after = variables["after"]
    return [UUID(variables["project"]), UUID(after) if after else _NIL, variables["first"]]


class Application:
    """The application. Its pool is open while its lifespan lasts."""

    def __init__(self) -> None:
        self._pool: asyncpg.Pool | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or begin and end the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        content = b""
        while True:
            message = await receive()
            content += message.get("body", b"")
            if not message.get("more_body"):
                break
        asked = orjson.loads(content)
        assert self._pool is not None
        work = asked["operationName"]
        answer = await self._pool.fetchval(_STATEMENTS[work], *_arguments(work, asked["variables"]))
        body = answer.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                size = int(os.environ["BENCH_POOL_SIZE"])
                arguments = json.loads(os.environ["BENCH_DATABASE"])
                self._pool = await asyncpg.create_pool(**arguments, min_size=size, max_size=size)
                await send({"type": "lifespan.startup.complete"})
            else:
                assert self._pool is not None
                await self._pool.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


application = Application()

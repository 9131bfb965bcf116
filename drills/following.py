"""A subscription of somebody's, followed over a WebSocket for as long as it takes to hear the first of it."""

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx
import websockets
from websockets.sync.client import connect

from drills.error import DrillError

PROTOCOL: Final = websockets.Subprotocol("graphql-transport-ws")
PATIENCE_S: Final = 30.0
SIGN_IN_FIRST: Final = 4403


def first_heard(url: str, token: str | None, text: str, variables: Mapping[str, Any]) -> httpx.Response:
    """Return the first that is heard of a subscription as an answer over HTTP would be: data, or errors.

    Who is turned away before they ask is told by the code with which the connection is closed.

    Raises:
        DrillError: nothing is heard of it, or the connection is closed over it.
    """
    payload = {} if token is None else {"payload": {"Authorization": f"Bearer {token}"}}
    try:
        with connect(url.replace("http", "ws", 1), subprotocols=[PROTOCOL], proxy=None) as socket:
            socket.send(json.dumps({"type": "connection_init", **payload}))
            _heard(socket.recv(PATIENCE_S), "connection_ack")
            asked = {"type": "subscribe", "id": "1", "payload": {"query": text, "variables": variables}}
            socket.send(json.dumps(asked))
            said = _heard(socket.recv(PATIENCE_S), "next", "error")
    except websockets.ConnectionClosed as error:
        if error.rcvd is None or error.rcvd.code != SIGN_IN_FIRST:
            raise DrillError(f"the connection was closed ({error!r}): {text[:2000]!r}") from error
        turned_away = {"message": error.rcvd.reason, "extensions": {"code": "UNAUTHENTICATED"}}
        return httpx.Response(200, json={"errors": [turned_away]})
    except (TimeoutError, websockets.WebSocketException) as error:
        raise DrillError(f"nothing was heard of a subscription ({error!r}): {text[:2000]!r}") from error
    return httpx.Response(200, json=said["payload"] if said["type"] == "next" else {"errors": said["payload"]})


def _heard(message: str | bytes, *kinds: str) -> Any:
    said = json.loads(message)
    if said.get("type") not in kinds:
        raise DrillError(f"expected {' or '.join(kinds)}, heard {message[:2000]!r}")
    return said

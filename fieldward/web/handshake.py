"""WebSockets as uvicorn speaks them, with handshakes that may be refused."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class RefusableHandshake(WebSocketsSansIOProtocol):
    """One WebSocket. A handshake that was answered by a response of HTTP has ended.

    uvicorn takes it for one that was forgotten, and logs an error: anybody could fill the log with those.
    """

    async def send(self, event: Any) -> None:
        """Send what the application says."""
        await super().send(event)
        if event["type"] == "websocket.http.response.body" and not event.get("more_body", False):
            self.handshake_complete = True

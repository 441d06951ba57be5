"""The live worker's control channel: small orders that reach the session through a Channels layer (at most once)."""

from typing import Any

from channels.consumer import AsyncConsumer

from signals.live.control import CONTROL


class LiveConsumer(AsyncConsumer):
    """Orders: `session.restart` - take strategies and champion model anew."""

    async def session_restart(self, message: dict[str, Any]) -> None:
        CONTROL.restart(str(message.get("why", "asked to")))

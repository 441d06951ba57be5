"""Where messages come in: http for the pages, the channel `live` for the live worker."""

import os

from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "surge_site.settings")
pages = get_asgi_application()

from signals.consumers import LiveConsumer  # noqa: E402  its models need the apps that the line above loads

application = ProtocolTypeRouter({"http": pages, "channel": ChannelNameRouter({"live": LiveConsumer.as_asgi()})})

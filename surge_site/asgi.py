"""Where requests and control messages come in: http for the pages, the channel `live` for the live worker."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "surge_site.settings")
application = ProtocolTypeRouter({"http": get_asgi_application()})

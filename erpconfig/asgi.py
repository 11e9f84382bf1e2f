"""The ASGI entry point."""

import os

from django.core.asgi import get_asgi_application

from erpconfig import bootstrap, telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "erpconfig.settings")
bootstrap.ensure_database()
telemetry.start()

application = get_asgi_application()

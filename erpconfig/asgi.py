"""The ASGI entry point."""

import os

from django.core.asgi import get_asgi_application

from erpconfig import bootstrap, telemetry, web_database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "erpconfig.settings")
bootstrap.ensure_database()
telemetry.start()
web_database.limit_time()

application = get_asgi_application()

from erpconfig import serving  # noqa: E402  # needs the models, which are loaded by now

serving.refuse_with_other_keys()

"""The WSGI entry point."""

import os

from django.core.wsgi import get_wsgi_application

from erpconfig import bootstrap, telemetry, web_database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "erpconfig.settings")
bootstrap.ensure_database()
telemetry.start()
web_database.limit_time()

application = get_wsgi_application()

from erpconfig import serving  # noqa: E402  # needs the models, which are loaded by now

serving.refuse_with_other_keys()

"""The WSGI entry point."""

import os

from django.core.wsgi import get_wsgi_application

from erpconfig import bootstrap, telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "erpconfig.settings")
bootstrap.ensure_database()
telemetry.start()

application = get_wsgi_application()

"""The threads in which a worker runs tests of connections."""

from __future__ import annotations

from typing import Final

from django.conf import settings

from connectors.services import diagnosis
from connectors.services.crews import Crew

testers: Final = Crew("tester", settings.TEST_THREADS, diagnosis.run_next)
"""Those of this process."""

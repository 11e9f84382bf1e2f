"""Where things lie in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

BASE_DIR: Final = Path(__file__).resolve().parent.parent

DATA_DIR: Final = BASE_DIR / ".data"
"""Everything that is written at run time and not configured elsewhere; not under version control."""

ENV_FILE: Final = BASE_DIR / ".env"
"""The settings of this checkout; the environment variable ENV_FILE names another one, or none when it is empty."""

"""What has to be there before Django starts: a `.env` with fresh keys, and a database.

`python -m erpconfig.bootstrap env` writes a `.env` unless there is one;
`python -m erpconfig.bootstrap stop` stops the embedded PostgreSQL.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Final

from erpconfig import embedded_postgres, env
from erpconfig.paths import ENV_FILE
from tenants import scope

# Commands that have nothing to ask a database and must not start one.
_WITHOUT_DATABASE: Final = frozenset({"collectstatic", "diffsettings", "generate_master_key", "help", "version"})

# They look at a database before there is a role to look as, or do what that role may not.
_OF_THE_OWNER: Final = frozenset(
    {"flush", "lintmigrations", "makemigrations", "migrate", "showmigrations", "sqlmigrate", "squashmigrations"}
)

_TEMPLATE: Final = """\
# Written by `make` for this machine alone; .env.example explains every setting.
# Keep ENCRYPTION_MASTER_KEY safe: without it no stored connection can be read.
SECRET_KEY={secret_key}
ENCRYPTION_MASTER_KEY={master_key}
ALLOWED_HOSTS=127.0.0.1,localhost
DEBUG=False
HTTPS=False
LOG_FORMAT=console
"""


def write_env(path: Path = ENV_FILE) -> bool:
    """Write a `.env` with fresh keys, readable for this user alone, unless there is one.

    Returns:
        Whether it was written.
    """
    if path.exists():
        return False
    content = _TEMPLATE.format(secret_key=secrets.token_urlsafe(50), master_key=secrets.token_hex(32))
    handle, unfinished = tempfile.mkstemp(prefix=".env.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        os.link(unfinished, path)  # fails when another process was quicker, and never shows half a file
    except FileExistsError:
        return False
    finally:
        Path(unfinished).unlink()
    return True


def ensure_database() -> None:
    """Start the embedded PostgreSQL and put its address into DATABASE_URL, unless one is configured.

    Raises:
        ImproperlyConfigured: it cannot run here.
    """
    if not env.of_process().text("DATABASE_URL", default=""):
        os.environ["DATABASE_URL"] = embedded_postgres.ensure_running()


def before_command(name: str) -> None:
    """Prepare for the management command `name`."""
    if name == "generate_master_key":
        _invent_missing_keys()
    if name not in _WITHOUT_DATABASE and not name.startswith("-"):
        ensure_database()


def scope_of(name: str) -> str:
    """Return whose rows the management command `name` sees: everybody's, but each task of a worker says its own."""
    if name in _OF_THE_OWNER:
        return scope.OWNER
    return scope.NOTHING if name == "procrastinate" else scope.EVERYTHING


def _invent_missing_keys() -> None:
    """Let the command that makes the first key run before there is one, with keys that die with this process."""
    invented = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ENCRYPTION_MASTER_KEY": secrets.token_hex(32),
        "ENCRYPTION_PREVIOUS_KEYS": "",
        "ALLOWED_HOSTS": "localhost",
    }
    for name in invented:
        os.environ.pop(f"{name}_FILE", None)
    os.environ |= invented
    if "--wrap" not in sys.argv:  # who wraps a key has settings of where
        os.environ["ENV_FILE"] = ""


def main(verb: str) -> None:
    """Do what the command line asks for."""
    match verb:
        case "env":
            if write_env():
                print(f"Wrote {ENV_FILE.name} with fresh keys.")
        case "stop":
            print("PostgreSQL stopped." if embedded_postgres.stop() else "PostgreSQL was not running.")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "")

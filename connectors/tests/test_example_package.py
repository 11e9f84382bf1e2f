"""The example of a package with a connector of its own: it installs, is found by its entry point, and proves itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

from erpconfig.paths import BASE_DIR

EXAMPLE = BASE_DIR / "docs/examples/erp-acme"
INSTALL = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index", "--target")
FIND = """
from connectors.quality import tier_of
from connectors.registry import ConnectorRegistry

registry = ConnectorRegistry()
registry.load_entry_points()
print({name: tier_of(connector).value for name, connector in registry.connectors.items()}, dict(registry.broken))
"""


def test_the_example_is_installed_and_found_and_keeps_the_contract(tmp_path: Path) -> None:
    source, site = copytree(EXAMPLE, tmp_path / "erp-acme"), tmp_path / "site"
    run("-m", "pip", "install", *INSTALL, str(site), str(source), folder=tmp_path)
    (source / "erp_acme.py").unlink()  # what is tested is what was installed

    assert run("-c", FIND, folder=tmp_path, path=(site, BASE_DIR)).strip() == "{'ACME': 'gold'} {}"
    assert " passed in " in run("-m", "pytest", "-q", folder=source, path=(site, BASE_DIR))


def run(*arguments: str, folder: Path, path: tuple[Path, ...] = ()) -> str:
    """Run Python in a folder and return what it writes; one that fails says why."""
    environment = {"PATH": os.defpath, "HOME": str(folder), "PYTHONPATH": os.pathsep.join(map(str, path))}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

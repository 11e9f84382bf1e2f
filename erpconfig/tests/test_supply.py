"""What is shipped: the bill of materials, and how its containers are locked up."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import yaml

from erpconfig.paths import BASE_DIR

BILL = BASE_DIR / "docs" / "sbom" / "erp-connector-framework.cdx.json"


def test_the_bill_is_whole_and_free_of_gpl() -> None:
    components = json.loads(BILL.read_text())["components"]
    libraries = {each["name"]: each for each in components if each["type"] == "library"}
    pins = dict(re.findall(r"^([\w.-]+)==(\S+) \\$", (BASE_DIR / "requirements.lock").read_text(), re.MULTILINE))

    assert {name: each["version"] for name, each in libraries.items()} == pins
    assert {"django", "cryptography", "paramiko", "gunicorn"} <= libraries.keys()
    for name, each in libraries.items():
        (licence,) = each["licenses"]
        assert not re.search(r"\bA?GPL", licence["expression"]), name
    images = {each["name"] for each in components if each["type"] == "container"}
    assert images == {"python", "postgres"}


def test_it_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ".ci/sbom", "--check"], cwd=BASE_DIR, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_locked_package_has_hashes() -> None:
    lock = (BASE_DIR / "requirements.lock").read_text()

    for package in re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in package, package
    assert "://" not in lock


def test_the_image_has_no_root_and_no_tools() -> None:
    stages = (BASE_DIR / "Dockerfile").read_text().split("\nFROM ")

    assert "--require-hashes" in stages[1]
    final = stages[-1]
    assert re.search(r"^USER 10001$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", final, re.MULTILINE)
    assert not re.search(r"pip install|apt-get|gcc|build-essential", final)


def test_no_container_has_rights_it_does_not_need() -> None:
    services = yaml.safe_load((BASE_DIR / "compose.yaml").read_text())["services"]

    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
    for name in services.keys() - {"database"}:
        assert service_is_read_only(services[name]), name
        assert "cap_add" not in services[name], name


def service_is_read_only(service: dict[str, object]) -> bool:
    return service["read_only"] is True and "/tmp" in service["tmpfs"]  # type: ignore[operator]

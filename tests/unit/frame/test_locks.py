"""The hashed locks: complete for every Python we support, in step with pyproject.toml, and without any address."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+) \\$")


def pins(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return {match[1]: Version(match[2]) for line in lines if (match := PIN.match(line))}


RUNTIME, DEV = pins("requirements.lock"), pins("requirements-dev.lock")


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_line_is_a_pin_or_a_hash(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    odd = [
        line
        for line in text.splitlines()
        if not PIN.match(line) and not re.match(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$", line)
    ]
    assert odd == []
    for block in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in block, f"no hash for {block.splitlines()[0]}"


@pytest.mark.parametrize(
    ("requirements", "lock"),
    [
        (PROJECT["dependencies"], RUNTIME),
        (PROJECT["optional-dependencies"]["dev"], DEV),
        (["hatchling"], RUNTIME),
    ],
    ids=["runtime", "dev", "build"],
)
def test_the_lock_is_in_step_with_pyproject(requirements: list[str], lock: dict[str, Version]) -> None:
    for requirement in map(Requirement, requirements):
        pinned = lock.get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{requirement.name} is not locked: run make lock"
        assert requirement.specifier.contains(pinned), f"{requirement} does not allow {pinned}: run make lock"


def test_both_locks_agree() -> None:
    assert {name: version for name, version in DEV.items() if RUNTIME.get(name, version) != version} == {}
    assert RUNTIME.keys() <= DEV.keys()


def asked_by(name: str) -> list[str]:
    """The requirements of a locked package, read from what is installed."""
    try:
        return metadata.distribution(name).requires or []
    except metadata.PackageNotFoundError:
        pytest.fail(f"{name} is locked but not installed: run `make check`, which installs from the lock")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_runtime_lock_holds_what_each_python_asks_for(python: str, machine: str) -> None:
    """One lock serves all: a package that only one Python or machine needs must stand in it too."""
    environment = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
        "extra": "",
    }
    missing = []
    for name in RUNTIME:
        for text in asked_by(name):
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
            if canonicalize_name(requirement.name) not in RUNTIME:
                missing.append(f"{name} needs {text}")
    assert missing == []

"""The built wheel, installed away from the checkout, carries all that kferry needs and finds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ANSIBLE_CONFIG")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the backend that lies in this venv: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("kferry-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A venv with the wheel in it; the libraries are those of this venv, read through a path file."""
    folder = tmp_path_factory.mktemp("installed")
    venv = folder / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=folder)
    python = venv / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel),
        cwd=folder,
    )
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip())
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n", "utf-8")
    return venv


def python(installed: Path, script: str) -> str:
    return run(installed / "bin" / "python", "-c", script, cwd=installed).stdout


def tracked(*folders: str) -> set[str]:
    listing = run("git", "-c", "safe.directory=*", "ls-files", "-z", *folders, cwd=ROOT)
    return {name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()}


def test_the_wheel_carries_every_file_of_package_playbooks_and_roles(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {name.removeprefix("tui/") for name in tracked("tui/kferry")}
    wanted |= {f"kferry/bundled/{name}" for name in tracked("playbooks", "roles", "ansible.cfg")}
    assert wanted - inside == set()


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"kferry"}


def test_the_wheel_carries_its_licence(wheel: Path) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_the_installed_package_is_the_wheels(installed: Path) -> None:
    assert Path(python(installed, "import kferry; print(kferry.__file__)").strip()).is_relative_to(installed)


def test_the_installed_package_finds_its_playbooks(installed: Path) -> None:
    content = python(
        installed,
        "from kferry.ansible.content import find_content\n"
        "found = find_content()\nprint(found.playbook('workers'))\nprint(found.config)",
    )
    for line in content.splitlines():
        assert Path(line).is_file()
        assert Path(line).is_relative_to(installed)


def test_the_installed_package_makes_a_journal(installed: Path, tmp_path: Path) -> None:
    """The migrations of the schema are data files of the package."""
    database = str(tmp_path / "journal.db")
    python(installed, f"from pathlib import Path; from kferry.store import schema; schema.upgrade(Path({database!r}))")
    assert (tmp_path / "journal.db").stat().st_size > 0


def test_the_installed_command_answers(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "bin" / "kferry", "--help", cwd=tmp_path)
    assert "cutover" in done.stdout
    done = run(installed / "bin" / "kferry", "-o", "json", "paths", cwd=tmp_path)
    paths = json.loads(done.stdout)
    assert str(ROOT) not in json.dumps(paths), "an installed kferry has nothing to do with the checkout"
    assert Path(paths["demo home"]).is_absolute()


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_the_installed_playbooks_are_complete(installed: Path, playbook: str) -> None:
    """Plain ansible-playbook finds the roles and modules that a packed playbook names."""
    bundled = Path(
        python(installed, "from kferry.ansible.content import find_content; print(find_content().root)").strip()
    )
    run(
        *(sys.executable, "-m", "ansible", "playbook", "--syntax-check", "-i", "localhost,"),
        bundled / "playbooks" / f"{playbook}.yml",
        cwd=installed,
        ANSIBLE_CONFIG=str(bundled / "ansible.cfg"),
        ANSIBLE_ROLES_PATH=str(bundled / "roles"),
        LC_ALL="C.UTF-8",
    )

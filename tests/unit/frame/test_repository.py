"""What is committed: no address of a registry, no path of somebody's machine, short modules that say what they are."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LONGEST_MODULE_LINES = 600

# Put together here, so that this file doesn't hold what it forbids.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("maven", "org"),
        ("maven", "apache", "org"),
        ("sonatype", "org"),
        ("npmjs", "org"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("galaxy", "ansible", "com"),
    )
]
MACHINE_PATHS = re.compile(r"(?<![\w.*}/-])/(?:work/|root/\.\w|home/(?!(?:kferry|me|you)\b)\w+/)")


def committed() -> list[Path]:
    """Every file that git knows, or that lies in a checkout without git."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    )
    if listing.returncode == 0:
        files = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    else:
        tops = ("tui", "tests", "playbooks", "roles", "inventory", "docs", "benchmarks", ".ci")
        files = [path for top in tops for path in (ROOT / top).rglob("*") if path.is_file()]
        files += [path for path in ROOT.iterdir() if path.is_file()]
    return [path for path in files if path.is_file() and "__pycache__" not in path.parts]


def texts() -> dict[str, str]:
    found = {}
    for path in committed():
        content = path.read_bytes()
        if b"\0" not in content:
            found[path.relative_to(ROOT).as_posix()] = content.decode("utf-8")
    return found


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def modules() -> list[Path]:
    return [path for path in committed() if path.suffix == ".py" and path.is_relative_to(ROOT / "tui")]


def test_there_is_something_to_look_at() -> None:
    assert len(modules()) > 20
    assert "Makefile" in texts()


@pytest.mark.thorough
def test_no_file_names_a_package_registry() -> None:
    pattern = re.compile("|".join(re.escape(host) for host in REGISTRIES), re.IGNORECASE)
    assert lines_with(pattern) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_with(MACHINE_PATHS) == []


@pytest.mark.parametrize("line", ["/work" + "/main/x", "'/home" + "/anna/x'", "see /root" + "/.cache"])
def test_a_path_of_one_machine_is_recognised(line: str) -> None:
    assert MACHINE_PATHS.search(line)


@pytest.mark.parametrize(
    "line", ["tmp_path/work/x", "roles/work/x", "{{ root }}/work/x", "/home/kferry/x", "root: /home/me/x"]
)
def test_other_paths_are_left_alone(line: str) -> None:
    assert not MACHINE_PATHS.search(line)


@pytest.mark.thorough
def test_every_module_says_what_it_is() -> None:
    python = [path for path in committed() if path.suffix == ".py" and path.read_text("utf-8").strip()]
    silent = [
        path.relative_to(ROOT).as_posix() for path in python if not ast.get_docstring(ast.parse(path.read_bytes()))
    ]
    assert silent == []


def test_no_module_is_too_long() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE_LINES} == {}


def test_scripts_are_executable_and_start_with_an_interpreter() -> None:
    scripts = [path for path in committed() if path.parent == ROOT / ".ci"]
    assert {path.name for path in scripts} >= {"run", "venv", "python"}
    for path in scripts:
        assert path.stat().st_mode & 0o111, f"{path.name} is not executable"
        assert path.read_text("utf-8").startswith("#!"), f"{path.name} has no interpreter line"


def test_the_docs_link_to_files_that_exist() -> None:
    broken = []
    for name, text in texts().items():
        if name.endswith(".md"):
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
                if "://" not in target and not (ROOT / name).parent.joinpath(target).exists():
                    broken.append(f"{name}: {target}")
    assert broken == []

"""What the docs say is so: commands and options exist, and the generated pages are those of this version.

With KFERRY_TEST_WRITE_DOCS=1 the generated pages are written instead of compared.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from kferry.cli.main import app
from kferry.client import preflight_checks
from kferry.client.exit_codes import MEANING
from kferry.store.settings_file import describe_settings, variable_of

ROOT = Path(__file__).resolve().parents[3]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
COMMAND = typer.main.get_command(app)
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def code_of(page: str) -> Iterator[str]:
    """Lines of code blocks, and code within lines."""
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        yield from block.splitlines()
    without = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", without))


def commands(page: str) -> Iterator[str]:
    for line in code_of(page):
        for part in re.split(r"&&|#", line):
            if re.match(r"\s*kferry(\s|$)", part):
                yield part.strip()


def complaint(words: list[str]) -> str | None:
    """Why a command line cannot be, or None."""
    current: Any = COMMAND
    options = {name for parameter in current.params for name in parameter.opts}
    for word in words:
        if word.startswith("-"):
            if word.partition("=")[0] not in options | {"--help"}:
                return f"no option {word}"
        elif hasattr(current, "commands") and word in current.commands:
            current = current.commands[word]
            options |= {name for parameter in current.params for name in parameter.opts}
        elif current is COMMAND and re.fullmatch(r"[a-z-]+", word):
            return f"no command {word}"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_the_docs_exist(page: str) -> None:
    wrong = {line: why for line in commands(page) if (why := complaint(shlex.split(line)[1:]))}
    assert wrong == {}


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert list(commands("README.md"))
    assert complaint(["fly"]) == "no command fly"
    assert complaint(["scan", "--fast"]) == "no option --fast"
    assert complaint(["task", "create", "shop", "--dry-run"]) is None


@pytest.mark.parametrize("page", PAGES)
def test_the_make_targets_of_the_docs_exist(page: str) -> None:
    named = {match[1] for line in code_of(page) if (match := re.match(r"make ([a-z-]+)", line))}
    assert {target for target in named if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)} == set()


def exit_codes_page() -> str:
    rows = "\n".join(f"| {code.value} | {words} |" for code, words in sorted(MEANING.items()))
    return (
        "# Exit codes\n\nHow a command of kferry ends. Scripts may rely on these.\n\n"
        f"| code | meaning |\n| --- | --- |\n{rows}\n\n"
        "Data goes to stdout. What went wrong goes to stderr: what happened, the likely cause, and the next step.\n"
    )


def settings_page() -> str:
    rows = "\n".join(f"| `{key}` | {shown(default)} | {words} |" for key, default, words in describe_settings())
    example = variable_of("still_seconds")
    return (
        "# Settings\n\nKeys under `settings:` in kferry.yml. All may be left out. An environment variable wins over\n"
        f"the file: `{example}` stands for `still_seconds`, and `{variable_of('distribution.offline')}` for\n"
        f"`distribution.offline`.\n\n| key | default | meaning |\n| --- | --- | --- |\n{rows}\n"
    )


def shown(default: object) -> str:
    words = "" if default is None else str(default)
    return f"`{words.lower() if words in ('True', 'False') else words}`" if words else ""


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("exit-codes.md", exit_codes_page()),
        ("settings.md", settings_page()),
        ("checks.md", preflight_checks.page()),
    ],
    ids=["exits", "settings", "checks"],
)
def test_a_generated_page_is_that_of_this_version(name: str, wanted: str) -> None:
    page = ROOT / "docs" / name
    if os.environ.get("KFERRY_TEST_WRITE_DOCS"):
        page.write_text(wanted, "utf-8")
    assert page.read_text("utf-8") == wanted, "write it anew: make docs"


def test_every_test_that_the_architecture_names_is_there(checkout: Path) -> None:
    text = (checkout / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = sorted(set(re.findall(r"`(tests/[\w/]+\.py)`", text)))
    assert named
    assert [name for name in named if not (checkout / name).exists()] == []

"""How the operator calls this kferry: a line to copy works also where it is not on the PATH, as in a checkout."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

_NAME = "kferry"


def own_command() -> str:
    """Its bare name where the shell finds this one by it, else the whole path of its script, quoted for a shell."""
    script = Path(sys.executable).parent / _NAME
    found = shutil.which(_NAME)
    if not script.is_file() or (found is not None and Path(found).samefile(script)):
        return _NAME
    return shlex.quote(str(script))


def attach_command(root: Path) -> str:
    """The line that opens the terminal interface of a migration again."""
    return f"{own_command()} -C {shlex.quote(str(root))}"

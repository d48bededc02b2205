"""One module per screen; `make` builds a screen by its name, importing it at its first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kferry.ui.screens.base import KferryScreen

_CLASSES = {
    "overview": "OverviewScreen",
    "clusters": "ClustersScreen",
    "inventory": "InventoryScreen",
    "preflight": "PreflightScreen",
    "plan": "PlanScreen",
    "tasks": "TasksScreen",
    "runs": "RunsScreen",
    "cutover": "CutoverScreen",
    "journal": "JournalScreen",
    "fleet": "FleetScreen",
    "access": "AccessScreen",
}


def make(name: str) -> KferryScreen:
    """A new screen of that name."""
    module = import_module(f"kferry.ui.screens.{name}")
    screen: KferryScreen = getattr(module, _CLASSES[name])()
    return screen

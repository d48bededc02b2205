"""One thing that an operator can do, as footers, help, palette and docs need to know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GLOBAL = "global"

Danger = Literal["none", "confirm", "typed"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing the operator can do.

    `scope` is "global" or the screen it belongs to; `also_on` names further screens that offer it. `intent` is what is
    sent to the engine, None where nothing is. `danger` says how it is confirmed: not at all, by yes, or by typing the
    subject's name. `changes` marks what a read-only session refuses. An action without keys is in the palette only.
    """

    id: str
    title: str
    keys: tuple[str, ...]
    scope: str
    help: str
    intent: str | None = None
    danger: Danger = "none"
    changes: bool = False
    also_on: tuple[str, ...] = ()

    def is_on(self, screen: str) -> bool:
        return self.scope in (GLOBAL, screen) or screen in self.also_on

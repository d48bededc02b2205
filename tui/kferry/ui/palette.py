"""The palette's entries: every action of the registry, with its key."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from kferry.client import actions

if TYPE_CHECKING:
    from kferry.ui.app import KferryApp

# Moving the cursor by typing its name helps nobody.
_NOT_LISTED = frozenset(
    {"down", "up", "left", "right", "top", "bottom", "page_down", "page_up", "open", "palette", "back"}
)


class ActionProvider(Provider):
    """Searches the registry."""

    def _entries(self) -> list[tuple[actions.Action, str, str]]:
        app = cast("KferryApp", self.app)
        here = app.front.NAME
        entries = []
        for action in sorted(actions.ACTIONS, key=lambda item: not item.is_on(here)):
            if action.id in _NOT_LISTED:
                continue
            keys = ", ".join(actions.key_label(key) for key in action.keys)
            where = "" if action.is_on(here) else f" (on {action.scope})"
            dead = " — read-only session" if app.session.read_only and action.changes else ""
            title = f"{action.title}{where}" + (f"  [{keys}]" if keys else "")
            entries.append((action, title, action.help + dead))
        return entries

    async def discover(self) -> Hits:
        app = cast("KferryApp", self.app)
        for action, title, words in self._entries():
            yield DiscoveryHit(Content(title), partial(app.perform_by_id, action.id), text=title, help=words)

    async def search(self, query: str) -> Hits:
        app = cast("KferryApp", self.app)
        matcher = self.matcher(query)
        for action, title, words in self._entries():
            score = max(matcher.match(title), matcher.match(action.id) * 0.9)
            if score > 0:
                yield Hit(
                    score, matcher.highlight(title), partial(app.perform_by_id, action.id), text=title, help=words
                )

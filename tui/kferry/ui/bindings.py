"""Bindings made from the action registry: the one place where its keys become Textual's."""

from __future__ import annotations

from textual.binding import Binding

from kferry.client import actions


def for_screen(screen: str) -> list[Binding]:
    """Every action with a key that works on a screen. Own actions come first and win over global ones."""
    taken: set[str] = set()
    bindings = []
    for action in actions.for_screen(screen):
        for key in action.keys:
            if key in taken:
                continue
            taken.add(key)
            bindings.append(
                Binding(
                    key,
                    f"act('{action.id}')",
                    action.title,
                    show=False,
                    tooltip=action.help,
                    id=f"{screen}.{action.id}.{key}",
                    key_display=actions.key_label(key),
                )
            )
    return bindings


def keys_of(action_id: str) -> str:
    """The keys of an action as Textual's comma list, for widgets that carry them out themselves."""
    return ",".join(actions.BY_ID[action_id].keys)


def first_key(action_id: str) -> str:
    """The key to show for an action, or ""."""
    keys = actions.BY_ID[action_id].keys if action_id in actions.BY_ID else ()
    return actions.key_label(keys[0]) if keys else ""

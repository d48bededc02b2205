"""The one registry of what an operator can do: footers, help, palette and docs are all made from it.

Keys are written as the operator sees them ("?", "G", "ctrl+p", "enter"); Textual takes them in this form.
"""

from __future__ import annotations

from kferry.client import actions_moving, actions_planning
from kferry.client.action import GLOBAL, Action

__all__ = ["ACTIONS", "BY_ID", "DETAIL_SCREENS", "GLOBAL", "SCREENS", "Action"]

# The screens by number key, in the order of the work.
SCREENS: tuple[tuple[str, str], ...] = (
    ("overview", "Overview"),
    ("clusters", "Clusters"),
    ("inventory", "Inventory"),
    ("preflight", "Preflight"),
    ("plan", "Plan"),
    ("tasks", "Migration tasks"),
    ("runs", "Runs"),
    ("cutover", "Cutover"),
    ("journal", "Journal"),
    ("fleet", "Fleet"),  # last, so that the other numbers stay what fingers know: its key is 0
)

# Screens that are reached from another one, not by a number.
DETAIL_SCREENS: tuple[str, ...] = ("task", "run", "graph", "access")


def _goto() -> tuple[Action, ...]:
    return tuple(
        Action(f"goto_{name}", title, (str(number % 10),), GLOBAL, f"Go to {title}.")
        for number, (name, title) in enumerate(SCREENS, start=1)
    )


_GLOBAL = (
    Action("help", "Help", ("?", "f1"), GLOBAL, "What this screen shows and which keys work here."),
    Action("palette", "Commands", (":", "ctrl+p"), GLOBAL, "Type the name of any command."),
    Action(
        "filter",
        "Filter",
        ("/",),
        GLOBAL,
        "Show only rows with this text, or with kind:connect, lag>1e6, idle>7d; ! turns it round; esc clears.",
    ),
    Action("down", "Down", ("j", "down"), GLOBAL, "One row down."),
    Action("up", "Up", ("k", "up"), GLOBAL, "One row up."),
    Action("left", "Left", ("h", "left"), GLOBAL, "To the left, or close a branch."),
    Action("right", "Right", ("l", "right"), GLOBAL, "To the right, or open a branch."),
    Action("top", "First", ("g", "home"), GLOBAL, "To the first row."),
    Action("bottom", "Last", ("G", "end"), GLOBAL, "To the last row."),
    Action("page_down", "Page down", ("ctrl+d", "pagedown"), GLOBAL, "One page down."),
    Action("page_up", "Page up", ("ctrl+u", "pageup"), GLOBAL, "One page up."),
    Action("open", "Open", ("enter",), GLOBAL, "Open what is under the cursor."),
    Action("back", "Back", ("escape",), GLOBAL, "Go back; closes a dialog or clears the filter first."),
    Action("dismiss", "Read", ("x",), GLOBAL, "Put away the error that is shown; it was read."),
    Action("quit", "Quit", ("q", "ctrl+q"), GLOBAL, "Leave kferry; the engine and the migration go on."),
    Action("copy", "Copy", ("y",), GLOBAL, "Copy what is under the cursor."),
    Action("refresh", "Refresh", ("r",), GLOBAL, "Read everything again now."),
    Action("sort", "Sort", ("s",), GLOBAL, "Sort by the next column."),
    Action("sort_reverse", "Turn the order round", ("<",), GLOBAL, "Sort the other way round."),
    Action("sort_choose", "Sort by …", (">",), GLOBAL, "Choose the column to sort by; again turns it round."),
    Action("next", "Next step", ("n",), GLOBAL, "Do the next action that the rail names."),
    Action("start_engine", "Start the engine", ("E",), GLOBAL, "Start the engine where it does not run."),
    Action(
        "restart_engine",
        "Restart the engine",
        (),
        GLOBAL,
        "Stop and start the engine, with this shell's environment.",
        danger="confirm",
        changes=True,
    ),
    Action(
        "stop_engine",
        "Stop the engine",
        (),
        GLOBAL,
        "Stop the engine; workers go on copying, nothing is watched.",
        intent="stop_engine",
        danger="confirm",
        changes=True,
    ),
    *_goto(),
)

ACTIONS: tuple[Action, ...] = _GLOBAL + actions_planning.ACTIONS + actions_moving.ACTIONS

BY_ID: dict[str, Action] = {action.id: action for action in ACTIONS}


def screen_names() -> tuple[str, ...]:
    """Every screen an action may belong to."""
    return tuple(name for name, _ in SCREENS) + DETAIL_SCREENS


def for_screen(screen: str, *, with_global: bool = True) -> tuple[Action, ...]:
    """The actions offered on a screen, its own first."""
    own = tuple(action for action in ACTIONS if action.scope != GLOBAL and action.is_on(screen))
    return own + _GLOBAL if with_global else own


def screen_of(action_id: str) -> str | None:
    """The screen to show before an action is done there; None for a global action or an unknown id."""
    action = BY_ID.get(action_id)
    return None if action is None or action.scope == GLOBAL else action.scope


def key_label(key: str) -> str:
    """A key as shown in help and footers: esc, ⏎, ^p."""
    names = {"escape": "esc", "enter": "⏎", "pagedown": "PgDn", "pageup": "PgUp", "home": "Home", "end": "End"}
    arrows = {"up": "↑", "down": "↓", "left": "←", "right": "→"}
    if key.startswith("ctrl+"):
        return "^" + key.removeprefix("ctrl+")
    if key.startswith("f") and key[1:].isdigit():
        return key.upper()
    return names.get(key) or arrows.get(key) or key

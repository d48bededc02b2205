"""What drawing a board needs besides the board: text cut to cells, windows that scroll as little as can be, tones."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from kferry.ui.cells import TONES


def tone_css() -> str:
    """The rules of the component classes, one for each tone."""
    rules = []
    for tone, style in TONES.items():
        colour = next((word for word in style.split() if word.startswith("$")), "")
        text = f"color: {colour}; " if colour else ""
        bold = "text-style: bold; " if "bold" in style else ""
        if tone:
            rules.append(f"& > .board--{tone} {{ {text}{bold}}}")
    return "\n        ".join(rules)


def window(at: int, first: int, size: int) -> int:
    """The first of `size` in view so that `at` is among them, moved as little as can be."""
    return at if at < first else at - size + 1 if at >= first + size else first


def fit(text: str, width: int) -> str:
    """`text` in at most `width` cells; a cut is shown by an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def aligned(text: str, width: int, right: bool) -> str:
    """`text` in exactly `width` cells."""
    text = fit(text, width)
    pad = " " * (width - cell_len(text))
    return pad + text if right else text + pad

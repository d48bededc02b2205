"""The calm dark theme and its light sister. Colour repeats what words and symbols say; it never says it alone."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="kferry-night",
    primary="#7fb4ca",
    secondary="#8ea4a2",
    accent="#e6c384",
    success="#98bb6c",
    warning="#e0a458",
    error="#e46876",
    foreground="#d5d8de",
    background="#14171d",
    surface="#1b1f27",
    panel="#232833",
    dark=True,
    variables={
        "border": "#5c7f92",
        "border-blurred": "#343b49",
        "text-muted": "#8b93a3",
        "footer-key-foreground": "#e6c384",
        "scrollbar": "#343b49",
        "scrollbar-background": "#14171d",
        "scrollbar-hover": "#5c7f92",
        "scrollbar-active": "#7fb4ca",
    },
)

LIGHT = Theme(
    name="kferry-day",
    primary="#2a6380",
    secondary="#5b6f73",
    accent="#8a5a00",
    success="#3f6d20",
    warning="#8f5300",
    error="#a8232f",
    foreground="#22262e",
    background="#f7f7f4",
    surface="#efefea",
    panel="#e4e4dd",
    dark=False,
    variables={"border": "#2a6380", "border-blurred": "#c3c6c2", "text-muted": "#626a72"},
)

"""A picture of the real app: `python -m kferry.ui.screenshot OUT.svg DIR [SCREEN] [COLUMNSxROWS] [SUBJECT]`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from kferry.client.session import Session
from kferry.ui.app import KferryApp


async def take(
    root: Path,
    *,
    screen: str = "overview",
    size: tuple[int, int] = (120, 36),
    subject: str = "",
    clock: Callable[[], int] | None = None,
    keys: tuple[str, ...] = (),
) -> str:
    """The SVG of one screen, drawn from the migration directory as it stands."""
    session = Session(root, read_only=False)
    app = KferryApp(session, clock=clock) if clock else KferryApp(session)
    try:
        async with app.run_test(size=size) as pilot:
            await app.drawn(screen, subject)
            for key in keys:
                await pilot.press(key)
            await pilot.pause()
            return app.export_screenshot(title=f"kferry {app.migration_name}")
    finally:
        session.close()


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        sys.stderr.write("usage: python -m kferry.ui.screenshot OUT.svg DIR [SCREEN] [120x36] [SUBJECT]\n")
        return 2
    out, root, *more = arguments
    columns, _, rows = (more[1] if len(more) > 1 else "120x36").partition("x")
    picture = asyncio.run(
        take(
            Path(root),
            screen=more[0] if more else "overview",
            size=(int(columns), int(rows)),
            subject=more[2] if len(more) > 2 else "",
        )
    )
    Path(out).write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

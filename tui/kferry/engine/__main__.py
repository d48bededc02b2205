"""`python -m kferry.engine DIR [--detach]`: run the engine of one migration directory."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from pathlib import Path

from kferry.domain.errors import KferryError
from kferry.engine import process
from kferry.store import schema
from kferry.store.paths import Layout


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kferry.engine", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--detach", action="store_true", help="go on in the background")
    options = parser.parse_args()
    os.umask(0o077)
    layout = Layout(options.directory.resolve())
    try:
        if not layout.settings.exists():
            raise KferryError(f"{layout.root} is not a migration directory.", next_step="Run `kferry init` there.")
        process.refuse_network_file_system(layout.root)
        layout.prepare()
        if options.detach:
            process.detach()
        process.log_to(layout.engine_log, also_terminal=not options.detach)
        lock = process.take_lock(layout)
    except KferryError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    log = logging.getLogger("kferry.engine")
    try:
        return _work(layout)
    except KferryError as error:
        log.error("the engine cannot work: %s", error)
        return 2
    except Exception:
        log.exception("the engine died")
        return 1
    finally:
        lock.close()


def _work(layout: Layout) -> int:
    schema.upgrade(layout.journal)
    # heavy imports only now: a second engine is refused in a moment
    from kferry.engine import operations  # noqa: F401 - registers the steps
    from kferry.engine.clusters import Clusters
    from kferry.engine.context import Services
    from kferry.engine.ledger import Ledger
    from kferry.engine.loop import Engine
    from kferry.engine.play_environment import PlayEnvironment
    from kferry.engine.plays import Plays
    from kferry.engine.routes import Routes
    from kferry.engine.tasks import Tasks
    from kferry.store.journal import Journal

    journal = Journal(layout.journal)
    clusters = Clusters(layout)
    routes = Routes(layout)
    tasks = Tasks(layout, journal, clusters)
    services = Services(
        layout=layout,
        journal=journal,
        clusters=clusters,
        plays=Plays(layout, journal, PlayEnvironment(layout, clusters, tasks, routes)),
        tasks=tasks,
        ledger=Ledger(journal, clusters),
        routes=routes,
    )
    engine = Engine(services)
    process.on_signals(engine.request_stop)
    threading.Thread(target=services.plays.close_left, name="left plays", daemon=True).start()
    engine.run()
    routes.close()
    clusters.close()
    journal.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

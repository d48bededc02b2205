"""`python -m kferry.lab <verb>`: two real brokers with live traffic. stdout is data, stderr is words."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.lab.home import CLUSTERS, DEFAULT_BACKLOG_RECORDS, DEFAULT_RATE_BYTES_PER_SECOND, LabHome

# Heavy imports stand in the verbs: a hook is called often and must answer quickly.

TELL_SECONDS = 600.0
EXIT_FAILED, EXIT_USAGE, EXIT_NOT_OK, EXIT_INTERRUPTED = 1, 2, 3, 130

Arguments = argparse.Namespace


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit code is 0, 1 (failed), 2 (bad input), 3 (the verdict is not ok) or 130 (Ctrl-C)."""
    arguments = _parser().parse_args(argv)
    try:
        if not arguments.home:
            raise KferryError(
                "The lab's home is not given.",
                next_step="Use --home DIR or set KFERRY_LAB_HOME.",
                kind=ErrorKind.USAGE,
            )
        verb: Callable[[LabHome, Arguments], int] = arguments.verb
        return verb(LabHome(Path(arguments.home).expanduser().resolve()), arguments)
    except KferryError as error:
        _say(f"kferry lab: {error}")
        return EXIT_USAGE if error.kind is ErrorKind.USAGE else EXIT_FAILED
    except KeyboardInterrupt:
        _say("kferry lab: interrupted; nothing was left running.")
        return EXIT_INTERRUPTED


def _start(home: LabHome, arguments: Arguments) -> int:
    from kferry.lab import launch

    started = launch.start(home, rate_bytes_per_second=arguments.rate, backlog_records=arguments.backlog, say=_say)
    _say(f"The lab in {home.root} {'runs' if started else 'was already running'}.")
    return 0


def _stop(home: LabHome, arguments: Arguments) -> int:
    from kferry.lab import launch

    count = launch.stop(home)
    _say(f"The lab in {home.root} is stopped: {count} processes ended." if count else "The lab was not running.")
    return 0


def _status(home: LabHome, arguments: Arguments) -> int:
    from kferry.lab import launch

    return _print(launch.status(home))


def _tell(home: LabHome, arguments: Arguments) -> int:
    from kferry.lab import control
    from kferry.lab.tell import check_request

    home.read_facts()
    try:
        request = json.loads(sys.stdin.read())
    except ValueError as error:
        raise KferryError("stdin holds no JSON.", cause=str(error), kind=ErrorKind.USAGE) from error
    check_request(request)
    if control.ask(home.control, TELL_SECONDS, do="tell", request=request) is None:
        raise KferryError("The lab is not running.", next_step=f"Start it: kferry.lab start --home {home.root}")
    return 0


def _migration(home: LabHome, arguments: Arguments) -> int:
    from kferry.lab import migration

    for path in migration.write(home, Path(arguments.folder)):
        _say(f"wrote {path}")
    return 0


def _oracle(home: LabHome, arguments: Arguments) -> int:
    from kferry.lab import oracle
    from kferry.lab.systems import TOPICS, check_known

    check_known("topic", arguments.topics, TOPICS)
    gc.disable()  # millions of small tuples and no cycles, in a process that ends soon
    verdict = oracle.compare(
        home, cluster=arguments.cluster, topics=arguments.topics, allow_repeats=arguments.allow_repeats
    )
    _print(verdict)
    return 0 if verdict["ok"] else EXIT_NOT_OK


def _next(home: LabHome, arguments: Arguments) -> int:
    from kferry.lab import oracle

    return _print(oracle.next_records(home, arguments.cluster, _groups(arguments)))


def _handover(home: LabHome, arguments: Arguments) -> int:
    from kferry.lab import oracle

    verdict = oracle.handover(home, _groups(arguments))
    _print(verdict)
    return 0 if verdict["ok"] else EXIT_NOT_OK


def _ledger(home: LabHome, arguments: Arguments) -> int:
    from kferry.lab.ledger import summarize
    from kferry.lab.systems import TOPICS

    home.read_facts()
    return _print({name: {t: summarize(home.ledger(name, t)) for t in TOPICS} for name in CLUSTERS})


def _serve(home: LabHome, arguments: Arguments) -> int:
    from kferry.lab import daemon

    return daemon.run(home, arguments.progress)


def _traffic(home: LabHome, arguments: Arguments) -> int:
    import logging

    from kferry.lab import traffic

    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {arguments.system} %(levelname)s %(message)s")
    return traffic.run(home, arguments.system)


def _groups(arguments: Arguments) -> list[str]:
    from kferry.lab.systems import GROUPS, check_known

    check_known("consumer group", arguments.groups, GROUPS)
    return arguments.groups or list(GROUPS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kferry.lab", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="verb")

    def add(name: str, verb: Callable[[LabHome, Arguments], int], help_text: str | None) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help_text) if help_text else verbs.add_parser(name)
        added.add_argument("--home", default=os.environ.get("KFERRY_LAB_HOME"), help="the lab's folder")
        added.set_defaults(verb=verb)
        return added

    start = add("start", _start, "start brokers and traffic; returns when records flow")
    start.add_argument("--rate", type=_positive, default=DEFAULT_RATE_BYTES_PER_SECOND, help="live bytes per second")
    start.add_argument("--backlog", type=_positive, default=DEFAULT_BACKLOG_RECORDS, help="records written first")
    add("stop", _stop, "end every process of the lab and check that it is gone")
    add("status", _status, "what runs, as JSON")
    add("tell", _tell, "an owner hook: stop or start consumers or producers, as told in JSON on stdin")
    migration = add("migration", _migration, "write a migration directory for this lab")
    migration.add_argument("folder", metavar="DIR")
    oracle = add("oracle", _oracle, "compare a cluster with the ledger; JSON; exit 3 where it is not ok")
    oracle.add_argument("--cluster", choices=CLUSTERS, default="target")
    oracle.add_argument("--topics", type=_names, default=[], help="only these, separated by commas")
    oracle.add_argument("--allow-repeats", action="store_true", help="repeated records do not make it fail")
    following = add("next", _next, "the record each stopped group reads next, as JSON")
    following.add_argument("--cluster", choices=CLUSTERS, required=True)
    following.add_argument("--groups", type=_names, default=[])
    handover = add("handover", _handover, "what groups skipped or processed twice over both clusters, as JSON")
    handover.add_argument("--groups", type=_names, default=[])
    add("ledger", _ledger, "how many records were committed where, as JSON")
    serve = add("serve", _serve, None)
    serve.add_argument("--progress", type=int)
    traffic = add("traffic", _traffic, None)
    traffic.add_argument("--system", required=True)
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError("it must be more than 0")
    return number


def _print(data: Any) -> int:
    sys.stdout.write(json.dumps(data, indent=2) + "\n")
    return 0


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

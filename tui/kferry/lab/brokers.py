"""One broker of the lab: a single-node KRaft Apache Kafka on the loopback, its files and its process."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.lab.home import HOST, LabHome, is_port_free
from kferry.lab.processes import marked_environment

HEAP = "384m"
STOP_SECONDS = 20.0
_FORMAT_SECONDS = 120.0

_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
offsets.topic.segment.bytes=4194304
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.state.log.segment.bytes=4194304
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.segment.bytes=16777216
log.index.size.max.bytes=1048576
log.cleaner.enable=true
log.cleaner.threads=1
log.cleaner.backoff.ms=2000
log.cleaner.dedupe.buffer.size=8388608
metadata.log.segment.bytes=8388608
"""

_LOGGING = """\
log4j.rootLogger=INFO, file
log4j.appender.file=org.apache.log4j.RollingFileAppender
log4j.appender.file.File={file}
log4j.appender.file.MaxFileSize=10MB
log4j.appender.file.MaxBackupIndex=2
log4j.appender.file.layout=org.apache.log4j.PatternLayout
log4j.appender.file.layout.ConversionPattern=%d %p %m (%c)%n
"""


class Broker:
    """The source's or the target's broker."""

    def __init__(self, home: LabHome, cluster: str, facts: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.bootstrap_servers: str = facts[cluster]["bootstrap_servers"]
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = home.broker(cluster)
        self._facts = facts
        self._formatting: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self._folder / "server.log"

    @property
    def _output(self) -> Path:
        return self._folder / "output.log"

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def require_ports(self) -> None:
        """The ports stay those of the first start: clients and migrations hold them."""
        for key in ("port", "controller_port"):
            port = self._facts[self.cluster][key]
            if not is_port_free(port):
                raise KferryError(
                    f"Port {port} of the lab's {self.cluster} broker is taken.",
                    cause=f"Another process listens on {HOST}:{port}.",
                    next_step="End that process, or start a lab in another home.",
                    kind=ErrorKind.NOT_READY,
                )

    def begin_format(self) -> None:
        """Write the settings and, once, begin to format the storage."""
        data = self._folder / "data"
        ports = {key: self._facts[self.cluster][key] for key in ("port", "controller_port")}
        self._properties.write_text(_SETTINGS.format(host=HOST, data=data, **ports), encoding="utf-8")
        (self._folder / "log4j.properties").write_text(_LOGGING.format(file=self.log), encoding="utf-8")
        if (data / "meta.properties").exists():
            return
        cluster_id = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=").replace("-", "A")
        self._formatting = self._java(
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
            "--cluster-id",
            cluster_id,
            "--config",
            str(self._properties),
        )

    def finish_format(self) -> None:
        """Wait for the formatting, where there is one."""
        if self._formatting is None:
            return
        code = self._formatting.wait(_FORMAT_SECONDS)
        self._formatting = None
        if code:
            raise self._failed(f"The storage of the lab's {self.cluster} broker could not be formatted.")

    def start(self) -> None:
        self.process = self._java("kafka.Kafka", str(self._properties))

    def check_alive(self) -> None:
        """Raise where the process has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise self._failed(f"The lab's {self.cluster} broker ended with code {self.process.returncode}.")

    def ask_to_stop(self) -> None:
        for process in (self.process, self._formatting):
            if process is not None and process.poll() is None:
                process.terminate()

    def wait_stopped(self) -> None:
        """Wait for the end; a broker that does not go in time is killed."""
        for process in (self.process, self._formatting):
            if process is None:
                continue
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.process = None

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [
            self._facts["java"],
            f"-Xmx{HEAP}",
            "-Xms64m",
            # Two brokers share a small machine with workers and clients: quick to start beats fast at peak.
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            f"-Dlog4j.configuration=file:{self._folder / 'log4j.properties'}",
            "-cp",
            f"{self._facts['libs']}/*",
            *arguments,
        ]
        try:
            with self._output.open("ab") as output:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._folder,
                    env=marked_environment(self._facts["id"]),
                    start_new_session=True,
                )
        except OSError as error:
            raise KferryError(
                f"Java could not be started: {self._facts['java']}.", cause=str(error), kind=ErrorKind.NOT_READY
            ) from error

    def _failed(self, title: str) -> KferryError:
        return KferryError(
            title,
            cause=_last_complaint(self._output) or _last_complaint(self.log),
            next_step="Read its log; if the disk is full, make room and start again.",
            log=str(self.log),
        )


def _last_complaint(path: Path) -> str:
    """The last line that looks like a cause; text from elsewhere, shown as it is."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-200:]
    except OSError:
        return ""
    marks = ("Exception", "ERROR", "Error", "FATAL")
    return next((line.strip()[:300] for line in reversed(lines) if any(mark in line for mark in marks)), "")

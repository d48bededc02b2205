"""Comparing both sides: the verify operation, the certificate of a cutover, and the release of the holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kferry import __version__
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Batch, ChangeStatus, Role, Scan
from kferry.domain.offsets import How
from kferry.domain.runbook import OperationKind
from kferry.domain.security import waiver_lines
from kferry.domain.verification import certificate, certificate_markdown
from kferry.engine.comparison import compare
from kferry.engine.context import StepContext
from kferry.engine.operations.cutover_groups import uncommitted_choice
from kferry.engine.operations.topics import HOLD_REASON, source_topics, wanted_configs
from kferry.engine.scope import waivers_of
from kferry.engine.steps import Check, Step, step
from kferry.store import codec
from kferry.store.atomic_write import write_text
from kferry.store.journal import now_ms

CUTOVER, VERIFY = OperationKind.CUTOVER, OperationKind.VERIFY


@step((VERIFY, "compare"))
class Compare(Step):
    """Compare a batch at any time. Before the switch what is not copied yet is missing; after it, what was certified is
    compared, since the target has moved on."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        found = compare(ctx) | {"at": datetime.now(UTC).isoformat(timespec="seconds")}
        ctx.journal.put_document("verification", ctx.task().spec.batch, json.dumps(found))
        ctx.notes["found"] = found

    def check(self, ctx: StepContext) -> Check:
        found = ctx.notes.get("found", {})
        keys = ("source_records", "target_records", "missing", "repeats", "reordered", "foreign", "ok")
        return Check(True, {key: found.get(key) for key in keys})


@step((CUTOVER, "certify"))
class Certify(Step):
    """Compare everything, and write the certificate with the head of the journal's chain in it."""

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        body = ctx.journal.document("certificate", spec.batch)
        data = json.loads(body) if body else {}
        if data.get("operation_id") != ctx.operation_id or data.get("withdrawn"):
            return Check(False, {"note": "no certificate yet"})
        checked = data["verification"]
        files = [str(ctx.layout.reports / f"{spec.batch}.{kind}") for kind in ("json", "md")]
        self._write_files(ctx, data)
        evidence = {
            "verdict": data["verdict"],
            "files": files,
            **{key: checked[key] for key in ("source_records", "missing", "repeats", "reordered", "foreign")},
        }
        return Check(True, evidence)

    def act(self, ctx: StepContext) -> None:
        spec = ctx.task().spec
        checked = compare(ctx)
        ctx.journal.put_document("verification", spec.batch, json.dumps(checked))
        if not checked["ok"]:
            raise KferryError(
                f"Source and target of batch {spec.batch} differ: {checked['missing']} missing, "
                f"{checked['reordered']} out of order, {checked['foreign']} foreign records.",
                cause="Somebody else wrote to the target, or the copy is not complete.",
                next_step="Look at `kferry verify`; retry when it is mended, or abort: the way back is open.",
                kind=ErrorKind.NOT_READY,
            )
        translation = self._groups(ctx)
        seq, head = ctx.journal.head()
        data = certificate(
            migration_id=spec.migration_id,
            batch=spec.batch,
            task=spec.name,
            issued_at=datetime.now(UTC).isoformat(timespec="seconds"),
            issued_by=str(ctx.args.get("who", "")),
            kferry_version=__version__,
            source=self._side(ctx, Role.SOURCE),
            target=self._side(ctx, Role.TARGET),
            verification=checked,
            translation=translation,
            journal_seq=seq,
            journal_hash=head,
            notes=waiver_lines([ctx.services.clusters.config(role) for role in Role], now_ms()),
            waivers=waivers_of(ctx.services, Batch(spec.batch, spec.topics, spec.groups)),
        ) | {"operation_id": ctx.operation_id}
        text = json.dumps(data)
        with ctx.journal.transaction() as session:
            ctx.journal.put_document("certificate", spec.batch, text, session)
            name = str(ctx.layout.reports / f"{spec.batch}.json")
            ctx.journal.put_batch(session, spec.batch, "switching", certificate=name)
            payload = {"verdict": data["verdict"], "sha256": codec.digest(text)}
            ctx.journal.append(
                session, "certificate_issued", subject=spec.batch, operation_id=ctx.operation_id, payload=payload
            )
        self._write_files(ctx, data)

    @staticmethod
    def _groups(ctx: StepContext) -> dict[str, Any]:
        """The translation with the operator's choices among the groups' partitions."""
        document: dict[str, Any] = json.loads(ctx.journal.document("translation", ctx.task().spec.batch) or "{}")
        by_group = {group["group_id"]: group["partitions"] for group in document.get("groups", ())}
        choice = uncommitted_choice(ctx)
        for item in document.get("uncommitted", ()):
            chosen = item["choices"][choice] if choice else {"target_offset": None, "repeats": None}
            by_group[item["group_id"]].append(
                {
                    "topic": item["topic"],
                    "partition": item["partition"],
                    "committed_offset": None,
                    **chosen,
                    "how": f"{How.CHOSEN.value}: {choice}",
                }
            )
        return document

    @staticmethod
    def _write_files(ctx: StepContext, data: Mapping[str, Any]) -> None:
        batch = ctx.task().spec.batch
        write_text(ctx.layout.reports / f"{batch}.json", json.dumps(data, indent=1) + "\n", mode=0o600)
        write_text(ctx.layout.reports / f"{batch}.md", certificate_markdown(data), mode=0o600)

    @staticmethod
    def _side(ctx: StepContext, role: Role) -> dict[str, Any]:
        body = ctx.journal.document("scan", role.value)
        facts = codec.load(Scan, body).cluster if body else None
        return {
            "bootstrap_servers": ctx.services.clusters.config(role).bootstrap_servers,
            "cluster_id": facts.cluster_id if facts else None,
            "kafka_version": facts.kafka_version if facts else None,
        }

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        batch = ctx.task().spec.batch
        body = ctx.journal.document("certificate", batch)
        if body:
            ctx.journal.put_document("certificate", batch, json.dumps(json.loads(body) | {"withdrawn": True}))
        for kind in ("json", "md"):
            (ctx.layout.reports / f"{batch}.{kind}").unlink(missing_ok=True)
        return {"certificate": "withdrawn"}


@step((CUTOVER, "promote_configs"))
class PromoteConfigs(Step):
    """Release the holds: the target's topic configs become what the source's were."""

    def _wanted(self, ctx: StepContext) -> dict[str, dict[str, str | None]]:
        """Per topic, the value of every held key once it is released; None removes the key."""
        result = {}
        for name, topic in source_topics(ctx.services, ctx.task().spec.topics).items():
            final, held = wanted_configs(ctx.services, topic)
            result[name] = {key: final.get(key) for key in held}
        return result

    def check(self, ctx: StepContext) -> Check:
        wanted = self._wanted(ctx)
        now = ctx.target.topic_configs(list(wanted))
        left = []
        for name, keys in wanted.items():
            for key, value in keys.items():
                current = now[name].get(key)
                actual = current.value if current is not None and current.is_set_on_topic else None
                if actual != value:
                    left.append(f"{name} {key}")
        return Check(not left, {"topics": len(wanted), "holds_left": left})

    def act(self, ctx: StepContext) -> None:
        for name, keys in self._wanted(ctx).items():
            ctx.services.ledger.set_topic_configs(
                Role.TARGET, name, keys, reason="hold released by the cutover", operation_id=ctx.operation_id
            )
            # both lines, hold and release, are over: there is nothing left to undo
            ctx.services.ledger.settle(Role.TARGET, "topic_config", {name}, set(keys), ChangeStatus.KEPT)

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        for name, topic in source_topics(ctx.services, ctx.task().spec.topics).items():
            held = wanted_configs(ctx.services, topic)[1]
            ctx.services.ledger.set_topic_configs(
                Role.TARGET, name, held, reason=HOLD_REASON, operation_id=ctx.operation_id
            )
        return {"holds": "set again"}

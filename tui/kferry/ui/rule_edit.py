"""Cuts in rules.yml, made from the graph. Call them in a thread."""

from __future__ import annotations

from kferry.client.session import Session
from kferry.domain.planning.rule_edits import with_cut, without_cut
from kferry.domain.planning.rules import Cut


def cut(session: Session, name: str, stays_with: str = "", why: str = "cut on the screen Graph") -> None:
    """Let a group or application no longer bind its topics together."""
    from kferry.store import rules_file

    rules = rules_file.load_rules(session.layout)
    rules_file.write_rules(session.layout, with_cut(rules, Cut(name, why, stays_with)))


def uncut(session: Session, name: str) -> None:
    """Take a cut back."""
    from kferry.store import rules_file

    rules_file.write_rules(session.layout, without_cut(rules_file.load_rules(session.layout), name))

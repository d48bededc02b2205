"""Union-find over names; the result never depends on the order of joining."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


class Sets:
    """Disjoint sets of names. The smallest name stands for its set."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent = {name: name for name in names}

    def __contains__(self, name: object) -> bool:
        return name in self._parent

    def find(self, name: str) -> str:
        root = name
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[name] != root:
            self._parent[name], name = root, self._parent[name]
        return root

    def roots(self, names: Iterable[str]) -> set[str]:
        return {self.find(name) for name in names}

    def join(self, names: Iterable[str]) -> None:
        roots = sorted(self.roots(names))
        for other in roots[1:]:
            self._parent[other] = roots[0]

    def copy(self) -> Sets:
        made = Sets(())
        made._parent = dict(self._parent)
        return made

    def sets(self) -> dict[str, list[str]]:
        """Every set by the name that stands for it, sorted."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._parent):
            found[self.find(name)].append(name)
        return dict(found)

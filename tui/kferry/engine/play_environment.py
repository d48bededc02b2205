"""What the child process of a play gets besides our own environment: secrets, resolved now and kept nowhere."""

from __future__ import annotations

from kferry.engine import secrets
from kferry.engine.clusters import Clusters
from kferry.engine.routes import Routes
from kferry.engine.tasks import Tasks
from kferry.kafka.secrets import resolve
from kferry.store.paths import Layout
from kferry.store.settings_file import load_settings


class PlayEnvironment:
    """Called with the name of a task, or "" for a play about machines. Raises KferryError for a missing secret."""

    def __init__(self, layout: Layout, clusters: Clusters, tasks: Tasks, routes: Routes) -> None:
        self._layout = layout
        self._clusters = clusters
        self._tasks = tasks
        self._routes = routes

    def __call__(self, task: str) -> dict[str, str]:
        known = self._tasks.get(task) if task else None
        if known is None:
            values = secrets.preflight_environment(self._clusters)
        else:
            values = secrets.play_environment(self._clusters, known.spec)
            if known.spec.is_remote:
                values["KFERRY_SECRET_REST_PASSWORD"] = self._routes.rest_password(task)
        become = load_settings(self._layout).settings.become_password
        if become:
            values["KFERRY_BECOME_PASSWORD"] = resolve(become)
        return values

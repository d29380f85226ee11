"""MLflow: the server of MLFLOW_TRACKING_URI, else an SQLite file in the run folder."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rft.runs.run_dir import leaves
from rft.runs.trackers.tracker import PROJECT, ShownRollout, Stage, TrackedRun, curve_names
from rft.tables import TextTable, plain

MOST_PARAMS = 100
"""Most parameters of a call."""


def open_tracker(run: TrackedRun) -> "Mlflow":
    from mlflow import MlflowClient
    from mlflow.entities import Param

    run.folder.mkdir(parents=True, exist_ok=True)
    folder = run.folder.resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    client = MlflowClient(uri or f"sqlite:///{folder}/mlflow.db")
    if (run.folder / "run_id").exists():
        return Mlflow(client, run.kept_id())
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    found = client.get_experiment_by_name(name)
    artifacts = None if uri else f"file://{folder}/artifacts"
    experiment = found.experiment_id if found else client.create_experiment(name, artifact_location=artifacts)
    run_id = client.create_run(experiment, run_name=run.name).info.run_id
    params = [Param(key, str(value)) for key, value in leaves(dict(run.recipe))]
    for first in range(0, len(params), MOST_PARAMS):
        client.log_batch(run_id, params=params[first : first + MOST_PARAMS])
    run.keep_id(run_id)
    return Mlflow(client, run_id)


class Mlflow:
    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id

    def log_metrics(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(allowed(name), value, now, step) for name, value in curve_names(stage, values).items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def cut_after(self, step: int) -> None:
        """Its points cannot be dropped: those of a step that ran twice are both kept."""

    def log_rollouts(self, step: int, rollouts: Sequence[ShownRollout]) -> None:
        for rollout in rollouts:
            path = f"rollouts/step_{step:06d}/{rollout.name}"
            self._client.log_text(self._run_id, rollout.text, f"{path}.txt")
            if rollout.picture is not None:
                self._client.log_image(self._run_id, rollout.picture, f"{path}.png")

    def log_table(self, table: TextTable) -> None:
        self._client.log_text(self._run_id, plain(table), f"{allowed(table.title)}.txt")

    def close(self) -> None:
        self._client.set_terminated(self._run_id)


def allowed(name: str) -> str:
    """`name` with "_" for the characters that MLflow refuses, such as "@"."""
    return re.sub(r"[^\w\-. :/]", "_", name)

"""Trackio: its local database (TRACKIO_DIR), which `trackio show` draws."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rft.runs.trackers.tracker import PROJECT, ShownRollout, Stage, TrackedRun, curve_names, indented
from rft.tables import TextTable, plain


def open_tracker(run: TrackedRun) -> "Trackio":
    import trackio

    project = os.environ.get("TRACKIO_PROJECT", PROJECT)
    name = f"{run.name}-{run.kept_id()}"  # runs are told apart by their names
    opened = trackio.init(project, name=name, config=dict(run.recipe), resume="allow", embed=False)
    return Trackio(trackio, opened)


class Trackio:
    def __init__(self, library: Any, run: Any) -> None:
        self._library, self._run = library, run

    def log_metrics(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        self._run.log(curve_names(stage, values), step=step)

    def cut_after(self, step: int) -> None:
        """Its points cannot be dropped: those of a step that ran twice are both shown."""

    def log_rollouts(self, step: int, rollouts: Sequence[ShownRollout]) -> None:
        shown = {}
        for rollout in rollouts:
            if rollout.picture is None:
                shown[f"rollouts/{rollout.name}"] = self._library.Markdown(indented(rollout.text))
            else:
                shown[f"rollouts/{rollout.name}"] = self._library.Image(rollout.picture, caption=rollout.text)
        self._run.log(shown, step=step)

    def log_table(self, table: TextTable) -> None:
        self._run.log({table.title: self._library.Markdown(indented(plain(table)))})

    def close(self) -> None:
        self._run.finish()

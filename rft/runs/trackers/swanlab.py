"""SwanLab: its cloud where SWANLAB_API_KEY is set, else offline in the run folder, for `swanlab sync` later."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rft.runs.trackers.tracker import PROJECT, ShownRollout, Stage, TrackedRun, curve_names
from rft.tables import TextTable, plain


def open_tracker(run: TrackedRun) -> "Swanlab":
    import swanlab

    run.folder.mkdir(parents=True, exist_ok=True)
    swanlab.init(
        project=os.environ.get("SWANLAB_PROJ_NAME", PROJECT),
        experiment_name=run.name,
        config=dict(run.recipe),
        logdir=str(run.folder),
        settings=swanlab.Settings(log_proxy_type="none"),  # else it records what the terminal shows
        mode=os.environ.get("SWANLAB_MODE") or ("cloud" if "SWANLAB_API_KEY" in os.environ else "offline"),
    )
    return Swanlab(swanlab)


class Swanlab:
    def __init__(self, library: Any) -> None:
        self._library = library

    def log_metrics(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        self._library.log(curve_names(stage, values), step=step)

    def cut_after(self, step: int) -> None:
        """A resumed run is a new experiment there."""

    def log_rollouts(self, step: int, rollouts: Sequence[ShownRollout]) -> None:
        shown: dict[str, Any] = {}
        for rollout in rollouts:
            shown[f"rollouts/{rollout.name}"] = self._library.Text(rollout.text)
            if rollout.picture is not None:
                shown[f"frames/{rollout.name}"] = self._library.Image(rollout.picture, caption=rollout.name)
        self._library.log(shown, step=step)

    def log_table(self, table: TextTable) -> None:
        self._library.log({table.title: self._library.Text(plain(table))})

    def close(self) -> None:
        self._library.finish()

"""Weights & Biases: online where WANDB_API_KEY is set, else offline in the run folder, for `wandb sync` later."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rft.runs.trackers.tracker import PROJECT, ShownRollout, Stage, TrackedRun, curve_names
from rft.tables import TextTable


def open_tracker(run: TrackedRun) -> "Wandb":
    import wandb

    run.folder.mkdir(parents=True, exist_ok=True)
    opened = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=run.name,
        id=run.kept_id(),
        resume="allow",
        dir=str(run.folder),
        config=dict(run.recipe),
        mode=None if {"WANDB_MODE", "WANDB_API_KEY"} & os.environ.keys() else "offline",  # None: as these say
        settings=wandb.Settings(console="off", silent=True),
    )
    for stage in ("", "cold_start/"):
        opened.define_metric(f"{stage}step", hidden=True)
        # Its own steps may only grow, those of a resumed run begin anew.
        opened.define_metric(f"{stage}*", step_metric=f"{stage}step")
    return Wandb(wandb, opened)


class Wandb:
    def __init__(self, library: Any, run: Any) -> None:
        self._library, self._run = library, run

    def log_metrics(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        self._run.log(curve_names(stage, {"step": step, **values}))

    def cut_after(self, step: int) -> None:
        """Its points cannot be dropped: those of a step that ran twice are both shown."""

    def log_rollouts(self, step: int, rollouts: Sequence[ShownRollout]) -> None:
        shown: dict[str, Any] = {"step": step}
        for rollout in rollouts:
            if rollout.picture is None:
                shown[f"rollouts/{rollout.name}"] = self._library.Html(f"<pre>{escape(rollout.text)}</pre>")
            else:
                shown[f"rollouts/{rollout.name}"] = self._library.Image(rollout.picture, caption=rollout.text)
        self._run.log(shown)

    def log_table(self, table: TextTable) -> None:
        rows = [list(row) for row in table.rows]
        self._run.log({table.title: self._library.Table(columns=list(table.columns), data=rows)})

    def close(self) -> None:
        self._run.finish()

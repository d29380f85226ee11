"""A run folder as one page that needs nothing else: did it learn, is it healthy, what does it do."""

from pathlib import Path
from typing import Any

import yaml

from rft.commands.report import clips, curves
from rft.commands.report.chosen import chosen_groups
from rft.commands.report.learned import all_figures, grids, learned, suite_figures
from rft.commands.report.page import finite, run_page
from rft.data.frames import ClipError
from rft.errors import CheckpointError
from rft.files import write_text
from rft.runs.metrics import read_metrics
from rft.runs.run_dir import RunDir


def report(run_dir: RunDir | Path) -> Path:
    """Write report.html into the run folder and return its path; parts that the run has not written yet are left out.

    Raises CheckpointError where the folder holds no run.
    """
    run = run_dir if isinstance(run_dir, RunDir) else RunDir(run_dir)
    data = run_data(run)
    data["clips"] = embedded_clips(run, data["rollouts"]["groups"])
    page = run_page([data])
    write_text(run.report, page)
    return run.report


def run_data(run: RunDir) -> dict[str, Any]:
    """All that a page shows of a run but the frames of its clips, as JSON. CheckpointError: no run is there."""
    require_run(run)
    summary, metrics = run.read_summary(), read_metrics(run)
    recipe = yaml.safe_load(run.recipe.read_text("utf-8")) if run.recipe.exists() else {}
    last_step = max(metrics, default=0)
    data: dict[str, Any] = {
        "name": run.path.resolve().name,
        "verdict": summary.get("verdict", {}).get("text", ""),
        "step": last_step,
        "num_steps": recipe.get("steps"),
        "is_done": "final" in summary.get("eval", {}),
        "model": recipe.get("model"),
        "learned": learned(run, summary, last_step),
        "figures": all_figures(summary),
        "suites": suite_figures(summary),
        "grids": grids(summary),
        "rewards": curves.rewards(metrics),
        "alarms": summary.get("alarms"),
        "health": curves.health(metrics),
        "charts": curves.all_charts(run),
        "rollouts": chosen_groups(run),
        "timeline": curves.timeline(run),
        "seconds": summary.get("seconds", {}),
        "files": {path.stem: path.read_text("utf-8") for path in (run.recipe, run.versions) if path.exists()},
    }
    name_clips(run, data["rollouts"]["groups"])
    shown: dict[str, Any] = finite(data)
    return shown


def require_run(run: RunDir) -> None:
    """Makes the run's own tasks known. Raises CheckpointError where the folder holds no run."""
    if not any(path.exists() for path in (run.recipe, run.metrics, run.summary, run.rollouts)):
        raise CheckpointError(f"{run.path}: no run here. Give the folder that `rft train` named at its end.")
    run.load_tasks()


def name_clips(run: RunDir, groups: list[dict[str, Any]]) -> None:
    """Give each group the "clips" that it shows: of each its key, or {"missing": why}."""
    shown = clips.run_clips(run) if any(group["media"] for group in groups) else ""
    for group in groups:
        group["clips"] = [_clip_name(shown, group, media) for media in group["media"]]


def _clip_name(shown: clips.Clips | str, group: dict[str, Any], media: dict[str, Any]) -> str | dict[str, str]:
    if isinstance(shown, str):
        return {"missing": shown}
    try:
        return shown.key(group, media)
    except ClipError as error:
        return {"missing": str(error)}


def embedded_clips(run: RunDir, groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Key -> frames of the groups' clips, up to clips.MAX_BYTES; of the others why they are missing."""
    shown = clips.run_clips(run)
    keys = dict.fromkeys(key for group in groups for key in group["clips"] if isinstance(key, str))
    embedded: dict[str, Any] = {}
    room = clips.MAX_BYTES
    for key in keys:
        assert not isinstance(shown, str)
        frames = shown.frames(key) if room > 0 else {"missing": "left out of this page: it would be too large"}
        room -= sum(map(len, frames.get("images", ())))
        embedded[key] = frames
    return embedded

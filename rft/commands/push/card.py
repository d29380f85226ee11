"""The card of a policy, README.md: what it was made from, by what, and what it is worth."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from rft.commands.report.learned import learned
from rft.evaluation.evaluate import MODES
from rft.runs.run_dir import NOT_INSTALLED, RunDir

TAGS = ["video", "grpo", "reinforcement-learning", "rft"]
PIPELINE = "video-text-to-text"

FIGURES = ("held-out rows", "metric", "answers", "rows", "best blind baseline", "before", "after", "change")

SECRET = re.compile(r"token|secret|passw|credential|(^|_)key$", re.IGNORECASE)
"""Names of keys whose texts are not published."""
LOGIN = re.compile(r"(?<=://)[^/@\s]+@")
"""User and password in an address."""
LEFT_OUT = "(left out)"


def published_recipe(run: RunDir) -> dict[str, Any]:
    """The run's recipe, without the environment of engines, texts of keys that are named like secrets, and logins."""
    recipe: dict[str, Any] = _published(yaml.safe_load(run.recipe.read_text("utf-8")))
    if environment := recipe.get("rollout", {}).get("environment"):
        recipe["rollout"]["environment"] = dict.fromkeys(environment, LEFT_OUT)
    return recipe


def card(run: RunDir, name: str, step: int, base_model: str | None) -> str:
    """Markdown with metadata. `name`: "owner/model"; `step`: that of the policy; `base_model`: its hub name."""
    recipe, summary = published_recipe(run), run.read_summary()
    versions: dict[str, str] = json.loads(run.versions.read_text("utf-8"))
    sets = learned(run, summary, step)
    base = base_model or f"`{recipe['model']}`"
    how_far = "" if "final" in summary.get("eval", {}) else " The run had not ended."
    paragraphs = (
        f"---\n{_metadata(name, base_model, sets)}\n---",
        f"# {name.rpartition('/')[2]}",
        f"A video language model, made from {base} by GRPO with rft. Step {step} of {recipe['steps']}.{how_far}",
        "## Data",
        "\n".join(_data(recipe)),
        "## Figures",
        summary.get("verdict", {}).get("text", ""),
        _table(FIGURES, _figures(sets)) or "None were measured.",
        "In brackets: 95 % bootstrap interval over videos, of a change over paired rows. Blind: without the video.",
        "## How it was made",
        "`recipe.yaml` is the whole recipe; again: `rft train recipe.yaml`. `versions.json` tells what it ran with.",
        _table(("package", "version"), [one for one in versions.items() if one[1] != NOT_INSTALLED]),
    )
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _metadata(name: str, base_model: str | None, sets: Sequence[dict[str, Any]]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=PIPELINE,
            task_name=one["task"],
            dataset_name=one["name"],
            dataset_type=one["name"],
            metric_type=one["metric"],
            metric_value=round(one["modes"]["greedy"]["after"][0], 4),
        )
        for one in sets
        if one["modes"]["greedy"]["after"]
    ]
    data = ModelCardData(
        base_model=base_model,
        library_name="transformers",
        pipeline_tag=PIPELINE,
        tags=TAGS,
        model_name=name.rpartition("/")[2],
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _data(recipe: dict[str, Any]) -> Iterable[str]:
    cold_start = recipe.get("cold_start") or {}
    uses = {"supervised stage": cold_start.get("data"), "trained on": recipe["data"]["train"]}
    uses["measured on"] = recipe["data"].get("eval")
    for use, files in uses.items():
        if files:
            yield f"- {use}: {', '.join(f'`{file}`' for file in files)}"


def _figures(sets: Iterable[dict[str, Any]]) -> Iterable[Sequence[str]]:
    for one in sets:
        blind = f"{_number(one['blind']['estimate'])} {one['blind']['name']}" if one["blind"] else "-"
        for mode in MODES:
            figures = [_number(one["modes"][mode][which]) for which in ("before", "after", "change")]
            if figures != ["-"] * 3:
                yield one["name"], one["metric"], mode, str(one["num_rows"]), blind, *figures


def _number(estimate: Sequence[float] | None) -> str:
    return "{:.3f} [{:.3f}, {:.3f}]".format(*estimate) if estimate else "-"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; "" without rows."""
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *lines]) if lines else ""


def _published(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _published(part, str(name)) for name, part in value.items()}
    if isinstance(value, list):
        return [_published(part, key) for part in value]
    if isinstance(value, str):
        return LEFT_OUT if SECRET.search(key) else LOGIN.sub("", value)
    return value

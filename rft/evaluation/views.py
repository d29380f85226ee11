"""How much answers rely on what is seen: the held-out rows again, with their clips seen otherwise.

A row in a view is a row of its own, of the set "<set> (<view>)"; reliance is the mean of the row's value as filmed less
that in the view.
"""

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rft.evaluation.evaluate import MODES, EvalResult, Mode
from rft.evaluation.intervals import Estimate, bootstrap
from rft.recipe.watch import ViewName
from rft.tables import TextTable
from rft.tasks import TASKS
from rft.types import Prompt, Video

_IN_VIEW = re.compile(r"(?P<of>.+) \((?P<view>blank|shuffled|reversed|mirrored|swapped)\)", re.DOTALL)


def split_view(name: str) -> tuple[str, str | None]:
    """(id or set, view) of a row's or set's name: "q7 (blank)" gives "q7", "blank"; "q7" gives "q7", None."""
    match = _IN_VIEW.fullmatch(name)
    return (match["of"], match["view"]) if match else (name, None)


def in_view(prompts: Sequence[Prompt], view: ViewName, seed: int) -> list[Prompt]:
    """The prompts with their clips in a view; without those that have no clip, or no known answer there.

    `seed` decides the order of shuffled frames, and which clips are swapped.
    """
    others = _other_clips(prompts, seed) if view == "swapped" else {}
    shown = []
    for prompt in prompts:
        clip, target = prompt.media, prompt.target
        if not isinstance(clip, Video):
            continue
        if view == "swapped":
            if prompt.prompt_id not in others:
                continue
            clip = others[prompt.prompt_id]
        elif view == "shuffled":
            clip = replace(clip, shuffle_seed=seed)
        else:
            clip = replace(clip, view=view)
            if view != "blank":
                changed = TASKS[prompt.task].target_in_view(target, prompt.row, view)
                if changed is None:
                    continue
                target = changed
        name, of_set = f"{prompt.prompt_id} ({view})", f"{prompt.dataset or prompt.task} ({view})"
        shown.append(replace(prompt, prompt_id=name, media=clip, target=target, dataset=of_set))
    return shown


def _other_clips(prompts: Sequence[Prompt], seed: int) -> dict[str, Video]:
    """Prompt id -> clip of another file, of a row of the same task; without those for which there is none."""
    by_task: dict[str, list[tuple[str, Video]]] = defaultdict(list)
    for prompt in prompts:
        if isinstance(prompt.media, Video):
            by_task[prompt.task].append((prompt.prompt_id, prompt.media))
    rng, clips = random.Random(seed), {}
    for of_task in by_task.values():
        order = rng.sample(of_task, len(of_task))
        for place, (prompt_id, clip) in enumerate(order):
            following = (order[(place + step) % len(order)][1] for step in range(1, len(order)))
            other = next((one for one in following if one.path != clip.path), None)
            if other:
                clips[prompt_id] = other
    return clips


def reliance(result: EvalResult, name: str, mode: Mode) -> Mapping[str, Estimate]:
    """View -> main metric as filmed less that in the view, over the rows that were asked in both; {} without views."""
    estimates: dict[str, Estimate] = {}
    as_filmed, units, sets = result.rows(name, mode), result.units, result.sets
    task, main = sets[name].task, TASKS[sets[name].task].main_metric
    for other, of_set in sets.items():
        base, view = split_view(of_set.dataset or "")
        if view is None or of_set.task != task or base != (sets[name].dataset or task):
            continue
        seen = {split_view(row)[0]: values[main] for row, values in result.rows(other, mode).items()}
        pairs = {row: {main: as_filmed[row][main] - seen[row]} for row in as_filmed if row in seen}
        if pairs:
            estimates[view] = bootstrap(list(pairs.values()), result.seed, [units[row] for row in pairs])[main]
    return estimates


def reliance_table(result: EvalResult) -> TextTable | None:
    """One line per set and view: main metric in the view, and reliance with its interval; None without views."""
    lines = []
    for name, of_set in result.sets.items():
        main = TASKS[of_set.task].main_metric
        found = {mode: reliance(result, name, mode) for mode in MODES}
        for view in found["greedy"] or found["sampled"]:
            cells = [
                f"{found[mode][view].value:+.3f} [{found[mode][view].low:+.3f}, {found[mode][view].high:+.3f}]"
                if view in found[mode] else "-"
                for mode in MODES
            ]  # fmt: skip
            lines.append((name, main, view, *cells))
    caption = "Mean over the same rows of the metric as filmed less that in the view, with its 95 % interval."
    table = TextTable("Reliance on what is seen", ("set", "metric", "view", *MODES), tuple(lines), caption)
    return table if lines else None


def measured(result: EvalResult) -> dict[str, float]:
    """The metrics of an evaluation, and `eval/<set>/reliance/<view>` of its sampled, else of its greedy answers."""
    return result.metrics() | {
        f"eval/{name.replace('/', '.')}/reliance/{view}": one.value
        for name in result.sets
        for view, one in (reliance(result, name, "sampled") or reliance(result, name, "greedy")).items()
    }

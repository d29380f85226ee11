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
from rft.types import Media, Prompt, Several, Video

_IN_VIEW = re.compile(r"(?P<of>.+) \((?P<view>blank|shuffled|reversed|mirrored|swapped)\)", re.DOTALL)


def split_view(name: str) -> tuple[str, str | None]:
    """(id or set, view) of a row's or set's name: "q7 (blank)" gives "q7", "blank"; "q7" gives "q7", None."""
    match = _IN_VIEW.fullmatch(name)
    return (match["of"], match["view"]) if match else (name, None)


def in_view(prompts: Sequence[Prompt], view: ViewName, seed: int) -> list[Prompt]:
    """The prompts with all their clips in a view; without those that have no clip, or no known answer there.

    A row that shows an image is left out: images have no view. `seed` decides the order of shuffled frames, and whose
    clips are swapped.
    """
    others = _other_media(prompts, seed) if view == "swapped" else {}
    shown = []
    for prompt in prompts:
        clips, target = _clips(prompt.media), prompt.target
        if not clips or (view == "swapped" and prompt.prompt_id not in others):
            continue
        if view == "swapped":
            media = others[prompt.prompt_id]
        elif view == "shuffled":
            media = _of_clips([replace(clip, shuffle_seed=seed) for clip in clips])
        else:
            media = _of_clips([replace(clip, view=view) for clip in clips])
            if view != "blank":
                is_known = not any(clip.view for clip in clips)
                changed = TASKS[prompt.task].target_in_view(target, prompt.row, view) if is_known else None
                if changed is None:
                    continue
                target = changed
        name, of_set = f"{prompt.prompt_id} ({view})", f"{prompt.dataset or prompt.task} ({view})"
        shown.append(replace(prompt, prompt_id=name, media=media, target=target, dataset=of_set))
    return shown


def _clips(media: Media | None) -> tuple[Video, ...]:
    """The clips in order; () where there is none, or an image among them."""
    parts = media.parts if isinstance(media, Several) else (media,)
    clips = tuple(part for part in parts if isinstance(part, Video))
    return clips if len(clips) == len(parts) else ()


def _of_clips(clips: Sequence[Video]) -> Media:
    return clips[0] if len(clips) == 1 else Several(tuple(clips))


def _other_media(prompts: Sequence[Prompt], seed: int) -> dict[str, Media]:
    """Prompt id -> as many clips, of other files, of a row of the same task; without those for which there are none."""
    alike: dict[tuple[str, int], list[tuple[str, tuple[Video, ...]]]] = defaultdict(list)
    for prompt in prompts:
        if clips := _clips(prompt.media):
            alike[prompt.task, len(clips)].append((prompt.prompt_id, clips))
    rng, found = random.Random(seed), {}
    for rows in alike.values():
        order = rng.sample(rows, len(rows))
        for place, (prompt_id, clips) in enumerate(order):
            own = {clip.path for clip in clips}
            following = (order[(place + step) % len(order)][1] for step in range(1, len(order)))
            other = next((row for row in following if own.isdisjoint(clip.path for clip in row)), None)
            if other:
                found[prompt_id] = _of_clips(other)
    return found


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

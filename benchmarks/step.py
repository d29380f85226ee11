"""How long does a whole GRPO step take, per prompt: ours, the released VideoChat-R1 way, and trl.GRPOTrainer?

All three start from the same policy of a million random weights and see the same clips in prompts of about 600 tokens,
with G completions of at most C tokens, a KL term against a frozen reference, float32, and all cores of the machine.

    python -m benchmarks.step                       # G 8, C 64, 16 prompts a step
    python -m benchmarks.step --only ours published

ours: `rft train` itself, with Ray, a vLLM worker per core, a learner process, weight hand-over and records on disk;
ours_unwatched: without trackers and alarms; ours_ahead: with one worker and `rollout.ahead: 1`.
published: benchmarks/published_step.py. trl: benchmarks/trl_step.py, with half of the frames, which makes a prompt as
long as the others'; trl_all_frames: with all frames. Every step shows clips that no step before it showed.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from types import MappingProxyType
from typing import Any, get_args

from benchmarks.report import finish
from benchmarks.tiny import WARM_UP, Workload, add_arguments, recipe_keys, run_training, workload, write_data
from rft.actors.cluster import FOR_TENSORS
from rft.data.dataset import read_rows, to_prompt
from rft.recipe import Recipe
from rft.recipe.watch import AlarmName
from rft.tables import TextTable
from rft.types import Prompt

Measured = dict[str, Any]

LEARNED = ("num_tokens", "num_packed_tokens", "num_completions", "num_groups_trained")
"""Metrics of the learner; the engine's own counts have the probe's tokens in them."""


def ours(folder: Path, work: Workload) -> Measured:
    return trained(folder, "ours", work, num_workers=len(os.sched_getaffinity(0)), threads_per_worker=1)


def ours_unwatched(folder: Path, work: Workload) -> Measured:
    keys = {"trackers": [], "silent_alarms": list(get_args(AlarmName))}
    return trained(folder, "ours_unwatched", work, keys, num_workers=len(os.sched_getaffinity(0)), threads_per_worker=1)


def ours_ahead(folder: Path, work: Workload) -> Measured:
    return trained(folder, "ours_ahead", work, ahead=1)


def trained(
    folder: Path, name: str, work: Workload, keys: Mapping[str, Any] = MappingProxyType({}), **rollout: int
) -> Measured:
    """`rft train`, with these keys of the recipe and of its section rollout; room for all completions of a step."""
    is_ahead = bool(rollout.get("ahead"))
    work = replace(work, steps=work.steps + is_ahead)
    keys = recipe_keys(folder, work, max_num_seqs=work.prompts * work.group, **rollout) | keys
    # The last step has nothing to sample ahead.
    steps = run_training(folder, name, keys)[: work.steps - is_ahead]
    phases = {
        name.removeprefix("seconds/"): mean(step.metrics[name] for step in steps) / work.prompts
        for name in steps[0].metrics
        if name.startswith("seconds/")
    }
    total = {name: sum(step.metrics[name] for step in steps) for name in LEARNED}
    tokens, packed, completions, groups = total.values()
    return per_prompt([step.seconds for step in steps], work) | {
        "phases": phases,
        # Packed, a group is its prompt without the last token, and its completions.
        "prompt_tokens": (packed - tokens) / groups + 1,
        "completion_tokens": tokens / completions,
    }


def published(folder: Path, work: Workload) -> Measured:
    from benchmarks.published_step import PublishedStep

    one = PublishedStep(folder / "policy", work.group, work.completion_tokens, work.beta)
    batches = prompt_batches(folder, work)
    for batch in batches[:WARM_UP]:
        one.step(batch)
    before = dict(one.clock.seconds)
    seconds = [one.step(batch) for batch in batches[WARM_UP:]]
    counted = work.prompts * work.steps
    return per_prompt(seconds, work) | {
        "phases": {name: (s - before[name]) / counted for name, s in one.clock.seconds.items()},
        "prompt_tokens": mean(one.num_prompt_tokens),
        "completion_tokens": mean(one.num_tokens),
    }


def trl_all_frames(folder: Path, work: Workload) -> Measured:
    return trl(folder, work, all_frames=True)


def trl(folder: Path, work: Workload, *, all_frames: bool = False) -> Measured:
    from benchmarks.trl_step import run

    prompts = [prompt for batch in prompt_batches(folder, work) for prompt in batch]
    done = run(folder / "policy", work, prompts, folder, all_frames=all_frames)
    return per_prompt(done.seconds[WARM_UP:], work) | {
        "phases": {name: seconds / len(prompts) for name, seconds in done.phases.items()},
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
    }


WAYS: dict[str, Callable[[Path, Workload], Measured]] = {
    "ours": ours,
    "ours_unwatched": ours_unwatched,
    "ours_ahead": ours_ahead,
    "published": published,
    "trl": trl,
    "trl_all_frames": trl_all_frames,
}


def per_prompt(seconds: Sequence[float], work: Workload) -> Measured:
    each = [s / work.prompts for s in seconds]
    return {"seconds_per_prompt": median(each), "seconds_per_prompt_all": each}


def ratios_to(base: str, ways: Mapping[str, Measured]) -> dict[str, float]:
    """Seconds of the others over one of ours; {} where that was not measured."""
    if base not in ways:
        return {}
    seconds = {name: way["seconds_per_prompt"] for name, way in ways.items()}
    return {name: s / seconds[base] for name, s in seconds.items() if name != base}


def prompt_batches(folder: Path, work: Workload) -> list[list[Prompt]]:
    recipe = Recipe.model_validate(recipe_keys(folder, work))
    prompts = [to_prompt(row, recipe) for row in read_rows(recipe.data.train, None, recipe.tasks)]
    return [prompts[start : start + work.prompts] for start in range(0, work.num_clips, work.prompts)]


def in_own_process(measure: Callable[[Path, Workload], Measured], folder: Path, work: Workload) -> Measured:
    """With the environment that glibc and torch read as they start, the same for all ways."""
    os.environ |= FOR_TENSORS | {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, folder, work).result()


def tables(ways: Mapping[str, Measured], *ratios: Mapping[str, float]) -> list[TextTable]:
    lines = [
        (
            name,
            f"{way['seconds_per_prompt']:.3f}",
            f"{min(way['seconds_per_prompt_all']):.3f} to {max(way['seconds_per_prompt_all']):.3f}",
            f"{way['prompt_tokens']:.0f}",
            f"{way['completion_tokens']:.1f}",
            *(f"{one[name]:.2f}" if name in one else "" for one in ratios),
        )
        for name, way in ways.items()
    ]
    columns = ("way", "seconds per prompt", "all steps", "prompt tokens", "completion tokens")
    columns += ("times ours", "times ours_ahead")
    phases = [
        (name, phase, f"{seconds:.4f}")
        for name, way in ways.items()
        for phase, seconds in sorted(way["phases"].items(), key=lambda item: -item[1])
        if seconds >= 5e-5
    ]
    return [
        TextTable("A whole step, median", columns, tuple(lines)),
        TextTable("Where it goes, mean", ("way", "phase", "seconds per prompt"), tuple(phases)),
    ]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=tuple(WAYS), default=tuple(WAYS))
    add_arguments(parser, steps=3)
    parser.set_defaults(prompts=16)
    arguments = parser.parse_args(argv)
    work = workload(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, work.num_clips + work.prompts)
        ways = {name: in_own_process(way, folder, work) for name, way in WAYS.items() if name in arguments.only}
    ratios, ratios_ahead = ratios_to("ours", ways), ratios_to("ours_ahead", ways)
    result = {
        "question": "seconds of a whole step per prompt: ours, the released VideoChat-R1 way, trl.GRPOTrainer",
        "prompts": work.prompts,
        "group": work.group,
        "max_completion_tokens": work.completion_tokens,
        "frames": work.frames,
        "beta": work.beta,
        "steps": work.steps,
        "ways": ways,
        "ratios": ratios,
        "ratios_ahead": ratios_ahead,
    }
    return finish("step", result, tables(ways, ratios, ratios_ahead), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

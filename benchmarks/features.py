"""What does it save when a frozen vision tower looks at a clip once in a run, and not once in every pass?

    python -m benchmarks.features

Engine and learner share one process and one thread; seconds are those of the processor, so that other processes count
little. Every step draws groups for its prompts and makes one update, after new weights have reached the engine, three
times over the same clips: with a tower that looks in every pass (engine, policy, reference), with clips that are met
for the first time (the engine looks, the learner reads), and with known clips, as in a second epoch (nobody looks).
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.report import finish
from benchmarks.tiny import WARM_UP, Workload, add_arguments, recipe_keys, workload, write_data
from rft.actors.rollout import engine_environment
from rft.data.dataset import read_rows, to_prompt
from rft.data.feature_store import features_in
from rft.data.processor import PromptProcessor
from rft.data.video import ClipCache
from rft.recipe import Recipe, RolloutRecipe
from rft.tables import TextTable
from rft.types import Prompt, TrainGroup
from rft.weights.ref import StoredWeights, WeightsRef

if TYPE_CHECKING:
    from rft.learner.learner import Learner
    from rft.rollout.engine import Engine

WAYS = ("every pass", "first sight", "known")


@dataclass(frozen=True, slots=True)
class Step:
    rollout: float
    """Processor seconds."""
    update: float
    looks: float
    """Passes of a tower over a clip, per prompt."""


def measure(folder: Path, work: Workload) -> dict[str, list[Step]]:
    """The counted steps of each way."""
    keys = recipe_keys(folder, work, threads_per_worker=1)
    recipe = Recipe.model_validate(keys | {"learner": keys["learner"] | {"freeze_vision": True}})
    import torch

    from rft.learner.learner import Learner
    from rft.rollout.engine import Engine

    torch.set_num_threads(1)
    clips = ClipCache(folder / "decoded", 1.0)
    prompts = [to_prompt(row, recipe) for row in read_rows(recipe.data.train, None, recipe.tasks)]
    for prompt in prompts:
        clips.load(prompt.media)
    kept = features_in(folder)
    engine = Engine(recipe.model, recipe, use_gpu=False, features_dir=kept)

    def new_learner() -> Learner:
        processor = PromptProcessor(recipe.model)
        return Learner(recipe.model, recipe, processor, clips, recipe.steps, features_dir=kept)

    looking, reading = new_learner(), new_learner()
    looking._policies._features = None  # its tower runs in every pass
    steps: dict[str, list[Step]] = {way: [] for way in WAYS}
    for chosen in batches(prompts, work.prompts):
        for way in WAYS:
            learner = looking if way == "every pass" else reading
            steps[way].append(one_step(engine, learner, clips, chosen, recipe))
    clips.close()
    return {way: found[WARM_UP:] for way, found in steps.items()}


def one_step(engine: "Engine", learner: "Learner", clips: ClipCache, prompts: Sequence[Prompt], recipe: Recipe) -> Step:
    tensors, probe = learner.state_dict_for_rollout()
    ref = WeightsRef(learner.policy_version, StoredWeights(tensors), probe, frozen_tower=learner.frozen_tower)
    engine.load_weights(ref).result()
    engine.counters().result()
    begun = time.process_time()
    asked = [
        engine.submit(engine.render(prompt, clips.load(prompt.media)), recipe.sampling.sampling(), seed)
        for seed, prompt in enumerate(prompts)
    ]
    groups = [
        TrainGroup(prompt, group.result(), tuple(1.0 if place % 2 else -1.0 for place in range(len(group.result()))))
        for prompt, group in zip(prompts, asked, strict=True)
    ]
    drawn = time.process_time()
    metrics = learner.update(groups)
    done = time.process_time()
    passes = engine.counters().result()["clips/encodes"] + metrics["num_encoded_videos"]
    if learner.frozen_tower is None:  # the reference's tower looks as often as the policy's, and is not counted
        passes += metrics["num_encoded_videos"]
    return Step(drawn - begun, done - drawn, passes / len(prompts))


def batches(prompts: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    for start in range(0, len(prompts), size):
        yield prompts[start : start + size]


def compare(steps: dict[str, list[Step]]) -> dict[str, Any]:
    """Medians per way, and the share of the time of `every pass` that the others need, step by step."""
    whole = {way: [one.rollout + one.update for one in found] for way, found in steps.items()}
    return {
        way: {
            "looks": median(one.looks for one in found),
            "rollout": median(one.rollout for one in found),
            "update": median(one.update for one in found),
            "share": median(a / b for a, b in zip(whole[way], whole[WAYS[0]], strict=True)),
        }
        for way, found in steps.items()
    }


def table(found: dict[str, Any]) -> TextTable:
    columns = ("tower looks", "passes per clip", "rollout, s", "update, s", "share")
    lines = tuple(
        (way, f"{of['looks']:g}", f"{of['rollout']:.3f}", f"{of['update']:.3f}", f"{of['share']:.2f}")
        for way, of in found.items()
    )
    return TextTable("A step with a frozen tower, one thread", columns, lines)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add_arguments(parser, steps=3)
    arguments = parser.parse_args(argv)
    work = workload(arguments)
    # torch and vLLM read the environment as they are imported.
    os.environ.update(engine_environment(RolloutRecipe(), use_gpu=False, offline=True, threads=1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, work.num_clips)
        found = compare(measure(folder, work))
    result = {
        "question": "processor seconds of a step against how often a frozen tower looks at a clip",
        "prompts": work.prompts,
        "group": work.group,
        "max_completion_tokens": work.completion_tokens,
        "frames": work.frames,
        "ways": found,
    }
    return finish("features", result, [table(found)], arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

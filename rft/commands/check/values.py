"""Values of a recipe that are fine alone and wrong together."""

import importlib.util
from collections.abc import Iterator

from rft.problems import Problem, near_name
from rft.recipe import Recipe
from rft.scoring.group import chosen_rewards
from rft.tasks import TASKS
from rft.tasks.types import Task

Finding = tuple[bool, str, str]
"""(is it wrong, key, message)"""


def value_problems(recipe: Recipe) -> list[Problem]:
    """Every pair of values that cannot go together, and names that are in no table."""
    found = (*_of_video_and_data(recipe), *_of_training(recipe), *_of_bonuses(recipe), *_of_stages(recipe))
    return [Problem(key, "", message) for wrong, key, message in found if wrong]


def _of_video_and_data(recipe: Recipe) -> Iterator[Finding]:
    video = recipe.video
    yield (
        video.min_frames > video.max_frames,
        "video.min_frames",
        f"{video.min_frames} is more than video.max_frames, {video.max_frames}.",
    )
    yield (
        video.min_pixels > video.max_pixels,
        "video.min_pixels",
        f"{video.min_pixels} is more than video.max_pixels, {video.max_pixels}.",
    )
    yield (
        video.decoder == "torchcodec" and importlib.util.find_spec("torchcodec") is None,
        "video.decoder",
        "torchcodec is not installed. Install it and FFmpeg, or use pyav.",
    )
    for name, asked in recipe.tasks.items():
        yield (
            asked.frames != "sampled" and name in TASKS and not _has_boxes(TASKS[name]),
            f"tasks.{name}.frames",
            f"{asked.frames} goes by boxes, but {name} answers with none. Set it to sampled.",
        )
    yield (not recipe.data.train, "data.train", "names no file. Name at least one JSONL file of rows.")
    yield (not recipe.tasks, "tasks", f"names no task.{near_name('', TASKS)}")


def _has_boxes(task: Task) -> bool:
    return bool(task.target(task.example).frame_boxes())


def _of_training(recipe: Recipe) -> Iterator[Finding]:
    from rft.commands.list import losses

    learner, algorithm, length = recipe.learner, recipe.algorithm, recipe.sampling.max_completion_length
    updates = recipe.total_updates
    yield (
        algorithm.loss_type not in losses(),
        "algorithm.loss_type",
        f"no loss is called '{algorithm.loss_type}'.{near_name(algorithm.loss_type, losses())}",
    )
    yield (
        algorithm.silent_groups == "keep" and algorithm.max_resamples > 0,
        "algorithm.max_resamples",
        "replaces groups without signal, but algorithm.silent_groups keeps them. Set one back.",
    )
    yield (
        recipe.scoring.overlong_buffer >= length,
        "scoring.overlong_buffer",
        f"{recipe.scoring.overlong_buffer} leaves no completion without penalty: "
        f"sampling.max_completion_length is {length}.",
    )
    yield (
        learner.warmup_steps >= updates > 0,
        "learner.warmup_steps",
        f"{learner.warmup_steps} is not less than the {updates} updates of the run: "
        "the learning rate would never be reached.",
    )
    yield (
        recipe.rollout.share_gpu and recipe.rollout.gpus_per_worker > 1,
        "rollout.share_gpu",
        f"an engine on {recipe.rollout.gpus_per_worker} GPUs cannot share one. Set rollout.gpus_per_worker to 1.",
    )
    yield (
        recipe.rollout.share_gpu
        and recipe.rollout.weight_transfer in ("auto", "ipc")
        and recipe.rollout.num_workers > learner.num_ranks,
        "rollout.num_workers",
        f"of {recipe.rollout.num_workers} engines only {learner.num_ranks} would find a learning process on their GPU. "
        "Set learner.num_ranks as high, or rollout.weight_transfer to object_store.",
    )
    yield (
        recipe.rollout.weight_transfer == "ipc" and not recipe.rollout.share_gpu,
        "rollout.weight_transfer",
        "ipc is a road between two processes on one GPU. Set rollout.share_gpu, or auto.",
    )
    yield (
        recipe.rollout.weight_transfer == "nccl" and recipe.rollout.share_gpu,
        "rollout.weight_transfer",
        "nccl is a road between GPUs, and rollout.share_gpu puts both ends on one. Set ipc, or auto.",
    )
    yield (
        learner.master_dtype == "bfloat16" and learner.dtype == "float32",
        "learner.master_dtype",
        "bfloat16 keeps less of a weight than forward and backward use: learner.dtype is float32. Set both the same.",
    )
    yield (
        algorithm.num_mini_batches > recipe.prompts_per_step,
        "algorithm.num_mini_batches",
        f"{algorithm.num_mini_batches} mini-batches share {recipe.prompts_per_step} groups a step: some would have "
        "none. Raise prompts_per_step.",
    )
    groups = recipe.prompts_per_step // algorithm.num_mini_batches
    yield (
        learner.num_ranks > groups > 0,
        "learner.num_ranks",
        f"{learner.num_ranks} ranks share {groups} groups an update: some would have none. Raise prompts_per_step.",
    )


def _of_bonuses(recipe: Recipe) -> Iterator[Finding]:
    chosen = {reward for task in recipe.tasks if task in TASKS for reward in chosen_rewards(recipe, task)}
    asked, order = recipe.scoring.length_bonus, recipe.scoring.order_bonus
    for key, bonus in (("length_bonus", asked), ("order_bonus", order)):
        name = bonus.reward if bonus else ""
        yield (
            bonus is not None and name not in chosen,
            f"scoring.{key}.reward",
            f"no task is rewarded by '{name}': the bonus would never be given.{near_name(name, chosen)}",
        )
    if asked is None:
        return
    yield (
        asked.tokens_low > min(asked.tokens_high, recipe.sampling.max_completion_length),
        "scoring.length_bonus.tokens_low",
        f"{asked.tokens_low} is more than tokens_high, {asked.tokens_high}, or than sampling.max_completion_length, "
        f"{recipe.sampling.max_completion_length}: the bonus would never be given.",
    )


def _of_stages(recipe: Recipe) -> Iterator[Finding]:
    yield (
        recipe.steps == 0 and recipe.cold_start is None,
        "steps",
        "0 steps without a cold_start train nothing. Raise steps, or measure the model with `rft eval`.",
    )
    yield (
        recipe.eval.every > 0 and not recipe.data.eval,
        "eval.every",
        "there is nothing to evaluate on. Set data.eval, or eval.every to 0.",
    )
    if recipe.cold_start:
        cold = recipe.cold_start
        yield (not cold.data, "cold_start.data", "names no file. Name at least one JSONL file of rows.")
        yield (
            cold.warmup_steps >= cold.steps,
            "cold_start.warmup_steps",
            f"{cold.warmup_steps} is not less than cold_start.steps, {cold.steps}.",
        )

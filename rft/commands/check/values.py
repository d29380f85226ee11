"""Values of a recipe that are fine alone and wrong together."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from rft.commands.check.engine import engine_problems
from rft.errors import Problem, near_name
from rft.recipe import Recipe
from rft.recipe.model_folder import local_config, model_problems, packing_obstacle
from rft.scoring.group import chosen_rewards
from rft.scoring.judge import OWN_ENDPOINT, asking_rewards
from rft.tasks import TASKS


def value_problems(recipe: Recipe) -> list[Problem]:
    """Every pair of values that cannot go together, and names that are in no table."""
    return [
        *_of_video_and_data(recipe),
        *_of_training(recipe),
        *engine_problems(recipe),
        *_of_judge(recipe),
        *_of_bonuses(recipe),
        *_of_stages(recipe),
    ]


def _of_video_and_data(recipe: Recipe) -> Iterator[Problem]:
    video = recipe.video
    for section, rule in zip(("video", "video.again"), video.samplings(), strict=False):
        if rule.min_frames > rule.max_frames:
            yield Problem(
                f"{section}.min_frames", f"{rule.min_frames} is more than {section}.max_frames, {rule.max_frames}."
            )
        if rule.min_pixels > rule.max_pixels:
            yield Problem(
                f"{section}.min_pixels", f"{rule.min_pixels} is more than {section}.max_pixels, {rule.max_pixels}."
            )
    if video.again is not None:
        others = {
            "video.stream": video.stream,
            "scoring.order_bonus": recipe.scoring.order_bonus is not None,
            "eval.second_look": recipe.eval.second_look is not None,
            **{f"tasks.{name}.frames": task.frames != "sampled" for name, task in recipe.tasks.items()},
        }
        for key, is_set in others.items():
            if is_set:
                yield Problem("video.again", f"does not go with {key}, which needs a clip that is shown once.")
    if video.decoder == "torchcodec" and importlib.util.find_spec("torchcodec") is None:
        yield Problem("video.decoder", "torchcodec is not installed. Install it and FFmpeg, or use pyav.")
    for name, task_recipe in recipe.tasks.items():
        task = TASKS.get(name)
        if task_recipe.frames != "sampled" and task and not task.target(task.example).frame_boxes():
            yield Problem(
                f"tasks.{name}.frames",
                f"{task_recipe.frames} goes by boxes, but {name} answers with none. Set it to sampled.",
            )
    if not recipe.data.train:
        yield Problem("data.train", "names no file. Name at least one JSONL file of rows.")
    if not recipe.tasks:
        yield Problem("tasks", f"names no task.{near_name('', TASKS)}")


def _of_training(recipe: Recipe) -> Iterator[Problem]:
    learner, algorithm, length = recipe.learner, recipe.algorithm, recipe.sampling.max_completion_length
    rollout, updates = recipe.rollout, recipe.total_updates
    if algorithm.zero_std_groups == "keep" and algorithm.max_resamples > 0:
        yield Problem(
            "algorithm.max_resamples",
            "replaces groups without signal, but algorithm.zero_std_groups keeps them. Set one back.",
        )
    if recipe.scoring.overlong_buffer >= length:
        yield Problem(
            "scoring.overlong_buffer",
            f"{recipe.scoring.overlong_buffer} leaves no completion without penalty: "
            f"sampling.max_completion_length is {length}.",
        )
    if learner.warmup_steps >= updates > 0:
        yield Problem(
            "learner.warmup_steps",
            f"{learner.warmup_steps} is not less than the {updates} updates of the run: "
            "the learning rate would never be reached.",
        )
    if learner.num_ranks % learner.num_replicas:
        yield Problem(
            "learner.num_replicas",
            f"{learner.num_replicas} copies cannot share {learner.num_ranks} ranks evenly. Set it to a divisor.",
        )
    yield from _of_partial_rollouts(recipe)
    if rollout.share_gpu and rollout.gpus_per_worker > 1:
        yield Problem(
            "rollout.share_gpu",
            f"an engine on {rollout.gpus_per_worker} GPUs cannot share one. Set rollout.gpus_per_worker to 1.",
        )
    if rollout.share_gpu and rollout.weight_transfer in ("auto", "ipc") and rollout.num_workers > learner.num_ranks:
        yield Problem(
            "rollout.num_workers",
            f"of {rollout.num_workers} engines only {learner.num_ranks} would find a learning process on their GPU. "
            "Set learner.num_ranks as high, or rollout.weight_transfer to object_store.",
        )
    if rollout.weight_transfer == "ipc" and not rollout.share_gpu:
        yield Problem(
            "rollout.weight_transfer",
            "ipc moves weights between two processes on one GPU. Set rollout.share_gpu, or auto.",
        )
    if rollout.weight_transfer == "nccl" and rollout.share_gpu:
        yield Problem(
            "rollout.weight_transfer",
            "nccl moves weights between GPUs, and rollout.share_gpu puts both ends on one. Set ipc, or auto.",
        )
    if learner.master_dtype == "bfloat16" and learner.dtype == "float32":
        yield Problem(
            "learner.master_dtype",
            "bfloat16 keeps less of a weight than forward and backward use: learner.dtype is float32. "
            "Set both the same.",
        )
    if algorithm.num_mini_batches > recipe.prompts_per_step:
        yield Problem(
            "algorithm.num_mini_batches",
            f"{algorithm.num_mini_batches} mini-batches share {recipe.prompts_per_step} groups a step: some would have "
            "none. Raise prompts_per_step.",
        )
    yield from _of_ranks(recipe)


def _of_partial_rollouts(recipe: Recipe) -> Iterator[Problem]:
    rollout = recipe.rollout
    if rollout.ahead > 1 and not rollout.partial:
        yield Problem(
            "rollout.ahead",
            f"{rollout.ahead} gains nothing where weights wait until nothing is sampled. Set 1, or rollout.partial.",
        )
    if rollout.partial and not rollout.ahead:
        yield Problem("rollout.partial", "nothing is sampled while weights change. Set rollout.ahead to 1 or more.")
    if rollout.partial and recipe.algorithm.max_resamples:
        yield Problem(
            "algorithm.max_resamples",
            "takes prompts that rollout.partial has begun to sample for later steps. Set one back.",
        )


def _of_ranks(recipe: Recipe) -> Iterator[Problem]:
    learner, groups = recipe.learner, recipe.prompts_per_step // recipe.algorithm.num_mini_batches
    size, num_completions = learner.context_parallel, recipe.sampling.num_generations
    if learner.num_ranks % size:
        yield Problem(
            "learner.context_parallel",
            f"{size} ranks share a prompt, but {learner.num_ranks} cannot be split so. Set learner.num_ranks to a "
            "multiple of it.",
        )
        return
    if learner.num_ranks // size > groups > 0:
        ranks = f"{learner.num_ranks} ranks" if size == 1 else f"{learner.num_ranks // size} times {size} ranks"
        yield Problem(
            "learner.num_ranks",
            f"{ranks} share {groups} groups an update: some would have none. Raise prompts_per_step.",
        )
    if size > num_completions:
        yield Problem(
            "learner.context_parallel",
            f"{size} ranks share {num_completions} completions of a prompt: some would have none. Lower it.",
        )
    if size > 1 and recipe.video.stream:
        yield Problem("learner.context_parallel", "prompts of a stream are not dealt to several ranks. Set it to 1.")
    config = local_config(recipe.model)
    if size > 1 and config and (reason := packing_obstacle(config)):
        yield Problem(
            "learner.context_parallel", f"a group of this model is not packed, because {reason}. Set it to 1."
        )


def _of_bonuses(recipe: Recipe) -> Iterator[Problem]:
    chosen = {reward for task in recipe.tasks if task in TASKS for reward in chosen_rewards(recipe.tasks, task)}
    length, max_tokens = recipe.scoring.length_bonus, recipe.sampling.max_completion_length
    for key, bonus in (("length_bonus", length), ("order_bonus", recipe.scoring.order_bonus)):
        if bonus is not None and bonus.reward not in chosen:
            yield Problem(
                f"scoring.{key}.reward",
                f"no task is rewarded by '{bonus.reward}': the bonus would never be given."
                f"{near_name(bonus.reward, chosen)}",
            )
    if length is not None and length.tokens_low > min(length.tokens_high, max_tokens):
        yield Problem(
            "scoring.length_bonus.tokens_low",
            f"{length.tokens_low} is more than tokens_high, {length.tokens_high}, or than "
            f"sampling.max_completion_length, {max_tokens}: the bonus would never be given.",
        )


def _of_judge(recipe: Recipe) -> Iterator[Problem]:
    asking = list(asking_rewards(recipe))
    if recipe.judge and not Path(recipe.judge.model).is_dir():
        yield from (Problem("judge.model", problem) for problem in model_problems(recipe.judge.model)[0])
    if recipe.judge and not asking:
        yield Problem("judge", "no reward asks it. Give one the argument `judge: model`, without judge_url.")
    for task, reward, args in asking:
        for name in sorted(OWN_ENDPOINT & args.keys()):
            yield Problem(f"tasks.{task}.rewards.{reward}.args.{name}", "the section judge decides it. Leave it out.")


def _of_stages(recipe: Recipe) -> Iterator[Problem]:
    if recipe.steps == 0 and recipe.cold_start is None:
        yield Problem(
            "steps", "0 steps without a cold_start train nothing. Raise steps, or measure the model with `rft eval`."
        )
    if recipe.eval.every > 0 and not recipe.data.eval:
        yield Problem("eval.every", "there is nothing to evaluate on. Set data.eval, or eval.every to 0.")
    if recipe.cold_start:
        cold = recipe.cold_start
        if not cold.data:
            yield Problem("cold_start.data", "names no file. Name at least one JSONL file of rows.")
        if cold.warmup_steps >= cold.steps:
            yield Problem(
                "cold_start.warmup_steps", f"{cold.warmup_steps} is not less than cold_start.steps, {cold.steps}."
            )

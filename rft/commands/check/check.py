"""Check of a recipe before Ray or a GPU starts: every problem that shows on a laptop, and the plan."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewards.judge import TIMEOUT_S
from rft.actors.gpu_count import driver_gpus, gpu_problem, gpu_signs
from rft.commands.check.data import DataCheck, check_data, refuse_recipe
from rft.commands.check.estimate import cost_lines, parse_gpus
from rft.commands.check.own_code import import_problems
from rft.commands.check.placement import placement_lines
from rft.commands.check.prompt_length import TEMPLATE_TOKENS, image_tokens, text_bytes, text_tokens, visual_tokens
from rft.commands.check.rewards import reward_findings
from rft.commands.check.values import value_problems
from rft.errors import Problem, RecipeError, problem_text
from rft.recipe import Recipe
from rft.recipe.fidelity import setting_lines
from rft.recipe.load import named_own_code, read_recipe
from rft.recipe.model_folder import config_size_factor, local_config, model_problems
from rft.scoring.group import chosen_rewards
from rft.tasks import TASKS
from rft.types import VideoSampling


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of a check."""

    recipe: Recipe
    path: Path
    problems: tuple[Problem, ...]
    """Problems of the recipe."""
    data_problems: tuple[str, ...]
    """Messages about data files, whole blocks of lines."""
    notes: tuple[str, ...]
    """Notes on what is allowed but may not be intended."""
    plan: tuple[tuple[str, str], ...]
    """(what, value) of the run as resolved."""

    def text(self) -> str:
        """The plan and the notes, for a person."""
        width = max(len(what) for what, _ in self.plan)
        lines = [f"{what:<{width}}  {value}" for what, value in self.plan]
        return "\n".join([f"{self.path}: no problems", *lines, *(f"note: {note}" for note in self.notes)])


def check_file(path: Path, overrides: Sequence[str] = (), resume: bool = False, gpu: str | None = None) -> Checked:
    """The recipe in a file, checked. Raises RecipeError that lists every problem of recipe, model and data.

    `gpu`: the GPUs that the plan is for, `H200`, `8xH200` or, on 4 nodes, `4x8xH200`; they need not be here.
    """
    gpus = parse_gpus(gpu) if gpu is not None else None
    loaded = read_recipe(path, overrides, import_problems(named_own_code(path, overrides)))
    if loaded.recipe is None:
        raise RecipeError(problem_text(str(path), loaded.problems))
    checked = check(loaded.recipe, path, resume, gpus)
    refuse_recipe(str(path), (*loaded.problems, *checked.problems), checked.data_problems)
    return checked


def check(recipe: Recipe, path: Path, resume: bool = False, gpus: tuple[str, tuple[int, ...]] | None = None) -> Checked:
    """Problems and plan of a recipe, without torch; `path` is where it came from, `gpus` as of `parse_gpus`."""
    model_wrong, model_notes = model_problems(recipe.model)
    data = check_data(recipe)
    prompt, visual, token_problems = _tokens(recipe, data)
    run_dir = recipe.run_dir or Path("runs") / path.stem
    findings: list[Problem | str] = [
        *(Problem("model", message) for message in model_wrong),
        *model_notes,
        *value_problems(recipe),
        *reward_findings(recipe),
        *data.findings,
        *token_problems,
        *_run_dir_findings(run_dir, resume),
        *_setting_notes(recipe),
        *_judge_notes(recipe),
        *_gpu_notes(recipe),
    ]
    problems = tuple(one for one in findings if isinstance(one, Problem))
    notes = tuple(one for one in findings if isinstance(one, str))
    return Checked(recipe, path, problems, data.blocks, notes, _plan(recipe, data, (prompt, visual), run_dir, gpus))


def _tokens(recipe: Recipe, data: DataCheck) -> tuple[int, int, list[Problem]]:
    """(most tokens of a prompt, most visual ones among them, a problem where they are too many)."""
    limit, completion = recipe.rollout.max_model_len, recipe.sampling.max_completion_length
    config = local_config(recipe.model)
    factor, tells_times = config_size_factor(config), config.get("model_type") == "qwen3_vl"
    # Without rows, any clip; rows of text alone have none.
    shown = data.shown if data.texts else {((recipe.video.sampling(), None),)}

    def tokens(sampling: VideoSampling | None, clip_s: float | None) -> int:
        if sampling is None:
            return image_tokens(recipe.video.max_pixels, factor)
        return visual_tokens(sampling, clip_s, factor, tells_times=tells_times)

    visual = max((sum(tokens(*part) for part in parts) for parts in shown), default=0)
    system = (recipe.system_prompt or "",)
    prompt = visual + text_bytes(data.texts) + text_bytes(system) + TEMPLATE_TOKENS
    if prompt + completion > limit:
        # Bytes are quick to count and bound the tokens from above; only a tight fit needs the tokenizer.
        prompt = visual + text_tokens(data.texts, recipe.model) + text_tokens(system, recipe.model) + TEMPLATE_TOKENS
    if prompt + completion <= limit:
        return prompt, visual, []
    message = (
        f"a prompt can have {prompt:,} tokens ({visual:,} of them visual), a completion {completion:,}: together more "
        f"than {limit:,}. Raise it, or lower video.total_pixels, video.max_pixels, video.max_frames or "
        "sampling.max_completion_length."
    )
    if any(sampling and clip_s is None for parts in shown for sampling, clip_s in parts):
        message += " Rows with duration_s are bound by their own length."
    return prompt, visual, [Problem("rollout.max_model_len", message)]


def _run_dir_findings(run_dir: Path, resume: bool) -> Iterator[Problem | str]:
    existing = next(folder for folder in (run_dir, *run_dir.absolute().parents) if folder.exists())
    if not existing.is_dir():
        yield Problem("run_dir", f"{existing} is a file. Set run_dir to a folder.")
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield Problem("run_dir", f"{existing} cannot be written to. Set run_dir to another folder.")
    elif not resume and (run_dir / "metrics.jsonl").exists():
        yield f"{run_dir} holds a run already: continue it with --resume, or set run_dir to another folder."


def _gpu_notes(recipe: Recipe) -> Iterator[str]:
    """What a run on this machine would stop at; nothing where nothing says that it is one with GPUs."""
    if recipe.cluster.joined_address():
        return
    if problem := gpu_problem(recipe, recipe.learner.num_ranks, driver_gpus(), gpu_signs()):
        yield f"on this machine the run would not start: {problem}"


def _judge_notes(recipe: Recipe) -> Iterator[str]:
    for task in filter(TASKS.__contains__, recipe.tasks):
        for reward, part in chosen_rewards(recipe.tasks, task).items():
            wait_s = part.args.get("judge_timeout_s", TIMEOUT_S)
            if part.args.get("judge") == "model" and recipe.scoring.reward_timeout_s <= wait_s:
                yield (
                    f"scoring.reward_timeout_s ends {reward} after {recipe.scoring.reward_timeout_s:g} s for a whole "
                    f"group, but one request to its judge may take {wait_s:g} s, and be tried again. Raise it."
                )


def _setting_notes(recipe: Recipe) -> Iterator[str]:
    sampling, algorithm, learner = recipe.sampling, recipe.algorithm, recipe.learner
    if sampling.top_p < 1 or sampling.top_k > 0:
        yield (
            "sampling.top_p and top_k cut the distribution that completions are drawn from, and the learner computes "
            "log-probabilities without the cut: the importance ratios are off by what was cut."
        )
    low, high = algorithm.epsilon, algorithm.epsilon_high
    if low is not None and high is not None and high < low:
        yield "algorithm.epsilon_high is below epsilon: good completions are held back more than bad ones."
    if recipe.scoring.overlong_buffer and recipe.scoring.truncated != "score":
        yield "scoring.overlong_buffer has no say over truncated completions that are zeroed or dropped."
    thinking = [name for name, task_recipe in recipe.tasks.items() if task_recipe.think]
    if algorithm.ground_truth and thinking:
        yield (
            "algorithm.ground_truth writes one stock thought before every target, and teaches it to tasks that think: "
            f"{', '.join(thinking)}."
        )
    if learner.lora and learner.learning_rate < 1e-6:
        yield "learner.learning_rate is low for LoRA, which usually takes about ten times that of all weights."
    gap = 2.0**-11
    if learner.master_dtype == "bfloat16" and not learner.lora and learner.learning_rate < gap / 2:
        yield (
            f"learner.master_dtype: bfloat16 knows no weight between 0.1 and its neighbours, {gap:.1e} away: of steps "
            f"of {learner.learning_rate:g} one in {gap / learner.learning_rate:,.0f} moves a weight, by so much "
            "(rounded at random, right on average). float32 takes every step."
        )


def _plan(
    recipe: Recipe, data: DataCheck, tokens: tuple[int, int], run_dir: Path, gpus: tuple[str, tuple[int, ...]] | None
) -> tuple[tuple[str, str], ...]:
    """Lines of the plan: (what, value). `tokens`: of the longest prompt, and the visual ones among them."""
    prompts, group = recipe.prompts_per_step, recipe.sampling.num_generations
    plan = [("model", recipe.model), *(("fidelity", line) for line in setting_lines(recipe))]
    for name, task_recipe in recipe.tasks.items():
        if name not in TASKS:
            continue
        weights = ", ".join(f"{reward} {part.weight:g}" for reward, part in chosen_rewards(recipe.tasks, name).items())
        counts = ", ".join(f"{count.get(name, 0):,} {split}" for split, count in data.rows.items())
        plan.append(("task", f"{name}, {'think' if task_recipe.think else 'no think'}: {weights}; rows: {counts}"))
    if recipe.cold_start:
        cold = recipe.cold_start
        plan.append(("cold start", f"{cold.steps:,} steps x {cold.rows_per_step} rows, lr {cold.learning_rate:g}"))
    train_rows = sum(data.rows.get("train", {}).values())
    epochs = f", {recipe.steps * prompts / train_rows:.2f} epochs" if train_rows else ""
    order = recipe.scoring.order_bonus
    shuffled = f", and {order.num_generations or group // 2} per prompt on shuffled frames" if order else ""
    steps = (
        f"{recipe.steps:,} x {prompts} prompts x {group} completions = "
        f"{recipe.steps * prompts * group:,} completions{epochs}{shuffled}"
    )
    plan += [
        ("steps", steps if recipe.steps else "none: the supervised stage alone"),
        (
            "tokens",
            f"prompt at most {tokens[0]:,} ({tokens[1]:,} visual), completion at most "
            f"{recipe.sampling.max_completion_length:,}, engine {recipe.rollout.max_model_len:,}",
        ),
        ("learner", _learner_line(recipe)),
        *cost_lines(recipe, *tokens, *((gpus[0], sum(gpus[1]) or None) if gpus else ())),
        *placement_lines(recipe, gpus[1] if gpus else ()),
        ("rollout", f"{recipe.rollout.num_workers} vLLM worker(s), temperature {recipe.sampling.temperature:g}"),
        *(
            [("judge", f"{recipe.judge.model}, {recipe.judge.max_concurrent} requests at a time")]
            if recipe.judge
            else []
        ),
        ("parity", _parity_line(recipe)),
        ("evaluation", _eval_line(recipe, sum(data.rows.get("eval", {}).values()))),
        ("run folder", f"{run_dir}, a checkpoint every {_save_interval(recipe)}, seed {recipe.seed}"),
    ]
    return tuple(plan)


def _learner_line(recipe: Recipe) -> str:
    learner, algorithm = recipe.learner, recipe.algorithm
    what = f"LoRA r {learner.lora.r}" if learner.lora else "all weights"
    if learner.freeze_vision:
        what += ", vision tower frozen"
    return (
        f"{what}; loss {algorithm.loss_type}, beta {algorithm.beta:g}; lr {learner.learning_rate:g} "
        f"{learner.lr_scheduler_type}; {learner.dtype}; {learner.num_ranks} rank(s)"
    )


def _save_interval(recipe: Recipe) -> str:
    seconds = f" or {recipe.save_every_s:g} s" if recipe.save_every_s else ""
    return f"{recipe.save_every} steps{seconds}"


def _parity_line(recipe: Recipe) -> str:
    parity = recipe.parity
    return (
        f"{parity.prompts_per_task} prompts of each task and kind of video before the first step: mean exp|dlogp| "
        f"<= {parity.max_ratio:g}, KL < {parity.max_kl:g}, else {parity.on_mismatch}"
    )


def _eval_line(recipe: Recipe, rows: int) -> str:
    if not rows:
        return "none: data.eval names no rows"
    every = f", and every {recipe.eval.every} steps" if recipe.eval.every else ""
    limit = f" on {recipe.eval.max_rows:,}" if recipe.eval.every and recipe.eval.max_rows else ""
    sampled = f"{recipe.eval.num_samples} sampled" if recipe.eval.num_samples else "none sampled"
    return f"{rows:,} rows before and after{every}{limit}; greedy and {sampled} per row"

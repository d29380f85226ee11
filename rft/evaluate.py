"""Evaluation through the rollout workers: greedy and sampled completions, judged by each task's own metrics."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from rewards.types import Target, target_to_dict
from rft.errors import CheckpointError
from rft.intervals import Estimate, bootstrap
from rft.records import read_records, write_records
from rft.tasks import TASKS
from rft.tasks.types import Task
from rft.types import Completion, FinishReason, Prompt, Sampling

Mode = Literal["greedy", "sampled"]
MODES: tuple[Mode, ...] = ("greedy", "sampled")

WELL_FORMED = "well_formed"
"""The metric of every task that is 1 where the completion has the asked form."""


class Generator(Protocol):
    """What evaluation needs of the rollout workers."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One judged completion."""

    prompt_id: str
    task: str
    mode: Mode
    text: str
    finish_reason: FinishReason
    num_tokens: int
    policy_version: int
    values: dict[str, float]
    """Metric -> value of this completion."""
    target: dict[str, Any]
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class EvalResult:
    """All samples of one evaluation, and what follows from them."""

    samples: tuple[Sample, ...]
    seed: int
    """Of the bootstrap."""

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(sorted({sample.task for sample in self.samples}))

    def of(self, task: str, mode: Mode) -> tuple[Sample, ...]:
        return tuple(s for s in self.samples if s.task == task and s.mode == mode)

    def rows(self, task: str, mode: Mode) -> dict[str, dict[str, float]]:
        """Prompt id -> metric -> mean over the row's samples, in the order of the prompts."""
        by_row: dict[str, list[dict[str, float]]] = defaultdict(list)
        for sample in self.of(task, mode):
            by_row[sample.prompt_id].append(sample.values)
        return {
            prompt_id: {name: sum(v[name] for v in values) / len(values) for name in values[0]}
            for prompt_id, values in by_row.items()
        }

    def estimates(self, task: str, mode: Mode) -> dict[str, Estimate]:
        """Metric -> mean over all rows, the failed and malformed ones included; {} where the mode was not sampled."""
        return bootstrap(list(self.rows(task, mode).values()), self.seed)

    def counts(self, task: str, mode: Mode) -> dict[str, int]:
        """How many completions there are, and how many failed, were cut at the limit, or were not in the asked form."""
        samples = self.of(task, mode)
        return {
            "completions": len(samples),
            "failed": sum(s.finish_reason == "error" for s in samples),
            "truncated": sum(s.finish_reason == "length" for s in samples),
            "malformed": sum(s.values.get(WELL_FORMED, 1.0) == 0 for s in samples),
        }

    def to_json(self) -> dict[str, Any]:
        """{task: {"rows": n, "greedy": {metric: value}, "sampled": {...}, "intervals": ..., "counts": ...}}."""
        result: dict[str, Any] = {}
        for task in self.tasks:
            estimates = {mode: self.estimates(task, mode) for mode in MODES}
            result[task] = {
                "rows": max(len(self.rows(task, mode)) for mode in MODES),
                **{mode: {name: e.value for name, e in estimates[mode].items()} for mode in MODES},
                "intervals": {m: {name: [e.low, e.high] for name, e in estimates[m].items()} for m in MODES},
                "counts": {mode: self.counts(task, mode) for mode in MODES},
            }
        return result

    def metrics(self, tasks: Mapping[str, Task] = TASKS) -> dict[str, float]:
        """Names of rft/metrics.py -> value; `eval/<task>` is the main metric, sampled where there are samples."""
        metrics: dict[str, float] = {}
        for task in self.tasks:
            for mode in MODES:
                for name, estimate in self.estimates(task, mode).items():
                    metrics[f"eval/{task}/{mode}/{name}"] = estimate.value
                    if name == tasks[task].main_metric:
                        metrics[f"eval/{task}"] = estimate.value
        return metrics


def evaluate(
    pool: Generator,
    prompts: Sequence[Prompt],
    durations: Sequence[float | None],
    sampling: Sampling,
    num_samples: int,
    seed: int,
    on_progress: Callable[[int], None] = lambda num_done: None,
    tasks: Mapping[str, Task] = TASKS,
) -> EvalResult:
    """Judge one greedy and `num_samples` sampled completions of every prompt.

    `durations`: seconds of each prompt's clip, where known. `on_progress` is told of each finished prompt;
    their number is len(prompts), twice that with samples. A failed completion is judged as an empty one.
    """
    if len(durations) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts but {len(durations)} durations")
    passes: list[tuple[Mode, Sampling]] = [
        ("greedy", replace(sampling, num_generations=1, temperature=0.0, top_p=1.0, top_k=0))
    ]
    if num_samples:
        passes.append(("sampled", replace(sampling, num_generations=num_samples)))
    samples: list[Sample] = []
    for mode, how in passes:
        judged: dict[int, tuple[Sample, ...]] = {}
        for index, completions in pool.generate(prompts, how, seed):
            task = tasks[prompts[index].task]
            judged[index] = tuple(judge(task, prompts[index], durations[index], mode, c) for c in completions)
            on_progress(1)
        missing = [prompts[i].prompt_id for i in range(len(prompts)) if not judged.get(i)]
        if missing:
            raise RuntimeError(f"no completions for {len(missing)} of {len(prompts)} prompts, first {missing[0]}")
        samples += [sample for index in range(len(prompts)) for sample in judged[index]]
    return EvalResult(tuple(samples), seed)


def judge(task: Task, prompt: Prompt, duration_s: float | None, mode: Mode, completion: Completion) -> Sample:
    text = "" if completion.finish_reason == "error" else completion.text
    return Sample(
        prompt.prompt_id,
        prompt.task,
        mode,
        completion.text,
        completion.finish_reason,
        len(completion.token_ids),
        completion.policy_version,
        dict(task.measure(text, prompt.target)),
        target_to_dict(prompt.target),
        duration_s,
    )


@dataclass(frozen=True, slots=True)
class Baselines:
    """Blind answers under the metrics of their task."""

    estimates: dict[str, dict[str, dict[str, Estimate]]]
    """Task -> baseline -> metric -> mean over the same rows as the evaluation's."""

    def to_json(self) -> dict[str, Any]:
        """{task: {baseline: {metric: value}}}."""
        return {
            task: {name: {m: e.value for m, e in metrics.items()} for name, metrics in by_name.items()}
            for task, by_name in self.estimates.items()
        }

    def intervals_json(self) -> dict[str, Any]:
        """{task: {baseline: {metric: [low, high]}}}."""
        return {
            task: {name: {m: [e.low, e.high] for m, e in metrics.items()} for name, metrics in by_name.items()}
            for task, by_name in self.estimates.items()
        }

    def best(self, task: str, metric: str) -> tuple[str, Estimate] | None:
        """The strongest blind answer to `task`; None where the task has none."""
        found = {name: metrics[metric] for name, metrics in self.estimates.get(task, {}).items()}
        return max(found.items(), key=lambda item: item[1].value) if found else None


def baselines(
    prompts: Sequence[Prompt],
    durations: Sequence[float | None],
    train_targets: Mapping[str, Collection[Target]],
    seed: int,
    tasks: Mapping[str, Task] = TASKS,
) -> Baselines:
    """What answers that never look at the clip would score on `prompts`; `train_targets`: by task, to fit them on."""
    by_task: dict[str, list[tuple[Target, float | None]]] = defaultdict(list)
    for prompt, duration_s in zip(prompts, durations, strict=True):
        by_task[prompt.task].append((prompt.target, duration_s))
    estimates: dict[str, dict[str, dict[str, Estimate]]] = {}
    for name, rows in sorted(by_task.items()):
        answers = tasks[name].baselines(tuple(train_targets.get(name, ())), rows)
        judged = {
            baseline: [dict(tasks[name].measure(text, rows[i][0])) for i, text in enumerate(texts)]
            for baseline, texts in answers.items()
        }
        estimates[name] = {baseline: bootstrap(values, seed) for baseline, values in judged.items()}
    return Baselines(estimates)


def write_result(path: Path, result: EvalResult) -> None:
    """Every sample with its values, compressed, so that all figures can be computed again."""
    write_records(path, ({"seed": result.seed, **asdict(sample)} for sample in result.samples))


def read_result(path: Path) -> EvalResult:
    """What `write_result` wrote. Raises CheckpointError where it cannot be read."""
    records = list(read_records(path))
    if not records:
        raise CheckpointError(f"{path}: holds no samples. Delete it and evaluate again.")
    seed = records[0]["seed"]
    return EvalResult(tuple(Sample(**{k: v for k, v in r.items() if k != "seed"}) for r in records), seed)

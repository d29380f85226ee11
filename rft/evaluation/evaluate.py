"""Evaluation: greedy and sampled completions under each task's metrics, with two parsers."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rewards import REWARDS, RewardFn
from rewards.published import PUBLISHED_EVAL
from rewards.types import Fault, Target, fault_of
from rft.errors import DataError
from rft.evaluation.intervals import Estimate, bootstrap, bootstrap_all, intervals, means
from rft.tasks import TASKS
from rft.tasks.types import Task
from rft.types import FinishReason, Prompt, Sampler, Sampling

Mode = Literal["greedy", "sampled"]
MODES: tuple[Mode, ...] = ("greedy", "sampled")

Parser = Literal["lenient", "strict"]
"""lenient: the rewards of fidelity `corrected`; strict: released evaluation code, that of VideoChat-R1 or of a pack."""
PARSERS: tuple[Parser, ...] = ("lenient", "strict")

_NUMBER = re.compile(r"(\d[\d,]*(?:\.\d+)?)")

WELL_FORMED = "well_formed"
"""The metric of every task that is 1 where the completion has the requested form."""


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """Metrics and fault of a completion by one parser."""

    values: dict[str, float]
    """Metric -> value of this completion."""
    fault: Fault | None
    """Fault of the answer; None: without fault."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One judged completion."""

    prompt_id: str
    task: str
    dataset: str | None
    target: Target
    mode: Mode
    number: int
    """Place among the row's completions of this mode, from 0."""
    completion: str
    finish_reason: FinishReason
    num_tokens: int
    policy_version: int
    parsed: dict[Parser, ParsedAnswer]
    """"strict" is missing where no released script reads the task."""
    video: str | None = None
    """Path of the row's video or image, as of a Prompt."""


@dataclass(frozen=True, slots=True)
class RowSet:
    """Rows whose figures are one mean: those of one data set and task."""

    task: str
    dataset: str | None
    num_rows: int
    num_units: int
    """Number of videos, and of rows that name none: what intervals are over."""


def unit_of(row: Prompt | Sample) -> tuple[str, str]:
    """What is drawn as one for intervals: the row's video; the row itself where it names none."""
    return ("video", row.video) if row.video else ("row", row.prompt_id)


@dataclass(frozen=True, slots=True)
class EvalResult:
    """All samples of one evaluation, and what follows from them, whatever order the samples have."""

    samples: tuple[Sample, ...]
    seed: int
    """Seed of the bootstrap."""

    @property
    def sets(self) -> dict[str, RowSet]:
        """Name (see `row_sets`) -> its rows."""
        return row_sets(self.samples)

    def of(self, name: str, mode: Mode) -> tuple[Sample, ...]:
        """The samples of a set, in the order of their ids."""
        rows = self.sets[name]
        samples = [s for s in self.samples if (s.task, s.dataset, s.mode) == (rows.task, rows.dataset, mode)]
        return tuple(sorted(samples, key=lambda s: (s.prompt_id, s.number)))

    @property
    def units(self) -> dict[str, tuple[str, str]]:
        """Prompt id -> the row's unit."""
        return {sample.prompt_id: unit_of(sample) for sample in self.samples}

    def rows(self, name: str, mode: Mode, parser: Parser = "lenient") -> dict[str, dict[str, float]]:
        """Prompt id -> metric -> mean over the row's samples; {} where the mode or the parser is missing."""
        by_row: dict[str, list[dict[str, float]]] = defaultdict(list)
        for sample in self.of(name, mode):
            if parser in sample.parsed:
                by_row[sample.prompt_id].append(sample.parsed[parser].values)
        return {
            prompt_id: {name: sum(v[name] for v in values) / len(values) for name in values[0]}
            for prompt_id, values in by_row.items()
        }

    def estimates(self, name: str, mode: Mode, parser: Parser = "lenient") -> dict[str, Estimate]:
        """Metric -> value over all rows, the failed and malformed ones included; {} where there are none."""
        samples = [sample for sample in self.of(name, mode) if parser in sample.parsed]
        judged = [(sample.target, sample.parsed[parser].values) for sample in samples]
        corpus = corpus_estimates(TASKS[self.sets[name].task], judged, [unit_of(s) for s in samples], self.seed)
        rows, units = self.rows(name, mode, parser), self.units
        return bootstrap(list(rows.values()), self.seed, [units[row] for row in rows]) | corpus

    def values(self, name: str, mode: Mode, parser: Parser = "lenient") -> dict[str, float]:
        """Metric -> value over all rows, as `estimates` has it, without the cost of intervals."""
        rows = list(self.rows(name, mode, parser).values())
        if not rows:
            return {}
        samples = [sample for sample in self.of(name, mode) if parser in sample.parsed]
        judged = [(sample.target, sample.parsed[parser].values) for sample in samples]
        means = {metric: sum(row[metric] for row in rows) / len(rows) for metric in rows[0]}
        return means | TASKS[self.sets[name].task].corpus_metrics(judged)

    def subsets(self, name: str, mode: Mode) -> dict[str, tuple[int, Estimate]]:
        """Part of the set (see Target.subsets) -> number of its rows, main metric; in the order of `by_number`."""
        main, rows = TASKS[self.sets[name].task].main_metric, self.rows(name, mode)
        parts: dict[str, set[str]] = defaultdict(set)
        for sample in self.of(name, mode):
            for part in sample.target.subsets():
                parts[part].add(sample.prompt_id)
        units = self.units
        estimates = {}
        for part in sorted(parts, key=by_number):
            ids = sorted(parts[part])
            values = [{main: rows[row][main]} for row in ids]
            estimates[part] = (len(ids), bootstrap(values, self.seed, [units[row] for row in ids])[main])
        return estimates

    def counts(self, name: str, mode: Mode) -> dict[str, Any]:
        """Number of completions, of failed, truncated and malformed ones, and {parser: {fault: number of answers}}."""
        samples = self.of(name, mode)
        answered = [s for s in samples if s.finish_reason != "error"]
        parsed = {parser: [s.parsed[parser] for s in answered if parser in s.parsed] for parser in PARSERS}
        return {
            "completions": len(samples),
            "failed": len(samples) - len(answered),
            "truncated": sum(s.finish_reason == "length" for s in samples),
            "malformed": sum(s.parsed["lenient"].values.get(WELL_FORMED, 1.0) == 0 for s in samples),
            "faults": {
                parser: dict(Counter(a.fault for a in answers if a.fault)) for parser, answers in parsed.items()
            },
        }

    def to_json(self) -> dict[str, Any]:
        """{set: {"task", "dataset", "rows", "units", mode: {metric: value}, "intervals", "strict", "counts"}}.

        The first figures are the lenient parser's; "strict" holds "greedy", "sampled" and "intervals" of its own.
        """
        return {
            name: {
                "task": rows.task,
                "dataset": rows.dataset,
                "rows": rows.num_rows,
                "units": rows.num_units,
                **self._figures(name, "lenient"),
                "strict": self._figures(name, "strict"),
                "counts": {mode: self.counts(name, mode) for mode in MODES},
                **self._subset_figures(name),
            }
            for name, rows in self.sets.items()
        }

    def metrics(self) -> dict[str, float]:
        """Names of rft/runs/metrics.py -> value; `eval/<set>` is the main metric, sampled where there are samples."""
        metrics: dict[str, float] = {}
        for name, rows in self.sets.items():
            # Slashes divide the parts of a metric's name.
            curve = name.replace("/", ".")
            for mode in MODES:
                for metric, estimate in self.estimates(name, mode).items():
                    metrics[f"eval/{curve}/{mode}/{metric}"] = estimate.value
                    if metric == TASKS[rows.task].main_metric:
                        metrics[f"eval/{curve}"] = estimate.value
        return metrics

    def _subset_figures(self, name: str) -> dict[str, Any]:
        """{"subsets": {mode: {part: value}}}; {} where the targets name no parts."""
        parts = {mode: self.subsets(name, mode) for mode in MODES}
        figures = {mode: {part: one.value for part, (_, one) in of_mode.items()} for mode, of_mode in parts.items()}
        return {"subsets": figures} if any(figures.values()) else {}

    def _figures(self, name: str, parser: Parser) -> dict[str, Any]:
        estimates = {mode: self.estimates(name, mode, parser) for mode in MODES}
        return {
            **{mode: means(of_mode) for mode, of_mode in estimates.items()},
            "intervals": {mode: intervals(of_mode) for mode, of_mode in estimates.items()},
        }


def by_number(part: str) -> list[str | float]:
    """Key to sort parts by: texts by letter, the numbers in them by value, "500 frames" before "1,000 frames"."""
    chunks = enumerate(_NUMBER.split(part))
    return [float(chunk.replace(",", "")) if place % 2 else chunk for place, chunk in chunks]


def row_sets(target_rows: Iterable[Prompt | Sample]) -> dict[str, RowSet]:
    """The sets of rows in order of their names: the data set's where rows name one, else the task's.

    Where rows of one data set have several tasks, the task follows its name in brackets.
    """
    ids: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    units: dict[tuple[str, str | None], set[tuple[str, str]]] = defaultdict(set)
    for row in target_rows:
        ids[row.task, row.dataset].add(row.prompt_id)
        units[row.task, row.dataset].add(unit_of(row))
    shared = Counter(dataset for _, dataset in ids)
    names = {
        kind: kind[0] if kind[1] is None else kind[1] if shared[kind[1]] == 1 else f"{kind[1]} ({kind[0]})"
        for kind in ids
    }
    kinds = sorted(ids, key=lambda kind: names[kind])
    return {names[kind]: RowSet(*kind, len(ids[kind]), len(units[kind])) for kind in kinds}


def evaluate(
    sampler: Sampler,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    num_samples: int,
    seed: int,
    on_progress: Callable[[int], None] = lambda num_done: None,
) -> EvalResult:
    """Judge one greedy and `num_samples` sampled completions of every prompt.

    `on_progress` is called for each finished prompt; their number is len(prompts), twice that with samples. A failed
    completion is judged as an empty one.
    """
    passes: list[tuple[Mode, Sampling]] = [
        ("greedy", replace(sampling, num_generations=1, temperature=0.0, top_p=1.0, top_k=0))
    ]
    if num_samples:
        passes.append(("sampled", replace(sampling, num_generations=num_samples)))
    samples: list[Sample] = []
    for mode, how in passes:
        judged: dict[int, tuple[Sample, ...]] = {}
        for index, completions in sampler.generate(prompts, how, seed):
            judged[index] = tuple(
                judge(prompts[index], mode, number, c.text, c.finish_reason, len(c.token_ids), c.policy_version)
                for number, c in enumerate(completions)
            )
            on_progress(1)
        missing = [prompts[i].prompt_id for i in range(len(prompts)) if not judged.get(i)]
        if missing:
            raise RuntimeError(f"no completions for {len(missing)} of {len(prompts)} prompts, first {missing[0]}")
        samples += [sample for index in range(len(prompts)) for sample in judged[index]]
    return EvalResult(tuple(samples), seed)


def judge(
    prompt: Prompt,
    mode: Mode,
    number: int,
    completion: str,
    finish_reason: FinishReason,
    num_tokens: int,
    policy_version: int,
) -> Sample:
    """A completion judged with every parser of its task."""
    parsed = parse(TASKS[prompt.task], completion, finish_reason, prompt.target)
    row = (prompt.prompt_id, prompt.task, prompt.dataset, prompt.target)
    return Sample(*row, mode, number, completion, finish_reason, num_tokens, policy_version, parsed, prompt.video)


def parse(task: Task, completion: str, finish_reason: FinishReason, target: Target) -> dict[Parser, ParsedAnswer]:
    """Parser -> metrics and fault of a completion; a failed one is parsed as an empty one."""
    text = "" if finish_reason == "error" else completion
    parsed = {}
    for name, table in parser_tables(task).items():
        fault = fault_of({reward: table[reward](text, target) for reward, _ in task.rewards})
        parsed[name] = ParsedAnswer(task.measure(text, target, table), fault)
    return parsed


def parser_tables(task: Task) -> dict[Parser, Mapping[str, RewardFn]]:
    """The rewards of each parser; "strict" only where released scripts read all that the task rewards."""
    published = {**PUBLISHED_EVAL, **task.published_rewards}
    is_published = all(name in published for name, _ in task.rewards)
    ours = {**REWARDS, **task.own_rewards}
    return {"lenient": ours, **({"strict": {**ours, **published}} if is_published else {})}


def also_measured(result: EvalResult, also: str) -> EvalResult:
    """The result with what `also` stands for in `more_metrics` of its tasks, by our parser.

    A failed completion is measured as an empty one. Raises DataError where no task of the samples has that name.
    """
    tasks = {sample.task: TASKS[sample.task].more_metrics for sample in result.samples}
    if not any(also in more for more in tasks.values()):
        known = ", ".join(sorted({name for more in tasks.values() for name in more})) or "no further metrics"
        raise DataError(f"--also: {also!r} is not measured for {', '.join(sorted(tasks))}; there is {known}.")
    samples = list(result.samples)
    for task in (task for task, more in tasks.items() if also in more):
        places = [i for i, sample in enumerate(samples) if sample.task == task]
        texts = ("" if samples[i].finish_reason == "error" else samples[i].completion for i in places)
        values = tasks[task][also]([(text, samples[i].target) for text, i in zip(texts, places, strict=True)])
        for i, more_values in zip(places, values, strict=True):
            ours = samples[i].parsed["lenient"]
            parsed = {**samples[i].parsed, "lenient": replace(ours, values=ours.values | more_values)}
            samples[i] = replace(samples[i], parsed=parsed)
    return replace(result, samples=tuple(samples))


def corpus_estimates(
    task: Task, judged: Sequence[tuple[Target, Mapping[str, float]]], units: Sequence[Hashable], seed: int
) -> dict[str, Estimate]:
    """The task's corpus metrics of judged completions; `units`: that of each, which is drawn as a whole."""
    if not judged or not task.corpus_metrics(judged):
        return {}
    by_unit: dict[Hashable, list[int]] = defaultdict(list)
    for index, unit in enumerate(units):
        by_unit[unit].append(index)
    return bootstrap_all(lambda drawn: task.corpus_metrics([judged[i] for i in drawn]), list(by_unit.values()), seed)

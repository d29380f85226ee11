"""The rules of alarms: signs in the recorded metrics that a run goes wrong. One table, RULES."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, sqrt
from statistics import fmean, median
from typing import Literal

from rft.recipe import ParityRecipe
from rft.recipe.watch import AlarmName
from rft.tasks.types import FORMS

WINDOW = 20
"""Steps that a rule looks at, first or last ones: one step of 16 prompts is too noisy to judge by."""

LONG_WINDOW = 100
"""Most steps of a trend. Where less is on record, half of it; below half of this many a trend is not judged."""

KNOWN_RISE = 0.05
"""Least rise of a mean reward, as a share of the most it can be, that counts as "up"."""

SATURATED = 0.95
"""Mean score from which on a format is learned."""

NEARLY_EARNED = 0.9
"""Mean score from which on little is left to learn."""

SPIKE = 5.0
"""A gradient norm so many times the median of the last ones is a spike."""

GROWTH = 5.0
"""A log-probability gap may be so many times that of the first steps: it depends on data types and kernels, which do
not change in a run."""

LEAST_GAIN = 0.05
"""Least gain of a held-out metric, since the first evaluation and above the best baseline, of which it is asked where
it comes from."""

ROUNDING_GAP = 1e-3
"""Log-probability gaps below this are rounding; growth is counted from here."""


@dataclass(frozen=True, slots=True)
class HeldOutSet:
    """What the evaluations of a set of held-out rows are compared with."""

    task: str
    baseline: float | None
    """Main metric of the best baseline; None: the set has none."""


@dataclass
class History:
    """What was recorded so far, by metric."""

    weights: Mapping[str, Mapping[str, float]]
    """Task -> reward -> its weight, of those that count."""
    held_out: Mapping[str, HeldOutSet]
    """Name of a set in `eval/<name>` -> what it is compared with."""
    num_steps: int
    """Steps of the whole run."""
    bounds: ParityRecipe | None = None
    """Of the gap of engine and learner; None: it is not bounded, only its growth."""
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Metric -> its finite values, in order of the steps that report it."""
    evaluations: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    """Held-out set -> (step, main metric), in order."""

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            if not isfinite(value):
                continue
            if not name.startswith("eval/"):
                self.values[name].append(value)
            elif name.count("/") == 1:
                self.evaluations[name.removeprefix("eval/")].append((step, value))

    def first(self, name: str) -> list[float]:
        return self.values.get(name, [])[:WINDOW]

    def last(self, name: str) -> list[float]:
        """The last WINDOW values; [] before there are as many."""
        values = self.values.get(name, [])
        return values[-WINDOW:] if len(values) >= WINDOW else []

    def sets_of_tasks(self) -> dict[str, list[str]]:
        """Task -> its held-out sets that were evaluated."""
        sets: dict[str, list[str]] = defaultdict(list)
        for name, held_out in self.held_out.items():
            if name in self.evaluations:
                sets[held_out.task].append(name)
        return sets

    def moved(self, name: str) -> tuple[float, float] | None:
        """Medians of the first and of the last WINDOW values; None before the two are apart."""
        if len(self.values.get(name, [])) < 2 * WINDOW:
            return None
        return median(self.first(name)), median(self.last(name))


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule's value, and of what."""

    value: float
    task: str | None = None
    reward: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One alarm."""

    name: AlarmName
    find: Callable[[History], Iterator[Finding]]
    threshold: float
    fires: Literal["from", "down to"]
    """Whether a value fires from the threshold upwards, or from it downwards."""
    reason: str
    """Of the threshold."""
    look_at: str
    """What a person should look at."""
    on_evaluation: bool = False
    """Looked at when held-out rows were evaluated; otherwise after each step."""

    def holds(self, value: float) -> bool:
        return value >= self.threshold if self.fires == "from" else value <= self.threshold


def reward_without_gain(history: History) -> Iterator[Finding]:
    """Change of the held-out metric, second half of the evaluations against the first, where the reward rose.

    Of a task's held-out sets the one that changed best counts: others may be sets that it was never trained for.
    """
    for task, names in history.sets_of_tasks().items():
        evaluations = [[value for _, value in history.evaluations[name]] for name in names]
        changes = [
            fmean(values[len(values) // 2 :]) - fmean(values[: len(values) // 2])
            for values in evaluations
            if len(values) >= 2
        ]
        rewards = history.values.get(f"reward/{task}", [])
        if changes and len(rewards) >= 2 * WINDOW:
            low, _ = rise(rewards[: len(rewards) // 2], rewards[len(rewards) // 2 :])
            if low > KNOWN_RISE * sum(history.weights.get(task, {}).values()):
                yield Finding(max(changes), task)


def one_answer(history: History) -> Iterator[Finding]:
    for task in history.weights:
        if shares := history.last(f"same_answer_share/{task}"):
            yield Finding(fmean(shares), task)


def below_baseline(history: History) -> Iterator[Finding]:
    """Main metric over the best baseline's, of the task's best set, from half of the run on: it may begin below."""
    for task, names in history.sets_of_tasks().items():
        last = [(history.evaluations[name][-1], history.held_out[name].baseline) for name in names]
        ratios = [value / baseline for (step, value), baseline in last if baseline and 2 * step >= history.num_steps]
        if ratios:
            yield Finding(max(ratios), task)


def zero_std_groups(history: History) -> Iterator[Finding]:
    groups = history.last("num_groups")
    if groups and sum(groups):
        yield Finding(sum(history.last("num_zero_std_groups")) / sum(groups))


def entropy_collapse(history: History) -> Iterator[Finding]:
    if (moved := history.moved("entropy")) and moved[0] > 0:
        yield Finding(moved[1] / moved[0])


def length_drift(history: History) -> Iterator[Finding]:
    """The last lengths over the first, or the first over the last, whichever is larger."""
    if (moved := history.moved("completion_tokens")) and min(moved) > 0:
        yield Finding(max(moved) / min(moved))


def truncation(history: History) -> Iterator[Finding]:
    if shares := history.last("truncated_share"):
        yield Finding(fmean(shares))


def kl_growth(history: History) -> Iterator[Finding]:
    if kl := history.last("kl"):
        yield Finding(median(kl))


def mismatch(history: History) -> Iterator[Finding]:
    """The gap of engine and learner over its bounds and over GROWTH times the first ones, whichever is larger."""
    values = []
    if (bounds := history.bounds) and (ratios := history.last("logprob_gap_exp")):
        values += [(median(ratios) - 1) / (bounds.max_ratio - 1)]
    if bounds and (kl := history.last("logprob_gap_k3")):
        values += [median(kl) / bounds.max_kl]
    if moved := history.moved("logprob_gap"):
        values += [moved[1] / max(moved[0], ROUNDING_GAP) / GROWTH]
    if values:
        yield Finding(max(values))


def one_reward(history: History) -> Iterator[Finding]:
    """A reward's share of the variance inside groups, where another that is not yet earned has next to none."""
    for task, weights in history.weights.items():
        variances = {
            reward: weight**2 * fmean(std**2 for std in stds)
            for reward, weight in weights.items()
            if (stds := history.last(f"score_std/{task}/{reward}"))
        }
        if len(variances) < 2 or not (total := sum(variances.values())):
            continue
        most = max(variances, key=lambda reward: variances[reward])
        others = [history.last(f"score/{task}/{reward}") for reward in variances if reward != most]
        if any(fmean(scores) < NEARLY_EARNED for scores in others if scores):
            yield Finding(variances[most] / total, task, most)


def grad_norm_spikes(history: History) -> Iterator[Finding]:
    """How many of the last steps had a spike, or a norm that is no finite number."""
    if norms := history.last("grad_norm"):
        usual = median(history.values["grad_norm"][-LONG_WINDOW:])
        yield Finding(sum(norm > SPIKE * usual for norm in norms) + sum(history.last("skipped_updates")))


def format_saturated(history: History) -> Iterator[Finding]:
    """Upper bound of the largest rise among the rewards of the answer, where the format is learned."""
    for task, weights in history.weights.items():
        scores = {reward: history.values.get(f"score/{task}/{reward}", []) for reward in weights}
        size = min(LONG_WINDOW, min(map(len, scores.values()), default=0) // 2)
        formats = [values for reward, values in scores.items() if reward in FORMS]
        answers = [values for reward, values in scores.items() if reward not in FORMS]
        if 2 * size < LONG_WINDOW or not formats or not answers:
            continue
        is_open = max(fmean(values[-size:]) for values in answers) < NEARLY_EARNED
        if is_open and min(fmean(values[-size:]) for values in formats) >= SATURATED:
            yield Finding(max(rise(values[:size], values[-size:])[1] for values in answers), task)


def looks_away(history: History) -> Iterator[Finding]:
    """Share of a set's gain that is there without the picture too (eval.views: [blank]).

    Only what is gained above the best baseline counts: an answer without the picture can reach that far.
    """
    for task, names in history.sets_of_tasks().items():
        for name in names:
            shared = f" ({task})" if name.endswith(f" ({task})") else ""
            blank = history.evaluations.get(f"{name.removesuffix(shared)} (blank){shared}", [])
            baseline = history.held_out[name].baseline or 0.0
            gains = [
                values[-1][1] - max(values[0][1], baseline)
                for values in (history.evaluations[name], blank)
                if len(values) > 1
            ]
            if len(gains) == 2 and gains[0] >= LEAST_GAIN:
                yield Finding(gains[1] / gains[0], task)


def rise(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Bounds of the rise of the mean: two standard errors around the difference."""
    means = fmean(before), fmean(after)
    squares = [fmean((value - mean) ** 2 for value in part) for part, mean in zip((before, after), means, strict=True)]
    error = sqrt(squares[0] / len(before) + squares[1] / len(after))
    return means[1] - means[0] - 2 * error, means[1] - means[0] + 2 * error


RULES: tuple[Rule, ...] = (
    Rule(
        "reward_without_gain",
        reward_without_gain,
        threshold=0.01,
        fires="down to",
        reason="a rise of the reward by a twentieth of what can be earned is worth more than a hundredth held out",
        look_at="rollouts with the best rewards: what earns them that the held-out metric does not count?",
        on_evaluation=True,
    ),
    Rule(
        "one_answer",
        one_answer,
        threshold=0.8,
        fires="from",
        reason="prompts of different targets share few answers; a policy that guesses one of four options, a quarter",
        look_at="the task's answers: is one option favoured by the rewards, or the clip not seen?",
    ),
    Rule(
        "below_baseline",
        below_baseline,
        threshold=1.0,
        fires="down to",
        reason="an answer made without the video is as good",
        look_at="frames of some rows and the prompt's length: does the policy see what the question asks for?",
        on_evaluation=True,
    ),
    Rule(
        "zero_std_groups",
        zero_std_groups,
        threshold=0.6,
        fires="from",
        reason="more than half of what is sampled teaches nothing; healthy runs of the quickstart stay below 0.3",
        look_at="rewards of those groups: all 0, the rows are too hard; all full, too easy (data.drop_solved)",
    ),
    Rule(
        "entropy_collapse",
        entropy_collapse,
        threshold=0.2,
        fires="down to",
        reason="last over first steps; healthy runs of the quickstart end at 0.5",
        look_at="a lower learning rate, a higher sampling.temperature or algorithm.epsilon_high, a KL term",
    ),
    Rule(
        "length_drift",
        length_drift,
        threshold=2.0,
        fires="from",
        reason="lengths that double or halve are no noise: the mix of tasks moves them by a third",
        look_at="first and last rollouts side by side: does the thought vanish, or text without content grow?",
    ),
    Rule(
        "truncation",
        truncation,
        threshold=0.2,
        fires="from",
        reason="one answer in five is cut; healthy runs of the quickstart stay below 0.02",
        look_at="truncated rollouts, sampling.max_completion_length and scoring.truncated",
    ),
    Rule(
        "kl_growth",
        kl_growth,
        threshold=1.0,
        fires="from",
        reason="a nat per token from the reference; healthy runs of the quickstart with a KL term stay below 0.3",
        look_at="grad_norm and the learning rate; a larger algorithm.beta",
    ),
    Rule(
        "mismatch",
        mismatch,
        threshold=1.0,
        fires="from",
        reason="the bounds are those of the comparison before the first step; growth comes from the weights",
        look_at="`rft check --deep` on the last checkpoint; probe_gap: do new weights reach the engines? A cut by "
        "top_p or top_k, which the learner does not know",
    ),
    Rule(
        "one_reward",
        one_reward,
        threshold=0.95,
        fires="from",
        reason="the other rewards then move no advantage, though they are not earned yet",
        look_at="the other rewards on stored rollouts (rft score): can they be earned at all, and their weights",
    ),
    Rule(
        "grad_norm_spikes",
        grad_norm_spikes,
        threshold=3.0,
        fires="from",
        reason="single spikes belong to healthy runs; three in twenty steps do not",
        look_at="the rollouts of those steps, loss and logprob_gap; a lower learning rate or max_grad_norm",
    ),
    Rule(
        "format_saturated",
        format_saturated,
        threshold=0.04,
        fires="down to",
        reason="not even the upper bound of what was learned since the first steps; healthy runs stay above 0.06",
        look_at="weights of the rewards, and spread of the answers' scores in groups: is there anything to learn from?",
    ),
    Rule(
        "looks_away",
        looks_away,
        threshold=0.7,
        fires="from",
        reason="most of what was learned is answered as well about grey frames",
        look_at="rows answered rightly on blank clips (rft data select --blind): what in the question gives them away?",
        on_evaluation=True,
    ),
)

"""Alarms of a run: which rules fired, when, and on what."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rft.evaluation.baselines import Baselines
from rft.recipe import Recipe
from rft.recipe.watch import AlarmName
from rft.runs.alarm_rules import RULES, HeldOutSet, History
from rft.runs.run_dir import RunDir
from rft.scoring.group import chosen_rewards
from rft.tasks import TASKS


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rule that fired."""

    name: AlarmName
    step: int
    task: str | None
    reward: str | None
    value: float
    threshold: float
    look_at: str

    @property
    def subject(self) -> tuple[str, str | None, str | None]:
        """What it is about; an alarm about it is told once in a run."""
        return self.name, self.task, self.reward

    @property
    def title(self) -> str:
        """Such as "one_answer (multiple_choice)"."""
        of = ", ".join(part for part in (self.task, self.reward) if part)
        return f"{self.name} ({of})" if of else self.name

    def __str__(self) -> str:
        return f"step {self.step}: {self.title}: {self.value:.3g}, threshold {self.threshold:g}; {self.look_at}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Alarms:
    """Holds the rules against the metrics of a run as they come."""

    def __init__(
        self, recipe: Recipe, held_out: Mapping[str, HeldOutSet] | None = None, fired: Sequence[Alarm] = ()
    ) -> None:
        """`fired`: alarms of the run before it was resumed."""
        self.fired = list(fired)
        self._rules = [rule for rule in RULES if rule.name not in recipe.silent_alarms]
        weights = {
            task: {name: part.weight for name, part in chosen_rewards(recipe.tasks, task).items() if part.weight > 0}
            for task in recipe.tasks
        }
        # What is sampled ahead comes from the policy of a step before: its gap is no fault.
        bounds = None if recipe.rollout.ahead else recipe.parity
        self._history = History(weights, held_out or {}, recipe.steps, bounds)

    def recall(self, steps: Mapping[int, Mapping[str, float]]) -> None:
        """Take in what was recorded before; fires nothing."""
        for step, metrics in steps.items():
            self._history.add(step, metrics)

    def add(self, step: int, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """The alarms that these metrics of a step, or of an evaluation after it, fire for the first time."""
        self._history.add(step, metrics)
        is_evaluation = any(name.startswith("eval/") for name in metrics)
        known = {alarm.subject for alarm in self.fired}
        new = []
        for rule in self._rules:
            if rule.on_evaluation == is_evaluation:
                found = [finding for finding in rule.find(self._history) if rule.holds(finding.value)]
                fired = (
                    Alarm(rule.name, step, one.task, one.reward, one.value, rule.threshold, rule.look_at)
                    for one in found
                )
                new += [alarm for alarm in fired if alarm.subject not in known]
        self.fired += new
        return tuple(new)


def held_out_sets(baselines: Baselines) -> dict[str, HeldOutSet]:
    """What the evaluations of each set of held-out rows are compared with."""
    sets = {}
    for name, of_set in baselines.sets.items():
        best = baselines.best(name, TASKS[of_set.task].main_metric)
        # Slashes divide the parts of a metric's name.
        sets[name.replace("/", ".")] = HeldOutSet(of_set.task, best[1].value if best else None)
    return sets


def read_alarms(run: RunDir) -> tuple[Alarm, ...]:
    """The alarms in summary.json, in the order in which they fired."""
    return tuple(Alarm(**alarm) for alarm in run.read_summary().get("alarms", []))


def alarms_line(alarms: Sequence[Alarm]) -> str:
    """Such as "2 alarms: truncation at step 40, kl_growth at step 61"."""
    named = ", ".join(f"{alarm.title} at step {alarm.step}" for alarm in alarms)
    return f"{len(alarms)} alarm{'' if len(alarms) == 1 else 's'}: {named}" if alarms else "no alarm fired"

"""A run that is killed, or whose learner dies, ends as one that nothing happened to; on hand-written parts."""

import io
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from rewards.targets.choice import ChoiceTarget
from rewards.types import Score
from rft.actors.session import Session
from rft.data.dataset import PromptOrder, UsableRow
from rft.errors import Interrupted, LearnerError, ParityError
from rft.evaluation import intervals
from rft.files import read_lines, read_records
from rft.launch import TrainingRun
from rft.parity.compare import PromptView
from rft.recipe import Recipe
from rft.runs import alarm_rules
from rft.runs.alarms import read_alarms
from rft.runs.evaluator import Evaluator
from rft.runs.run_dir import RunDir, step_of
from rft.runs.views import PlainView
from rft.scoring import group
from rft.types import Completion, Prompt, Sampling, TokenRatio, TrainGroup
from rft.weights.ref import Probe, StoredWeights, WeightsRef

STEPS = 5


def recipe(ahead: int) -> Recipe:
    return Recipe.model_validate(
        {
            "model": "policy",
            "tasks": {"multiple_choice": {"think": False, "rewards": {"choice_accuracy": 1.0}}},
            "data": {"train": ["rows.jsonl"], "drop_solved": 0.6},
            "steps": STEPS,
            "prompts_per_step": 2,
            "sampling": {"num_generations": 4},
            "rollout": {"ahead": ahead},
            "algorithm": {"advantage": "per_task_running_std", "max_resamples": 2},
            "eval": {"every": 3, "max_rows": 1, "num_samples": 0},
            "save_every": 2,
            "keep_checkpoints": 1,
        }
    )


def prompt(name: str) -> Prompt:
    return Prompt(name, "multiple_choice", "Which?", None, ChoiceTarget("A"))


def mixed(*parts: object) -> int:
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=6).digest(), "big")


class Clips:
    """There are none."""

    def fingerprinted(self, media: None) -> None: ...

    def load(self, media: None) -> None: ...

    def find(self, media: None) -> None: ...


TEXT = PromptView(0, "Which?", (5, 6), None, None, None, ((0, 1),) * 3, ())
"""The engine's view of a prompt."""


class Stop:
    """Asked for once it has been looked at so many times, or by an alarm."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __call__(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def after_alarm(self, title: str) -> None:
        self.looks = 0


class Judge:
    """A reward worker without a process: one started for each killed run would take most of the time."""

    def judge(
        self, fn: Callable[..., Score], completions: Sequence[str], target: object, *rest: object
    ) -> tuple[Score, ...]:
        return tuple(fn(completion, target) for completion in completions)


class Pool:
    """Its answers follow from the weights, the prompt and the seed."""

    def __init__(self, stop: Stop) -> None:
        self.stop, self.weights, self.version = stop, 0, 0

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, may_stop: bool = True
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        for index, asked in enumerate(prompts):
            if self.stop() and may_stop:
                raise Interrupted
            drawn = [mixed(self.weights, asked.prompt_id, seed, n) for n in range(sampling.num_generations)]
            yield (
                index,
                tuple(
                    Completion(f"<answer>{'AB'[d % 2]}</answer>", (d % 9, 2), (-0.1, -0.2), 5, "stop", self.version)
                    for d in drawn
                ),
            )

    def load_weights(self, ref: WeightsRef) -> float:
        assert isinstance(ref.source, StoredWeights)
        self.weights, self.version = ref.source.tensors, ref.policy_version
        return 0.0

    def counters(self) -> dict[str, float]:
        return {}

    def failed(self) -> tuple[()]:
        return ()

    def view_prompts(self, prompts: Sequence[Prompt], *rest: object) -> list[tuple[PromptView, tuple[()]]]:
        return [(TEXT, ()) for _ in prompts]


class Learner:
    """Its weights follow from all that it was ever given, in order. Dies at the updates in `deaths`."""

    token_ratios: Mapping[int, Sequence[TokenRatio]] = {}

    def __init__(self, deaths: list[int]) -> None:
        self.policy_version = self.weights = 0
        self.deaths = deaths

    def prefetch(self, prompts: Sequence[Prompt]) -> None: ...

    def update(self, groups: Sequence[TrainGroup]) -> dict[str, float]:
        self.policy_version += 1
        if self.policy_version in self.deaths:
            self.deaths.remove(self.policy_version)
            raise LearnerError("killed")
        learned = [(g.prompt.prompt_id, g.advantages, [c.token_ids for c in g.completions]) for g in groups]
        self.weights = mixed(self.weights, learned)
        return {"loss": self.weights / 2**48, "kl": 2.0}

    def publish_weights(self) -> WeightsRef:
        return WeightsRef(self.policy_version, StoredWeights(self.weights), Probe((), ()))

    def save(self, directory: Path) -> None:
        (directory / "policy").write_text(f"{self.policy_version} {self.weights}")

    def load(self, directory: Path) -> None:
        self.policy_version, self.weights = map(int, (directory / "policy").read_text().split())

    def view_groups(self, groups: Sequence[TrainGroup]) -> list[PromptView]:
        """Another text than the engine's."""
        return [replace(TEXT, text="What?", token_ids=(7, 6)) for _ in groups]

    def close(self) -> None: ...


compare_engine_and_learner = TrainingRun.compare_engine_and_learner


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Trains in a run folder, or goes on there, to the end; returns what a person is told.

    Interrupted: a stop was asked for at look number `looks`.
    """
    deaths: list[int] = []
    monkeypatch.setattr(intervals, "NUM_RESAMPLES", 10)
    monkeypatch.setattr(group, "shared_worker", Judge)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # it is the process that ends, not the machine
    monkeypatch.setattr(TrainingRun, "start_learner", lambda self, model, pool: Learner(deaths))
    monkeypatch.setattr(TrainingRun, "compare_engine_and_learner", lambda *parts: None)

    def run_to_the_end(
        path: Path,
        ahead: int,
        dies_at: Sequence[int] = (),
        looks: int = 10**9,
        on_alarm: str = "note",
        **learner: Any,
    ) -> str:
        deaths[:] = dies_at
        told = io.StringIO()
        asked = recipe(ahead).model_copy(update={"on_alarm": on_alarm})
        asked = asked.model_copy(update={"learner": asked.learner.model_copy(update=learner)})
        run = RunDir.create(path, resume=True)
        with ExitStack() as closing:
            closing.callback(run.release)
            view, stop = PlainView("run", told), Stop(looks)
            training = TrainingRun(Session(asked, view, stop, Clips(), path / "clips", path, closing), run)
            pool, order = Pool(stop), PromptOrder([prompt(f"p{i}") for i in range(7)], 0, Clips(), 0.0, fewest=2)
            rows = tuple(UsableRow(None, prompt(f"h{i}")) for i in range(2))
            training.learn("policy", training.saved_state(), pool, order, Evaluator(asked, pool, rows, view))
        return told.getvalue()

    return run_to_the_end


def record_of(path: Path) -> dict[str, Any]:
    """All that a run leaves, without times."""
    run = RunDir(path)
    found: dict[str, Any] = {f"{p.parent.name}/{p.name}": list(read_records(p)) for p in path.glob("*/*.zst")}
    found["metrics"] = [
        {name: value for name, value in line.items() if name != "time" and not name.startswith("seconds/")}
        for line in read_lines(run.metrics)
    ]
    newest = run.complete_checkpoints()[-1]
    return found | {newest.name: (newest / "policy").read_text()}


def killed_at(moment: int, folder: Path, work: Callable[[], object]) -> bool:
    """Do `work` in a process that kills itself before its `moment`-th change to a file; False: it made fewer."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, args: tuple[Any, ...]) -> None:
            nonlocal seen
            changes = event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")
            changes |= event == "open" and str(args[0]).startswith(str(folder)) and bool(args[2] & 3)
            seen += changes
            if changes and seen == moment:
                os._exit(9)

        try:
            sys.addaudithook(count)
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), "the run failed"
    return status == 9


@pytest.mark.parametrize(
    ("ahead", "stride"),
    [(0, 48), (1, 48), pytest.param(0, 1, marks=pytest.mark.slow), pytest.param(1, 1, marks=pytest.mark.slow)],
)
def test_killed_before_any_change_to_a_file_it_resumes_as_if_it_had_not_been(
    ahead: int, stride: int, train: Callable[..., str], tmp_path: Path
) -> None:
    """And killed a second time after it resumed."""
    train(tmp_path / "whole", ahead)
    expected = record_of(tmp_path / "whole")
    assert len(expected["metrics"]) == STEPS + 1
    moment, again = 1, random.Random(0)
    while killed_at(moment, path := tmp_path / str(moment), lambda: train(path, ahead)):
        killed_at(again.randint(1, 2 * moment), path, lambda: train(path, ahead))
        train(path, ahead)
        assert record_of(path) == expected, f"killed before change {moment}"
        moment += stride
    assert moment > 90


@pytest.mark.parametrize("ahead", [0, 1])
def test_stopped_at_any_look_it_resumes_as_if_it_had_not_been(
    ahead: int, train: Callable[..., str], tmp_path: Path
) -> None:
    train(tmp_path / "whole", ahead)
    expected, looks = record_of(tmp_path / "whole"), 0
    while True:
        path = tmp_path / str(looks)
        try:
            train(path, ahead, looks=looks)
        except Interrupted:
            train(path, ahead)
            assert record_of(path) == expected, f"stopped at look {looks}"
            looks += 1
        else:
            break
    assert looks > 15


@pytest.mark.parametrize("ahead", [0, 1])
def test_stopped_by_an_alarm_it_resumes_to_its_end(
    ahead: int, train: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm_rules, "WINDOW", 2)
    train(tmp_path / "whole", ahead)
    path = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        train(path, ahead, on_alarm="stop")
    (alarm,) = read_alarms(RunDir(path))
    assert (alarm.name, alarm.step) == ("kl_growth", 2)
    assert step_of(RunDir(path).complete_checkpoints()[-1]) == 2
    train(path, ahead, on_alarm="stop")  # the alarm is known
    assert record_of(path) == record_of(tmp_path / "whole")
    assert read_alarms(RunDir(path)) == read_alarms(RunDir(tmp_path / "whole")) == (alarm,)


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_clock_that_jumps_changes_nothing(
    ahead: int, train: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole", ahead)
    draw = random.Random(0)
    monkeypatch.setattr("time.time", lambda: draw.uniform(0, 4e9))
    train(tmp_path / "jumps", ahead, [3])
    assert record_of(tmp_path / "jumps") == record_of(tmp_path / "whole")


@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize("dies_at", [1, 3, STEPS])
def test_a_learner_that_dies_is_started_again_from_the_last_checkpoint(
    ahead: int, dies_at: int, train: Callable[..., str], tmp_path: Path
) -> None:
    train(tmp_path / "whole", ahead)
    told = train(tmp_path / "died", ahead, [dies_at])
    assert "the learner is started again from the last checkpoint: killed" in told
    assert record_of(tmp_path / "died") == record_of(tmp_path / "whole")


def test_a_learner_that_dies_too_often_ends_the_run(train: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(LearnerError, match="killed"):
        train(tmp_path / "twice", 0, [2, 3])
    with pytest.raises(LearnerError, match="killed"):
        train(tmp_path / "never", 0, [2], max_restarts=0)


def test_a_run_whose_learner_sees_something_else_does_not_start(
    train: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(TrainingRun, "compare_engine_and_learner", compare_engine_and_learner)
    with pytest.raises(ParityError, match=r"multiple_choice, text alone: prompt p\d: prompt text"):
        train(tmp_path / "run", 0)
    run = RunDir(tmp_path / "run")
    assert not run.metrics.exists()
    assert "prompt text" in run.read_summary()["parity"]["multiple_choice"]["text alone"]["difference"]

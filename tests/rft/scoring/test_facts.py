"""What a reward sees beside text and target: each fact that it asks for, in training and on stored completions."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rewards.awaiting import bounded
from rewards.facts import FACTS, asked_facts
from rewards.trl import as_trl_reward
from rft.commands.check.rewards import misfit_of
from rft.commands.score.score import score
from rft.errors import RewardError
from rft.files import write_records
from rft.own_code import load_own
from rft.recipe import RewardRecipe, ScoringRecipe
from rft.runs.rollout_files import read_rollouts, write_rollouts
from rft.scoring.group import WeightedReward, score_group
from rft.scoring.reward_worker import RewardWorker
from rft.tasks import TASKS
from rft.types import Completion, Group, Prompt

TASK = TASKS["temporal_grounding"]
ROW = {"task": "temporal_grounding", "duration_s": 30.7, "query": "a person opens the fridge"}

REWARDS = '''\
import asyncio
import math

from rewards.facts import CompletionGroup
from rewards.targets.span import SpanTarget
from rewards.types import Score

running = most = 0


def plain(completion: str, target: SpanTarget, *, least: float = 0.0) -> Score:
    return Score(1.0, None, repr((completion, least)))


def of_row(completion: str, target: SpanTarget, *, row: dict) -> Score:
    return Score(1.0, None, f"{row['query']}, {row['duration_s']}")


def of_length(completion: str, target: SpanTarget, *, num_tokens: int, truncated: bool) -> Score:
    return Score(1.0, None, repr((num_tokens, truncated)))


def diverse(completion: str, target: SpanTarget, *, group: CompletionGroup, power: float = 1.0) -> Score:
    """Share of the other completions that say something else."""
    others = [text for i, text in enumerate(group.texts) if i != group.index]
    assert group.texts[group.index] == completion
    share = sum(text != completion for text in others) / max(1, len(others))
    return Score(share**power, None, "")


def confident(completion: str, target: SpanTarget, *, logprobs: tuple[float, ...]) -> Score:
    """Geometric mean of the tokens' probabilities."""
    return Score(math.exp(sum(logprobs) / len(logprobs)), None, "")


async def asked(completion: str, target: SpanTarget, *, concurrency: int = 2) -> Score:
    """Judges after the others that run with it; the note says how many were running at most."""
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(60 if completion == "hang" else 0.01)
    running -= 1
    if completion == "bad":
        raise ConnectionError("no answer")
    return Score(1.0, None, f"at most {most}")
'''


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "my.rewards.py"
    path.write_text(REWARDS)
    return path


@pytest.fixture(scope="module")
def worker() -> Iterator[RewardWorker]:
    worker = RewardWorker()
    yield worker
    worker.child.close()


def completion(text: str, num_tokens: int = 2, reason: Any = "stop") -> Completion:
    return Completion(text, tuple(range(num_tokens)), (-0.5,) * num_tokens, 9, reason, 0)


def judged(file: Path, name: str, worker: RewardWorker, texts: Sequence[str | Completion], **args: Any) -> Group:
    reward = WeightedReward(name, load_own(f"{file}:{name}"), args=args)
    prompt = Prompt("p", TASK.name, "?", None, TASK.target(TASK.example), row=ROW)
    completions = [completion(one) if isinstance(one, str) else one for one in texts]
    scoring = ScoringRecipe(reward_timeout_s=1.0, on_reward_error="drop")
    return score_group(prompt, completions, [reward], scoring, 100, worker)


def notes(group: Group, name: str) -> list[str]:
    return [rollout.scores[name].note for rollout in group.rollouts if rollout.scores]


def values(group: Group, name: str) -> list[float]:
    return [rollout.scores[name].value for rollout in group.rollouts if rollout.scores]


def test_a_reward_gets_the_facts_that_it_asks_for_and_no_others(file: Path, worker: RewardWorker) -> None:
    assert notes(judged(file, "plain", worker, ["a"], least=0.5), "plain") == ["('a', 0.5)"]
    assert notes(judged(file, "of_row", worker, ["a"]), "of_row") == ["a person opens the fridge, 30.7"]
    group = judged(file, "of_length", worker, [completion("a", 3), completion("b", 7, "length")])
    assert notes(group, "of_length") == ["(3, False)", "(7, True)"]
    assert values(judged(file, "confident", worker, ["a"]), "confident") == [pytest.approx(0.60653, abs=1e-5)]


def test_the_group_is_of_the_completions_that_are_judged(file: Path, worker: RewardWorker) -> None:
    texts = ["a", "a", completion("x", 0, "error"), "b", "c"]
    assert values(judged(file, "diverse", worker, texts, power=1.0), "diverse") == pytest.approx([2 / 3, 2 / 3, 1, 1])


def test_coroutines_run_together_as_far_as_they_may(file: Path, worker: RewardWorker) -> None:
    assert notes(judged(file, "asked", worker, ["a"] * 5, concurrency=3), "asked")[-1] == "at most 3"
    group = judged(file, "asked", worker, ["a", "bad", "a"], concurrency=3)
    assert [rollout.problem[:40] for rollout in group.rollouts] == ["", "asked: raised ConnectionError: no answer", ""]


def test_a_coroutine_that_hangs_ends_at_the_limit(file: Path, worker: RewardWorker) -> None:
    group = judged(file, "asked", worker, ["a", "hang", "a", "a"], concurrency=2)
    assert [rollout.problem for rollout in group.rollouts] == [
        "",
        "asked: took longer than 1 s and was stopped",
        "",
        "",
    ]


def test_bounded_keeps_order() -> None:
    async def after(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    assert asyncio.run(bounded([after(s) for s in (0.02, 0.0, 0.01)], 2)) == [0.02, 0.0, 0.01]


def test_facts_are_no_arguments_of_a_recipe(file: Path) -> None:
    fn = load_own(f"{file}:diverse")
    assert misfit_of(fn, RewardRecipe(args={"power": 2.0}), TASK) == ""
    assert misfit_of(fn, RewardRecipe(args={"group": 1}), TASK) == "has no argument group. Known: power."
    assert asked_facts(fn) == ("group",)
    assert asked_facts(load_own(f"{file}:of_length")) == ("num_tokens", "truncated")
    assert set(FACTS) == {"row", "num_tokens", "truncated", "group", "logprobs", "frames"}


def lines(*texts: str, **more: Any) -> list[dict[str, Any]]:
    target = {"span": [1.0, 2.0]}
    return [
        {"task": TASK.name, "completion": text, "target": target, "prompt_id": f"p{i // 2}"} | more
        for i, text in enumerate(texts)
    ]


def rescored(tmp_path: Path, rows: list[dict[str, Any]], reward: str) -> list[dict[str, Any]]:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    score(source, out, rewards=[f"{reward}=1"])
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_stored_completions_give_the_facts_that_they_hold(file: Path, tmp_path: Path) -> None:
    """140 completions of 70 prompts: more than one chunk, and no group is cut."""
    scored = rescored(tmp_path, lines(*["a", "b", "a", "a"] * 35), f"{file}:diverse")
    assert [row["scores"]["diverse"] for row in scored] == [1.0, 1.0, 0.0, 0.0] * 35
    stored = {"row": ROW, "num_tokens": 4, "finish_reason": "length", "logprobs": [-0.5, -0.5]}
    for name, note in {"of_row": "a person opens the fridge, 30.7", "of_length": "(4, True)"}.items():
        assert rescored(tmp_path, lines("a", **stored), f"{file}:{name}")[0]["notes"] == {name: note}
    (row,) = rescored(tmp_path, lines("a", **stored), f"{file}:confident")
    assert row["reward"] == pytest.approx(0.60653, abs=1e-5)
    assert rescored(tmp_path, lines("a"), f"{file}:asked")[0]["reward"] == 1.0


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("of_row", lines("a"), "in.jsonl:1: reward .*:of_row asks for what the line does not hold: `row`, an object"),
        ("of_length", lines("a"), "does not hold: `num_tokens`, `finish_reason`"),
        ("confident", lines("a"), "does not hold: `logprobs`, a list of numbers"),
        ("diverse", [{**lines("a")[0], "prompt_id": None}], "does not hold: `prompt_id` or `id`"),
        ("diverse", [*lines(*"ab" * 40), *lines("a")], "completions of p0 do not stand together"),
    ],
)
def test_a_fact_that_is_not_stored_is_an_error(file: Path, tmp_path: Path, name: str, rows: Any, message: str) -> None:
    with pytest.raises(RewardError, match=message):
        rescored(tmp_path, rows, f"{file}:{name}")


def test_rollouts_on_disk_hold_the_row(file: Path, tmp_path: Path, worker: RewardWorker) -> None:
    group = judged(file, "of_row", worker, ["a", "b"])
    write_rollouts(tmp_path / "rollouts.jsonl.zst", 1, [group])
    records = list(read_rollouts(tmp_path / "rollouts.jsonl.zst"))
    assert [record["row"] for record in records] == [ROW, ROW]
    write_records(tmp_path / "again.jsonl.zst", [{**record, "scores": {}} for record in records])
    scored = score(tmp_path / "again.jsonl.zst", rewards=[f"{file}:of_row=1", f"{file}:of_length=1"])
    assert scored.to_json()["rows"] == 2


def test_trl_gives_text_and_target_alone(file: Path) -> None:
    data: dict[str, Any] = {"prompts": ["?"] * 2, "completions": ["a", "b"], "target": [{"span": [1, 2]}] * 2}
    assert as_trl_reward(load_own(f"{file}:asked"))(**data) == [1.0, 1.0]
    assert as_trl_reward(load_own(f"{file}:plain"), least=0.5)(**data) == [1.0, 1.0]
    with pytest.raises(ValueError, match="reward of_length asks for num_tokens, truncated, which TRL does not give"):
        as_trl_reward(load_own(f"{file}:of_length"))

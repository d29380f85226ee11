"""Rollouts on disk."""

from pathlib import Path

import pytest

from rewards.targets.span import SpanTarget
from rewards.types import Score
from rft.errors import CheckpointError
from rft.files import read_records, write_records
from rft.runs.rollout_files import read_rollouts, write_rollouts
from rft.types import Completion, Group, Prompt, Rollout, TrainGroup, Video, VideoSampling

VIDEO = Video(Path("v/clip.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840), start_s=1.0, end_s=9.0, content="9f3a")
PROMPT = Prompt("p7", "temporal_grounding", "When?", VIDEO, SpanTarget(1.5, 3.0, duration_s=8.0))


def completion() -> Completion:
    return Completion("<answer>1 to 3</answer>\u00e9", (1, 2, 3), (-0.1, -0.2, -0.3), 50, "stop", 4)


def test_everything_that_decided_the_reward_is_kept(tmp_path: Path) -> None:
    learned, left_out = completion(), completion()  # equal, but only one was learned from
    rollouts = (
        Rollout(learned, {"temporal_iou": Score(0.75, "1 to 3", "IoU 0.750")}, 0.75),
        Rollout(left_out, {}, 0.0),
    )
    path = tmp_path / "rollouts" / "step_000003.jsonl.zst"
    train_groups = [TrainGroup(PROMPT, (completion(),), (0.5,)), TrainGroup(PROMPT, (learned,), (1.25,))]
    write_rollouts(path, 3, [Group(PROMPT, rollouts)], train_groups, {1: ((0, 8, 1.25),)})
    first, second = read_rollouts(path)
    assert first == {
        "step": 3,
        "prompt_id": "p7",
        "task": "temporal_grounding",
        "video": "v/clip.mp4",
        "image": None,
        "start_s": 1.0,
        "end_s": 9.0,
        "source_fps": None,
        "content": "9f3a",
        "text": "When?",
        "target": {"span": [1.5, 3.0]},
        "duration_s": 8.0,
        "row": None,
        "completion": "<answer>1 to 3</answer>\u00e9",
        "finish_reason": "stop",
        "num_tokens": 3,
        "policy_version": 4,
        "scores": {"temporal_iou": {"value": 0.75, "answer": "1 to 3", "note": "IoU 0.750", "fault": None}},
        "reward": 0.75,
        "problem": "",
        "advantage": 1.25,
        "token_ratios": [[0, 8, 1.25]],
    }
    assert (second["advantage"], second["token_ratios"]) == (None, None)
    assert second["scores"] == {}


def test_broken_write_leaves_no_file(tmp_path: Path) -> None:
    def records() -> object:
        yield {"a": 1}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_records(tmp_path / "x.jsonl.zst", records())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.zst"
    write_records(path, ({"number": i, "text": f"{i * 7919}"} for i in range(1000)))
    assert len(list(read_records(path))) == 1000
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"x.jsonl.zst: cannot be read"):
        list(read_records(path))

"""A run folder for tests of its pages: three tasks over some steps, with decoded clips, one of which is missing."""

import json
from pathlib import Path

import numpy as np

from rewards.targets.boxes import BoxesTarget
from rewards.targets.choice import ChoiceTarget
from rewards.targets.span import SpanTarget
from rewards.types import Score, Target
from rft.data.frames import Frames, write_frames
from rft.data.video import clip_key
from rft.runs.rollout_files import write_rollouts
from rft.runs.run_dir import RunDir
from rft.types import Completion, Group, Media, Prompt, Rollout, TokenRatio, TrainGroup, Video, VideoSampling

ATTACK = "</pre></script><script>alert(1)</script><!--&amp;<img src=x onerror=alert(1)>"
"""What a policy could write to take over a page."""

LETTER = "\U0001f3ac"
"""One character, two units of what a page's scripts count in."""

RECIPE = """model: tiny
tasks: {temporal_grounding: {}, tracking: {}, multiple_choice: {}}
data: {train: [rows.jsonl]}
steps: 3
prompts_per_step: 3
sampling: {num_generations: 4, max_completion_length: 80}
video: {fps: 1, min_frames: 4, max_frames: 8, min_pixels: 784, max_pixels: 784, total_pixels: 7840}
"""

CLIP = Video(Path("clip<1>.mp4"), VideoSampling(1.0, 4, 8, 784, 784, 7840), start_s=1.0, content="9f3a")
LOST = Video(Path("lost.mp4"), CLIP.sampling, content="77aa")
CLIP_S = 8.0

BOXES = BoxesTarget(((0.25, 0.25, 0.5, 0.75), (0.5, 0.25, 0.75, 0.75)))


def write_run(run: RunDir, num_steps: int = 3) -> None:
    """The run after `num_steps` steps, with its final evaluation."""
    run.clips.mkdir(parents=True)
    run.recipe.write_text(RECIPE)
    run.versions.write_text(json.dumps({"python": "3.11 <b>"}))
    write_clip(run.clips)
    lines = [{"stage": "cold_start", "step": 1, "time": 0.0, "loss": 2.5}]
    for step in range(1, num_steps + 1):
        write_step(run, step)
        values = {"reward/temporal_grounding": step / 10, "entropy": 1 / step, "loss": None, ATTACK: 1.0}
        lines.append({"stage": "train", "step": step, "time": 0.0, **values})
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.summary.write_text(json.dumps(SUMMARY))
    events = [
        {"name": "rollout", "ph": "X", "ts": 0, "dur": 2_000_000, "pid": 0, "tid": 0, "args": {"step": num_steps}}
    ]
    run.timeline.write_text("[\n" + "".join(json.dumps(event) + ",\n" for event in events))


def write_step(run: RunDir, step: int) -> None:
    """Three groups of four: a span on a clip, boxes on the same clip, and a choice on a clip that is not there."""
    span = SpanTarget(2.0, 6.0, duration_s=CLIP_S)
    groups = [
        group(f"span{step}", "temporal_grounding", CLIP, span, "<answer>4.0 to 8.0</answer>", step),
        group(f"boxes{step}", "tracking", CLIP, BOXES, "<answer>[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]</answer>", step),
        group(f"choice{step}", "multiple_choice", LOST, ChoiceTarget("B"), "<answer>B</answer>", step),
    ]
    completion = groups[0].rollouts[0].completion
    write_rollouts(
        run.rollouts_file(step),
        step,
        groups,
        [TrainGroup(groups[0].prompt, (completion,), (-1.5,))],
        {0: ratios_of(completion.text)},
    )


def ratios_of(text: str) -> list[TokenRatio]:
    """Tokens behind a letter of two UTF-16 units, one of them over the edge of a tag, one in markup."""
    start = text.index(LETTER)
    attack = text.index("alert")
    answer = text.index("4.0")
    return [(start, start + 6, 0.5), (attack, attack + 5, 1.03), (answer - 1, answer + 1, 3.0)]


def group(name: str, task: str, media: Media, target: Target, answer: str, step: int) -> Group:
    """Four rollouts of rewards from 0 on; the answer of the last has a fault, and is cut off."""
    rollouts = []
    for i in range(4):
        text = f"<think>{LETTER} text {step}.{i} {ATTACK}</think>{answer}"
        completion = Completion(text, (1, 2), (0.0, 0.0), 5, "length" if i == 3 else "stop", step)
        score = Score(i / 4, answer, f"note {ATTACK}", "unreadable" if i == 3 else None)
        rollouts.append(Rollout(completion, {"own_reward": score}, i / 4 + step / 100))
    return Group(Prompt(name, task, f"Question of {name} {ATTACK}", media, target), tuple(rollouts))


def write_clip(folder: Path) -> None:
    """Eight grey frames of 64 x 32, a second apart, each lighter than the one before."""
    pixels = np.stack([np.full((32, 64, 3), 20 + 25 * i, np.uint8) for i in range(8)])
    key = clip_key(CLIP)
    times = tuple(float(i) for i in range(8))
    frames = Frames(pixels, times, tuple(range(8)), 1.0, 8, CLIP_S, key)
    write_frames(frames, folder / f"{key}.clip")


def _evaluated(greedy: float, sampled: float) -> dict[str, object]:
    bounds = {mode: {"mIoU": [value - 0.1, value + 0.1]} for mode, value in (("greedy", greedy), ("sampled", sampled))}
    values = {"greedy": {"mIoU": greedy}, "sampled": {"mIoU": sampled}}
    return {"task": "temporal_grounding", "rows": 40, **values, "intervals": bounds}


SUMMARY = {
    "eval": {
        "cold_start": {"temporal_grounding": _evaluated(0.5, 0.25)},
        "final": {"temporal_grounding": _evaluated(0.625, 0.5)},
    },
    "baselines": {"temporal_grounding": {"whole_video": {"mIoU": 0.125}, "first_half": {"mIoU": 0.2}}},
    "change": {"temporal_grounding": {"greedy": {"mIoU": {"change": 0.125, "low": 0.1, "high": 0.15}}}},
    "alarms": [
        {
            "name": "truncation",
            "step": 2,
            "task": "tracking",
            "reward": None,
            "value": 0.75,
            "threshold": 0.5,
            "look_at": "the longest completions",
        }
    ],
    "seconds": {"rollout": 12.34},
    "verdict": {"text": "Greedy answers improved."},
}

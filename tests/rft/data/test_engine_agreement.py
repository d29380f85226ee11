"""Token ids and frame times are the same for the engine and for the learner."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from grey_clips import WriteClip

from rft.actors.rollout import engine_environment
from rft.recipe import RolloutRecipe

SCRIPT = """
import json, sys
from pathlib import Path

import torch
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from rewards.targets.span import SpanTarget
from rft.data.processor import PromptProcessor
from rft.data.video import decode
from rft.recipe import Recipe
from rft.rollout.engine import Engine
from rft.synthetic.policy import build_policy
from rft.types import Prompt, Sampling, Video, VideoSampling

def pixel_gap(learner, engine):
    # The engine may keep pixels as they are and normalise them on its device.
    if engine.dtype == torch.uint8:
        mean, std = (torch.tensor(values)[:, None] for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
        engine = ((engine.reshape(len(engine), 3, -1) / 255 - mean) / std).reshape(len(engine), -1)
    return float((learner - engine).abs().max())

clips, policy = json.loads(sys.argv[1]), Path(sys.argv[2])
build_policy(policy)
recipe = Recipe.model_validate({
    "model": str(policy), "tasks": {}, "data": {"train": []}, "steps": 1,
    "rollout": {"max_model_len": 512, "max_num_seqs": 4, "kv_cache_gib": 0.25}, "learner": {"dtype": "bfloat16"},
})
engine, processor = Engine(str(policy), recipe, use_gpu=False), PromptProcessor(str(policy))
report = []
for path, fps in clips:
    video = Video(Path(path), VideoSampling(fps, 4, 32, 56 * 56, 84 * 84, 10**6))
    prompt, frames = Prompt(path, "temporal_grounding", "When does it move?", video, SpanTarget(0, 1)), decode(video)
    inputs, rendered = processor.encode(prompt, frames), engine.render(prompt, frames)
    item = rendered["mm_kwargs"]["video"][0]
    (completion,) = engine.submit(rendered, Sampling(1, 1.0, 1.0, 0, 4), 0).result()
    report.append({
        "ids": [list(inputs.token_ids), list(rendered["prompt_token_ids"])],
        "seconds": [inputs.seconds_per_grid.item(), item["second_per_grid_ts"].data.item()],
        "grid": [inputs.grid[0].tolist(), item["video_grid_thw"].data.tolist()],
        "pixel_gap": pixel_gap(inputs.patches, item["pixel_values_videos"].data),
        "num_prompt_tokens": completion.num_prompt_tokens,
    })
print("REPORT " + json.dumps(report))
"""


@pytest.mark.slow
def test_engine_reads_what_the_learner_reads(write_clip: WriteClip, tmp_path: Path) -> None:
    slow, fast = (
        write_clip("slow.mp4", num_frames=40, fps=10),
        write_clip("fast.mp4", num_frames=40, fps=25, size=(90, 60)),
    )
    clips = [(str(slow), 2.0), (str(slow), 4.0), (str(fast), 2.0), (str(fast), 7.0)]
    environment = os.environ | engine_environment(RolloutRecipe(), use_gpu=False, offline=True)
    command = [sys.executable, "-c", SCRIPT, json.dumps(clips), str(tmp_path / "policy")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("REPORT ")] or [result.stderr]
    report = json.loads(line.removeprefix("REPORT "))
    for one in report:
        assert one["ids"][0] == one["ids"][1]
        assert one["seconds"][0] == one["seconds"][1]
        assert one["grid"][0] == one["grid"][1]
        assert one["pixel_gap"] < 0.01  # bfloat16, as the model reads them
        assert one["num_prompt_tokens"] == len(one["ids"][0])
    seconds = [one["seconds"][0] for one in report]
    assert seconds == pytest.approx([1.0, 0.5, 2 / (4 / 1.6), 2 / (10 / 1.6)], rel=1e-5)

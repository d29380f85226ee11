"""`rft train` and `rft eval` on one file with rows of a video, of an image and of text alone, for two families."""

import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from family_policies import build_qwen2_policy, build_qwen3_policy
from PIL import Image

from rft.runs.metrics import read_metrics
from rft.runs.rollout_files import read_rollouts
from rft.runs.run_dir import RunDir
from rft.synthetic.clips import Scene, Shape, write_clip
from rft.synthetic.policy import build_policy

pytestmark = pytest.mark.slow

STEPS = 2
KINDS = {"video", "image", "text"}


def write_mixed(folder: Path) -> Path:
    """Twelve rows: clips with an event and with a question, images of two sizes, questions of text alone."""
    shape = Shape("red", "circle", 0.15, (0.1, 0.3), (0.9, 0.5), (0.5, 3.0))
    write_clip(Scene((shape,), Fraction(8), 4.0, texture_seed=1), folder / "clip.mp4")
    Image.new("RGB", (150, 100), "red").save(folder / "wide.png")
    Image.effect_noise((90, 140), 60).convert("RGB").save(folder / "tall.webp")
    asked = {"question": "Which shape is red?", "options": ["circle", "square"], "target": {"choice": "A"}}
    shown = ({"video": "clip.mp4", "duration_s": 4.0}, {"image": "wide.png"}, {"image": "tall.webp"}, {})
    rows = [
        {"id": f"choice {number}", "task": "multiple_choice", **asked, **shown[number % len(shown)]}
        for number in range(8)
    ]
    rows += [
        {
            "id": f"span {number}",
            "task": "temporal_grounding",
            "video": "clip.mp4",
            "duration_s": 4.0,
            "query": "the red circle moves",
            "target": {"span": [0.5, 3.0]},
        }
        for number in range(4)
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_recipe(folder: Path, rows: Path, side: int, **keys: object) -> Path:
    plain = {
        "model": str(folder / "policy"),
        "tasks": {"multiple_choice": {}, "temporal_grounding": {}},
        "data": {"train": [str(rows)], "eval": [str(rows)]},
        "video": {"max_frames": 8, "min_pixels": side**2, "max_pixels": side**2},
        "sampling": {"num_generations": 2, "max_completion_length": 12},
        "rollout": {"max_model_len": 512, "kv_cache_gib": 0.25},
        "learner": {"dtype": "float32"},
        "steps": 1,
    }
    path = folder / "mixed.yaml"
    path.write_text(yaml.safe_dump(plain | keys))
    return path


def run(*arguments: object) -> str:
    command = [sys.executable, "-m", "rft", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("build", "side", "freeze_vision"), [(build_policy, 84, True), (build_qwen3_policy, 64, False)], ids=["2.5", "3"]
)
def test_a_mixed_file_is_trained_on_and_evaluated(
    build: Callable[[Path], None], side: int, freeze_vision: bool, tmp_path: Path
) -> None:
    build(tmp_path / "policy")
    rows, folder = write_mixed(tmp_path), RunDir(tmp_path / "run")
    recipe = write_recipe(
        tmp_path,
        rows,
        side,
        steps=STEPS,
        prompts_per_step=6,
        algorithm={"zero_std_groups": "keep", "beta": 0.1},
        learner={"learning_rate": 1e-3, "dtype": "float32", "freeze_vision": freeze_vision},
        cold_start={"data": [str(rows)], "steps": 2, "learning_rate": 3e-3, "rows_per_step": 6},
        eval={"num_samples": 0},
        run_dir=str(folder.path),
    )
    run("train", recipe)

    steps = read_metrics(folder)
    assert [steps[step]["num_groups"] for step in (1, 2)] == [6, 6]
    assert max(steps[step]["logprob_gap"] for step in (1, 2)) < 1e-3
    if freeze_vision:  # one clip in one sampling and two images, by whichever side met them first
        assert sum(step["num_encoded_videos"] for step in steps.values()) <= 3
    records = [record for step in (1, 2) for record in read_rollouts(folder.rollouts_file(step))]
    kinds = {"video" if one["video"] else "image" if one["image"] else "text" for one in records}
    assert kinds == KINDS
    parity = folder.read_summary()["parity"]
    assert set(parity["multiple_choice"]) == {"video file", "image", "text alone"}
    assert all(part["difference"] is None and part["kl"] < 1e-6 for one in parity.values() for part in one.values())
    assert set(folder.read_summary()["eval"]["final"]) == {"multiple_choice", "temporal_grounding"}
    if not freeze_vision:  # tests/e2e/test_train.py evaluates a checkpoint of the other family
        evaluated = json.loads(run("eval", folder.latest_checkpoint(), "--data", rows, "--json"))
        assert "multiple_choice" in json.dumps(evaluated)


def test_engine_and_learner_agree_on_every_kind_for_qwen2_vl(tmp_path: Path) -> None:
    build_qwen2_policy(tmp_path / "policy")
    printed = run("check", write_recipe(tmp_path, write_mixed(tmp_path), 84, prompts_per_step=6), "--deep")
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    for kind in ("video file", "image", "text alone"):
        assert any(line.startswith(f"multiple_choice {kind} ") and line.endswith(" agree") for line in lines), printed

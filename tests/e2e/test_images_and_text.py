"""`rft train`, `eval` and `check` on one file with rows of a video, an image and text alone, for three families."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from family_policies import build_qwen2_policy, build_qwen3_policy
from forked import rft
from PIL import Image

from rft.data.feature_store import features_in
from rft.runs.metrics import read_metrics
from rft.runs.rollout_files import read_rollouts
from rft.runs.run_dir import RunDir
from rft.synthetic.clips import Scene, Shape, write_clip
from rft.synthetic.policy import build_policy

pytestmark = pytest.mark.slow

STEPS = 2
"""Of six of the twelve rows."""
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


def check_record(run: RunDir) -> None:
    """Every kind was shown, and engine and learner saw and computed the same."""
    steps = read_metrics(run)
    assert [step["num_groups"] for step in steps.values()] == [6] * len(steps)
    records = [record for step in steps for record in read_rollouts(run.rollouts_file(step))]
    assert {"video" if one["video"] else "image" if one["image"] else "text" for one in records} == KINDS
    parity = run.read_summary()["parity"]
    assert set(parity["multiple_choice"]) == {"video file", "image", "text alone"}
    assert all(part["difference"] is None and part["kl"] < 1e-6 for one in parity.values() for part in one.values())


def test_a_mixed_file_is_trained_on_and_evaluated_with_qwen3_vl(tmp_path: Path) -> None:
    """The vision tower too, after a supervised stage; clips as streams, which an engine gets in four stretches."""
    build_qwen3_policy(tmp_path / "policy")
    rows, folder = write_mixed(tmp_path), RunDir(tmp_path / "run")
    recipe = write_recipe(
        tmp_path,
        rows,
        64,
        steps=STEPS,
        prompts_per_step=6,
        video={"stream": True, "fps": 8, "max_frames": 64, "min_pixels": 64**2, "max_pixels": 64**2},
        algorithm={"zero_std_groups": "keep", "beta": 0.1},
        learner={"learning_rate": 1e-3, "dtype": "float32", "freeze_vision": False},
        cold_start={"data": [str(rows)], "steps": 2, "learning_rate": 3e-3, "rows_per_step": 6},
        eval={"num_samples": 0},
        run_dir=str(folder.path),
    )
    rft("train", recipe)
    check_record(folder)
    assert max(step["logprob_gap"] for step in read_metrics(folder).values()) < 1e-3
    final = folder.read_summary()["eval"]["final"]
    assert set(final) == {"multiple_choice", "temporal_grounding"}

    stored = tmp_path / "stored.jsonl"
    printed = rft(
        "eval", folder.latest_checkpoint(), "--data", rows, "--task", "multiple_choice", "-o", stored, "--json"
    )
    result = json.loads(printed)
    assert json.loads(rft("eval", "--predictions", stored, "--json")) == result
    assert list(result["eval"]) == ["multiple_choice"]
    assert result["eval"]["multiple_choice"]["greedy"] == pytest.approx(final["multiple_choice"]["greedy"], abs=1e-6)


def test_each_clip_and_image_of_a_mixed_file_passes_a_frozen_tower_once(tmp_path: Path) -> None:
    """Over rollouts, the update's passes of policy and reference, and all epochs: by engine and learner together."""
    build_policy(tmp_path / "policy")
    rows, folder = write_mixed(tmp_path), RunDir(tmp_path / "run")
    recipe = write_recipe(
        tmp_path,
        rows,
        84,
        data={"train": [str(rows)]},
        steps=2 * STEPS,  # two epochs
        prompts_per_step=6,
        algorithm={"zero_std_groups": "keep", "beta": 0.1, "num_iterations": 2},
        rollout={"max_model_len": 512, "kv_cache_gib": 0.25, "ahead": 1},
        learner={"learning_rate": 1e-3, "dtype": "float32", "lora": {"r": 4}},
        run_dir=str(folder.path),
    )
    rft("train", recipe)
    check_record(folder)
    steps = read_metrics(folder)
    assert steps[1]["logprob_gap"] < 1e-3
    assert len(list(features_in(folder.clips).rglob("*.feat"))) == 3  # one clip in one sampling, and two images
    assert sum(step["clips/encodes"] for step in steps.values()) == 3
    assert sum(step["num_encoded_videos"] for step in steps.values()) == 0
    assert sum(step["clips/feature_hits"] for step in steps.values()) > 0
    assert {"seconds/wait", "seconds/ahead_rollout"} <= steps[2].keys()


def test_engine_and_learner_agree_on_every_kind_for_qwen2_vl(tmp_path: Path) -> None:
    build_qwen2_policy(tmp_path / "policy")
    printed = rft("check", write_recipe(tmp_path, write_mixed(tmp_path), 84, prompts_per_step=6), "--deep")
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    for kind in ("video file", "image", "text alone"):
        assert any(line.startswith(f"multiple_choice {kind} ") and line.endswith(" agree") for line in lines), printed

"""`rft push`: the folder that would be pushed, and its card."""

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from page_runs import RECIPE, SUMMARY, write_run

from rft.__main__ import main
from rft.commands.push.push import Files, push, upload_to_hub, without
from rft.errors import CheckpointError, DataError
from rft.runs.checkpoint import DIGESTS_NAME, digests
from rft.runs.run_dir import STATE_NAME, RunDir

SECRETS = """
judge: {model: m, engine: {hf_token: s3cret}}
rollout: {environment: {HF_TOKEN: s3cret}, max_model_len: 64}
trackers: [tensorboard]
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "runs" / "mine")
    write_run(run)
    run.recipe.write_text(RECIPE.replace("model: tiny", "model: Qwen/Qwen2.5-VL-7B-Instruct") + SECRETS)
    checkpoint = run.checkpoint(3)
    (checkpoint / "policy").mkdir(parents=True)
    (checkpoint / "policy" / "model.safetensors").write_bytes(b"weights")
    (checkpoint / "optimizer.safetensors").write_bytes(b"moments")
    (checkpoint / STATE_NAME).write_text("{}")
    (checkpoint / DIGESTS_NAME).write_text(json.dumps(digests(checkpoint)))
    return run


def test_what_would_be_pushed(tmp_path: Path, run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["push", str(run.path), "me/mine", "--dry-run", str(out)]) == 0
    assert f"{out}: 4 files" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        *("README.md", "model.safetensors", "recipe.yaml", "versions.json")
    ]
    assert (out / "model.safetensors").read_bytes() == b"weights"
    assert not any("s3cret" in path.read_text() for path in out.iterdir())
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    assert recipe["rollout"] == {"environment": {"HF_TOKEN": "(left out)"}, "max_model_len": 64}
    card = ModelCard.load(out / "README.md")
    assert (card.data.base_model, card.data.library_name) == ("Qwen/Qwen2.5-VL-7B-Instruct", "transformers")
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("temporal_grounding", "mIoU", 0.625)
    assert (
        "| temporal_grounding | mIoU | greedy | 40 | 0.200 [0.200, 0.200] first_half | 0.500 [0.400, 0.600] "
        "| 0.625 [0.525, 0.725] | 0.125 [0.100, 0.150] |"
    ) in card.text
    assert "Step 3 of 3.\n" in card.text
    assert "- trained on: `rows.jsonl`" in card.text
    assert "Greedy answers improved." in card.text
    assert main(["push", str(run.path), "me/mine", "--dry-run", str(out)]) == 2
    assert "holds files already" in capsys.readouterr().err


def test_an_upload_gets_the_same_files(run: RunDir) -> None:
    pushed: dict[str, Files] = {}

    def upload(name: str, files: Files) -> str:
        pushed[name] = files
        return "there"

    run.summary.write_text(json.dumps({"baselines": SUMMARY["baselines"]}))
    run.recipe.write_text(RECIPE)
    assert push(run, "me/mine", "Qwen/Qwen2-VL-7B", None, upload) == "there"
    assert set(pushed["me/mine"]) == {"README.md", "model.safetensors", "recipe.yaml", "versions.json"}
    text = bytes(pushed["me/mine"]["README.md"]).decode()
    assert "base_model: Qwen/Qwen2-VL-7B" in text
    assert "Step 3 of 3. The run had not ended." in text
    assert "model-index" not in text


def test_what_cannot_be_pushed(tmp_path: Path, run: RunDir) -> None:
    with pytest.raises(DataError, match="mine: write OWNER/MODEL"):
        push(run, "mine", None, tmp_path / "out", lambda name, files: "")
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        push(RunDir(tmp_path / "gone"), "me/mine", None, tmp_path / "out", lambda name, files: "")
    (run.checkpoint(3) / "policy" / "model.safetensors").write_bytes(b"w")
    with pytest.raises(CheckpointError, match="the file is damaged"):
        push(run, "me/mine", None, tmp_path / "out", lambda name, files: "")
    assert not (tmp_path / "out").exists()


def test_a_hub_that_refuses_is_a_message_without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"me/mine: not pushed: .*offline") as caught:
        upload_to_hub("me/mine", {"README.md": b""})
    assert caught.value.__cause__ is None
    assert without("401 for Bearer hf_abc", "hf_abc") == "401 for Bearer ***"
    assert without("offline", None) == "offline"

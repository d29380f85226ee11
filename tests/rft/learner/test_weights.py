"""What the learner publishes: enough to make the folder that it started from its policy, and little more."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_policy import save_tiny_qwen2_vl

from rft.learner.learner import Learner
from rft.types import TrainGroup

MakeLearner = Callable[..., Learner]

LORA_QV = {"lora": {"r": 2, "target_modules": ["q_proj", "v_proj"]}}
SETTINGS: list[dict[str, object]] = [{}, {"freeze_vision": True}, {"lora": {"r": 2}}, LORA_QV]


@pytest.mark.parametrize("keys", SETTINGS, ids=str)
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen2_vl"])
def test_folder_and_published_weights_are_the_policy(
    family: str,
    keys: dict[str, object],
    tmp_path: Path,
    tiny_dir: Path,
    make_learner: MakeLearner,
    groups: tuple[TrainGroup, ...],
) -> None:
    """Also where the learner resumes, and its first update is behind it."""
    folder = tiny_dir if family == "qwen2_5_vl" else save_tiny_qwen2_vl(tmp_path / "policy")
    learner = make_learner(folder, learner=keys)
    for _ in range(2):
        learner.update(groups)
    learner.save(tmp_path / "saved")
    resumed = make_learner(folder, learner=keys)
    resumed.load(tmp_path / "saved")
    original, policy = load_file(folder / "model.safetensors"), load_file(tmp_path / "saved/policy/model.safetensors")
    for published, _ in (learner.state_dict_for_rollout(), resumed.state_dict_for_rollout()):
        served = {name: tensor.double() for name, tensor in (original | published).items()}
        assert served.keys() == policy.keys()
        assert all(torch.equal(served[name], policy[name]) for name in policy)
        assert learner.trains_all == (published.keys() == original.keys()) == (not keys)


def test_with_adapters_only_their_layers_and_what_is_fused_with_them_moves(make_learner: MakeLearner) -> None:
    published, _ = make_learner(learner=LORA_QV).state_dict_for_rollout()
    layers = {name.rpartition(".")[0] for name in published}
    assert layers == {f"model.layers.{i}.self_attn.{name}_proj" for i in (0, 1) for name in "qkvo"}
    assert "model.layers.1.self_attn.k_proj.bias" in published


def test_a_frozen_tower_does_not_move(make_learner: MakeLearner) -> None:
    published, _ = make_learner(learner={"freeze_vision": True}).state_dict_for_rollout()
    assert "model.embed_tokens.weight" in published
    assert not any(name.startswith("visual") for name in published)

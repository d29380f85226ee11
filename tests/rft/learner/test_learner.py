import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny_policy import VIDEO, FakeClips, FakeProcessor, group_of, recipe, sample, save_tiny, save_tiny_qwen2_vl
from torch import Tensor
from transformers import AutoModelForImageTextToText

from rft.data.frames import ClipError, Frames
from rft.data.processor import PromptInputs
from rft.errors import CheckpointError, DataError, RolloutError
from rft.learner.learner import Learner
from rft.learner.sharding import full
from rft.learner.weights import trainable
from rft.types import Prompt, TrainGroup, Video

MakeLearner = Callable[..., Learner]


def parameters(learner: Learner) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainable(learner._model).items()}


def change(learner: Learner, groups: Sequence[TrainGroup]) -> dict[str, Tensor]:
    before = parameters(learner)
    learner.update(groups)
    return {name: after - before[name] for name, after in parameters(learner).items()}


def without_signal(group: TrainGroup) -> TrainGroup:
    return replace(group, advantages=(0.0,) * len(group.advantages))


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert (tensor - other[name]).abs().max() <= tolerance, name


def test_update_raises_what_was_rewarded(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    learner = make_learner()
    first = learner.update(groups)
    assert learner.policy_version == 1
    assert first["loss"] == pytest.approx(0.0, abs=1e-9)  # ratio 1, advantages of a group sum to 0 ... per completion
    assert first["grad_norm"] > 0
    assert first["clip_share"] == 0
    assert first["num_tokens"] == sum(len(c.token_ids) for g in groups for c in g.completions)
    assert (first["num_completions"], first["num_groups_trained"], first["skipped_updates"]) == (7, 3, 0)
    good, bad = sample("a", "7 8 9", (10, 11, 12), 1.0), sample("a", "7 8 9", (13, 14, 15), -1.0)
    before = _gap(learner, good) - _gap(learner, bad)
    for _ in range(2):
        learner.update((group_of(good, bad),))
    assert _gap(learner, good) - _gap(learner, bad) < before - 0.1


def _gap(learner: Learner, one: TrainGroup) -> float:
    """How far the completion lies below log-probability 0 per token: the rollout's are set to 0 here."""
    (completion,) = one.completions
    completion = replace(completion, logprobs=(0.0,) * len(completion.token_ids))
    # Zero advantage and no decay: the update leaves the weights alone and only measures.
    frozen = parameters(learner)
    gap = learner.update((replace(one, completions=(completion,), advantages=(0.0,)),))["logprob_gap"]
    with torch.no_grad():
        for name, parameter in trainable(learner._model).items():
            parameter.copy_(frozen[name])
    return gap


def test_prefetched_prompts_are_read_before_the_update(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [group.prompt for group in groups]
    at_once, ahead, partly, late = (make_learner(algorithm={"beta": 0.1}) for _ in range(4))
    ahead.prefetch(prompts)
    is_due = iter([False, True])
    late.prefetch(prompts, lambda: next(is_due))
    monkeypatch.setattr(
        "rft.learner.learner.MAX_CACHED_BYTES", 2 * at_once.processor.encode(prompts[0], None).num_bytes
    )
    partly.prefetch(prompts)
    seen = [learner._policies._reference_features for learner in (ahead, partly, late)]
    assert [features.num_encoded for features in seen if features] == [3, 2, 1]
    expected, *changes = [change(learner, groups) for learner in (at_once, ahead, partly, late)]
    assert [features.num_encoded for features in seen if features] == [3, 3, 3]
    for changed in changes:
        assert_same(expected, changed, 0.0)


def test_each_rank_processes_all_prompts_and_shows_its_tower_a_share(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make_learner(algorithm={"beta": 0.1})
    asked, prompts = [], [group.prompt for group in groups]
    encode = learner.processor.encode

    def noted(prompt: Prompt, frames: Frames) -> PromptInputs:
        asked.append(prompt)
        return encode(prompt, frames)

    monkeypatch.setattr(learner.processor, "encode", noted)
    monkeypatch.setattr("rft.learner.learner.num_ranks", lambda: 2)
    monkeypatch.setattr("rft.learner.learner.this_rank", lambda: 1)
    learner.prefetch(prompts)
    features = learner._policies._reference_features
    assert asked == [prompts[1], prompts[0], prompts[2]]
    assert features is not None
    assert features.num_encoded == 1


def test_a_prefetched_prompt_that_cannot_be_read_is_passed_over(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make_learner(algorithm={"beta": 0.1})
    prompts = [group.prompt for group in groups]
    load = learner.clips.load

    def broken_first(media: Video) -> Frames:
        if media == prompts[0].media:
            raise ClipError("broken")
        return load(media)

    monkeypatch.setattr(learner.clips, "find", broken_first)
    learner.prefetch(prompts)
    features = learner._policies._reference_features
    assert features is not None
    assert features.num_encoded == sum(p.media != prompts[0].media for p in prompts)


def test_a_loss_of_ones_own(make_learner: MakeLearner, groups: tuple[TrainGroup, ...], tmp_path: Path) -> None:
    (tmp_path / "own_loss.py").write_text("from rft.algorithm.loss import token_mean as mine\n")
    own, named = (make_learner(algorithm={"loss_type": name}) for name in (f"{tmp_path}/own_loss.py:mine", "dapo"))
    assert_same(change(own, groups), change(named, groups), 0.0)


def test_split_into_forwards_does_not_matter(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    for loss_type in ("grpo", "dapo", "dr_grpo"):
        together, apart = (
            make_learner(algorithm={"loss_type": loss_type, "beta": 0.1}, learner={"max_tokens_per_forward": tokens})
            for tokens in (10_000, 1)
        )
        one, other = change(together, groups), change(apart, groups)
        # AdamW's first step is the sign of the gradient where that is far from epsilon; 1e-2 is the learning rate.
        assert_same(one, other, 1e-6)
        assert together.update(groups)["num_forwards"] == 1
        assert apart.update(groups)["num_forwards"] == 3


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo"])
def test_twice_the_same_groups_are_the_same_update(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...], loss_type: str
) -> None:
    """The loss is a mean over the batch, whatever its size and the number of forwards."""
    uneven = [replace(g, advantages=tuple(a + 0.5 for a in g.advantages)) for g in groups]
    settings = {"algorithm": {"loss_type": loss_type}, "learner": {"max_tokens_per_forward": 60}}
    once, twice = (make_learner(**settings).update(batch) for batch in (uneven, uneven + uneven))
    assert twice["num_forwards"] > once["num_forwards"] > 1
    assert (once["num_groups_trained"], twice["num_groups_trained"]) == (3, 6)  # the same prompt again is a group too
    num_tokens = [len(c.token_ids) for g in uneven for c in g.completions]
    weighted = sum(a * n for a, n in zip([a for g in uneven for a in g.advantages], num_tokens, strict=True))
    by_hand = {"grpo": -0.5, "dapo": -weighted / sum(num_tokens), "dr_grpo": -weighted / (7 * 8)}
    assert once["loss"] == pytest.approx(by_hand[loss_type])
    for name in ("loss", "grad_norm", "entropy", "logprob_gap"):
        assert twice[name] == pytest.approx(once[name], rel=1e-6), name


def test_temperature_is_that_of_the_recipe(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    cold, warm = (make_learner(sampling={"temperature": t}).update(groups)["entropy"] for t in (0.5, 2.0))
    assert cold < warm - 0.1


def test_order_of_groups_does_not_matter(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    assert_same(change(make_learner(), groups), change(make_learner(), groups[::-1]), 1e-6)


def test_zero_advantages_change_nothing(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    flat = [without_signal(g) for g in groups]
    assert all(delta.abs().max() == 0 for delta in change(make_learner(), flat).values())


def test_update_without_samples_is_skipped(make_learner: MakeLearner) -> None:
    learner = make_learner()
    assert learner.update(()) == {"skipped_updates": 1.0}
    assert learner.policy_version == 0


def test_gradient_that_is_not_finite_is_skipped(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    learner = make_learner()
    before = parameters(learner)
    metrics = learner.update([replace(groups[0], advantages=(math.inf, -1.0))])
    assert metrics["skipped_updates"] == 1
    assert learner.policy_version == 0
    assert_same(before, parameters(learner), 0.0)


def test_several_iterations_clip_against_the_first_policy(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    learner = make_learner(algorithm={"num_iterations": 3, "epsilon": 0.01})
    metrics = learner.update(groups)
    assert learner.policy_version == 3
    assert metrics["clip_share"] > 0
    assert metrics["logprob_gap"] == make_learner().update(groups)["logprob_gap"]


def test_kl_pulls_back_to_the_reference(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    learner = make_learner(algorithm={"beta": 5.0})
    assert learner.update(groups)["kl"] == pytest.approx(0.0, abs=1e-9)
    drifted = learner.update(groups)["kl"]
    assert drifted > 0
    flat = [without_signal(g) for g in groups]
    for _ in range(5):
        learner.update(flat)
    assert learner.update(flat)["kl"] < drifted


def test_rollout_gap_by_hand(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    base = make_learner().update(groups[:1])["logprob_gap"]  # mean |policy + 1|, as the fake rollouts say -1
    completions = tuple(replace(c, logprobs=(0.0,) * len(c.token_ids)) for c in groups[0].completions)
    moved = replace(groups[0], completions=completions)
    assert make_learner().update([moved])["logprob_gap"] > base
    metrics = make_learner().update([moved])
    assert metrics["logprob_gap_exp"] > 1
    assert metrics["logprob_gap_k3"] > 0


def test_other_prompt_length_than_the_rollouts_is_an_error(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    longer = replace(groups[0], completions=tuple(replace(c, num_prompt_tokens=99) for c in groups[0].completions))
    with pytest.raises(DataError, match=r"prompt a: learner built 17 prompt tokens, rollout used 99; both must use"):
        make_learner().update([longer])


def test_banned_token_in_a_completion_is_an_error(make_learner: MakeLearner) -> None:
    with pytest.raises(RolloutError, match=r"1 completions .* \(prompts a\)"):
        make_learner().update([sample("a", "7 8", (10, VIDEO), 1.0), sample("b", "7 8", (10,), -1.0)])


def test_frozen_vision_stays(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    learner = make_learner(learner={"freeze_vision": True})
    names = change(learner, groups).keys()
    assert names
    assert not any("visual" in name for name in names)


@pytest.mark.parametrize("lora", [None, {"r": 2, "lora_alpha": 4}])
def test_resume_continues_to_the_same_parameters(
    tmp_path: Path, make_learner: MakeLearner, groups: tuple[TrainGroup, ...], lora: dict[str, int] | None
) -> None:
    settings = {"learning_rate": 1e-2, "lr_scheduler_type": "linear", "lora": lora}
    learner = make_learner(learner=settings)
    learner.update(groups)
    learner.save(tmp_path)
    learner.update(groups[:2])
    resumed = make_learner(learner=settings)
    resumed.load(tmp_path)
    assert resumed.policy_version == 1
    resumed.update(groups[:2])
    assert_same(parameters(learner), parameters(resumed), 0.0)
    assert not list(tmp_path.rglob("*.pt"))
    assert not list(tmp_path.rglob("*.bin"))


def test_saved_policy_loads_and_is_named_like_the_original(
    tmp_path: Path, tiny_dir: Path, make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    learner = make_learner()
    learner.update(groups)
    learner.save(tmp_path)
    weights, probe = learner.state_dict_for_rollout()
    assert load_file(tmp_path / "policy/model.safetensors").keys() == weights.keys()
    assert weights.keys() == load_file(tiny_dir / "model.safetensors").keys()
    assert (tmp_path / "policy/processor.txt").exists()
    config = json.loads((tmp_path / "policy/config.json").read_text())
    assert (config["architectures"], config["dtype"]) == (["Qwen2_5_VLForConditionalGeneration"], "float64")
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "policy", dtype=torch.float64)
    assert_same(dict(loaded.named_parameters()), dict(learner._model.named_parameters()), 0.0)
    logits = loaded(input_ids=torch.tensor([probe.token_ids])).logits[0, :-1].log_softmax(-1)
    expected = logits.gather(-1, torch.tensor(probe.token_ids[1:])[:, None])[:, 0]
    assert probe.logprobs == pytest.approx(expected.tolist(), abs=1e-9)


def test_weights_for_rollout_are_copies(make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    learner = make_learner()
    weights, probe = learner.state_dict_for_rollout()
    kept = {name: tensor.clone() for name, tensor in weights.items()}
    learner.update(groups)
    assert_same(weights, kept, 0.0)
    assert learner.state_dict_for_rollout()[1].logprobs != probe.logprobs


def test_lora_is_merged_for_rollout_and_saved_apart(
    tmp_path: Path, tiny_dir: Path, make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    learner = make_learner(learner={"lora": {"r": 2, "lora_alpha": 8}}, algorithm={"beta": 0.1})
    assert learner.update(groups)["kl"] == pytest.approx(0.0, abs=1e-9)
    assert learner.update(groups)["kl"] > 1e-6
    assert all(".lora_" in name and "visual" not in name for name in trainable(learner._model))
    learner.save(tmp_path)
    weights, _ = learner.state_dict_for_rollout()
    original = load_file(tiny_dir / "model.safetensors")
    assert any((weights[name] != original[name]).any() for name in weights)
    assert load_file(tmp_path / "policy/model.safetensors").keys() == original.keys()
    base = AutoModelForImageTextToText.from_pretrained(tiny_dir, dtype=torch.float64)
    merged = PeftModel.from_pretrained(base, tmp_path / "adapter", autocast_adapter_dtype=False).merge_and_unload()
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "policy", dtype=torch.float64)
    assert_same(dict(merged.named_parameters()), dict(loaded.named_parameters()), 1e-9)


def test_checkpoint_of_another_model_is_refused(
    tmp_path: Path, make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    make_learner().save(tmp_path)
    with pytest.raises(CheckpointError, match="another model or training mode"):
        make_learner(learner={"lora": {}}).load(tmp_path)
    with pytest.raises(CheckpointError, match=r"learner\.json: cannot be read"):
        make_learner().load(tmp_path / "missing")
    (tmp_path / "optimizer.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors: cannot be read"):
        make_learner().load(tmp_path)


def test_folder_without_a_model_is_refused(tmp_path: Path, make_learner: MakeLearner) -> None:
    with pytest.raises(DataError, match="no vision-language model can be loaded"):
        make_learner(tmp_path / "nothing")


def test_untied_head_is_trained_and_published(
    tmp_path: Path, make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    save_tiny(tmp_path, tie_word_embeddings=False)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    learner = make_learner(tmp_path)
    learner.update(groups)
    assert ("lm_head.weight" in learner.state_dict_for_rollout()[0]) == (not learner._model.all_tied_weights_keys)


@pytest.mark.parametrize("freeze_vision", [False, True])
def test_bfloat16_learns_in_float32_master_weights(
    tiny_dir: Path, groups: tuple[TrainGroup, ...], freeze_vision: bool
) -> None:
    settings = recipe(
        learner={"dtype": "bfloat16", "learning_rate": 1e-6, "freeze_vision": freeze_vision}, algorithm={"beta": 0.1}
    )
    try:
        learner = Learner(tiny_dir, settings, FakeProcessor(), FakeClips(), total_updates=4)
        delta = change(learner, groups)
        published, _ = learner.state_dict_for_rollout()
    finally:
        torch.distributed.destroy_process_group()
    # A weight of 0.1 has bfloat16 neighbours 5e-4 away: without master weights nothing would move.
    assert all(tensor.dtype == torch.float32 and 0 < tensor.abs().max() < 2e-6 for tensor in map(full, delta.values()))
    assert {tensor.dtype for tensor in published.values()} == {torch.bfloat16}


def test_qwen2_vl_learns_too(tmp_path: Path, make_learner: MakeLearner, groups: tuple[TrainGroup, ...]) -> None:
    learner = make_learner(save_tiny_qwen2_vl(tmp_path))
    assert learner._model.config.model_type == "qwen2_vl"
    moved = change(learner, groups)
    assert any(name.startswith("model.visual") and delta.any() for name, delta in moved.items())
    assert learner.state_dict_for_rollout()[0].keys() == load_file(tmp_path / "model.safetensors").keys()


def truth(advantage: float) -> TrainGroup:
    """A ground truth of group "a" as scoring leaves it: a text without tokens."""
    one = sample("a", "7 8 9", (), advantage)
    return replace(one, completions=(replace(one.completions[0], text="<answer>"),), has_ground_truth=True)


@pytest.mark.parametrize("correction", ["none", "token_truncate", "token_mask"])
def test_a_ground_truth_learns_as_what_the_engine_would_draw_itself(make_learner: MakeLearner, correction: str) -> None:
    """No log-probability of an engine is made up for it, so nothing corrects it."""
    settings = {"algorithm": {"importance_sampling": correction, "importance_sampling_cap": 1.01}}
    ids = FakeProcessor().completion_ids("<answer>")
    drawn = [sample("a", "7 8 9", ids, 0.6)]
    uncorrected = change(make_learner(), drawn)
    assert any(delta.abs().max() > 0 for delta in uncorrected.values())
    assert_same(uncorrected, change(make_learner(**settings), [truth(0.6)]), 1e-9)


def test_a_ground_truth_is_left_out_of_the_gap_to_the_engine(
    make_learner: MakeLearner, groups: tuple[TrainGroup, ...]
) -> None:
    joined = replace(group_of(groups[0], truth(0.6)), has_ground_truth=True)
    alone, beside = (make_learner().update(batch) for batch in (groups, (joined, *groups[1:])))
    num_tokens = len(FakeProcessor().completion_ids("<answer>"))
    assert beside["num_tokens"] == alone["num_tokens"] + num_tokens
    assert beside["num_sampled_tokens"] == alone["num_sampled_tokens"] == alone["num_tokens"]
    for name in ("logprob_gap", "logprob_gap_exp", "logprob_gap_k3"):
        assert beside[name] == pytest.approx(alone[name])
    assert beside["num_groups_trained"] == alone["num_groups_trained"]
    assert make_learner().update([truth(0.6)])["logprob_gap"] == 0

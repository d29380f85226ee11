"""Packed groups of each family of models against the family's own forward pass on prompt and completion alone."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl as qwen2_5_vl
import transformers.models.qwen2_vl.modeling_qwen2_vl as qwen2_vl
import transformers.models.qwen3_vl.modeling_qwen3_vl as qwen3_vl
from exact_model import exact, gradients, own_logprobs, rotate_exactly
from tiny_policy import (
    END,
    IMAGE,
    VIDEO,
    VISION_END,
    VISION_START,
    FakeClips,
    FakeProcessor,
    recipe,
    save_tiny,
    save_tiny_qwen2_vl,
    three_groups,
    tiny_config,
)
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

import rft.learner.vision as vision
from rft.data.processor import PromptInputs
from rft.learner.attention import is_packed
from rft.learner.batch import prompt_positions
from rft.learner.learner import Learner
from rft.learner.model import Policy
from rft.learner.packing import batch_groups, pack_group, share_beginnings
from rft.learner.vision import VisualInput
from rft.recipe.model_folder import packing_obstacle

COMPLETIONS = ((10, 11, 12, END), (13,), (14, 15, 16, END))
SLIDING = {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1}


def save_tiny_qwen3_vl(directory: Path) -> Path:
    torch.manual_seed(0)
    text = tiny_config().text_config.to_dict()
    config = Qwen3VLConfig(
        text_config={name: text[name] for name in text if name not in ("model_type", "layer_types")} | {"head_dim": 8},
        vision_config={
            "depth": 2,
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=True,
    )
    Qwen3VLForConditionalGeneration(config).save_pretrained(directory)
    return directory


def one_video(patch: int, *, frames_apart: bool) -> PromptInputs:
    """Two frame pairs of 2 x 3 visual tokens; `frames_apart`: each behind a word, as Qwen3-VL shows them."""
    pair = (VISION_START, *[VIDEO] * 6, VISION_END)
    shown = (20, *pair, 21, *pair) if frames_apart else (VISION_START, *[VIDEO] * 12, VISION_END)
    return PromptInputs(
        token_ids=(7, 8, *shown, 9, 6),
        patches=torch.randn(48, 3 * 2 * patch**2),
        grid=torch.tensor([[2, 4, 6]]),
        seconds_per_grid=torch.tensor([1.5]),
    )


def one_image(patch: int) -> PromptInputs:
    """3 x 2 visual tokens."""
    tokens = (7, VISION_START, *[IMAGE] * 6, VISION_END, 8, 9, 6)
    return PromptInputs(tokens, torch.randn(24, 3 * 2 * patch**2), torch.tensor([[1, 6, 4]]))


TEXT = PromptInputs((7, 8, 9))


@pytest.fixture(params=["qwen2_vl", "qwen2_5_vl", "qwen2_5_vl sliding", "qwen3_vl"])
def family(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, tuple[PromptInputs, ...]]:
    """A model folder and what it reads."""
    if request.param == "qwen2_vl":
        return save_tiny_qwen2_vl(tmp_path), (one_video(14, frames_apart=False), TEXT, one_image(14))
    if request.param == "qwen3_vl":
        return save_tiny_qwen3_vl(tmp_path), (one_image(16), one_video(16, frames_apart=True), TEXT)
    directory = save_tiny(tmp_path, **(SLIDING if "sliding" in request.param else {}))
    return directory, (one_image(14), one_video(14, frames_apart=False), TEXT)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_equals_the_model_on_each_completion_alone(
    family: tuple[Path, tuple[PromptInputs, ...]], checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups of a video, an image and a text in one row; within 1e-9 in float64, once transformers' rounding to
    float32 is taken out. With checkpointing the tower sees one frame pair at a time."""
    monkeypatch.setattr(vision, "SLICE_PATCHES", 24)
    for modeling in (qwen2_vl, qwen2_5_vl, qwen3_vl):
        monkeypatch.setattr(modeling, "apply_rotary_pos_emb_vision", rotate_exactly)
    directory, prompts = family
    model = exact(directory, packed=True, gradient_checkpointing=checkpointing)
    assert is_packed(model)
    groups = []
    for inputs in prompts:
        positions = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
        shown = None if inputs.grid is None else VisualInput(inputs.patches.double(), inputs.grid)
        groups.append(pack_group(inputs.token_ids, positions, COMPLETIONS, shown))
    batch = batch_groups(groups, END, packed=True)
    policy = Policy(model, temperature=0.7, banned=FakeProcessor.banned_token_ids, chunk=4)
    weights = torch.linspace(-1, 1, len(batch.labels), dtype=torch.float64)
    logprobs = policy(batch).logprobs
    (logprobs * weights).sum().backward()
    assert policy.num_encoded_videos == 2

    plain = exact(directory)
    alone = [own_logprobs(plain, inputs, completion) for inputs in prompts for completion in COMPLETIONS]
    expected = torch.cat(alone)
    (expected * weights).sum().backward()
    assert (logprobs - expected).abs().max() < 1e-9
    found, wanted = gradients(model), gradients(plain)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (found[name] - gradient).abs().max() <= 1e-9 * gradient.abs().max().clamp(min=1e-3), name
    assert any("visual" in name and gradient.any() for name, gradient in wanted.items())


def test_questions_along_a_clip_equal_each_by_itself(
    family: tuple[Path, tuple[PromptInputs, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two after both frame pairs and one after the first, in one row; within 1e-9, gradients too."""
    for modeling in (qwen2_vl, qwen2_5_vl, qwen3_vl):
        monkeypatch.setattr(modeling, "apply_rotary_pos_emb_vision", rotate_exactly)
    directory, prompts = family
    (last,) = [one for one in prompts if VIDEO in one.token_ids]
    first_pair = [place for place, token in enumerate(last.token_ids) if token == VIDEO][:6]
    last = replace(last, patches=last.patches.double())
    early = replace(
        last,
        token_ids=(*last.token_ids[: first_pair[-1] + 1], VISION_END, 24, 6),
        patches=last.patches[:24],
        grid=torch.tensor([[1, 4, 6]]),
    )
    asked = (last, replace(last, token_ids=(*last.token_ids[:-2], 22, 23, 6)), early)
    model, plain = exact(directory, packed=True), exact(directory)
    groups = []
    for inputs in asked:
        positions = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
        groups.append(pack_group(inputs.token_ids, positions, COMPLETIONS, VisualInput(inputs.patches, inputs.grid)))
    row = share_beginnings(groups, (VIDEO,))
    num_shared = [group.shape.num_shared for group in row]
    assert num_shared[:2] == [0, len(last.token_ids) - 2]
    assert num_shared[2] > first_pair[-1]
    policy = Policy(model, temperature=0.7, banned=FakeProcessor.banned_token_ids, chunk=100)
    batch = batch_groups(row, END, packed=True)
    weights = torch.linspace(-1, 1, len(batch.labels), dtype=torch.float64)
    logprobs = policy(batch).logprobs
    (logprobs * weights).sum().backward()
    assert policy.num_encoded_videos == 1
    expected = torch.cat([own_logprobs(plain, inputs, completion) for inputs in asked for completion in COMPLETIONS])
    (expected * weights).sum().backward()
    assert (logprobs - expected).abs().max() < 1e-9
    found, wanted = gradients(model), gradients(plain)
    for name, gradient in wanted.items():
        assert (found[name] - gradient).abs().max() <= 1e-9 * gradient.abs().max().clamp(min=1e-3), name
    assert any("visual" in name and gradient.any() for name, gradient in wanted.items())


def test_positions_of_frames_apart_are_those_of_the_model(tmp_path: Path) -> None:
    """transformers' rule and vLLM's agree on Qwen3-VL."""
    model, inputs = exact(save_tiny_qwen3_vl(tmp_path)), one_video(16, frames_apart=True)
    ids = torch.tensor([inputs.token_ids])
    own, _ = model.model.get_rope_index(ids, 2 * (ids == VIDEO).int(), video_grid_thw=inputs.grid)
    positions = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
    assert torch.equal(positions, own[:, 0])


def test_positions_of_images_are_those_of_the_model(family: tuple[Path, tuple[PromptInputs, ...]]) -> None:
    """transformers' rule and vLLM's agree on images."""
    directory, prompts = family
    (inputs,) = [one for one in prompts if IMAGE in one.token_ids]
    model, ids = exact(directory), torch.tensor([inputs.token_ids])
    own, _ = model.model.get_rope_index(ids, (ids == IMAGE).int(), image_grid_thw=inputs.grid)
    positions = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
    assert torch.equal(positions, own[:, 0])
    assert positions[0, 1] + 1 == positions[0, 2] == positions[0, 7]
    assert positions[:, 8].tolist() == [5, 5, 5]


def test_prompts_of_text_alone(tiny_dir: Path) -> None:
    model, plain = exact(tiny_dir, packed=True), exact(tiny_dir)
    positions = prompt_positions(model, (7, 8, 9), None, None)
    batch = batch_groups([pack_group((7, 8, 9), positions, COMPLETIONS)], END, packed=True)
    policy = Policy(model, temperature=1.0, banned=(), chunk=100)
    logprobs = policy(batch).logprobs
    for completion, found in zip(COMPLETIONS, logprobs.split([len(c) for c in COMPLETIONS]), strict=True):
        logits = plain(input_ids=torch.tensor([[7, 8, 9, *completion]])).logits[0, 2:-1]
        expected = logits.log_softmax(-1).gather(-1, torch.tensor(completion)[:, None])[:, 0]
        assert torch.allclose(found, expected, atol=1e-9)
    assert policy.num_encoded_videos == 0


@pytest.mark.parametrize(
    ("config", "obstacle"),
    [
        ({"model_type": "qwen2_5_vl"}, None),
        ({"model_type": "qwen3_vl", "text_config": {"attention_dropout": 0.0}}, None),
        ({"model_type": "llava"}, "type llava is not among qwen2_vl, qwen2_5_vl, qwen3_vl"),
        ({"model_type": "qwen2_vl", "attention_dropout": 0.1}, "it drops attention weights at random"),
        (
            {"model_type": "qwen3_vl", "text_config": {"layer_types": ["full_attention", "linear_attention"]}},
            "it has layers of linear_attention",
        ),
    ],
)
def test_what_cannot_be_packed(config: dict[str, object], obstacle: str | None) -> None:
    assert packing_obstacle(config) == obstacle


def test_models_that_cannot_be_packed_learn_from_copies(tmp_path: Path) -> None:
    """The same update, and it is said."""
    save_tiny(tmp_path, attention_dropout=0.5)

    def learner(packed: bool) -> Learner:
        settings = recipe(learner={"max_tokens_per_forward": 40}, algorithm={"beta": 0.1})
        built = Learner(
            tmp_path, settings, FakeProcessor(), FakeClips(), total_updates=4, dtype=torch.float64, packed=packed
        )
        built._model.eval()  # no dropout: only the note is wanted of it
        return built

    with pytest.warns(UserWarning, match="trained as copies of its prompt, because it drops attention weights"):
        fallen_back = learner(packed=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked_for = learner(packed=False)
    for one in (fallen_back, asked_for):
        metrics = one.update(three_groups())
        assert metrics["num_forwards"] > 3
        assert (metrics["num_encoded_videos"], metrics["num_groups_trained"]) == (7, 3)
    assert metrics["grad_norm"] > 0

"""A packed group against one unpacked copy of the prompt per completion, in float64."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exact_model import exact, gradients, own_logprobs
from tiny_policy import END, IMAGE, VIDEO, VISION_END, VISION_START, FakeProcessor, prompt, save_tiny
from torch import Tensor
from transformers import PreTrainedModel

from rft.data.processor import PromptInputs
from rft.learner.batch import prompt_positions
from rft.learner.model import Policy
from rft.learner.packing import PackedBatch, PackedGroup, batch_groups, pack_group, packed_length, split_groups
from rft.learner.row_shape import GroupShape
from rft.learner.vision import VisualInput

COMPLETIONS = ((10, 11, 12, END), (13,), (14, 15, 16, 17, 18, END))


@pytest.fixture
def model(tiny_dir: Path) -> PreTrainedModel:
    return exact(tiny_dir, packed=True)


@pytest.fixture
def plain(tiny_dir: Path) -> PreTrainedModel:
    """The same weights under transformers' own attention."""
    return exact(tiny_dir)


def policy_of(model: PreTrainedModel, temperature: float = 0.7, chunk: int = 1000) -> Policy:
    return Policy(model, temperature=temperature, banned=FakeProcessor.banned_token_ids, chunk=chunk)


def packed(model: PreTrainedModel, text: str, completions: Sequence[Sequence[int]]) -> PackedGroup:
    inputs = FakeProcessor().encode(prompt("p", text), None)
    positions = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
    return pack_group(inputs.token_ids, positions, completions, VisualInput(inputs.patches, inputs.grid))


def joined(groups: Sequence[PackedGroup]) -> PackedBatch:
    return batch_groups(groups, END, packed=True)


def unpacked_logprobs(model: PreTrainedModel, text: str, completion: Sequence[int], **options: float) -> Tensor:
    return own_logprobs(model, FakeProcessor().encode(prompt("p", text), None), completion, **options)


def test_text_goes_on_behind_the_largest_position_of_the_video(model: PreTrainedModel) -> None:
    """As in vLLM; six frames' pairs of 2 x 1 visual tokens, 0.75 s apart, two positions per second."""
    assert model.config.vision_config.tokens_per_second == 2
    ids = [5, VISION_START, *[VIDEO] * 6, VISION_END, 6]
    positions = prompt_positions(model, ids, torch.tensor([[3, 4, 2]]), torch.tensor([0.75]))
    assert positions.tolist() == [
        [0, 1, 2, 2, 3, 3, 5, 5, 6, 7],
        [0, 1, 2, 3, 2, 3, 2, 3, 6, 7],
        [0, 1, 2, 2, 2, 2, 2, 2, 6, 7],
    ]


def test_packed_equals_unpacked(model: PreTrainedModel, plain: PreTrainedModel) -> None:
    groups = (("7 8 9", COMPLETIONS), ("20 21 22 23 24 25", COMPLETIONS[::-1][:2]))
    batch = joined([packed(model, *group) for group in groups])
    weights = torch.linspace(-1, 1, len(batch.labels), dtype=torch.float64)
    logprobs = policy_of(model)(batch).logprobs
    (logprobs * weights).sum().backward()
    packed_gradients = gradients(model)

    expected = torch.cat([unpacked_logprobs(plain, text, c) for text, completions in groups for c in completions])
    (expected * weights).sum().backward()
    assert (logprobs - expected).abs().max() < 1e-9
    own_gradients = gradients(plain)
    assert packed_gradients.keys() == own_gradients.keys()
    for name, gradient in own_gradients.items():
        # The vision tower's rotary embedding rounds to float32, in the backward pass too.
        tolerance = 1e-6 if name.startswith("model.visual") else 1e-9
        assert (packed_gradients[name] - gradient).abs().max() < tolerance * gradient.abs().max().clamp(min=1), name
    assert any(name.startswith("model.visual") and gradient.any() for name, gradient in own_gradients.items())


def test_a_packed_group_of_several_clips_and_an_image_equals_copies(
    model: PreTrainedModel, plain: PreTrainedModel
) -> None:
    """Two clips of other sizes and time steps and an image, with text between: one tower, places in order."""
    grids = ((2, 4, 6), (1, 6, 4), (3, 4, 4))
    pads = [[token] * (t * h * w // 4) for token, (t, h, w) in zip((VIDEO, IMAGE, VIDEO), grids, strict=True)]
    shown = [(VISION_START, *of_part, VISION_END) for of_part in pads]
    token_ids = (7, *shown[0], 8, 9, *shown[1], *shown[2], 20, 21)
    patches = torch.randn(48 + 24 + 48, 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(1))
    inputs = PromptInputs(token_ids, patches, torch.tensor(grids), torch.tensor([1.5, 0.0, 0.5]))
    positions = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
    group = pack_group(inputs.token_ids, positions, COMPLETIONS, VisualInput(inputs.patches, inputs.grid))
    found = policy_of(model)(joined([group])).logprobs
    copies = policy_of(plain)(batch_groups([group], END, packed=False)).logprobs
    assert (found - copies).abs().max() < 1e-9
    order = replace(group, visual=VisualInput(inputs.patches.flip(0), inputs.grid))
    assert (policy_of(model)(joined([order])).logprobs - found).abs().max() > 1e-3  # what is seen counts


@pytest.mark.parametrize("window", [3, 12, 19])
def test_packed_equals_unpacked_with_sliding_layers(tmp_path: Path, window: int) -> None:
    layers = {"use_sliding_window": True, "sliding_window": window, "max_window_layers": 1}
    model, plain = (exact(save_tiny(tmp_path, **layers), packed=packed) for packed in (True, False))
    assert set(model.config.text_config.layer_types) == {"full_attention", "sliding_attention"}
    logprobs = policy_of(model)(joined([packed(model, "7 8 9", COMPLETIONS)])).logprobs
    expected = torch.cat([unpacked_logprobs(plain, "7 8 9", completion) for completion in COMPLETIONS])
    assert (logprobs - expected).abs().max() < 1e-9


@pytest.mark.parametrize("chunk", [1, 4, 11])
def test_chunked_logprobs_and_gradients_are_the_same(model: PreTrainedModel, chunk: int) -> None:
    batch = joined([packed(model, "7 8 9", COMPLETIONS)])
    whole = policy_of(model)(batch)
    whole.logprobs.sum().backward()
    expected = gradients(model)
    chunked = policy_of(model, chunk=chunk)(batch)
    chunked.logprobs.sum().backward()
    assert torch.allclose(chunked.logprobs, whole.logprobs, atol=1e-12)
    assert torch.allclose(chunked.entropies, whole.entropies, atol=1e-12)
    for name, gradient in gradients(model).items():
        assert torch.allclose(gradient, expected[name], atol=1e-10), name


def test_gradient_checkpointing_changes_nothing(tiny_dir: Path, model: PreTrainedModel) -> None:
    batch = joined([packed(model, "7 8 9", COMPLETIONS)])
    policy_of(model)(batch).logprobs.sum().backward()
    expected = gradients(model)
    frugal = exact(tiny_dir, gradient_checkpointing=True, packed=True)
    policy_of(frugal)(batch).logprobs.sum().backward()
    for name, gradient in gradients(frugal).items():
        assert torch.allclose(gradient, expected[name], atol=1e-10), name


def test_order_of_a_group_does_not_matter(model: PreTrainedModel) -> None:
    forward, backward = (
        policy_of(model)(joined([packed(model, "7 8 9", c)])).logprobs for c in (COMPLETIONS, COMPLETIONS[::-1])
    )
    lengths = [len(completion) for completion in COMPLETIONS]
    assert torch.allclose(forward, torch.cat(backward.split(lengths[::-1])[::-1]), atol=1e-12)


def test_temperature_and_ban(model: PreTrainedModel, plain: PreTrainedModel) -> None:
    batch = joined([packed(model, "7 8 9", COMPLETIONS)])
    policy = policy_of(model, temperature=2.5)
    expected = torch.cat([unpacked_logprobs(plain, "7 8 9", c, temperature=2.5) for c in COMPLETIONS])
    assert torch.allclose(policy(batch).logprobs, expected, atol=1e-9)
    bare = torch.cat([unpacked_logprobs(plain, "7 8 9", c, as_sampled=False) for c in COMPLETIONS])
    assert torch.allclose(policy(batch, as_sampled=False).logprobs, bare, atol=1e-9)
    assert (expected - bare).abs().max() > 1e-3


def test_entropy_is_that_of_the_sampling_distribution() -> None:
    class Flat(torch.nn.Module):
        def forward(self, hidden: Tensor) -> Tensor:
            return hidden

    policy = Policy.__new__(Policy)
    torch.nn.Module.__init__(policy)
    policy.model = torch.nn.ModuleDict({"lm_head": Flat()})
    policy.model.lm_head = policy.model["lm_head"]
    policy.temperature, policy.banned = 0.5, (3,)
    logits = torch.tensor([[0.0, 0.0, 0.0, 9.0], [0.5 * 2.0, 0.0, -torch.inf, 9.0]], dtype=torch.float64)
    logprobs, entropies = policy._chunk_logprobs(logits, torch.tensor([1, 0]), True)
    p = torch.tensor(2.0, dtype=torch.float64).sigmoid().item()
    assert torch.allclose(logprobs.exp(), torch.tensor([1 / 3, p], dtype=torch.float64))
    binary = -(p * torch.tensor(p).log() + (1 - p) * torch.tensor(1 - p).log())
    assert entropies.tolist() == pytest.approx([torch.tensor(3.0).log().item(), binary.item()], abs=1e-6)


def test_layout_by_hand() -> None:
    positions = torch.tensor([[0, 1, 1, 4], [0, 1, 2, 4], [0, 2, 1, 4]])
    group = pack_group((7, 8, 9, 10), positions, ((20, 21, 22), (30,)))
    assert group.token_ids.tolist() == [7, 8, 9, 10, 20, 21, 10]
    assert group.labels.tolist() == [20, 21, 22, 30]
    assert group.shape == GroupShape(3, (3, 1))
    assert group.position_ids[1].tolist() == [0, 1, 2, 4, 5, 6, 4]
    assert len(group) == packed_length(4, (3, 1))
    pair = (group, pack_group((7,), positions[:, :1], ((40, 41),)))
    row = batch_groups(pair, 0, packed=True)
    assert row.token_ids.tolist() == [[7, 8, 9, 10, 20, 21, 10, 7, 40]]
    assert (row.groups, row.num_tokens) == ((GroupShape(3, (3, 1)), GroupShape(0, (2,))), 9)
    assert row.scored.tolist() == [3, 4, 5, 6, 7, 8]
    copies = batch_groups(pair, 0, packed=False)
    assert copies.token_ids.tolist() == [[7, 8, 9, 10, 20, 21], [7, 8, 9, 10, 0, 0], [7, 40, 0, 0, 0, 0]]
    assert copies.position_ids[1].tolist() == [[0, 1, 2, 4, 5, 6], [0, 1, 2, 4, 0, 0], [0, 1, 0, 0, 0, 0]]
    assert copies.scored.tolist() == [3, 4, 5, 9, 12, 13]
    assert (copies.groups, copies.num_tokens) == (None, 12)
    assert row.labels.tolist() == copies.labels.tolist() == [20, 21, 22, 30, 40, 41]


def test_split_by_hand() -> None:
    # Longest first to the emptier rank: 100, 40 | 60, 50.
    assert split_groups([60, 100, 40, 50], 2, 120) == (((1,), (2,)), ((0, 3), ()))
    assert split_groups([60, 100, 40, 50], 2, 140) == (((1, 2),), ((0, 3),))
    assert split_groups([60, 100, 40, 50], 2, 140, padded=True) == (((1,), (2,)), ((0, 3), ()))
    assert split_groups([60, 100, 40, 50], 1, 1000) == (((1, 0, 3, 2),),)
    assert split_groups([500], 3, 10) == (((0,),), ((),), ((),))


def test_split_keeps_all_groups_within_the_budget() -> None:
    lengths = [(37 * i) % 101 + 1 for i in range(50)]
    for num_ranks, padded in ((1, False), (2, True), (7, False)):
        plan = split_groups(lengths, num_ranks, 150, padded=padded)
        assert sorted(place for forwards in plan for places in forwards for place in places) == list(range(50))
        assert len({len(forwards) for forwards in plan}) == 1
        for forwards in plan:
            for places in forwards:
                own = [lengths[place] for place in places]
                assert len(own) <= 1 or (len(own) * max(own) if padded else sum(own)) <= 150

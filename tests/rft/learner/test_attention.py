"""Attention without the blocks that nobody sees, against attention under the whole mask."""

from collections.abc import Sequence
from typing import cast

import pytest
import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

from rft.learner.attention import Block, Packing, blocks, cut_blocks, packed_attention
from rft.learner.context import Context, share_row
from rft.learner.row_shape import GroupShape

ROWS = (
    (GroupShape(7, (4, 1, 6)),),
    (GroupShape(0, (3, 2)),),
    (GroupShape(5, (4,)), GroupShape(9, (3, 3)), GroupShape(4, ())),
    (GroupShape(40, (30, 20)), GroupShape(0, (1,))),
    (
        GroupShape(2, (2,)),
        GroupShape(9, (3, 4)),
        GroupShape(2, (3, 2), 6),
        GroupShape(0, (4,), 3),
        GroupShape(3, (2, 1)),
    ),
)
HEADS, KEY_HEADS, WIDTH = 4, 2, 8
NO_RANKS = cast(ProcessGroup, None)
"""Where nothing is sent."""
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 5e-2}


def whole_mask(row: tuple[GroupShape, ...], window: int | None) -> Tensor:
    """[L, L], True where the token of a row sees that of a column; one token at a time."""
    tokens = [
        (number, segment, place + group.num_shared + (group.num_prefix if segment else 0))
        for number, group in enumerate(row)
        for segment, length in enumerate((group.num_prefix, *group.lengths))
        for place in range(length)
    ]
    mask = torch.zeros(len(tokens), len(tokens), dtype=torch.bool)
    for i, (group, segment, place) in enumerate(tokens):
        lead = max(number for number in range(group + 1) if not row[number].num_shared)
        for j, (other, key_segment, key_place) in enumerate(tokens[: i + 1]):
            near = window is None or place - key_place < window
            own = group == other and key_segment in (0, segment)
            shared = other == lead and key_segment == 0 and key_place < row[group].num_shared
            mask[i, j] = (own or shared) and near
    return mask


def inputs(length: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    heads = (HEADS, KEY_HEADS, KEY_HEADS)
    return tuple(torch.randn(1, length, h, WIDTH, dtype=dtype).transpose(1, 2).requires_grad_() for h in heads)


def under_mask(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    key, value = (tensor.repeat_interleave(HEADS // KEY_HEADS, 1) for tensor in (key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.3).transpose(1, 2)


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("window", [None, 1, 2, 3, 5, 12, 100])
def test_every_pair_that_may_see_each_other_is_in_one_block(row: tuple[GroupShape, ...], window: int | None) -> None:
    check_blocks(blocks(row, window), whole_mask(row, window))


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("window", [None, 3, 12])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_queries_of_one_rank_see_what_they_see_in_the_whole_row(
    row: tuple[GroupShape, ...], window: int | None, size: int
) -> None:
    for rank in range(size):
        share = share_row(row, Context(rank, size, NO_RANKS))
        check_blocks(cut_blocks(blocks(row, window), share.runs), whole_mask(row, window)[share.places])


def check_blocks(parts: Sequence[Block], mask: Tensor) -> None:
    """Each pair of `mask` is in one block, each query in one causal block."""
    seen = torch.zeros(mask.shape, dtype=torch.int)
    queries = torch.zeros(len(mask), dtype=torch.int)
    for block in parts:
        inside = torch.ones(block.stop - block.start, block.key_stop - block.key_start, dtype=torch.int)
        if block.is_causal:
            inside = inside.tril()
            queries[block.start : block.stop] += 1
        bias = block.mask(torch.zeros(()))
        if bias is not None:
            inside = inside * (bias == 0)
        assert inside.any(1).all(), block
        seen[block.start : block.stop, block.key_start : block.key_stop] += inside
    assert torch.equal(seen, mask.int())
    assert (queries == 1).all()


def test_a_group_is_few_blocks() -> None:
    """The prompt on itself, each completion on itself, all completions on the prompt."""
    assert blocks([GroupShape(5, (2, 3))]) == (
        Block(0, 5, 0, 5, True),
        Block(5, 7, 5, 7, True),
        Block(7, 10, 7, 10, True),
        Block(5, 10, 0, 5),
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("window", [None, 3, 12])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_values_and_gradients_are_those_of_one_softmax(
    row: tuple[GroupShape, ...], window: int | None, dtype: torch.dtype
) -> None:
    length = sum(map(len, row))
    tensors, weights = inputs(length, dtype), torch.randn(1, length, HEADS, WIDTH, dtype=dtype)
    packing = Packing(row, torch.device("cpu"))
    out, none = packed_attention(torch.nn.Module(), *tensors, None, scaling=0.3, packing=packing, sliding_window=window)
    expected = under_mask(*tensors, whole_mask(row, window))
    assert none is None
    found = (out, *torch.autograd.grad(out, tensors, weights))
    wanted = (expected, *torch.autograd.grad(expected, tensors, weights))
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype
        assert (one - other).abs().max() <= TOLERANCE[dtype] * other.abs().max().clamp(min=0.1)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("row", [*ROWS[:3], ROWS[-1]], ids=str)
def test_flex_attention_sees_the_same(row: tuple[GroupShape, ...], window: int | None) -> None:
    """The block mask that a GPU gets, in flex_attention's plain form."""
    tensors = tuple(tensor.detach() for tensor in inputs(sum(map(len, row)), torch.float64))
    mask = Packing(row, torch.device("cpu")).block_mask(window)
    out = flex_attention(*tensors, block_mask=mask, scale=0.3, enable_gqa=True).transpose(1, 2)
    assert (out - under_mask(*tensors, whole_mask(row, window))).abs().max() < 1e-6


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_block_mask_of_one_rank_is_of_its_queries() -> None:
    row = ROWS[2]
    tensors = tuple(tensor.detach() for tensor in inputs(sum(map(len, row)), torch.float64))
    share = share_row(row, Context(1, 2, NO_RANKS))
    mask = Packing(row, torch.device("cpu"), share).block_mask(5)
    own = (tensors[0][:, :, share.places], *tensors[1:])
    out = flex_attention(*own, block_mask=mask, scale=0.3, enable_gqa=True).transpose(1, 2)
    assert (out - under_mask(*own, whole_mask(row, 5)[share.places])).abs().max() < 1e-6


def test_memory_grows_with_the_tokens_alone() -> None:
    """Nothing of the size of a mask is kept for the backward pass."""
    row = (GroupShape(3000, (200, 200, 200)),)
    tensors = inputs(3600, torch.float32)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda saved: kept.append(saved.nbytes) or saved, lambda saved: saved
    ):
        packed_attention(torch.nn.Module(), *tensors, None, scaling=0.3, packing=Packing(row, torch.device("cpu")))
    assert 0 < sum(kept) < 4 * 3600 * (2 * HEADS + 2 * KEY_HEADS + 1) * WIDTH

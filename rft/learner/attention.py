"""Who may attend to whom in packed groups, computed without the blocks that nobody may see.

A group is a run of prompt tokens and a run for each completion (rft/learner/packing.py). On the CPU its attention is a
few calls of torch's flash kernel, one per rectangle of queries and keys, joined by their log-sum-exp; on a GPU it is
one call of flex_attention with a block mask. Memory grows with the number of tokens, never with its square.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface, PreTrainedModel

from rft.learner.context import RowShare
from rft.learner.row_shape import GroupShape, Run
from rft.recipe.model_folder import packing_obstacle

PACKED_ATTENTION = "rft_packed"
"""transformers prepares no mask for an implementation that it knows no mask of."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True, slots=True)
class Block:
    """Queries start..stop of a row on its keys key_start..key_stop; each query sees at least one of them."""

    start: int
    stop: int
    key_start: int
    key_stop: int
    is_causal: bool = False
    """The n-th query sees n keys. The causal blocks of a row hold every query once."""
    hidden: tuple[int, ...] | None = None
    """Per query: how many of the first keys lie behind its window."""

    def mask(self, like: Tensor) -> Tensor | None:
        """[queries, keys], to be added to the scores."""
        if self.hidden is None:
            return None
        keys = torch.arange(self.key_stop - self.key_start, device=like.device)
        behind = keys < torch.tensor(self.hidden, device=like.device)[:, None]
        return like.new_zeros(behind.shape).masked_fill_(behind, -torch.inf)


def blocks(groups: Sequence[GroupShape], window: int | None = None) -> tuple[Block, ...]:
    """The blocks of a row of groups, the causal ones first.

    `window`: a token sees so many tokens of its own prompt and completion, itself included.
    """
    all_blocks: list[Block] = []
    start = lead = 0
    for group in groups:
        all_blocks += _group_blocks(group, start, window)
        if group.num_shared:
            all_blocks += _shared_blocks(group, start, lead, window)
        else:
            lead = start
        start += len(group)
    return tuple(sorted(all_blocks, key=lambda block: not block.is_causal))


def _group_blocks(group: GroupShape, start: int, window: int | None) -> Iterator[Block]:
    if len(group.lengths) == 1:  # an unbroken sequence
        yield from _run_blocks(start, start + len(group), window)
        return
    behind_prefix, stop = start + group.num_prefix, start + len(group)
    yield from _run_blocks(start, behind_prefix, window)
    place = behind_prefix
    for length in group.lengths:
        yield from _run_blocks(place, place + length, window)
        if window is not None:
            yield from _look_back(place, place + length, start, behind_prefix, window)
        place += length
    if window is None and group.num_prefix and behind_prefix < stop:
        yield Block(behind_prefix, stop, start, behind_prefix)


def _shared_blocks(group: GroupShape, start: int, lead: int, window: int | None) -> Iterator[Block]:
    """All tokens of the group on those that it shares, which begin at `lead`."""
    shared = (lead, lead + group.num_shared)
    if window is None:
        yield Block(start, start + len(group), *shared)
        return
    place = start + group.num_prefix
    yield from _look_back(start, place, *shared, window)
    for length in group.lengths:
        yield from _look_back(place, place + length, *shared, window - group.num_prefix)
        place += length


def _run_blocks(start: int, stop: int, window: int | None) -> Iterator[Block]:
    """A run of tokens that see themselves: `window` at a time, each stretch also on the one before it."""
    step = window or max(stop - start, 1)
    for first in range(start, stop, step):
        last = min(first + step, stop)
        yield Block(first, last, first, last, is_causal=True)
        if window is not None:
            yield from _look_back(first, last, start, first, window)


def _look_back(start: int, stop: int, key_start: int, key_stop: int, window: int) -> Iterator[Block]:
    """Queries whose own places follow right behind those of the keys, on the keys that their window still reaches."""
    key_start = max(key_start, key_stop - (window - 1))
    num_keys = key_stop - key_start
    stop = min(stop, start + window - 1)
    hidden = tuple(max(0, num_keys - (window - 1 - place)) for place in range(stop - start))
    if hidden and num_keys:
        yield Block(start, stop, key_start, key_stop, hidden=hidden if any(hidden) else None)


def cut_blocks(parts: Sequence[Block], runs: Sequence[Run]) -> tuple[Block, ...]:
    """The blocks of the queries in `runs` alone, which follow each other in a row of their own; the keys stay all."""
    cut: list[Block] = []
    at = 0
    for start, stop in runs:
        for part in parts:
            first, last = max(part.start, start), min(part.stop, stop)
            if first < last:
                cut += _cut_block(part, first, last, at - start)
        at += stop - start
    return tuple(sorted(cut, key=lambda block: not block.is_causal))


def _cut_block(part: Block, first: int, last: int, shift: int) -> Iterator[Block]:
    """Queries first..last of `part`, which lie `shift` further on."""
    skipped, stop = first - part.start, last - part.start
    own = replace(part, start=first + shift, stop=last + shift)
    if not part.is_causal:
        yield replace(own, hidden=part.hidden and part.hidden[skipped:stop])
        return
    yield replace(own, key_start=part.key_start + skipped, key_stop=part.key_start + stop)
    if skipped:
        yield replace(own, key_stop=part.key_start + skipped, is_causal=False)


class Packing:
    """The groups of one row, as an attention function needs them; made once per forward pass."""

    def __init__(self, groups: Sequence[GroupShape], device: torch.device, share: RowShare | None = None) -> None:
        """`share`: the tokens of the row that are here; None: all."""
        self.groups = tuple(groups)
        self.device = device
        self.share = share
        self._blocks: dict[int | None, tuple[Block, ...]] = {}
        self._masks: dict[int | None, BlockMask] = {}

    def blocks(self, window: int | None) -> tuple[Block, ...]:
        if window not in self._blocks:
            parts = blocks(self.groups, window)
            self._blocks[window] = cut_blocks(parts, self.share.runs) if self.share else parts
        return self._blocks[window]

    def block_mask(self, window: int | None) -> BlockMask:
        """For flex_attention."""
        if window not in self._masks:
            self._masks[window] = self._block_mask(window)
        return self._masks[window]

    def _block_mask(self, window: int | None) -> BlockMask:
        owner, segment, index = (values.to(self.device) for values in self.labels)
        lead, shared = (values.to(self.device) for values in self.sharing)
        shares = any(group.num_shared for group in self.groups)
        length = sum(map(len, self.groups))
        places = self.share.places.to(self.device) if self.share else torch.arange(length, device=self.device)

        def sees(_batch: Tensor, _head: Tensor, own: Tensor, key: Tensor) -> Tensor:
            query = places[own]
            same = (owner[query] == owner[key]) & (query >= key)
            seen = same & ((segment[key] == 0) | (segment[key] == segment[query]))
            if shares:
                seen = seen | ((lead[query] == owner[key]) & (segment[key] == 0) & (index[key] < shared[query]))
            return seen if window is None else seen & (index[query] - index[key] < window)

        return create_block_mask(
            sees, None, None, len(places), length, device=self.device, _compile=self.device.type == "cuda"
        )

    @cached_property
    def labels(self) -> tuple[Tensor, Tensor, Tensor]:
        """[L] each: a token's group; 0 in the prompt or the number of its completion; its place in its own two."""
        owners, segments, indices = [], [], []
        for number, group in enumerate(self.groups):
            for segment, length in enumerate((group.num_prefix, *group.lengths)):
                owners.append(torch.full((length,), number))
                segments.append(torch.full((length,), segment))
                indices.append(torch.arange(length) + group.num_shared + (group.num_prefix if segment else 0))
        return torch.cat(owners), torch.cat(segments), torch.cat(indices)

    @cached_property
    def sharing(self) -> tuple[Tensor, Tensor]:
        """[L] each: the group whose first tokens a token's group shares; how many, 0 where it shares none."""
        whole = [0 if group.num_shared else number for number, group in enumerate(self.groups)]
        leads = list(accumulate(whole, max))
        lengths = torch.tensor([len(group) for group in self.groups])
        shared = torch.tensor([group.num_shared for group in self.groups])
        return torch.tensor(leads).repeat_interleave(lengths), shared.repeat_interleave(lengths)


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    scaling: float,
    packing: Packing,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """[1, L, heads, d] for `query` [1, heads, L, d]; `key` and `value` [1, key heads, L, d].

    Where the row is shared out, L counts the tokens that are here; keys and values of the others come from their ranks.
    """
    if packing.share is not None:
        key, value = packing.share.whole(torch.stack([key, value])).unbind()
    if query.device.type == "cuda":
        out = _compiled_flex()(
            query,
            key,
            value,
            block_mask=packing.block_mask(sliding_window),
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return out.transpose(1, 2), None
    parts = packing.blocks(sliding_window)
    return _BlockAttention.apply(query, key, value, parts, scaling), None  # type: ignore[no-untyped-call]


def why_not_packed(model: PreTrainedModel) -> str | None:
    """What keeps groups of this model from being packed; None: nothing."""
    return packing_obstacle(model.config.to_dict())


def pack_text_attention(model: PreTrainedModel) -> None:
    """Let the text layers of `model` read packed groups: its forward takes `packing`, and cannot do without."""
    AttentionInterface.register(PACKED_ATTENTION, packed_attention)
    model.config.get_text_config()._attn_implementation = PACKED_ATTENTION


def is_packed(model: PreTrainedModel) -> bool:
    attention: str = model.config.get_text_config()._attn_implementation
    return attention == PACKED_ATTENTION


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention)


class _BlockAttention(torch.autograd.Function):
    """Attention of a row, block by block. The kernel's backward pass takes the joined output and log-sum-exp: with them
    each block's share of the gradients comes out as in one softmax over all keys."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, parts: tuple[Block, ...], scaling: float
    ) -> Tensor:
        batch, heads, length, width = query.shape
        rows = query.new_empty(batch, length, heads, width)
        out = rows.transpose(1, 2)
        total: Tensor | None = None
        for part in parts:
            own, seen = slice(part.start, part.stop), slice(part.key_start, part.key_stop)
            share, log_sum = _flash(
                query[:, :, own],
                key[:, :, seen],
                value[:, :, seen],
                0.0,
                part.is_causal,
                attn_mask=part.mask(query),
                scale=scaling,
            )
            if total is None:
                total = log_sum.new_empty(batch, heads, length)
            if part.is_causal:
                out[:, :, own], total[:, :, own] = share, log_sum
            else:
                before = total[:, :, own]
                joined = torch.logaddexp(before, log_sum)
                out[:, :, own] = torch.lerp(
                    out[:, :, own].to(joined.dtype), share.to(joined.dtype), (log_sum - joined).exp()[..., None]
                )
                total[:, :, own] = joined
        ctx.save_for_backward(query, key, value, rows, total)
        ctx.parts, ctx.scaling = parts, scaling
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, rows, total = ctx.saved_tensors
        out, gradient = rows.transpose(1, 2), gradient.transpose(1, 2)
        gradients = tuple(torch.zeros_like(tensor) for tensor in (query, key, value))
        for part in ctx.parts:
            own, seen = slice(part.start, part.stop), slice(part.key_start, part.key_stop)
            shares = _flash_backward(
                gradient[:, :, own],
                query[:, :, own],
                key[:, :, seen],
                value[:, :, seen],
                out[:, :, own],
                total[:, :, own],
                0.0,
                part.is_causal,
                attn_mask=part.mask(query),
                scale=ctx.scaling,
            )
            for whole, place, share in zip(gradients, (own, seen, seen), shares, strict=True):
                whole[:, :, place] += share
        return *gradients, None, None

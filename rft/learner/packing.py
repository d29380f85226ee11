"""A group as one sequence: the prompt once, then every completion, none of which sees another.

With prompt x_1..x_P and completion y_1..y_T the packed sequence is x_1..x_{P-1}, then per completion the segment
x_P y_1..y_{T-1}, whose labels are y_1..y_T. Each segment begins with its own copy of the last prompt token, so its
first label needs no special case, and its positions continue from where the prompt ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

PADDING = -1
"""Segment of padding tokens; the prompt is segment 0, completions are 1, 2, ..."""


@dataclass(frozen=True, slots=True)
class PackedGroup:
    """One prompt with its completions, L tokens in all."""

    token_ids: Tensor
    """[L]"""
    position_ids: Tensor
    """[3, L], time, height and width of M-RoPE."""
    segments: Tensor
    """[L]"""
    indices: Tensor
    """[L], place in the token's own prompt and completion."""
    labels: Tensor
    """[M], tokens of the completions, one after the other; M = L - (P - 1)."""
    pixel_values_videos: Tensor | None
    video_grid_thw: Tensor | None

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Several packed groups, padded on the right to one length: B rows of L tokens, M of them scored."""

    token_ids: Tensor
    """[B, L]"""
    position_ids: Tensor
    """[3, B, L]"""
    segments: Tensor
    """[B, L]"""
    indices: Tensor
    """[B, L]"""
    scored: Tensor
    """[M], places in the flattened [B * L] whose next token is a completion token."""
    labels: Tensor
    """[M], those completion tokens, in the order of the groups and their completions."""
    pixel_values_videos: Tensor | None
    """[patches of all videos, values of a patch]"""
    video_grid_thw: Tensor | None
    """[videos, 3]"""

    def to(self, device: torch.device) -> "PackedBatch":
        moved = {
            name: value.to(device, non_blocking=True)
            for name in self.__slots__
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)


def packed_length(num_prompt_tokens: int, completion_lengths: Sequence[int]) -> int:
    return num_prompt_tokens - 1 + sum(completion_lengths)


def pack_group(
    prompt_ids: Sequence[int],
    prompt_positions: Tensor,
    completions: Sequence[Sequence[int]],
    pixel_values_videos: Tensor | None = None,
    video_grid_thw: Tensor | None = None,
) -> PackedGroup:
    """`prompt_positions`: [3, P], the model's own M-RoPE positions of the prompt."""
    prefix, last = list(prompt_ids[:-1]), prompt_ids[-1]
    num_prefix = len(prefix)
    tokens, segments, indices = list(prefix), [0] * num_prefix, list(range(num_prefix))
    labels: list[int] = []
    for number, completion in enumerate(completions, start=1):
        tokens += [last, *completion[:-1]] if completion else []
        segments += [number] * len(completion)
        indices += range(num_prefix, num_prefix + len(completion))
        labels += completion
    index = torch.tensor(indices)
    after_prefix = prompt_positions[:, -1:] + (index[num_prefix:] - num_prefix)
    return PackedGroup(
        token_ids=torch.tensor(tokens),
        position_ids=torch.cat([prompt_positions[:, :-1], after_prefix], dim=1),
        segments=torch.tensor(segments),
        indices=index,
        labels=torch.tensor(labels, dtype=torch.long),
        pixel_values_videos=pixel_values_videos,
        video_grid_thw=video_grid_thw,
    )


def pad_groups(groups: Sequence[PackedGroup], pad_id: int) -> PackedBatch:
    """`pad_id`: any token that stands for no image or video."""
    length = max(len(group) for group in groups)

    def padded(values: Callable[[PackedGroup], Tensor], fill: int) -> Tensor:
        rows = [torch.nn.functional.pad(values(group), (0, length - len(group)), value=fill) for group in groups]
        return torch.stack(rows, dim=-2)

    segments = padded(lambda group: group.segments, PADDING)
    pixels = [group.pixel_values_videos for group in groups if group.pixel_values_videos is not None]
    grids = [group.video_grid_thw for group in groups if group.video_grid_thw is not None]
    return PackedBatch(
        token_ids=padded(lambda group: group.token_ids, pad_id),
        position_ids=padded(lambda group: group.position_ids, 0),
        segments=segments,
        indices=padded(lambda group: group.indices, 0),
        scored=(segments > 0).flatten().nonzero()[:, 0],
        labels=torch.cat([group.labels for group in groups]),
        pixel_values_videos=torch.cat(pixels) if pixels else None,
        video_grid_thw=torch.cat(grids) if grids else None,
    )


def split_groups(lengths: Sequence[int], num_ranks: int, max_tokens: int) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Which groups run in which forward of which rank: rank -> forward -> places in `lengths`.

    The longest groups are dealt first, each to the rank with the fewest tokens. Forwards hold groups of similar
    length, at most `max_tokens` with padding; a longer group runs alone. Every rank gets the same number of forwards,
    because sharded ranks talk in each: the missing ones are empty.
    """
    ranks: list[list[int]] = [[] for _ in range(num_ranks)]
    loads = [0] * num_ranks
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        rank = loads.index(min(loads))
        ranks[rank].append(place)
        loads[rank] += lengths[place]
    plan: list[list[tuple[int, ...]]] = []
    for places in ranks:
        forwards: list[tuple[int, ...]] = []
        for place in places:
            # Descending lengths: the first group of a forward sets its padded length.
            if forwards and lengths[forwards[-1][0]] * (len(forwards[-1]) + 1) <= max_tokens:
                forwards[-1] += (place,)
            else:
                forwards.append((place,))
        plan.append(forwards)
    most = max(len(forwards) for forwards in plan)
    return tuple(tuple(forwards) + ((),) * (most - len(forwards)) for forwards in plan)

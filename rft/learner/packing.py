"""A group as one sequence: the prompt once, then every completion, none of which sees another.

Questions along one clip share it: a group whose prompt begins as that of the group before it goes on from there.

With prompt x_1..x_P and completion y_1..y_T the packed sequence is x_1..x_{P-1}, then per completion the segment
x_P y_1..y_{T-1}, whose labels are y_1..y_T. Each segment begins with its own copy of the last prompt token, so its
first label needs no special case, and its positions continue from where the prompt ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import pad

from rft.learner.context import Context, RowShare, share_row
from rft.learner.row_shape import GroupShape
from rft.learner.vision import VisualInput, join_visuals, share_visual


@dataclass(frozen=True, slots=True)
class PackedGroup:
    """One prompt with its completions, L tokens in all."""

    token_ids: Tensor
    """[L]"""
    position_ids: Tensor
    """[3, L], time, height and width of M-RoPE."""
    shape: GroupShape
    labels: Tensor
    """[M], tokens of the completions, one after the other; M = L - (P - 1)."""
    visual: VisualInput | None

    def __len__(self) -> int:
        return len(self.token_ids)

    def copies(self) -> "tuple[PackedGroup, ...]":
        """A group of its own for each completion, with the prompt and what it shows again."""
        prefix = self.shape.num_prefix
        starts = accumulate(self.shape.lengths, initial=prefix)
        return tuple(
            replace(
                self,
                token_ids=torch.cat([self.token_ids[:prefix], self.token_ids[start : start + length]]),
                position_ids=torch.cat(
                    [self.position_ids[:, :prefix], self.position_ids[:, start : start + length]], dim=1
                ),
                shape=GroupShape(prefix, (length,)),
                labels=self.labels[start - prefix : start - prefix + length],
            )
            for start, length in zip(starts, self.shape.lengths, strict=False)
        )


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """What one forward pass reads: B rows of L tokens, M of them scored."""

    token_ids: Tensor
    """[B, L]"""
    position_ids: Tensor
    """[3, B, L]"""
    groups: tuple[GroupShape, ...] | None
    """The groups of the one row; None: a completion per row, padded on the right."""
    scored: Tensor
    """[M], places in the flattened [B * L] whose next token is a completion token."""
    labels: Tensor
    """[M], those completion tokens, in the order of the groups and their completions."""
    visual: VisualInput | None
    """Of all groups, in the order of their rows."""
    num_tokens: int
    """Without padding."""
    share: RowShare | None = None
    """Where ranks share the row: its tokens that are here, which are then the L of the other fields."""

    def to(self, device: torch.device) -> "PackedBatch":
        return replace(
            self,
            token_ids=self.token_ids.to(device, non_blocking=True),
            position_ids=self.position_ids.to(device, non_blocking=True),
            scored=self.scored.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            visual=self.visual.to(device) if self.visual else None,
            share=self.share.to(device) if self.share else None,
        )


def packed_length(num_prompt_tokens: int, completion_lengths: Sequence[int]) -> int:
    return num_prompt_tokens - 1 + sum(completion_lengths)


def pack_group(
    prompt_ids: Sequence[int],
    prompt_positions: Tensor,
    completions: Sequence[Sequence[int]],
    visual: VisualInput | None = None,
) -> PackedGroup:
    """`prompt_positions`: [3, P], the model's own M-RoPE positions of the prompt."""
    prefix, last = list(prompt_ids[:-1]), prompt_ids[-1]
    tokens = list(prefix)
    places: list[int] = []
    labels: list[int] = []
    for completion in completions:
        tokens += [last, *completion[:-1]] if completion else []
        places += range(len(completion))
        labels += completion
    return PackedGroup(
        token_ids=torch.tensor(tokens),
        position_ids=torch.cat([prompt_positions[:, :-1], prompt_positions[:, -1:] + torch.tensor(places)], dim=1),
        shape=GroupShape(len(prefix), tuple(len(completion) for completion in completions)),
        labels=torch.tensor(labels, dtype=torch.long),
        visual=visual,
    )


def pack_row(
    prompt_ids: Sequence[int], prompt_positions: Tensor, completion: Sequence[int], visual: VisualInput | None = None
) -> PackedGroup:
    """A prompt and one completion as a group without a prefix, so that all tokens behind the first are labels.

    `prompt_positions`: as in `pack_group`. L = P + T - 1 for a completion of T tokens.
    """
    tokens = torch.tensor([*prompt_ids, *completion])
    behind = prompt_positions[:, -1:] + torch.arange(1, len(completion))
    return PackedGroup(
        token_ids=tokens[:-1],
        position_ids=torch.cat([prompt_positions, behind], dim=1),
        shape=GroupShape(0, (len(tokens) - 1,)),
        labels=tokens[1:],
        visual=visual,
    )


def share_beginnings(groups: Sequence[PackedGroup], visual_ids: Sequence[int]) -> list[PackedGroup]:
    """The groups, those cut that begin as the last whole group before them and show nothing that it does not show.

    `visual_ids`: tokens that stand for pixels. Cut are the tokens and positions that are the same, and the pixels.
    """
    shared: list[PackedGroup] = []
    lead: PackedGroup | None = None
    for group in groups:
        rest = lead and _behind(group, lead, torch.tensor(visual_ids))
        if rest is None:
            lead = group
        shared.append(rest or group)
    return shared


def _behind(group: PackedGroup, lead: PackedGroup, visual_ids: Tensor) -> PackedGroup | None:
    """What `group` has behind the beginning that it shares with `lead`; None: it shows something else, or nothing."""
    if group.visual is None or lead.visual is None or not group.visual.begins(lead.visual):
        return None
    most = min(group.shape.num_prefix, lead.shape.num_prefix)
    same_ids = group.token_ids[:most] == lead.token_ids[:most]
    same_places = (group.position_ids[:, :most] == lead.position_ids[:, :most]).all(0)
    num_shared = int((same_ids & same_places).int().cumprod(0).sum())
    if torch.isin(group.token_ids[num_shared:], visual_ids).any():
        return None
    return replace(
        group,
        token_ids=group.token_ids[num_shared:],
        position_ids=group.position_ids[:, num_shared:],
        shape=GroupShape(group.shape.num_prefix - num_shared, group.shape.lengths, num_shared),
        visual=None,
    )


def batch_groups(groups: Sequence[PackedGroup], pad_id: int, *, packed: bool) -> PackedBatch:
    """`packed`: whether the model takes groups as they are; else a row per completion, padded with `pad_id`."""
    return join_groups(groups) if packed else copy_groups(groups, pad_id)


def join_groups(groups: Sequence[PackedGroup]) -> PackedBatch:
    """The groups behind each other in one row."""
    length = sum(map(len, groups))
    scored = torch.cat([torch.arange(len(group)) >= group.shape.num_prefix for group in groups])
    return PackedBatch(
        token_ids=torch.cat([group.token_ids for group in groups])[None],
        position_ids=torch.cat([group.position_ids for group in groups], dim=1)[:, None],
        groups=tuple(group.shape for group in groups),
        scored=scored.nonzero()[:, 0],
        labels=torch.cat([group.labels for group in groups]),
        visual=join_visuals([group.visual for group in groups]),
        num_tokens=length,
    )


def share_groups(groups: Sequence[PackedGroup], context: Context, visual_ids: Sequence[int], merge: int) -> PackedBatch:
    """The tokens that this rank computes of groups with its own completions.

    `visual_ids`: tokens that stand for pixels. `merge`: the side of a visual token, in patches.
    """
    whole = join_groups(groups)
    share = share_row([group.shape for group in groups], context)
    places = share.places
    return replace(
        whole,
        token_ids=whole.token_ids[:, places],
        position_ids=whole.position_ids[:, :, places],
        scored=torch.isin(places, whole.scored).nonzero()[:, 0],
        visual=whole.visual and share_visual(whole.visual, visual_rows(whole, share, visual_ids), context, merge),
        num_tokens=len(places),
        share=share,
    )


def visual_rows(whole: PackedBatch, share: RowShare, visual_ids: Sequence[int]) -> Tensor:
    """Visual tokens that are here, among those of the whole row."""
    is_visual = torch.isin(whole.token_ids[0], torch.tensor(visual_ids))
    return (is_visual.cumsum(0) - 1)[share.places][is_visual[share.places]]


def copy_groups(groups: Sequence[PackedGroup], pad_id: int) -> PackedBatch:
    """A row per completion, each with the whole prompt: for models whose attention cannot be told of groups.

    `pad_id`: any token that stands for no image or video.
    """
    copies = [copy for group in groups for copy in group.copies()]
    length = max(map(len, copies))

    def padded(rows: Sequence[Tensor], fill: int) -> Tensor:
        return torch.stack([pad(row, (0, length - row.shape[-1]), value=fill) for row in rows], dim=-2)

    places = torch.arange(length)
    ends = torch.tensor([len(copy) for copy in copies])[:, None]
    starts = torch.tensor([copy.shape.num_prefix for copy in copies])[:, None]
    return PackedBatch(
        token_ids=padded([copy.token_ids for copy in copies], pad_id),
        position_ids=padded([copy.position_ids for copy in copies], 0),
        groups=None,
        scored=((places >= starts) & (places < ends)).flatten().nonzero()[:, 0],
        labels=torch.cat([copy.labels for copy in copies]),
        visual=join_visuals([copy.visual for copy in copies]),
        num_tokens=int(ends.sum()),
    )


def split_groups(
    lengths: Sequence[int], num_ranks: int, max_tokens: int, *, padded: bool = False
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Which groups run in which forward of which rank: rank -> forward -> places in `lengths`.

    The longest groups are dealt first, each to the rank with the fewest tokens. Forwards hold groups of similar
    length, at most `max_tokens` (`padded`: counted as if all were as long as the longest); a longer group runs alone.
    Every rank gets the same number of forwards,
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
            joined = (*forwards[-1], place) if forwards else ()
            # Descending lengths: the first group of a forward sets its padded length.
            num_tokens = lengths[joined[0]] * len(joined) if joined and padded else sum(lengths[p] for p in joined)
            if joined and num_tokens <= max_tokens:
                forwards[-1] = joined
            else:
                forwards.append((place,))
        plan.append(forwards)
    most = max(len(forwards) for forwards in plan)
    return tuple(tuple(forwards) + ((),) * (most - len(forwards)) for forwards in plan)

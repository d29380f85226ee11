"""Prompts shared out over ranks: each computes some tokens of a prompt, and completions of its own.

With two ranks, a prompt of four parts and three completions:

    row of rank 0    part 0, part 3 | y | z          its queries see the keys of parts 0 to 3, and of its completions
    row of rank 1    part 1, part 2 | w              the same parts, whose keys and values come together in each layer

A rank has one early and one late part, so that all have as many keys to look at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from rft.learner.row_shape import GroupShape, Run


@dataclass(frozen=True, slots=True)
class Context:
    """This process among those that share prompts."""

    rank: int
    size: int
    ranks: dist.ProcessGroup


@dataclass(frozen=True, slots=True)
class RowShare:
    """The tokens of a row of L that are here, and how the others' keys and values come."""

    ranks: dist.ProcessGroup
    runs: tuple[Run, ...]
    """Places in the row of those that are here, ascending."""
    sent: Tensor
    """Of those that are here: the ones that other ranks see too."""
    width: int
    """Most tokens that a rank sends."""
    order: Tensor
    """[L], where each token of the row lies: among those of all ranks, `width` of each, then those that are here."""

    @property
    def places(self) -> Tensor:
        """Of the tokens that are here, in the row."""
        return _places(self.runs)

    def to(self, device: torch.device) -> "RowShare":
        return replace(self, sent=self.sent.to(device), order=self.order.to(device))

    def whole(self, own: Tensor) -> Tensor:
        """[..., tokens that are here, d] -> [..., L, d]. All ranks must call this."""
        if self.width == 0:
            return own
        gathered = gather_rows(own.index_select(-2, self.sent), self.width, self.ranks)
        return torch.cat([gathered, own], dim=-2).index_select(-2, self.order)


def share_row(groups: Sequence[GroupShape], context: Context) -> RowShare:
    """`groups`: with the completions of this rank alone."""
    *starts, length = accumulate(map(len, groups), initial=0)
    placed = list(zip(starts, groups, strict=True))
    prompts = [
        [run for start, group in placed for run in _parts(start, group.num_prefix, rank, context.size)]
        for rank in range(context.size)
    ]
    completions = [(start + group.num_prefix, start + len(group)) for start, group in placed]
    runs = tuple(sorted(run for run in (*prompts[context.rank], *completions) if run[0] < run[1]))
    sent = [_places(of_rank) for of_rank in prompts]
    width = max(map(len, sent))
    order = torch.empty(length, dtype=torch.long)
    for rank, places in enumerate(sent):
        order[places] = rank * width + torch.arange(len(places))
    here = _places(runs)
    is_sent = torch.isin(here, sent[context.rank])
    order[here[~is_sent]] = context.size * width + (~is_sent).nonzero()[:, 0]
    return RowShare(context.ranks, runs, is_sent.nonzero()[:, 0], width, order)


def _parts(start: int, length: int, rank: int, size: int) -> list[Run]:
    """The rank's two parts of a prompt."""
    bounds = [start + part * length // (2 * size) for part in range(2 * size + 1)]
    return [(bounds[part], bounds[part + 1]) for part in (rank, 2 * size - 1 - rank)]


def _places(runs: Sequence[Run]) -> Tensor:
    return torch.cat([torch.arange(start, stop) for start, stop in runs])


def gather_rows(own: Tensor, width: int, ranks: dist.ProcessGroup) -> Tensor:
    """[..., up to `width`, d] of each rank -> [..., ranks * width, d], filled up with 0. All ranks must call this.

    The gradient of a row is the sum of what it gets on all ranks.
    """
    filled = pad(own, (0, 0, 0, width - own.shape[-2]))
    gathered: Tensor = _Gather.apply(filled, ranks)  # type: ignore[no-untyped-call]
    return gathered.movedim(0, -3).flatten(-3, -2)


class _Gather(torch.autograd.Function):
    """A tensor of each rank -> [ranks, ...]."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, ranks: dist.ProcessGroup) -> Tensor:
        ctx.ranks = ranks
        gathered = own.new_empty(ranks.size() * own.shape[0], *own.shape[1:])
        dist.all_gather_single(gathered, own.contiguous(), group=ranks)
        return gathered.view(ranks.size(), *own.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        own = gradient.new_empty(gradient.shape[1:])
        dist.reduce_scatter_single(own, gradient.flatten(0, 1).contiguous(), group=ctx.ranks)
        return own, None

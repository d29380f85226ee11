"""How a prompt is shared out over ranks, worked out by hand. Ranks that learn so: test_sharding.py."""

from pathlib import Path
from typing import cast

import pytest
import torch
from tiny_policy import recipe
from torch.distributed import ProcessGroup
from torch.nn.functional import pad

from rft.errors import DataError
from rft.learner.batch import LearnedCompletion, TokenGroup
from rft.learner.context import Context, share_row
from rft.learner.policy_and_reference import Loading, Policies
from rft.learner.row_shape import GroupShape
from rft.learner.vision import VisualFeatures, VisualInput, share_visual
from rft.types import Prompt

NO_RANKS = cast(ProcessGroup, None)


def test_a_rank_has_an_early_and_a_late_part_and_its_completions() -> None:
    shares = [share_row([GroupShape(8, (2, 1))], Context(rank, 2, NO_RANKS)) for rank in (0, 1)]
    assert [share.runs for share in shares] == [((0, 2), (6, 8), (8, 11)), ((2, 4), (4, 6), (8, 11))]
    assert shares[0].order.tolist() == [0, 1, 4, 5, 6, 7, 2, 3, 12, 13, 14]  # 0 to 3 of rank 0, 4 to 7 of rank 1
    assert shares[1].sent.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_keys_come_together_in_the_order_of_the_row(size: int) -> None:
    prompts, completions = (5, 0, 9), [((3,), (1, 1), (2,))] * (size - 1) + [((), (), (4,))]
    rows = [[GroupShape(*group) for group in zip(prompts, of_rank, strict=True)] for of_rank in completions]
    shares = [share_row(row, Context(rank, size, NO_RANKS)) for rank, row in enumerate(rows)]
    # A token's key tells its group and place; a completion's, which other ranks never see, its place in the row.
    keys = [keys_of(row) for row in rows]
    pairs = list(zip(keys, shares, strict=True))
    sent = [pad(own[share.places][share.sent], (0, share.width - len(share.sent))) for own, share in pairs]
    for own, share in pairs:
        assert torch.equal(torch.cat([*sent, own[share.places]])[share.order], own)


def keys_of(row: list[GroupShape]) -> torch.Tensor:
    parts = []
    for number, group in enumerate(row):
        parts.append(100 * number + torch.arange(group.num_prefix))
        parts.append(-torch.arange(sum(group.lengths)) - 1000 * number - 1)
    return torch.cat(parts)


def test_completions_are_dealt_by_their_tokens() -> None:
    lengths = (1, 5, 2, 3)
    group = TokenGroup(
        cast(Prompt, None), 4, tuple(LearnedCompletion((7,) * n, (), 0.0, place) for place, n in enumerate(lengths))
    )
    dealt = [[one.place for one in group.dealt(rank, 3).completions] for rank in range(3)]
    assert dealt == [[1], [3], [0, 2]]
    assert [len(group.dealt(rank, 5).completions) for rank in range(5)] == [1, 1, 1, 1, 0]


GRID = torch.tensor([[3, 4, 6], [1, 4, 4]])
"""Frame pairs of 24, 24, 24 and 16 patches: 6, 6, 6 and 4 visual tokens."""


SCALE = torch.ones(2, 1)


def clips() -> VisualInput:
    return VisualInput(torch.arange(88, dtype=torch.uint8)[:, None].expand(88, 2), GRID, scale=SCALE)


@pytest.mark.parametrize(
    ("size", "rank", "grid", "patches"),
    [
        (2, 0, [[2, 4, 6]], range(48)),
        (2, 1, [[1, 4, 6], [1, 4, 4]], range(48, 88)),
        (3, 2, [[1, 4, 6], [1, 4, 4]], range(48, 88)),
        (8, 0, [[1, 2, 2]], [0] * 4),  # nothing: the filler
        (8, 7, [[1, 4, 4]], range(72, 88)),
    ],
)
def test_frames_are_dealt_to_ranks(size: int, rank: int, grid: list[list[int]], patches: range | list[int]) -> None:
    own = share_visual(clips(), torch.tensor([0]), Context(rank, size, NO_RANKS), merge=2)
    assert own.pixels is not None
    assert own.grid.tolist() == grid
    assert own.pixels[:, 0].tolist() == list(patches)
    assert own.is_filler == (size == 8 and rank == 0)
    assert own.scale is SCALE
    assert own.share is not None
    assert own.share.num_counted == (0 if rank else 2)


def test_features_of_the_tokens_that_are_here() -> None:
    """Of two ranks one encodes tokens 0 to 11, the other 12 to 21."""
    rows = torch.tensor([0, 11, 12, 21])
    share = share_visual(clips(), rows, Context(0, 2, NO_RANKS), merge=2).share
    assert share is not None
    assert (share.width, share.rows.tolist()) == (12, [0, 11, 12, 21])
    unequal = share_visual(clips(), rows, Context(0, 3, NO_RANKS), merge=2).share  # tokens 0, 6 and 12 on
    assert unequal is not None
    assert (unequal.width, unequal.rows.tolist()) == (10, [0, 15, 20, 29])
    stored = VisualFeatures(tuple(torch.arange(n)[:, None] for n in (18, 4)))
    cut = share_visual(VisualInput(None, GRID, features=stored), rows, Context(0, 2, NO_RANKS), merge=2)
    assert cut.features is not None
    assert cut.features.pooler_output[0][:, 0].tolist() == [0, 11, 12, 3]


def test_a_model_that_is_not_packed_shares_no_prompts(tiny_dir: Path) -> None:
    shared = recipe(learner={"context_parallel": 2, "freeze_vision": True})
    copies = Loading(torch.device("cpu"), torch.float64, packed=False, features_dir=None)
    with pytest.raises(DataError, match="context_parallel shares out packed groups"):
        Policies(tiny_dir, shared, (), copies)


def test_a_prompt_of_no_tokens_is_not_sent() -> None:
    share = share_row([GroupShape(0, (3,))], Context(0, 2, NO_RANKS))
    own = torch.randn(3, 2)
    assert share.whole(own) is own

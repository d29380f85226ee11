"""How much likelier the learner finds tokens than the engine that drew them, in places of the completions' texts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np
from torch import Tensor

from rft.types import Completion, TokenRatio, TrainGroup

LEAST = 0.02
"""Log-ratios closer to 0 are not told."""

LARGEST = 7.0
"""Log-ratios further from 0 are told as this: a thousand times likelier."""

MOST = 64
"""Tokens of a completion that are told: those of the largest ratios, either way."""

TokenBytes = Callable[[Sequence[int]], list[int]]
"""Token ids -> length of each one's text in UTF-8, 0 for tokens that are left out of it."""


def token_ratios(
    groups: Sequence[TrainGroup], log_ratios: Mapping[tuple[int, ...], Tensor], token_bytes: TokenBytes
) -> dict[int, tuple[TokenRatio, ...]]:
    """Place of a completion among those of all `groups` -> its tokens whose probabilities differ, in their order.

    `log_ratios`: places of N completions -> [N, T], 0 where no engine drew a token.
    """
    completions = [completion for group in groups for completion in group.completions]
    return {
        place: tuple(_ratios(completions[place], of_completion, token_bytes))
        for places, logs in log_ratios.items()
        for place, of_completion in zip(places, logs.cpu().numpy(), strict=True)
    }


def _ratios(completion: Completion, logs: np.ndarray, token_bytes: TokenBytes) -> Iterator[TokenRatio]:
    """`logs`: of at least its tokens. None where its text is not that of its tokens, as with damaged characters."""
    sizes = np.abs(logs)
    largest = np.argsort(-sizes, kind="stable")[:MOST]
    told = np.sort(largest[sizes[largest] >= LEAST])
    ends = list(accumulate(token_bytes(completion.token_ids), initial=0)) if len(told) else []
    text = completion.text.encode()
    if not ends or ends[-1] != len(text):
        return
    if not completion.text.isascii():  # a character of several tokens belongs to the last of them
        ends = [len(text[:end].decode(errors="ignore")) for end in ends]
    ratios = np.exp(np.clip(logs[told], -LARGEST, LARGEST)).tolist()
    for i, ratio in zip(told.tolist(), ratios, strict=True):
        if ends[i] < ends[i + 1]:
            yield ends[i], ends[i + 1], float(f"{ratio:.3g}")

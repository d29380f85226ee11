"""Rewards for an order of candidates: nDCG over all ranks, the reciprocal rank of the first right one, hit at k."""

import math
from collections.abc import Callable, Sequence

from rewards.parsing import answer_text
from rewards.types import Score
from rft.packs.retrieval.targets import Missing, RankingTarget, order_problem, parse_order


def ndcg(completion: str, target: RankingTarget, *, missing: Missing = "refuse") -> Score:
    """nDCG of the answered order over all ranks, in (0, 1]: relevance / log2(1 + rank), as a share of the best order's.

    0 where the last <answer> is no order of all candidates. The worst order earns more than 0: with one right candidate
    in last place, 0.43 of 4 and 0.29 of 10. `missing`: of a list that is too short.
    """
    return _judge(completion, target, missing, "nDCG", lambda gains: _dcg(gains) / _dcg(sorted(gains, reverse=True)))


def reciprocal_rank(completion: str, target: RankingTarget, *, missing: Missing = "refuse") -> Score:
    """1 / rank of the first right candidate, in (0, 1]; 0 where the last <answer> is no order of all candidates."""
    return _judge(completion, target, missing, "1 / rank", lambda gains: 1 / _rank(gains))


def hit_at_k(completion: str, target: RankingTarget, *, k: int = 1, missing: Missing = "refuse") -> Score:
    """1 if a right candidate is among the first `k`, else 0: the R@k of CaReBench's released code."""
    return _judge(completion, target, missing, f"hit at {k}", lambda gains: float(_rank(gains) <= k))


def _judge(
    completion: str, target: RankingTarget, missing: Missing, name: str, value_of: Callable[[Sequence[float]], float]
) -> Score:
    """`value_of` the relevances in the answered order; 0 and the fault where there is no such order."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    order, num_candidates = parse_order(answer), len(target.relevance)
    problem = order_problem(order, num_candidates, missing)
    if problem is not None:
        return Score(0.0, answer, *problem)
    assert order is not None
    rest = [number for number in range(num_candidates, 0, -1) if number not in order]
    value = value_of([target.relevance[number - 1] for number in (*order, *rest)])
    return Score(value, answer, f"{name} {value:.3f}")


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def _rank(gains: Sequence[float]) -> int:
    """Rank of the first right candidate, from 1."""
    return gains.index(max(gains)) + 1

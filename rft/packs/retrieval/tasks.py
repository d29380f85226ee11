"""Task retrieval: rank the captions of a clip, or the clips that a picture shows, by how well they fit."""

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from rewards.parsing import parse_words
from rft.packs.retrieval.rewards import hit_at_k, ndcg, reciprocal_rank
from rft.packs.retrieval.targets import RankingTarget, write_order
from rft.tasks.types import Answers, HeldOut, Rewards, Row, Task, majority


class RetrievalRow(Row):
    captions: tuple[str, ...] = ()
    """Captions to rank for the row's clip, in the order shown."""
    query: str | None = Field(None, min_length=1)
    """Text to rank clips for; the row's picture or video shows them, numbered from 1."""
    clips: tuple[str, ...] = ()
    """Paths of these clips, in order, for sheets.py to draw the picture from; not looked at otherwise."""

    @model_validator(mode="after")
    def _has_candidates(self) -> Self:
        if bool(self.captions) == bool(self.query):
            raise ValueError("give captions to rank for the clip, or a query to rank the shown clips for, not both")
        return self


class Retrieval(Task):
    name = "retrieval"
    row_type = RetrievalRow
    target_type = RankingTarget
    example = RetrievalRow(
        id="example",
        task="retrieval",
        video="garden.mp4",
        captions=(
            "A boy falls, then runs across the grass",
            "A boy runs across the grass, then falls",
            "A girl runs across the grass, then falls",
        ),
        target={"relevance": [0, 1, 0]},
    )
    rewards = (("ndcg", 1.0),)
    own_rewards: ClassVar[Rewards] = {"ndcg": ndcg, "reciprocal_rank": reciprocal_rank, "hit_at_k": hit_at_k}
    main_metric = "R@1"

    def question(self, row: RetrievalRow, target: RankingTarget) -> str:
        count = len(target.relevance)
        if row.query is not None:
            asked = f"Which of the {count} numbered clips fits this text best?\n{row.query.strip()}"
            return f"{asked}\nGive the numbers of all {count} clips, the best first."
        captions = "\n".join(f"{number}. {caption.strip()}" for number, caption in enumerate(row.captions, 1))
        asked = f"Which of these captions fits the video best?\n{captions}"
        return f"{asked}\nGive the numbers of all {count} captions, the best first."

    def row_problems(self, row: RetrievalRow, target: RankingTarget) -> list[str]:
        problems = []
        if row.captions and len(row.captions) != len(target.relevance):
            problems.append(f"relevance: {len(target.relevance)} numbers for {len(row.captions)} captions")
        if row.clips and len(row.clips) != len(target.relevance):
            problems.append(f"relevance: {len(target.relevance)} numbers for {len(row.clips)} clips")
        words = [parse_words(caption) for caption in row.captions]
        if len(set(words)) < len(words):
            problems.append("captions: two are the same but for capitals, blanks or punctuation; their order is chance")
        return problems

    def metrics(self, completion: str, target: RankingTarget, rewards: Rewards) -> dict[str, float]:
        inverse_rank = rewards["reciprocal_rank"](completion, target).value
        return {
            "nDCG": rewards["ndcg"](completion, target).value,
            "MRR": inverse_rank,
            **{f"R@{k}": float(inverse_rank >= 1 / k) for k in (1, 5, 10)},
        }

    def baselines(self, train: Sequence[RankingTarget], rows: HeldOut[RankingTarget]) -> Answers:
        """The order shown, and the most frequent place of the right candidate first."""
        targets = [target for target, _ in rows]
        usual = int(majority([str(_right(target)) for target in train or targets]) or 1)
        first = {"as_shown": 1, "majority": usual}
        return {name: [_ranked_first(number, target) for target in targets] for name, number in first.items()}


def _right(target: RankingTarget) -> int:
    """Number of the first right candidate."""
    return target.relevance.index(max(target.relevance)) + 1


def _ranked_first(number: int, target: RankingTarget) -> str:
    """An answer with one candidate first and the others as shown."""
    numbers = range(1, len(target.relevance) + 1)
    return write_order(sorted(numbers, key=lambda other: other != number))

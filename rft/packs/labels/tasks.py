"""Task labels: choose the label of a set that fits the clip, where each data set has a set of its own."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from rewards.types import Target
from rft.tasks.quality import Quality, QualityRow


class Labels(Quality):
    """The question of `quality` for any set of labels, and the recall of each label beside the accuracy."""

    name = "labels"
    example = QualityRow(
        id="example",
        task="labels",
        video="cage.mp4",
        question="What does the animal do?",
        labels=("Running", "Keeping still", "Eating"),
        target={"label": "Eating"},
    )

    def corpus_metrics(self, judged: Sequence[tuple[Target, Mapping[str, float]]]) -> dict[str, float]:
        """Mean over the labels of the targets of the share of their clips that got them, in [0, 1]."""
        by_label: dict[str | None, list[float]] = defaultdict(list)
        for target, values in judged:
            by_label[target.category()].append(values["accuracy"])
        return {"macro_recall": fmean(map(fmean, by_label.values()))} if by_label else {}

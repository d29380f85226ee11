"""The tables of docs/readings.md, line by line."""

import json
from pathlib import Path

import pytest

from rewards import PUBLISHED, PUBLISHED_EVAL, REWARDS
from rewards.targets.boxes import BoxesTarget
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.label import LabelTarget
from rewards.targets.span import SpanTarget
from rewards.types import Target

PAGE = Path(__file__).parents[2] / "docs" / "readings.md"
READINGS = {"as published": PUBLISHED, "corrected": REWARDS, "training": PUBLISHED, "evaluation": PUBLISHED_EVAL}


def lines() -> list[dict[str, str]]:
    """The rows of the page's tables of completions, by column name."""
    rows, columns = [], []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| ") else []
        if not cells:
            columns = columns if line.startswith("|---") else []
        elif not columns:
            columns = cells
        elif "completion" in columns:
            rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def target_of(text: str) -> Target:
    """Unchecked: a line may show a target that no row may have."""
    data = json.loads(text)
    if "span" in data:
        return SpanTarget(*data["span"])
    if "boxes" in data:
        return BoxesTarget(tuple(map(tuple, data["boxes"])))
    if "label" in data:
        return LabelTarget(data["label"])
    return GroundedChoiceTarget(data["choice"], data["spans"]) if "spans" in data else ChoiceTarget(data["choice"])


@pytest.mark.parametrize("line", lines(), ids=lambda line: line["reward"])
def test_the_page_tells_both_values(line: dict[str, str]) -> None:
    target = target_of(line["target"].strip("`"))
    completion = line["completion"].strip("`").encode("ascii").decode("unicode_escape")
    values = {name: float(line[name]) for name in READINGS if name in line}
    assert len(set(values.values())) == len(values) == 2
    for name, value in values.items():
        assert READINGS[name][line["reward"]](completion, target).value == pytest.approx(value), name


def test_every_published_reward_is_on_the_page() -> None:
    covered = {line["reward"] for line in lines() if "corrected" in line}
    assert covered == set(PUBLISHED)
    evaluated = {line["reward"] for line in lines() if "evaluation" in line}
    assert evaluated == {name for name, fn in PUBLISHED_EVAL.items() if fn is not PUBLISHED[name]}

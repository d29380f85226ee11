"""`rft reward agree`: figures worked out by hand, intervals over prompts, and what is wrong with labels."""

import json
from pathlib import Path
from typing import Any

import pytest

from rewards.types import Score
from rft.__main__ import main
from rft.commands.reward.agree import Agreement, agree, compare, page, read_labels
from rft.commands.reward.trial import Judged, named_rewards
from rft.errors import DataError, RewardError
from rft.evaluation import intervals


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "NUM_RESAMPLES", 100)


def write(path: Path, *labels: object, **more: object) -> Path:
    row = {"task": "temporal_grounding", "completion": "<answer>0 to 5</answer>", "target": {"span": [0, 10]}, **more}
    path.write_text("".join(json.dumps(row | {"label": label}) + "\n" for label in labels))
    return path


def compared(folder: Path, labels: list[object], outcomes: list[float | str], **more: object) -> Agreement:
    judged = [Judged(Score(o, None, "why") if isinstance(o, float) else o, 0.0) for o in outcomes]
    return compare("mine", read_labels(write(folder / "in.jsonl", *labels, **more), None), judged, 0.5, seed=0)


def values(found: Agreement) -> dict[str, Any]:
    return {name: estimate and estimate.value for name, estimate in found.figures.items()}


def test_yes_and_no_labels(tmp_path: Path) -> None:
    found = compared(tmp_path, [1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1])
    # Two of four on the same side; of four pairs (0.4, 0.6) alone is in the wrong order. Ranks 4, 2, 3, 1 and 3.5, 1.5.
    assert values(found) == {"accuracy": 0.5, "kappa": 0.0, "auc": 0.75, "spearman": pytest.approx(2 / 20**0.5)}
    text = page(found, Path("in.jsonl"))
    assert "mine: 4 labels of in.jsonl, 4 prompts, 50.0% good" in text
    assert text.index("0.600  <ans") < text.index("0.900  <ans")


def test_labels_in_between_have_no_kappa(tmp_path: Path) -> None:
    found = compared(tmp_path, [1, 0.5, 0.2], [0.9, 0.8, 0.1])
    assert values(found) == {"accuracy": 1.0, "spearman": pytest.approx(1.0)}


def test_completions_of_one_prompt_are_drawn_together(tmp_path: Path) -> None:
    found = compared(tmp_path, [1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1], id="one")
    accuracy = found.figures["accuracy"]
    assert accuracy is not None
    assert (accuracy.value, accuracy.low, accuracy.high) == (0.5, 0.5, 0.5)


def test_what_could_not_be_judged_is_in_no_figure(tmp_path: Path) -> None:
    found = compared(tmp_path, [1, 0, 1], [0.9, 0.1, "raised ValueError: no"])
    assert (len(found.labelled), len(found.failed), values(found)["accuracy"]) == (2, 1, 1.0)
    assert "1 could not be judged; the first: raised ValueError: no" in page(found, Path("in.jsonl"))
    with pytest.raises(RewardError, match="judged none of 1 completions; the first: too slow"):
        compared(tmp_path, [1], ["too slow"])


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.jsonl", 1, 0)
    assert main(["reward", "agree", "temporal_iou", str(source), "--json", "--threshold", "0.4"]) == 0
    figures = json.loads(capsys.readouterr().out)
    # The same answer twice: IoU 0.5, which has no order.
    assert figures["figures"]["accuracy"]["value"] == figures["figures"]["auc"]["value"] == 0.5
    assert figures["figures"]["spearman"] is None
    assert figures["furthest_apart"][0] == {
        "label": 1.0,
        "value": 0.5,
        "text": "<answer>0 to 5</answer>",
        "note": "IoU 0.500",
    }
    assert main(["reward", "agree", "choice_accuracy", str(source)]) == 2
    assert "cannot score task temporal_grounding" in capsys.readouterr().err


def test_bad_labels_are_named(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", 1, 2, None, "good", True)
    with pytest.raises(DataError) as caught:
        agree(named_rewards(["temporal_iou"])[0], source, None, 0.5, 0, 5.0, as_json=False)
    assert str(caught.value).splitlines() == [
        f"{source}:2: label: 2 is no number in [0, 1]",
        f"{source}:3: label: None is no number in [0, 1]",
        f"{source}:4: label: 'good' is no number in [0, 1]",
    ]
    with pytest.raises(DataError, match="no labels of task tracking"):
        read_labels(write(tmp_path / "in.jsonl", 1), "tracking")

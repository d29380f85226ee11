"""Labels of any set: macro recall, and VidTAB's lists with their anomalies."""

from collections import Counter
from pathlib import Path

import pytest
from annotation_files import annotations

from rewards.targets.label import LabelTarget
from rft.data.convert.conversion import ConvertOptions, convert
from rft.errors import DataError
from rft.tasks import TASKS

TASK = TASKS["labels"]

TESTS = [
    ("AR_in_Dark/test", 2_011, 2_011, 11, 256),
    ("AR_in_Long_Video/val_test", 822, 411, 10, 90),
    ("Animal_Behavior/val", 2_268, 2_268, 12, 481),
    ("Emotion_Analysis/validation_test", 3_953, 3_953, 7, 1_372),
    ("Fake_Face/test", 1_800, 1_800, 2, 900),
    ("Harmful_Content/test", 1_661, 1_573, 3, 1_111),
    ("Medical_Surgery/test", 96, 96, 16, 6),
    ("Quality_Access/test", 724, 724, 2, 364),
]
"""(list, rows, videos, labels, rows of the most frequent label)."""


def test_macro_recall_weighs_every_label_alike() -> None:
    judged = [(LabelTarget("a"), {"accuracy": value}) for value in (1.0, 1.0, 1.0, 0.0)]
    judged += [(LabelTarget("b"), {"accuracy": 0.0})]
    assert TASK.corpus_metrics(judged) == {"macro_recall": 0.375}
    assert TASK.corpus_metrics([]) == {}


def test_the_prompt_names_all_labels() -> None:
    prompt = TASK.prompt_text(TASK.example, think=False)
    assert "What does the animal do?\nAnswer with one of these labels: Running, Keeping still, Eating.\n" in prompt
    assert TASK.measure("<answer>keeping still</answer>", LabelTarget("Keeping still"))["accuracy"] == 1


@pytest.mark.parametrize(("name", "rows", "videos", "labels", "most"), TESTS)
def test_the_published_test_lists(name: str, rows: int, videos: int, labels: int, most: int) -> None:
    conversion = convert("vidtab", annotations(f"VidTAB/{name}.txt"), ConvertOptions())
    facts = dict(conversion.facts)
    assert (facts["rows in the source"], facts["videos"]) == (f"{rows:,}", f"{videos:,}")
    assert len(conversion.rows) == rows
    doubled = {kind: len(of_kind) for kind, of_kind in conversion.anomalies.items()}
    assert doubled == ({"duplicate": 411} if rows == 822 else {})
    assert facts["of these, with several labels"] == ("88" if name.startswith("Harmful") else "0")
    assert (facts["label map against list"] != "the same numbers") == name.startswith("Medical")
    assert {len(row["labels"]) for row in conversion.rows} == {labels}
    assert {row["dataset"] for row in conversion.rows} == {f"vidtab_{name.split('/')[0]}/test"}
    counts = Counter(row["target"]["label"] for row in conversion.rows)
    assert (len(counts), max(counts.values())) == (labels, most)


def test_medical_labels_are_those_of_the_folders() -> None:
    for row in convert("vidtab", annotations("VidTAB/Medical_Surgery/train.txt"), ConvertOptions()).rows:
        folder = row["video"].split("/")[0]
        place, _, name = folder.partition("_")
        assert row["labels"].index(row["target"]["label"]) + 1 == int(place)
        assert row["target"]["label"].split()[0] in name.replace("_", " ")


@pytest.mark.parametrize(("shots", "rows", "shared"), [("100", 300, 24), ("16_fold2", 48, 5), ("4_fold3", 12, 0)])
def test_train_lists_that_share_videos_with_the_test_list(shots: str, rows: int, shared: int) -> None:
    conversion = convert("vidtab", annotations(f"VidTAB/Harmful_Content/train_{shots}.txt"), ConvertOptions())
    assert len(conversion.rows) == rows
    assert dict(conversion.facts)["videos of the test list"] == str(shared)
    assert conversion.warnings == ([f"{shared} videos stand in the test list too."] if shared else [])
    number, _, fold = shots.partition("_")
    assert conversion.rows[0]["dataset"] == f"vidtab_Harmful_Content/{number}shot{fold and f'_{fold}'}"


@pytest.mark.parametrize(
    ("label_map", "line", "message"),
    [
        ("{'0': 'run'}", "a.mp4 1", "no name for 1"),
        ("{0: __import__('os').getcwd()}", "a.mp4 0", "no map of numbers to names"),
        ("{0: 'run'", "a.mp4 0", "no map of numbers to names"),
        ("[1]", "a.mp4 0", "no map of numbers to names"),
        ("{0: {'Name': 'run'}}", "a.mp4 0", "no map of numbers to names"),
        ("{0: 'run'}", "a.mp4", "list.txt:1: 'a.mp4' is no path"),
        ("{0: 'run'}", "a.mp4 run", "is no path and number"),
    ],
)
def test_lists_and_maps_that_cannot_be_read(label_map: str, line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "label_map.txt").write_text(label_map)
    (tmp_path / "list.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=message):
        convert("vidtab", tmp_path / "list.txt", ConvertOptions())


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "label_map.txt").write_text("{\n 2: 'long_jump',\n 0: {'Action': 'Run', 'Category': 'x'},\n}")
    (tmp_path / "train_4_fold2.txt").write_text("my clips/a b.mp4 2\nc.mp4 0\n")
    first, second = convert("vidtab", tmp_path / "train_4_fold2.txt", ConvertOptions()).rows
    assert (first["video"], first["target"], first["labels"]) == (
        "my clips/a b.mp4",
        {"label": "long jump"},
        ["Run", "long jump"],
    )
    assert (second["target"], second["dataset"]) == ({"label": "Run"}, f"vidtab_{tmp_path.name}/4shot_fold2")

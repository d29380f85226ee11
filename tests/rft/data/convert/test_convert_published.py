"""The real annotation files, where they are: every count and every known anomaly."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from annotation_files import annotations

from rft.data.convert.conversion import Conversion, ConvertOptions, convert, write_rows
from rft.data.dataset import read_rows
from rft.tasks import TASKS

pytestmark = pytest.mark.slow

CHARADES = "Charades/charades_annotation"
ACTIVITYNET = "ActivityNet/activitynet_annotation"
QUALITY = "VideoEval/Quality_Access/annotations/Quality_Access_"

PUBLISHED = [
    (
        "charades_sta",
        f"{CHARADES}/train.json",
        (12_408, 5_338, 12_404),
        {"past_end": 1_789, "past_end_1s": 671, "start_past_end": 3, "reversed": 4},
    ),
    ("charades_sta", f"{CHARADES}/val.json", (3_720, 1_334, 3_720), {"past_end": 562, "past_end_1s": 228}),
    ("charades_sta", f"{CHARADES}/charades_test.json", (3_720, 1_334, 3_720), {"past_end": 562, "past_end_1s": 228}),
    (
        "activitynet_captions",
        f"{ACTIVITYNET}/train.json",
        (37_421, 10_009, 37_417),
        {"past_end": 29, "blanks": 25_731, "reversed": 2, "zero_length": 2},
    ),
    (
        "activitynet_captions",
        f"{ACTIVITYNET}/val.json",
        (17_505, 4_917, 17_505),
        {"past_end": 5, "blanks": 11_639},
    ),
    ("activitynet_captions", f"{ACTIVITYNET}/val_2.json", (17_031, 4_885, 17_031), {"past_end": 1, "blanks": 11_483}),
    ("activitynet_captions", f"{ACTIVITYNET}/test.json", (17_031, 4_885, 17_031), {"past_end": 1, "blanks": 11_483}),
    ("got10k", "Got/got_val.json", (180, 180, 180), {}),
    (
        "nextgqa",
        "NextGQA/nextgqa_val.json",
        (3_358, 567, 3_358),
        {"past_end": 3, "overlapping": 5, "blanks": 3},
    ),
    (
        "nextgqa",
        "NextGQA/nextgqa_test.json",
        (5_553, 990, 5_553),
        {"early_start": 36, "overlapping": 5, "blanks": 16},
    ),
    ("vidtab_quality", f"{QUALITY}4shot.json", (8, 8, 8), {}),
    ("vidtab_quality", f"{QUALITY}16shot.json", (32, 32, 32), {}),
    ("vidtab_quality", f"{QUALITY}100shot.json", (200, 200, 200), {}),
    ("vidtab_quality", f"{QUALITY}test.json", (724, 724, 724), {}),
]
"""(format, file, (rows in the source, videos, rows written), anomalies)."""


@cache
def converted(name: str, file: str) -> Conversion:
    return convert(name, annotations(file), ConvertOptions(drop_invalid=True))


@pytest.mark.parametrize(("name", "file", "sizes", "anomalies"), PUBLISHED, ids=[case[1] for case in PUBLISHED])
def test_published_counts(
    name: str, file: str, sizes: tuple[int, int, int], anomalies: dict[str, int], tmp_path: Path
) -> None:
    conversion = converted(name, file)
    facts = dict(conversion.facts)
    assert (facts["rows in the source"], facts["videos"]) == (f"{sizes[0]:,}", f"{sizes[1]:,}")
    assert {kind: len(of_kind) for kind, of_kind in conversion.anomalies.items()} == anomalies
    write_rows(conversion, tmp_path / "rows.jsonl")
    rows = read_rows([tmp_path / "rows.jsonl"], None, tuple(TASKS))
    assert len(rows) == sizes[2]


def test_which_spans_of_charades_are_reversed() -> None:
    reversed_spans = converted("charades_sta", f"{CHARADES}/train.json").anomalies["reversed"]
    assert [anomaly.row_id.split("/")[2] for anomaly in reversed_spans] == ["LEOL6", "IOL8Q", "AKKWU", "AKKWU"]


def test_which_spans_of_activitynet_are_reversed_or_of_no_length() -> None:
    anomalies = converted("activitynet_captions", f"{ACTIVITYNET}/train.json").anomalies
    unusable = anomalies["reversed"] + anomalies["zero_length"]
    assert sorted((anomaly.kind, anomaly.row_id.split("/")[2]) for anomaly in unusable) == [
        ("reversed", "v_0bosp4-pyTM"),
        ("reversed", "v_rhOtqArO-3Y"),
        ("zero_length", "v_4rKTw99bM8g"),
        ("zero_length", "v_N7ppHQNikv8"),
    ]


def test_one_query_per_video_of_charades() -> None:
    conversion = convert("charades_sta", annotations(f"{CHARADES}/train.json"), ConvertOptions(per_video="one"))
    assert len(conversion.rows) == 5_336
    # All that these two videos have is reversed.
    assert {anomaly.row_id.split("/")[2] for anomaly in conversion.refused} == {"LEOL6", "AKKWU"}


LETTERS = {"A": 675, "B": 654, "C": 682, "D": 656, "E": 691}
"""Right answers of nextgqa_val.json."""


def test_no_answer_letter_and_no_box_is_lost() -> None:
    conversion = converted("nextgqa", "NextGQA/nextgqa_val.json")
    assert Counter(row["target"]["choice"] for row in conversion.rows) == LETTERS
    tracks = converted("got10k", "Got/got_val.json").rows
    assert {len(row["target"]["boxes"]) for row in tracks} == {8}
    assert len({row["object"] for row in tracks}) == 150

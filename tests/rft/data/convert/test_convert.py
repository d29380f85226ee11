"""Published formats, in small: what becomes a row, what is counted, and what is refused."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rft.data.convert.conversion import Conversion, ConvertOptions, convert, write_rows
from rft.data.convert.formats.got10k import even_indices
from rft.data.convert.formats.vidtab_quality import labels_in
from rft.data.dataset import read_rows
from rft.errors import DataError
from rft.tables import plain
from rft.tasks import TASKS
from rft.tasks.types import Row

EVENTS = {
    "AAAAA": {"duration": 30.0, "timestamps": [[0, 6.9], [24.3, 31.4]], "sentences": ["a person sits.", " he eats "]},
    "BBBBB": {"duration": 12.27, "timestamps": [[38.0, 13.0], [3.0, 12.3]], "sentences": ["a dog runs.", "it stops."]},
}
BOX = [0.1, 0.2, 0.3, 0.4]
QUESTION = {
    "id": "12_3",
    "video": "0001/12.mp4",
    "question": "why did he run",
    "options": ["(A) a", "(B) b", "(C) c", "(D) d", "(E) e"],
    "duration": 30,
    "glue": [[23.0, 27.7], [-0.1, 4]],
    "type": "TN",
    "answer": "(C)",
}
CLIP = {"video": "0506.mp4", "instruction": "Judge. One of ['low quality', 'high quality'].", "answer": "low quality"}


def source(tmp_path: Path, name: str, data: Any) -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(data))
    return path


def counts(conversion: Conversion) -> dict[str, int]:
    return {kind: len(of_kind) for kind, of_kind in conversion.anomalies.items()}


def read_back(conversion: Conversion, folder: Path) -> tuple[Row, ...]:
    write_rows(conversion, folder / "out" / "rows.jsonl")
    return read_rows([folder / "out" / "rows.jsonl"], None, tuple(TASKS))


def test_events_become_rows_and_the_target_stays(tmp_path: Path) -> None:
    path = source(tmp_path, "train.json", {"AAAAA": EVENTS["AAAAA"]})
    conversion = convert("charades_sta", path)
    assert conversion.rows[1] == {
        "id": "charades_sta/train/AAAAA/1",
        "task": "temporal_grounding",
        "video": "AAAAA.mp4",
        "duration_s": 30.0,
        "query": "he eats",
        "target": {"span": [24.3, 31.4]},
        "dataset": "charades_sta/train",
    }
    assert counts(conversion) == {"past_end": 1, "past_end_1s": 1, "blanks": 1}
    rows = read_back(conversion, tmp_path)
    assert [row.clip_s for row in rows] == [30.0, 30.0]
    assert rows[0].dataset == "charades_sta/train"


def test_what_cannot_be_a_row_stops_the_conversion_unless_dropped(tmp_path: Path) -> None:
    path = source(tmp_path, "train.json", EVENTS)
    conversion = convert("charades_sta", path)
    assert counts(conversion) == {"past_end": 3, "past_end_1s": 1, "start_past_end": 1, "blanks": 1, "reversed": 1}
    with pytest.raises(DataError, match=r"1 reversed.*--drop-invalid(.|\n)*BBBBB/0: reversed \[38, 13\] of 12.27 s"):
        write_rows(conversion, tmp_path / "rows.jsonl")
    assert not (tmp_path / "rows.jsonl").exists()
    dropped = convert("charades_sta", path, ConvertOptions(drop_invalid=True))
    assert [row.id for row in read_back(dropped, tmp_path)] == [
        "charades_sta/train/AAAAA/0",
        "charades_sta/train/AAAAA/1",
        "charades_sta/train/BBBBB/1",
    ]
    assert "rows taken: all rows of each video" in plain(dropped.table())
    assert "dropped: BBBBB/0" in plain(dropped.table())


def test_zero_length_and_blank_texts_cannot_be_rows(tmp_path: Path) -> None:
    events = {"duration": 9.0, "timestamps": [[1, 1], [1, 2]], "sentences": ["it jumps", "  "]}
    conversion = convert("activitynet_captions", source(tmp_path, "train.json", {"v_a": events}))
    assert counts(conversion) == {"blanks": 1, "zero_length": 1, "blank_text": 1}
    assert {anomaly.kind for anomaly in conversion.refused} == {"zero_length", "blank_text"}
    assert conversion.rows == ()


def test_float_noise_is_no_anomaly(tmp_path: Path) -> None:
    events = {"duration": 0.3, "timestamps": [[0.1, 0.1 + 0.2]], "sentences": ["it jumps"]}
    assert counts(convert("activitynet_captions", source(tmp_path, "train.json", {"v_a": events}))) == {}


def test_spans_are_clipped_on_request(tmp_path: Path) -> None:
    path = source(tmp_path, "train.json", {"AAAAA": EVENTS["AAAAA"]})
    conversion = convert("charades_sta", path, ConvertOptions(clip_to_duration=True))
    assert [row["target"] for row in conversion.rows] == [{"span": [0.0, 6.9]}, {"span": [24.3, 30.0]}]
    assert ("rows with a clipped span", "1") in conversion.facts
    assert counts(conversion)["past_end"] == 1
    assert "clipped: AAAAA/1" in plain(conversion.table())


def test_an_end_far_past_the_length_is_refused_and_can_be_clipped(tmp_path: Path) -> None:
    events = {"duration": 9.0, "timestamps": [[1, 20]], "sentences": ["it jumps"]}
    path = source(tmp_path, "train.json", {"v_a": events})
    refused = convert("activitynet_captions", path)
    assert "outside the clip of 9 s" in refused.anomalies["refused"][0].detail
    clipped = convert("activitynet_captions", path, ConvertOptions(clip_to_duration=True))
    assert clipped.rows[0]["target"] == {"span": [1.0, 9.0]}


def test_one_row_per_video_is_the_first_that_can_be_one(tmp_path: Path) -> None:
    path = source(tmp_path, "train.json", EVENTS)
    conversion = convert("charades_sta", path, ConvertOptions(per_video="one"))
    assert [row.id for row in read_back(conversion, tmp_path)] == [
        "charades_sta/train/AAAAA/0",
        "charades_sta/train/BBBBB/1",
    ]
    lone = {"AAAAA": EVENTS["AAAAA"], "CCCCC": {"duration": 9.0, "timestamps": [[4, 3]], "sentences": ["it jumps"]}}
    refused = convert("charades_sta", source(tmp_path, "train.json", lone), ConvertOptions(per_video="one")).refused
    assert [anomaly.row_id for anomaly in refused] == ["charades_sta/train/CCCCC/0"]


@pytest.mark.parametrize(
    ("name", "file", "dataset", "warning"),
    [
        ("charades_sta", "train.json", "charades_sta/train", None),
        ("charades_sta", "val.json", "charades_sta/test", "no validation split"),
        ("charades_sta", "charades_test.json", "charades_sta/test", "no validation split"),
        ("activitynet_captions", "val.json", "activitynet_captions/val_1", "describe the same videos"),
        ("activitynet_captions", "val_2.json", "activitynet_captions/test", "describe the same videos"),
        ("activitynet_captions", "test.json", "activitynet_captions/test", "describe the same videos"),
    ],
)
def test_the_file_name_states_the_split(
    tmp_path: Path, name: str, file: str, dataset: str, warning: str | None
) -> None:
    conversion = convert(name, source(tmp_path, file, {"AAAAA": EVENTS["AAAAA"]}))
    assert conversion.rows[0]["dataset"] == dataset
    assert (warning in plain(conversion.table())) if warning else not conversion.warnings


def test_a_split_that_no_name_states_is_requested(tmp_path: Path) -> None:
    path = source(tmp_path, "mine.json", {"AAAAA": EVENTS["AAAAA"]})
    with pytest.raises(DataError, match="--split"):
        convert("charades_sta", path)
    assert convert("charades_sta", path, ConvertOptions(split="part1")).rows[0]["dataset"] == "charades_sta/part1"


def test_questions_become_grounded_or_plain_rows(tmp_path: Path) -> None:
    touching = {**QUESTION, "id": "12_4", "glue": [[5, 8], [8, 9]]}
    path = source(tmp_path, "nextgqa_val.json", [QUESTION, touching])
    conversion = convert("nextgqa", path)
    assert conversion.rows[0] == {
        "id": "nextgqa/val/12_3",
        "task": "grounded_qa",
        "video": "0001/12.mp4",
        "duration_s": 30.0,
        "question": "why did he run",
        "options": QUESTION["options"],
        "target": {"choice": "C", "spans": [[23.0, 27.7], [-0.1, 4.0]]},
        "dataset": "nextgqa/val",
    }
    assert counts(conversion) == {"early_start": 1, "overlapping": 1}
    assert "trains on val" in conversion.warnings[0]
    clipped = convert("nextgqa", path, ConvertOptions(clip_to_duration=True))
    assert clipped.rows[0]["target"]["spans"] == [[23.0, 27.7], [0.0, 4.0]]
    assert len(read_back(conversion, tmp_path)) == 2
    plain_rows = convert("nextgqa", path, ConvertOptions(task="multiple_choice"))
    assert plain_rows.rows[0]["target"] == {"choice": "C"}
    assert len(read_back(plain_rows, tmp_path)) == 2
    with pytest.raises(DataError, match="grounded_qa or multiple_choice"):
        convert("nextgqa", path, ConvertOptions(task="tracking"))


def test_tracks_lose_the_cluster_they_were_published_with(tmp_path: Path) -> None:
    track = {"path": "/mnt/x/GOT-10k/val/GOT-10k_Val_000010", "object": "sloth", "gt": [BOX] * 8}
    conversion = convert("got10k", source(tmp_path, "got_val.json", [track]))
    (row,) = read_back(conversion, tmp_path)
    assert (row.id, row.source_fps) == ("got10k/val/GOT-10k_Val_000010", 10.0)
    assert conversion.rows[0]["video"] == "val/GOT-10k_Val_000010"
    assert len(conversion.rows[0]["target"]["boxes"]) == 8


def got_clip(root: Path, name: str, num_boxes: int, image: tuple[int, int] | None = None) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    boxes = [f"{10 * i}.0000,20.0000,50.0000,40.0000" for i in range(num_boxes)]
    (folder / "groundtruth.txt").write_text("\n".join(boxes) + "\n")
    meta = "[METAINFO]\nanno_fps: 10Hz\nobject_class: sea lion\nresolution: (1000, 200)\n"
    (folder / "meta_info.ini").write_text(meta)
    if image:
        Image.new("RGB", image).save(folder / "00000001.jpg")
    return folder


def test_folders_of_a_split_give_the_start_box_and_seven_even_ones(tmp_path: Path) -> None:
    root = tmp_path / "GOT-10k" / "train"
    got_clip(root, "GOT-10k_Train_000001", 14)
    got_clip(root, "GOT-10k_Train_000002", 14, image=(500, 100))
    got_clip(root, "GOT-10k_Train_000003", 3)
    (root / "GOT-10k_Train_000002" / "absence.label").write_text("0\n1\n" + "0\n" * 12)
    (root / "list.txt").write_text("".join(f"GOT-10k_Train_00000{i}\n" for i in (1, 2, 3, 4)))
    conversion = convert("got10k", root)
    rows = read_back(conversion, tmp_path)
    assert [(row.id, row.duration_s) for row in rows] == [
        ("got10k/train/GOT-10k_Train_000001", 1.4),
        ("got10k/train/GOT-10k_Train_000002", 1.4),
    ]
    by_meta, by_image = (row["target"]["boxes"] for row in conversion.rows)
    assert [box[0] for box in by_meta] == [0.0, 0.01, 0.03, 0.05, 0.07, 0.09, 0.11, 0.13]
    assert by_meta[1] == [0.01, 0.1, 0.06, 0.3]
    assert by_image[1] == [0.02, 0.2, 0.12, 0.6]
    assert conversion.rows[0]["object"] == "sea lion"
    assert counts(conversion) == {"absent_object": 1, "no_annotation": 2}
    (absent,) = conversion.anomalies["absent_object"]
    assert (absent.row_id, absent.detail) == ("got10k/train/GOT-10k_Train_000002", "frames 2")
    assert convert("got10k", tmp_path / "GOT-10k", ConvertOptions(split="train")).rows == conversion.rows


def test_every_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    root = tmp_path / "val"
    (got_clip(root, "a", 9) / "groundtruth.txt").write_text("1,2,3\n")
    (got_clip(root, "b", 9) / "meta_info.ini").write_text("[METAINFO]\nresolution: (10, 10)\n")
    with pytest.raises(
        DataError, match=r"a: groundtruth.txt:1: not 'left(.|\n)*b: meta_info.ini does not state object"
    ):
        convert("got10k", root)
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"no list.txt and no folder"):
        convert("got10k", tmp_path / "test")


@pytest.mark.parametrize("num_frames", [8, 9, 100, 101])
def test_the_boxes_are_the_first_then_evenly_from_the_second_to_the_last(num_frames: int) -> None:
    indices = even_indices(num_frames)
    assert (indices[:2], indices[-1], len(set(indices))) == ([0, 1], num_frames - 1, 8)
    gaps = [b - a for a, b in pairwise(indices[1:])]
    assert max(gaps) - min(gaps) <= 1


def test_quality_rows_take_their_labels_from_the_instruction(tmp_path: Path) -> None:
    conversion = convert("vidtab_quality", source(tmp_path, "Quality_Access_16shot.json", [CLIP]))
    assert conversion.rows[0]["labels"] == ["low quality", "high quality"]
    (row,) = read_back(conversion, tmp_path)
    assert (row.task, row.dataset, row.target) == ("quality", "vidtab_quality/16shot", {"label": "low quality"})
    assert "share videos" in conversion.warnings[0]
    assert not convert("vidtab_quality", source(tmp_path, "Quality_Access_test.json", [CLIP])).warnings


def test_labels_in_an_instruction() -> None:
    assert labels_in('Which [of these]: ["good", "so so"]?') == ["good", "so so"]
    assert labels_in("none") == []


def test_captions_are_events_or_a_text(tmp_path: Path) -> None:
    path = tmp_path / "dream.jsonl"
    records = [
        {"video": "a.mp4", "events": ["a man sits", "he eats "], "duration": 9.5},
        {"video": "b.mp4", "caption": "A man sits.", "instruction": "Tell me.", "id": "b"},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    conversion = convert("caption", path)
    rows = read_back(conversion, tmp_path)
    assert [(row.id, row.target) for row in rows] == [
        ("dream/0", {"events": ["a man sits", "he eats"]}),
        ("dream/b", {"text": "A man sits."}),
    ]
    assert (rows[0].duration_s, conversion.rows[1]["query"]) == (9.5, "Tell me.")
    assert counts(conversion) == {"blanks": 1}


def test_videos_below_the_root_are_found_and_the_others_counted(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    root.mkdir()
    (root / "BBBBB.webm").write_bytes(b"x")
    path = source(tmp_path, "train.json", EVENTS)
    conversion = convert("charades_sta", path, ConvertOptions(video_root=root, drop_invalid=True))
    assert counts(conversion)["missing_video"] == 2
    assert [row["video"] for row in conversion.rows] == [str(root / "AAAAA.mp4")] * 2 + [str(root / "BBBBB.webm")]
    elsewhere = convert("charades_sta", path, ConvertOptions(video_root=Path("/no/where"), drop_invalid=True))
    assert "missing_video" not in elsewhere.anomalies
    assert elsewhere.rows[0]["video"] == "/no/where/AAAAA.mp4"
    assert "/no/where is not on this machine" in elsewhere.warnings[0]


def test_repeated_rows_are_counted_and_ids_taken_twice_are_refused(tmp_path: Path) -> None:
    events = {"duration": 9.0, "timestamps": [[1, 2], [1, 2]], "sentences": ["it jumps", "it jumps"]}
    conversion = convert("charades_sta", source(tmp_path, "train.json", {"v": events}))
    assert counts(conversion) == {"duplicate": 1}
    assert len(read_back(conversion, tmp_path)) == 2
    taken = convert("vidtab_quality", source(tmp_path, "Quality_Access_test.json", [CLIP, CLIP]))
    assert [anomaly.detail for anomaly in taken.refused] == ["an earlier row has this id"]


def test_a_video_whose_sentences_have_no_times_is_left_out(tmp_path: Path) -> None:
    lone = {"a": {"duration": 9, "timestamps": [[0, 1]], "sentences": []}}
    conversion = convert("charades_sta", source(tmp_path, "train.json", EVENTS | lone))
    assert [anomaly.detail for anomaly in conversion.anomalies["no_annotation"]] == ["1 timestamps but 0 sentences"]
    assert {row["id"].split("/")[2] for row in conversion.rows} == set(EVENTS)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("charades_sta", {"a": {"duration": 0, "timestamps": [], "sentences": []}}, "train.json: a.duration: "),
        ("charades_sta", [], "train.json: : Input should be a valid dictionary"),
        ("nextgqa", [{**QUESTION, "answer": "C"}, {**QUESTION, "glue": [[1]]}], r"0.answer: (.|\n)*1.glue.0.1: Field"),
        ("got10k", [{"path": "a/b", "object": "x", "gt": [[1, 2, 3]]}], r"0.gt.0.3: Field required"),
        ("caption", [{"video": "a.mp4"}], 'neither "caption" nor "events"'),
    ],
)
def test_a_source_of_another_shape_is_reported_key_by_key(tmp_path: Path, name: str, data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        convert(name, source(tmp_path, "train.json", data), ConvertOptions(split="train"))


def test_a_key_written_twice_would_lose_a_video(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text('{"a": {}, "a": {}}')
    with pytest.raises(DataError, match="key 'a' is written twice"):
        convert("charades_sta", path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        convert("charades_sta", tmp_path / "val.json")


def test_formats_go_by_name() -> None:
    with pytest.raises(DataError, match="Did you mean 'charades_sta'"):
        convert("charades", Path("x"))
    with pytest.raises(DataError, match="for the format generic"):
        convert("nextgqa", Path("x"), ConvertOptions(columns={"a": "b"}))

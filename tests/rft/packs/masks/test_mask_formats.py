"""Converters of the masks pack, on small files in the published forms: what is kept, what is counted."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rft.data.convert.conversion import Conversion, ConvertOptions, convert, write_rows
from rft.data.dataset import read_rows
from rft.errors import DataError
from rft.packs.masks.formats import moments, union
from rft.packs.masks.mask import Mask, mask_of, rle_of
from rft.tasks import TASKS

LEFT, RIGHT = Mask(2, 2, 0b1100), Mask(2, 2, 0b0011)
"""Columns of a frame of 2 x 2 pixels."""

FRAMES = ["00010", "00000", "00005"]


def write(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def counts_of(conversion: Conversion) -> dict[str, int]:
    return {kind: len(of_kind) for kind, of_kind in conversion.anomalies.items()}


def test_revos_and_mevis(tmp_path: Path) -> None:
    left, right = rle_of(LEFT).to_json(), rle_of(RIGHT).to_json()
    write(tmp_path / "ReVOS" / "mask_dict.json", {"7": [left, None, left], "8": [None, None, right], "9": [left]})
    expressions = {
        "0": {"exp": " the dog ", "anno_id": [7], "type_id": 0},
        "1": {"exp": "Who wins?", "anno_id": [7, 8], "type_id": 1},
        "2": {"exp": "the horse", "anno_id": [], "type_id": 2},
        "3": {"exp": "the cat", "anno_id": [9], "type_id": 0},
        "4": {"exp": "the hen"},
    }
    source = write(
        tmp_path / "ReVOS" / "meta_expressions_valid_.json",
        {"videos": {"UVO/all/x": {"vid_id": 1, "frames": FRAMES, "expressions": expressions}}},
    )
    conversion = convert("mask_dict", source, ConvertOptions())
    assert counts_of(conversion) == {"blanks": 1, "absent_object": 3, "no_annotation": 2}
    dog, both, horse = conversion.rows
    assert (dog["id"], dog["video"]) == ("revos/valid/UVO/all/x/0", "JPEGImages/UVO/all/x")
    assert (dog["query"], dog["target"]["times"]) == ("the dog", [0.0, 0.167, 0.333])
    assert dog["target"]["subsets"] == ["referring"]
    assert [mask and mask["counts"] for mask in both["target"]["masks"]] == [left["counts"], None, "04"]
    assert horse["target"] == {"times": [0.0, 0.167, 0.333], "masks": [None] * 3, "subsets": ["empty"]}
    write_rows(conversion, tmp_path / "rows.jsonl")
    rows = read_rows([tmp_path / "rows.jsonl"], None, TASKS)
    assert [TASKS[row.task].target(row).subsets() for row in rows] == [
        ("referring", "partly absent"),
        ("reasoning", "partly absent"),
        ("empty", "absent"),
    ]
    outlines = convert("mask_dict", source, ConvertOptions(task="mask_outline"))
    assert {row["task"] for row in outlines.rows} == {"mask_outline"}


def test_a_split_without_masks_is_an_error(tmp_path: Path) -> None:
    source = write(tmp_path / "valid" / "meta_expressions.json", {"videos": {}})
    with pytest.raises(DataError, match=r"mask_dict\.json: not there"):
        convert("mask_dict", source, ConvertOptions())
    with pytest.raises(DataError, match="no folder above it holds valid/Annotations"):
        convert("ref_youtube_vos", source, ConvertOptions())


def write_png(path: Path, pixels: list[list[int]], mode: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array(pixels, np.uint8))
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    image.save(path)


def test_ref_youtube_vos(tmp_path: Path) -> None:
    for i, frame in enumerate(sorted(FRAMES)):
        write_png(tmp_path / "train" / "Annotations" / "v" / f"{frame}.png", [[i, 1], [i, 2]], "P")
    write(tmp_path / "train" / "meta.json", {"videos": {"v": {"objects": {"1": {"category": "ape"}}}}})
    expressions = {"0": {"exp": "an ape", "obj_id": "1"}, "1": {"exp": "a bird", "obj_id": "2"}, "2": {"exp": "a cow"}}
    source = write(
        tmp_path / "meta_expressions" / "train" / "meta_expressions.json",
        {"videos": {"v": {"frames": FRAMES, "expressions": expressions}}},
    )
    conversion = convert("ref_youtube_vos", source, ConvertOptions(task="mask_boxes"))
    assert counts_of(conversion) == {"no_annotation": 1}
    ape, bird = (TASKS["mask_boxes"].read_target(row["target"]) for row in conversion.rows)
    assert ape.track.part.object_class == "ape"
    assert bird.track.part.object_class is None
    # Columns first: in the second frame the ape is the left column and the upper right pixel.
    assert [mask.bits for mask in ape.track.masks] == [0b0010, 0b1110, 0b0010]
    assert [mask.bits for mask in bird.track.masks] == [0b0001, 0b0001, 0b1101]
    assert conversion.rows[0]["video"] == "train/JPEGImages/v"
    (tmp_path / "train" / "Annotations" / "v" / "00005.png").unlink()
    assert counts_of(convert("ref_youtube_vos", source, ConvertOptions())) == {"no_annotation": 3}


def test_reason_vos(tmp_path: Path) -> None:
    for name in ("00000", "00001"):
        write_png(tmp_path / "Annotations" / "mose_v_3" / f"{name}.png", [[0, 255], [0, 1], [0, 0]], "L")
    expressions = [
        {"obj_id": 3, "exp_id": 5, "exp_text": "the one to fear"},
        {"obj_id": 4, "exp_id": 6, "exp_text": "the other one"},
    ]
    videos = {"v": {"source": "MOSE", "is_sent": False, "frames": ["00000", "00001"], "expressions": expressions}}
    source = write(tmp_path / "meta_expressions.json", {"videos": videos})
    conversion = convert("reason_vos", source, ConvertOptions())
    assert counts_of(conversion) == {"no_annotation": 1}
    (row,) = conversion.rows
    assert (row["id"], row["query"]) == ("reason_vos/test/v/5", "the one to fear")
    target = TASKS["mask_keyframe"].read_target(row["target"])
    assert [mask.bits for mask in target.track.masks] == [0b000110] * 2
    assert target.subsets() == ("reasoning phrase", "present")


def test_moments_and_unions() -> None:
    assert moments(100, 4) == [12, 37, 62, 87]
    assert moments(2, 4) == [0, 1]
    assert union([]) is None
    both = union([rle_of(LEFT), rle_of(RIGHT)])
    assert both is not None
    assert mask_of(both).area == 4
    with pytest.raises(ValueError, match="differ in size"):
        union([rle_of(LEFT), rle_of(Mask(1, 2, 0))])

"""Converters of CaReBench and VERIFIED, on small files in their shape."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rft.data.convert.conversion import Conversion, ConvertOptions, convert
from rft.errors import DataError
from rft.packs.retrieval.sheets import CELL, MARGIN, NUM_FRAMES, main, write_sheets
from rft.synthetic.clips import write_frames

CLIPS = [
    {"video": "a.mp4", "caption": "A man runs.", "events": ["a man runs"], "objects": ["man"]},
    {"video": "b.mp4", "caption": ["A dog sleeps.", "A dog lies still."]},
    {"video": "c.mp4", "caption": "a man runs"},
    {"video": "d.mp4", "caption": []},
    *({"video": f"{i}.mp4", "caption": f"Caption {i}."} for i in range(20)),
]
MOMENTS = [
    ("TAQ25", [0.0, 4.0], "a person sits", "A woman sits on a red chair."),
    ("TAQ25", [5.0, 11.0], "a person eats", "A woman eats an apple."),
    ("TAQ25", [3.0, 6.0], "a person looks", "A woman looks at a clock."),
    ("G30NS", [1.0, 2.0], "a person sits", "A man sits on a bed."),
]


def moments_file(folder: Path) -> Path:
    path = folder / "charades_fig_test.jsonl"
    lines = [
        {"video": video, "time": time, "desc_id": number, "duration": 10.0, "cog_desc": coarse, "fig_desc": fine}
        | {"fig_desc_score": 0.5 - number}
        for number, (video, time, coarse, fine) in enumerate(MOMENTS)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def kinds(conversion: Conversion) -> dict[str, int]:
    return {kind: len(of_kind) for kind, of_kind in conversion.anomalies.items()}


def test_carebench(tmp_path: Path) -> None:
    path = tmp_path / "carebench.json"
    path.write_text(json.dumps(CLIPS))
    conversion = convert("carebench", path, ConvertOptions())
    facts = dict(conversion.facts)
    assert (facts["rows in the source"], facts["clips without a caption"]) == ("23", "1")
    assert (facts["further captions of a clip, not used"], facts["captions that another clip has too"]) == ("1", "2")
    assert kinds(conversion) == {}
    places = set()
    for row in conversion.rows:
        right = row["target"]["relevance"].index(1)
        captions = row["captions"]
        places.add(right)
        assert len(captions) == len(set(captions)) == 10
        assert row["target"]["negatives"] == "other clips"
    assert len(places) > 3
    first, second = conversion.rows[:2]
    assert first["captions"][first["target"]["relevance"].index(1)] == "A man runs."
    assert "a man runs" not in first["captions"]
    assert "A dog lies still." not in second["captions"]
    assert conversion.rows == convert("carebench", path, ConvertOptions()).rows


def test_clips_for_a_caption(tmp_path: Path) -> None:
    path = tmp_path / "carebench.json"
    path.write_text(json.dumps(CLIPS))
    captions, clips = (convert(name, path, ConvertOptions()).rows for name in ("carebench", "carebench_clips"))
    assert kinds(convert("carebench_clips", path, ConvertOptions())) == {}
    for of_captions, of_clips in zip(captions, clips, strict=True):
        assert of_captions["target"] == of_clips["target"]
        right = of_clips["target"]["relevance"].index(1)
        assert of_clips["clips"][right] == of_captions["video"]
        assert of_clips["query"] == of_captions["captions"][right]
        assert "video" not in of_clips
    assert clips[0]["image"] == "sheets/a.mp4.png"
    assert "c.mp4" not in clips[0]["clips"]


def test_pictures_of_numbered_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shades = (40, 120, 200)
    for shade in shades:
        write_frames(np.full((6, 56, 112, 3), shade, np.uint8), Fraction(2), tmp_path / f"{shade}.mp4")
    row = {"id": "1", "task": "retrieval", "query": "dark", "clips": [f"{shade}.mp4" for shade in shades]}
    row |= {"image": "sheets/1.png", "target": {"relevance": [1, 0, 0]}}
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(row))
    main([str(rows), "--video-root", str(tmp_path)])
    assert capsys.readouterr().out == "1 pictures\n"
    with Image.open(tmp_path / "sheets" / "1.png") as picture:
        pixels = np.asarray(picture.convert("L"), int)
    width, height = CELL
    assert pixels.shape == (3 * height, MARGIN + NUM_FRAMES * width)
    middle = pixels[height // 2 :: height, MARGIN + width // 2 :: width]
    assert np.abs(middle - np.array(shades)[:, None]).max() < 6
    # The numbers stand in the margin, and no two lines look alike.
    lines = [pixels[line * height : (line + 1) * height, :MARGIN] for line in range(3)]
    assert all(line.min() < 60 for line in lines)
    assert not np.array_equal(lines[0], lines[1])


def test_clips_that_cannot_be_shown_are_named(tmp_path: Path) -> None:
    row = {"id": "1", "task": "retrieval", "query": "dark", "clips": ["no.mp4", "none.mp4"], "image": "1.png"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row | {"target": {"relevance": [1, 0]}}))
    with pytest.raises(DataError, match=r"row 1: .*no\.mp4"):
        write_sheets(tmp_path / "rows.jsonl", tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "rows.jsonl"), "--video-root", str(tmp_path)])


def test_verified_as_moments_to_find(tmp_path: Path) -> None:
    fine, coarse = (convert(name, moments_file(tmp_path), ConvertOptions()) for name in ("verified", "verified_coarse"))
    assert [row["query"] for row in fine.rows] == [moment[3] for moment in MOMENTS]
    assert [row["query"] for row in coarse.rows] == [moment[2] for moment in MOMENTS]
    assert [row["target"] for row in fine.rows] == [row["target"] for row in coarse.rows]
    assert {row["dataset"] for row in (*fine.rows, *coarse.rows)} == {
        "verified_charades/test",
        "verified_coarse_charades/test",
    }
    assert kinds(fine) == kinds(coarse) == {"past_end": 1}
    assert dict(fine.facts)["fine descriptions with a score below 0"] == "3"
    shared = [dict(conversion.facts)["rows whose text another video has too"] for conversion in (fine, coarse)]
    assert shared == ["0", "2"]


def test_verified_as_descriptions_to_tell_apart(tmp_path: Path) -> None:
    rows = convert("verified", moments_file(tmp_path), ConvertOptions(task="retrieval")).rows
    assert [row["target"]["negatives"] for row in rows] == ["time", "time", "other videos", "other videos"]
    sitting, eating, looking, other = rows
    # Moments that overlap are no wrong answers: 3 to 6 s lies in neither row.
    assert set(sitting["captions"]) == set(eating["captions"]) == {MOMENTS[0][3], MOMENTS[1][3]}
    assert set(looking["captions"]) == {MOMENTS[2][3], MOMENTS[3][3]}
    assert set(other["captions"]) == {moment[3] for moment in MOMENTS}
    assert (eating["start_s"], eating["end_s"], eating["duration_s"]) == (5.0, 10.0, 10.0)
    assert looking["captions"][looking["target"]["relevance"].index(1)] == MOMENTS[2][3]


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text('[{"video": "a.mp4"}, {"video": 3, "caption": "x"}]')
    with pytest.raises(DataError, match=r"0\.caption.*\n.*1\.video"):
        convert("carebench", path)
    with pytest.raises(DataError, match="does not state the split"):
        convert("verified", moments_file(tmp_path).rename(tmp_path / "other.jsonl"))

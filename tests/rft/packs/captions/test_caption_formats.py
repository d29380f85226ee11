"""Published caption sets: their forms, the real files where they are, and what is odd in them."""

import json
from pathlib import Path
from typing import Any

import pytest
from annotation_files import annotations

from rft.data.convert.conversion import ConvertOptions, convert

QA = [
    {"question": "Who?", "answer": "a boy", "category": "person"},
    {"question": "When?", "answer": "?", "category": ""},
]
CARE = {"video": "a.mp4", "caption": ["One.", "Two."], "events": ["He runs"], "objects": ["There is a dog"]}


def written(path: Path, records: list[Any]) -> Path:
    text = json.dumps(records) if path.suffix == ".json" else "".join(f"{json.dumps(record)}\n" for record in records)
    path.write_text(text, encoding="utf-8")
    return path


def test_dream_1k_as_published() -> None:
    source = annotations("DREAM-1K/DREAM-1k.jsonl")
    conversion = convert("dream_1k", source)
    facts = dict(conversion.facts)
    assert (len(conversion.rows), facts["events"], conversion.anomalies) == (1000, "6,298", {})
    assert facts["clips without events, judged by their text"] == "4"
    assert facts["clips that state an event twice"] == "2"
    first = conversion.rows[0]
    assert (first["id"], first["video"], first["duration_s"]) == ("dream_1k/test/1", "1.mp4", 5.09)
    assert first["target"]["events"][0] == "A character emerges from smoke and fire."
    assert first["target"]["text"].startswith("A character emerges from smoke and fire, then half knelt")
    assert {row["dataset"] for row in convert("dream_1k", source, ConvertOptions(split="youtube")).rows} == {
        "dream_1k/youtube"
    }


def test_vdc(tmp_path: Path) -> None:
    lines = [{"v1": QA}, {"v2": QA[:1]}, {"v1": QA[:1] * 2}]
    conversion = convert("vdc", written(tmp_path / "camera.jsonl", lines))
    assert [row["target"] for row in conversion.rows] == [
        {"questions": [["Who?", "a boy"], ["Who?", "a boy"]]},
        {"questions": [["Who?", "a boy"]]},
    ]
    assert conversion.rows[0]["dataset"] == "vdc/camera"
    assert dict(conversion.facts)["clips stated again, of which the last line counts, as released"] == "1"
    wordless = convert("vdc", written(tmp_path / "short.jsonl", [{"v1": QA}]))
    assert dict(wordless.facts)["questions whose answer holds no words, left out"] == "1"


def test_carebench(tmp_path: Path) -> None:
    path = written(tmp_path / "carebench.json", [CARE, {"video": "b.mp4", "caption": "Three."}])
    rows = convert("carebench_captions", path, ConvertOptions(drop_invalid=True)).rows
    assert [row["target"] for row in rows] == [
        {"text": "One. Two.", "events": ["He runs"], "objects": ["There is a dog"]}
    ]
    plain = convert("carebench_captions", path, ConvertOptions(task="caption")).rows
    assert [row["target"] for row in plain] == [{"text": "One. Two.", "events": ["He runs"]}, {"text": "Three."}]


@pytest.mark.parametrize(("content", "text"), [("One.", "One."), (["One.", "Two."], "One.\nTwo.")])
def test_vript_hal(tmp_path: Path, content: object, text: str) -> None:
    path = written(tmp_path / "HAL_annotations.jsonl", [{"clip_id": "a-Scene-1", "content": content, "meta": {}}])
    (row,) = convert("vript_hal", path).rows
    assert (row["video"], row["task"], row["target"]) == ("a-Scene-1.mp4", "caption_words", {"text": text})

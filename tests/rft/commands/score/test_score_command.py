"""`rft score` on the command line: what it prints."""

import json
import re
import shlex
from pathlib import Path

import pytest
from completion_files import SPAN, read, span, write

from rft.__main__ import main

ROOT = Path(__file__).parents[4]


def test_the_command_prints_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [span(10, 20), {"completion": "caf\u00e9", "target": SPAN}, {"task": "tracking"}]
    source = write(tmp_path / "in.jsonl", *rows)
    assert main(["score", str(source), "--task", "temporal_grounding", "-o", str(tmp_path / "out.jsonl")]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    lines = [line.split() for line in out.splitlines()]
    assert "temporal_grounding: 2 completions" in out
    assert ["iou", "(temporal_iou)", "1", "0.500", "0.000", "0.000", "1.000", "50.0%", "50.0%"] in lines
    assert ["reward", "1.000", "0.000", "0.000", "2.000", "50.0%", "50.0%"] in lines
    assert "Well formed: 50.0%." in out
    assert ["no_tag", "1", "50.0%", "1", "x", r"'caf\xe9'", "no", "<answer>"] in lines
    assert "1 rows of other tasks left out." in out
    assert len(read(tmp_path / "out.jsonl")) == 2


def test_the_command_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.jsonl", span(10, 20))
    arguments = ["score", str(source), "--task", "temporal_grounding", "--fidelity", "as_published", "--no-think"]
    assert main([*arguments, "--json", "--reward", "iou=1", "format=0.5"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["rows"], figures["fidelity"], figures["left_out"]) == (1, "as_published", 0)
    assert figures["tasks"]["temporal_grounding"]["scores"]["format"]["reward"] == "answer_format"
    assert main(["score", str(tmp_path / "gone.jsonl"), "--task", "tracking"]) == 2
    assert "gone.jsonl: cannot be read" in capsys.readouterr().err


def test_a_disk_that_refuses_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.jsonl", span(10, 20))
    assert main(["score", str(source), "--task", "temporal_grounding", "-o", str(tmp_path / "gone" / "o.jsonl")]) == 2
    assert "o.jsonl: cannot be written: No such file" in capsys.readouterr().err


def test_the_page_shows_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "scoring.md").read_text()
    (tmp_path / "in.jsonl").write_text(re.findall(r"```jsonl\n(.*?)```", page, re.DOTALL)[0])
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        shown = [line for line in block.splitlines() if not line.startswith("$ ")]
        for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            words = shlex.split(command.partition(" >")[0])
            if words[0] == "rft":
                assert main(words[1:]) == 0
                printed = capsys.readouterr().out.splitlines()
            else:
                assert words[:3] == ["head", "-n", "1"]
                printed = (tmp_path / words[3]).read_text().splitlines()[:1]
        assert shown == printed

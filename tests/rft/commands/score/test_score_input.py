"""`rft score`: how rows are read and written back, and what is said of bad ones."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from completion_files import SPAN, THINK, read, scored, span, write

from rewards import rewards_of
from rft.commands.score.reward_choice import RewardChoice
from rft.commands.score.score import CHUNK, Scorer, score
from rft.errors import DataError
from rft.files import JsonLine
from rft.recipe import DataRecipe, Recipe, TaskRecipe


def test_every_bad_row_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.jsonl",
        span(10, 20),
        "{nonsense\n",
        "\n",
        [1],
        {"completion": 3, "duration_s": -1, "finish_reason": "odd"},
        {"completion": "x", "target": {"choice": "A"}},
        {"completion": "x", "target": {"span": [5, 5]}},
        {"completion": "x", "target": SPAN, "task": "nonsense"},
        '{"completion": "x", "target": {"span": [NaN, 2]}}\n',
        '{"completion": "x", "target": {"span": [1, 2]}, "completion": "y"}\n',
    )
    with pytest.raises(DataError) as caught:
        score(source, tmp_path / "out.jsonl", task="temporal_grounding")
    problems = [line.removeprefix(f"{source}:") for line in str(caught.value).splitlines()]
    assert problems == [
        "2: not JSON: Expecting property name enclosed in double quotes at column 2",
        "4: a row is a JSON object, not list",
        "9: NaN is not a number JSON allows",
        "10: key 'completion' is written twice",
        "5: completion: Expected `str`, got `int`",
        "5: duration_s: Expected `float` > 0.0",
        "5: finish_reason: Invalid enum value 'odd'",
        '6: target: has choice, but temporal_grounding needs {"span": [start_s, end_s]}',
        "7: target: span: ends at 5.0 s, not after its start at 5.0 s; swap them or drop the row",
    ]
    assert not (tmp_path / "out.jsonl").exists()


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.jsonl: cannot be read: No such file"):
        score(tmp_path / "gone.jsonl", task="tracking")
    with pytest.raises(DataError, match=r"in.jsonl: no completions$"):
        score(write(tmp_path / "in.jsonl"), task="tracking")
    with pytest.raises(DataError, match=r"no completions of task tracking; 1 rows are of others"):
        score(write(tmp_path / "in.jsonl", {"task": "quality"}), task="tracking")
    with pytest.raises(DataError, match=r"in.jsonl:1: task: missing. Say which with --task"):
        score(write(tmp_path / "in.jsonl", span(1, 2)))
    with pytest.raises(DataError, match=r"in.jsonl:1: unknown task 'qualty'. Did you mean 'quality'"):
        score(write(tmp_path / "in.jsonl", {"task": "qualty"}))
    with pytest.raises(DataError, match=r"--task: unknown task 'trackin'. Did you mean 'tracking'"):
        score(tmp_path / "in.jsonl", task="trackin")
    (tmp_path / "in.jsonl").write_bytes(b'{"task": "quality"}\n\xff\n')
    with pytest.raises(DataError, match=r"in.jsonl:2: not UTF-8 text"):
        score(tmp_path / "in.jsonl", task="tracking")


def test_text_is_read_as_json_means_it(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    line = json.dumps({**span(10, 20), "id": "one\u2028line\x85"}, ensure_ascii=False)
    source.write_text(f"\ufeff{line}\r\n\n{line}", encoding="utf-8")
    score(source, tmp_path / "out.jsonl", task="temporal_grounding")
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == ["one\u2028line\x85"] * 2


@pytest.mark.parametrize("said", ["\u4e16", "\ud800", "a\u2028b", "\U0001f600"])
def test_answers_beyond_ascii_come_out_in_ascii(tmp_path: Path, said: str) -> None:
    row = {**span(10, 20), "completion": f"{THINK}<answer>{said}</answer>"}
    (output,) = scored(tmp_path, [row])
    assert (output["answer"], output["completion"]) == (said, row["completion"])
    assert (tmp_path / "out.jsonl").read_text(encoding="ascii").count("\n") == 1


@pytest.mark.parametrize("number", ["1e400", "-1e-400", "123456789012345678901234567890", "0.1", "-0", "5e-324"])
def test_numbers_are_read_as_the_standard_library_reads_them(tmp_path: Path, number: str) -> None:
    text = f'{{"a": {number}, "h": "\u00e9", "completion": "x", "target": {{"span": [1, 2]}}}}\n'
    (output,) = scored(tmp_path, [text])
    assert repr(output["a"]) == repr(json.loads(number))


def test_a_row_comes_out_as_it_went_in_with_its_scores_added(tmp_path: Path) -> None:
    before = '{"z": 1e2, "completion": "x", "target": {"span": [1, 2.50]} , "a": "\\u00e9" }'
    again = json.dumps({**span(10, 20), "reward": 7, "scores": {"old": 1}, "note": "kept"})
    source = write(tmp_path / "in.jsonl", f" {before} \n", f"{again}\n")
    score(source, tmp_path / "out.jsonl", task="temporal_grounding")
    first, second = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert first.startswith(before[:-1] + ", ")
    assert json.loads(first)["reward"] == 0
    figures = json.loads(second)
    assert (figures["reward"], figures["scores"], figures["note"]) == (2.0, {"iou": 1.0, "format": 1.0}, "kept")
    assert second.count('"reward"') == 1


def test_length_rules_need_the_number_of_tokens(tmp_path: Path) -> None:
    text = "model: m\ntasks: {}\ndata: {train: []}\nsteps: 1\nscoring: {overlong_buffer: 10}\n"
    with pytest.raises(DataError, match=r"in.jsonl:1: num_tokens: missing, but the recipe has a length rule"):
        scored(tmp_path, [span(1, 2)], recipe_path=write(tmp_path / "r.yaml", text))


def test_a_row_that_a_reward_cannot_judge_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in.jsonl:2: reward endpoint_iou: .*duration_s"):
        scored(tmp_path, [{**span(1, 2), "duration_s": 9}, span(1, 2)], rewards=("endpoint_iou=1",))


def test_rows_are_not_kept() -> None:
    taken = 0

    def stored() -> Iterator[JsonLine]:
        nonlocal taken
        while True:
            taken += 1
            yield JsonLine("here", 1, span(1, 2), "")

    recipe = Recipe(model="m", tasks={"temporal_grounding": TaskRecipe()}, data=DataRecipe(train=()), steps=1)
    next(Scorer(recipe, RewardChoice(rewards_of(None)), "temporal_grounding").rows(stored()))
    assert taken == CHUNK

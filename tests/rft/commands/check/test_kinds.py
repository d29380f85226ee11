"""rft check on rows of images and of text alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rft.commands.check.check import Checked, check
from rft.commands.check.prompt_length import image_tokens, visual_tokens
from rft.recipe import Recipe, VideoRecipe
from rft.recipe.model_folder import config_size_factor, size_factor

QUESTION = {"task": "multiple_choice", "question": "Which?", "options": ["a", "b"], "target": {"choice": "A"}}
VIDEO, IMAGE = QUESTION | {"video": "a.mp4", "duration_s": 9.0}, QUESTION | {"image": "a.png"}

Checker = Callable[..., Checked]


@pytest.fixture
def checked(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Checker:
    """Checks a recipe of some rows, eight of each."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "a.png"):
        (tmp_path / name).write_bytes(b"x")

    def run(*rows: dict[str, Any], **changes: Any) -> Checked:
        lines = [json.dumps({"id": f"row {i}", **row}) for i, row in enumerate(row for row in rows for _ in range(8))]
        (tmp_path / "rows.jsonl").write_text("\n".join(lines))
        values = {"model": str(model_folder), "tasks": {"multiple_choice": {}}, "data": {"train": ["rows.jsonl"]}}
        return check(Recipe.model_validate({**values, "steps": 1, **changes}), Path("r.yaml"))

    return run


def problems_of(checked: Checked) -> list[str]:
    return [*map(str, checked.problems), *checked.data_problems]


def test_rows_of_every_kind_are_fine_and_those_that_show_nothing_noted(checked: Checker) -> None:
    result = checked(VIDEO, IMAGE, QUESTION)
    assert problems_of(result) == []
    assert "data.train: 8 of 24 rows show neither video nor image." in result.notes


def test_missing_images_are_named(checked: Checker, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (problem,) = problems_of(checked(VIDEO, QUESTION | {"image": "b.png"}, QUESTION | {"image": "folder.png"}))
    assert problem.startswith("data.train: 16 of 24 rows have clips or images that cannot be used")
    assert "\n    row 8: b.png: not found\n" in problem
    (problem,) = problems_of(checked(QUESTION | {"image": "folder.png"}))
    assert "row 0: folder.png: a folder" in problem
    (problem,) = problems_of(checked(QUESTION | {"video": "b.mp4"}, QUESTION | {"image": "b.png"}))
    assert "16 of 16 rows have clips or images" in problem
    assert "row 0: b.mp4: not found" in problem


@pytest.mark.parametrize("row", [IMAGE, QUESTION])
def test_what_needs_a_video_is_refused_on_other_rows(checked: Checker, row: dict[str, Any]) -> None:
    bonus = {"order_bonus": {"reward": "choice_accuracy"}}
    assert problems_of(checked(VIDEO, row, scoring=bonus)) == [
        "scoring.order_bonus: 8 rows, such as row 8, show no video to shuffle. Take them out of data.train."
    ]
    held_out = {"data": {"train": ["rows.jsonl"], "eval": ["rows.jsonl"]}, "eval": {"second_look": {}}}
    backwards = VIDEO | {"view": "reversed"}
    for unseen in (row, backwards):
        assert [text for text in problems_of(checked(VIDEO, unseen, **held_out)) if "second_look" in text] == [
            "eval.second_look: 8 rows, such as row 8, show no video, or one backwards, for a second look. "
            "Take them out of data.eval."
        ]
    assert problems_of(checked(VIDEO, scoring=bonus)) == []


def test_ranks_that_train_the_tower_all_need_something_to_show(checked: Checker) -> None:
    ranks = {"num_ranks": 2}
    (problem,) = problems_of(checked(VIDEO, QUESTION, learner=ranks))
    assert problem.startswith("learner.num_ranks: 8 rows, such as row 8, show nothing: sharded ranks wait")
    assert problems_of(checked(VIDEO, IMAGE, learner=ranks)) == []
    assert problems_of(checked(QUESTION, learner=ranks)) == []
    assert problems_of(checked(VIDEO, QUESTION, learner=ranks | {"freeze_vision": True})) == []


def test_the_plan_counts_the_tokens_of_images_and_of_no_clip_for_texts(checked: Checker) -> None:
    def visual(*rows: dict[str, Any]) -> str:
        return dict(checked(*rows, video={"max_pixels": 100 * 784}).plan)["tokens"]

    assert "(100 visual)" in visual(IMAGE)
    assert "(100 visual)" in visual(IMAGE, QUESTION)
    assert "(0 visual)" in visual(QUESTION)
    assert "(1,000 visual)" in visual(VIDEO)


def test_tokens_follow_the_patches_of_the_model_and_the_times_in_its_prompt(model_folder: Path) -> None:
    qwen3 = {"model_type": "qwen3_vl", "vision_config": {"patch_size": 16, "spatial_merge_size": 2}}
    assert (config_size_factor({}), config_size_factor(qwen3)) == (28, 32)
    (model_folder / "config.json").write_text(json.dumps(qwen3))
    assert size_factor(str(model_folder)) == 32
    sampling = VideoRecipe(fps=2.0, max_pixels=64 * 1024, min_pixels=1024).sampling()
    pairs = visual_tokens(sampling, 10.0, 32) // 64
    assert visual_tokens(sampling, 10.0, 32) == pairs * 64
    assert visual_tokens(sampling, 10.0, 32, tells_times=True) == pairs * (64 + 12)
    assert image_tokens(64 * 1024, 32) == 64
    assert image_tokens(500) == 1


SPANNED = {
    "task": "temporal_grounding",
    "video": "a.mp4",
    "duration_s": 9.0,
    "query": "he sits",
    "target": {"span": [1.0, 2.0]},
}


@pytest.mark.parametrize(
    ("row", "drop_still", "key"),
    [
        (SPANNED, 1.0, "video.drop_still"),
        (SPANNED | {"frame_times_s": [1.0, 2.0]}, 0.0, "frame_times_s"),
        (SPANNED, 0.0, None),
        (VIDEO | {"frame_times_s": [1.0, 2.0]}, 1.0, None),
    ],
)
def test_targets_in_time_need_even_frames_or_a_model_that_reads_times(
    checked: Checker, model_folder: Path, row: dict[str, Any], drop_still: float, key: str | None
) -> None:
    changes = {"tasks": {row["task"]: {}}, "video": {"drop_still": drop_still}}
    problems = problems_of(checked(row, **changes))
    assert [problem.split(":")[0] for problem in problems] == ([key] if key else [])
    assert all("8 rows, such as row 0, have a target in time" in problem for problem in problems)
    config = json.loads((model_folder / "config.json").read_text()) | {"model_type": "qwen3_vl"}
    (model_folder / "config.json").write_text(json.dumps(config))
    assert problems_of(checked(row, **changes)) == []

"""A recipe whose files are in a published format, or in one of the user's own."""

import json
from pathlib import Path

import pytest

from rft.commands.check.data import check_data
from rft.data.convert.conversion import ConvertOptions, convert
from rft.data.dataset import recipe_rows
from rft.errors import CheckpointError, DataError
from rft.recipe import Recipe
from rft.recipe.load import load_recipe, parse_recipe, recipe_text
from rft.runs.code_record import refuse_changed_code, write_code_record
from rft.runs.run_dir import RunDir

FORMAT = """\
from rft.data.convert.source import Format, Published, SourceRequest, read_json

def read(request: SourceRequest) -> Published:
    found = read_json(request.source, list[tuple[str, str, list[float]]])
    return Published(tuple(
        request.draft("mine", number, [f"clips/{video}.mp4", f"{video}.avi"], query=query, target={"span": span})
        for number, (video, query, span) in enumerate(found)
    ))

MOMENTS = Format(("temporal_grounding",), read)
"""

RECIPE = """\
model: any
tasks: {tracking: {}, temporal_grounding: {}}
data: {train: [train.json], eval: [test.json], format: moments.py:MOMENTS}
steps: 1
"""

MOMENTS = [["a", " a person runs ", [1.0, 2.5]], ["b", "a dog barks", [0.0, 4.0]]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a recipe, its format and its files; one video lies at its second place."""
    monkeypatch.chdir(tmp_path)
    files = {"moments.py": FORMAT, "recipe.yaml": RECIPE, "train.json": json.dumps(MOMENTS), "b.avi": "a video"}
    for name, text in {**files, "test.json": json.dumps([["c", "a door opens", [3, 4]]])}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def recipe(**changed: str) -> Recipe:
    text = RECIPE
    for key, value in changed.items():
        text = text.replace(key, value)
    return parse_recipe(text, "r.yaml")


def test_rows_are_read_as_they_would_be_converted(folder: Path) -> None:
    loaded = load_recipe(folder / "recipe.yaml")
    assert loaded.data.format == f"{folder}/moments.py:MOMENTS"
    assert parse_recipe(recipe_text(loaded), "saved") == loaded
    rows = recipe_rows(loaded.data.train, loaded)
    assert [(row.id, row.task, row.video) for row in rows] == [
        ("mine/0", "temporal_grounding", f"{folder}/clips/a.mp4"),
        ("mine/1", "temporal_grounding", f"{folder}/b.avi"),
    ]
    written = convert("moments.py:MOMENTS", Path("train.json"), ConvertOptions(video_root=folder)).rows
    assert [row.model_dump(mode="json", exclude_none=True) for row in rows] == list(written)
    # In one file for all: the ids of "mine" would be taken twice.
    with pytest.raises(DataError, match=r"test.json:1: id 'mine/0' is taken by train.json:1"):
        recipe_rows([*loaded.data.train, *loaded.data.eval], loaded)


def test_a_known_format(folder: Path) -> None:
    events = {"v": {"duration": 9.0, "timestamps": [[1.0, 2.0], [3.0, 4.0]], "sentences": ["one", "two"]}}
    (folder / "train.json").write_text(json.dumps(events))
    known = recipe(**{"moments.py:MOMENTS": "charades_sta"})
    assert [row.id for row in recipe_rows(known.data.train, known)] == [
        "charades_sta/train/v/0",
        "charades_sta/train/v/1",
    ]


def test_all_problems_are_told_at_once(folder: Path) -> None:
    wrong = [["a", "x", [2.0, 1.0]], ["b", " ", [0, 1]], ["b", "y", [0, 1]]]
    (folder / "train.json").write_text(json.dumps(wrong))
    (folder / "test.json").write_text("[[1]]")
    read = recipe()
    remedy = "Correct it, or leave it out: rft data convert --drop-invalid"
    with pytest.raises(DataError) as error:
        recipe_rows([*read.data.train, *read.data.eval], read)
    of_rows, of_shape = str(error.value).split("\n")[:2], str(error.value).split("\n")[2:]
    assert of_rows == [
        f"train.json:1: mine/0: reversed [2, 1]. {remedy}",
        f"train.json:2: mine/1: blank_text query. {remedy}",
    ]
    assert [line.partition(": ")[0] for line in of_shape] == ["test.json"] * 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"moments.py:MOMENTS": "charades"}, "unknown format 'charades'. Did you mean 'charades_sta'?"),
        ({"moments.py:MOMENTS": "moments.py:read"}, "is no Format of rft/data/convert/source.py"),
        (
            {"temporal_grounding: {}": "quality: {}"},
            "its rows have the task temporal_grounding, and none is in `tasks`",
        ),
    ],
)
def test_formats_that_cannot_be_used(folder: Path, changed: dict[str, str], message: str) -> None:
    block = "\n".join(check_data(recipe(**changed)).blocks)
    assert message in block, block


def test_a_source_that_is_not_there(folder: Path) -> None:
    (finding,) = (one for one in check_data(recipe(**{"train.json": "gone.json"})).findings if "gone" in str(one))
    assert "data.train: gone.json not found in" in str(finding)


def test_a_changed_format_is_refused_on_resume(folder: Path) -> None:
    run, own = RunDir(folder / "run"), load_recipe(folder / "recipe.yaml")
    run.path.mkdir()
    write_code_record(run, own)
    refuse_changed_code(run, own)
    (folder / "moments.py").write_text(FORMAT.replace("clips/", "videos/"))
    with pytest.raises(CheckpointError, match=r"moments\.py"):
        refuse_changed_code(run, own)

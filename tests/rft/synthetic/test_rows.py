import random
from pathlib import Path

import pytest

from rft.data.dataset import read_rows
from rft.errors import DataError
from rft.synthetic.questions import DRAWN_TASKS
from rft.synthetic.rows import Sizes, write_dataset

SMALL = Sizes(events=2, journeys=1)


def write(directory: Path, seed: int = 0, train: Sizes = SMALL) -> dict[str, int]:
    return write_dataset(directory, seed, train, SMALL, num_processes=1)


def test_every_file_is_written_with_its_rows_and_clips(tmp_path: Path) -> None:
    assert write(tmp_path) == {"train": 7, "validation": 7, "test": 7, "cold_start": 22}
    for name in ("train", "cold_start", "validation", "test"):
        rows = read_rows([tmp_path / f"{name}.jsonl"], None, set(DRAWN_TASKS))
        assert {row.task for row in rows} == set(DRAWN_TASKS)
        assert all(Path(row.video).exists() for row in rows)
        assert all((row.demonstration is not None) == (name == "cold_start") for row in rows)
    assert (tmp_path / "policy" / "model.safetensors").exists()


def test_held_out_rows_do_not_depend_on_the_number_of_others_and_share_no_clip(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", train=Sizes(events=1, journeys=2))
    for name in ("validation", "test"):
        assert (tmp_path / "a" / f"{name}.jsonl").read_text() == (tmp_path / "b" / f"{name}.jsonl").read_text()
    clips = [
        {row.video for row in read_rows([tmp_path / "a" / f"{name}.jsonl"], None, set(DRAWN_TASKS))}
        for name in ("train", "validation", "test")
    ]
    assert len(clips[0] | clips[1] | clips[2]) == sum(map(len, clips))


def test_a_seed_repeats_itself_and_leaves_the_global_one_alone(tmp_path: Path) -> None:
    random.seed(5)
    expected = random.Random(5).random()
    write(tmp_path / "a", seed=1)
    assert random.random() == expected
    write(tmp_path / "b", seed=1)
    write(tmp_path / "c", seed=2)

    def text(run: str) -> str:
        return (tmp_path / run / "train.jsonl").read_text()

    assert text("a") == text("b") != text("c")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*Name a folder"):
        write(tmp_path / "file" / "data")

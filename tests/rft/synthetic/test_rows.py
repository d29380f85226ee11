import hashlib
import json
import random
from pathlib import Path

import av
import pytest

from rewards import REWARDS
from rft.data.dataset import read_rows
from rft.errors import DataError
from rft.synthetic.clips import draw
from rft.synthetic.questions import DRAWN_TASKS
from rft.synthetic.rows import Sizes, draw_clips, write_dataset
from rft.synthetic.scenes import TRAINED
from rft.tasks import TASKS

SMALL = Sizes(events=2, journeys=1)


def write(directory: Path, seed: int = 0, train: Sizes = SMALL) -> dict[str, int]:
    return write_dataset(directory, seed, train, SMALL, num_processes=1)


def test_every_file_is_written_with_its_rows_and_clips(tmp_path: Path) -> None:
    counts = write(tmp_path)
    assert counts == {
        "train": 7,
        "validation": 7,
        "test": 7,
        "test_ood": 7,
        "cold_start": 22,
        "true_demonstrations": 7,
    }
    for name in counts:
        rows = read_rows([tmp_path / f"{name}.jsonl"], None, set(DRAWN_TASKS))
        assert {row.task for row in rows} == set(DRAWN_TASKS)
        assert all(Path(row.video).exists() for row in rows)
        assert all((row.demonstration is not None) == (name in ("cold_start", "true_demonstrations")) for row in rows)
    assert (tmp_path / "policy" / "model.safetensors").exists()


# Of seed 0 and SMALL: adding a file must not redraw the data that earlier figures were measured on.
KNOWN = {"train": "1032735cda310d3b", "validation": "0288f8d6026f25d5", "test": "68ac97d4e019f506",
         "cold_start": "2dbc43315b6c030e"}  # fmt: skip


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def test_the_files_of_earlier_figures_stay_as_they_were(tmp_path: Path) -> None:
    write(tmp_path)
    assert {name: digest((tmp_path / f"{name}.jsonl").read_bytes()) for name in KNOWN} == KNOWN


@pytest.mark.parametrize(
    ("name", "pixels"),
    [("train", "23bdfe874b01c089"), ("validation", "63a36c9de1211b6c"), ("test", "facdb69782470c1a")],
)
def test_the_clips_of_earlier_figures_stay_as_they_were(name: str, pixels: str) -> None:
    scenes = [clip.scene for clip in draw_clips(f"{name}-0", name, Sizes(events=20, journeys=20))]
    assert digest(b"".join(draw(scene, scene.frame_times[:80:20]).tobytes() for scene in scenes)) == pixels


def test_true_demonstrations_are_the_training_rows_answered_rightly(tmp_path: Path) -> None:
    write(tmp_path)
    lines = [(tmp_path / f"{name}.jsonl").read_text().splitlines() for name in ("train", "true_demonstrations")]
    for question, demonstrated in zip(*(map(json.loads, part) for part in lines), strict=True):
        text = demonstrated.pop("demonstration")
        assert demonstrated == question
        task = TASKS[question["task"]]
        target = task.target(task.row_type.model_validate(question))
        assert REWARDS["think_format"](text, target).value == 1.0
        # With one decimal a box is not quite the true one.
        least = 0.5 if question["task"] == "tracking" else 1.0
        assert REWARDS[task.rewards[0][0]](text, target).value >= least
        assert "I look at the clip" not in text


def test_clips_out_of_domain_are_longer_and_at_other_frame_rates(tmp_path: Path) -> None:
    write(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "test_ood.jsonl").read_text().splitlines()]
    assert {row["duration_s"] for row in rows} == {10.0, 12.0}
    for row in rows:
        with av.open(str(tmp_path / row["video"])) as container:
            stream = container.streams.video[0]
            assert stream.average_rate not in TRAINED.frame_rates
            assert stream.frames / stream.average_rate == pytest.approx(row["duration_s"], abs=0.05)


def test_held_out_rows_do_not_depend_on_the_number_of_others_and_share_no_clip(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", train=Sizes(events=1, journeys=2))
    for name in ("validation", "test", "test_ood"):
        assert (tmp_path / "a" / f"{name}.jsonl").read_text() == (tmp_path / "b" / f"{name}.jsonl").read_text()
    clips = [
        {row.video for row in read_rows([tmp_path / "a" / f"{name}.jsonl"], None, set(DRAWN_TASKS))}
        for name in ("train", "validation", "test", "test_ood")
    ]
    assert len(set().union(*clips)) == sum(map(len, clips))


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

from pathlib import Path

import pytest

from rft.commands.data.real_clips import write_real_clips
from rft.data.dataset import missing_files, read_rows
from rft.data.video import decode
from rft.tasks import TASKS
from rft.types import Video, VideoSampling

TASKS_OF_ROWS = {"temporal_grounding", "tracking", "multiple_choice", "grounded_qa"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real_clips")
    write_real_clips(folder)
    return folder


def test_rows_of_all_tasks_about_real_files_and_a_folder(folder: Path) -> None:
    train = read_rows([folder / "train.jsonl"], None, list(TASKS))
    test = read_rows([folder / "test.jsonl"], None, list(TASKS))
    assert {row.task for row in train} == {row.task for row in test} == TASKS_OF_ROWS
    assert missing_files([*train, *test]) is None
    assert any(Path(row.video).is_dir() for row in train)
    assert len({row.id for row in [*train, *test]}) == len(train) + len(test)


def test_every_clip_decodes_and_is_as_long_as_its_rows_say(folder: Path) -> None:
    sampling = VideoSampling(2.0, 4, 64, 56 * 56, 56 * 56, 64 * 56 * 56)
    rows = read_rows([folder / "train.jsonl", folder / "test.jsonl"], None, list(TASKS))
    for row in {(row.video, row.start_s): row for row in rows}.values():
        frames = decode(Video(Path(row.video), sampling, row.start_s, row.end_s, row.source_fps))
        assert frames.duration_s == pytest.approx(row.clip_s, abs=0.05)
        assert len(frames.timestamps_s) >= 4

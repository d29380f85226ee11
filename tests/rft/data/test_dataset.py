import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewards.targets.span import SpanTarget
from rft.data.dataset import PromptOrder, missing_files, read_rows, to_prompt
from rft.data.frames import ClipError, Frames, StorageError
from rft.errors import DataError
from rft.recipe import Recipe
from rft.tasks import TASKS
from rft.types import Prompt, Video, VideoSampling

GROUNDING = {"task": "temporal_grounding", "video": "a.mp4", "query": "it moves", "duration_s": 8.0}
TRACKING = {"task": "tracking", "video": "frames", "source_fps": 10.0, "object": "sloth"}
BOX = [0.1, 0.2, 0.3, 0.4]


def grounding(row_id: str = "g", **changes: Any) -> dict[str, Any]:
    return {"id": row_id, **GROUNDING, "target": {"span": [1.0, 2.5]}, **changes}


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def problems(tmp_path: Path, *rows: dict[str, Any] | str, tasks: tuple[str, ...] = tuple(TASKS)) -> str:
    with pytest.raises(DataError) as caught:
        read_rows([write(tmp_path / "rows.jsonl", *rows)], None, tasks)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_rows_are_typed_and_their_videos_resolved(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    here = write(tmp_path / "a.jsonl", grounding("one"), "", {"id": "two", **TRACKING, "target": {"boxes": [BOX, BOX]}})
    there = write(tmp_path / "more" / "b.jsonl", grounding("three", video="/clips/c.mp4"))
    rows = read_rows([here, there], None, list(TASKS))
    assert [type(row) for row in rows] == [TASKS[row.task].row_type for row in rows]
    assert [row.video for row in rows] == [str(tmp_path / "a.mp4"), str(tmp_path / "frames"), "/clips/c.mp4"]
    assert read_rows([there], Path("/videos"), list(TASKS))[0].video == "/clips/c.mp4"
    assert read_rows([here], Path("/videos"), list(TASKS))[0].video == "/videos/a.mp4"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{'id': 1}", "rows.jsonl:1: not JSON: "),
        ('{"id": "a"', "rows.jsonl:1: not JSON: "),
        ("[1, 2]", "rows.jsonl:1: a row is a JSON object, not list"),
        ('{"id": "a", "id": "b"}', "rows.jsonl:1: key 'id' is written twice"),
        ('{"id": "a", "task": NaN}', "rows.jsonl:1: NaN is not a number JSON allows"),
        ({"id": "a"}, "rows.jsonl:1: task: missing. Known: caption, "),
        (grounding(task="temporal_groundin"), "unknown task 'temporal_groundin'. Did you mean 'temporal_grounding'?"),
        (grounding(task=["x"]), "rows.jsonl:1: task: unknown task ['x']"),
        (grounding(qeury="x"), "rows.jsonl:1: qeury: unknown key. Did you mean 'query'?"),
        (grounding(query=None), "rows.jsonl:1: query: Input should be a valid string"),
        ({"id": "g", **GROUNDING}, "rows.jsonl:1: target: missing"),
        (grounding(target={"choice": "A"}), "rows.jsonl:1: target: has choice, but temporal_grounding needs"),
        (grounding(target={}), "rows.jsonl:1: target: "),
        (grounding(target={"span": [3, 2]}), "rows.jsonl:1: target: span: ends at 2.0 s, not after its start at 3.0 s"),
        (grounding(target={"span": [3, 10]}), "rows.jsonl:1: target: span ends at 10 s, outside the clip of 8 s"),
        (grounding(start_s=6.0, target={"span": [1, 4]}), "outside the clip of 2 s"),
        ({"id": "t", **TRACKING, "target": {"boxes": [BOX, [10, 20, 30, 40]]}}, "rows.jsonl:1: target: boxes"),
    ],
)
def test_a_problem_is_named_with_its_line(tmp_path: Path, row: dict[str, Any] | str, message: str) -> None:
    assert message in problems(tmp_path, row)


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"id": "a", "target": ' + nested(10_000) + "}", "rows.jsonl:1: nested too deeply"),
        ('{"id": "a", "task": ' + "[" * 940 + "]" * 940 + "}", "rows.jsonl:1: "),
        (grounding(task={"a": 1}), "rows.jsonl:1: task: unknown task {'a': 1}. Known: "),
        (grounding(task=[1]), "rows.jsonl:1: task: unknown task [1]. Known: "),
        (grounding(task="x" * 10**6), "rows.jsonl:1: task: unknown task 'xxxx"),
        (grounding("g" * 10**6, query=1), "rows.jsonl:1: query: Input should be a valid string"),
        (grounding(**{"k" * 10**7: 1}), "kkkk...: unknown key. Known: "),
        (grounding(target={"k" * 10**6: 1}), "rows.jsonl:1: target: has kkkk"),
        (grounding(video="v" * 5000), "vvvv...: File name too long"),
        (grounding(video="a\0.mp4"), "a\\x00.mp4': no file can have this name: embedded null byte"),
        (grounding(video="~nosuchuser/x.mp4"), "rows.jsonl:1: video: ~nosuchuser/x.mp4: no such user"),
        (grounding(video="/dev/zero"), "rows.jsonl:1: video: '/dev/zero': neither a file nor a folder"),
    ],
    ids=lambda value: None if isinstance(value, str) and len(value) < 100 else "row",
)
def test_a_hostile_row_is_a_short_problem_with_its_line(
    tmp_path: Path, row: dict[str, Any] | str, message: str
) -> None:
    reported = problems(tmp_path, row)
    assert message in reported
    assert len(reported) < 2000


def test_the_problems_of_one_row_are_counted_beyond_the_first(tmp_path: Path) -> None:
    reported = problems(tmp_path, grounding(**{f"key{i}": 1 for i in range(20_000)}), grounding(task="x"))
    assert "rows.jsonl:1: key4: unknown key. Known: " in reported
    assert "rows.jsonl:1: ... and 19995 more problems of this row" in reported
    assert "rows.jsonl:2: task: unknown task 'x'" in reported


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    """Opening the FIFO would wait for ever."""
    os.mkfifo(tmp_path / "fifo.mp4")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.mp4"))
        reported = problems(tmp_path, grounding("a", video="fifo.mp4"), grounding("b", video="s.mp4"))
    assert "rows.jsonl:1: video: 'fifo.mp4': neither a file nor a folder; correct the row or drop it" in reported
    assert "rows.jsonl:2: video: 's.mp4': neither a file nor a folder" in reported


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    reported = problems(tmp_path, grounding("a"), grounding("a"), "nonsense", grounding("b", target={"span": [3, 2]}))
    assert "rows.jsonl:2: id 'a' is taken by rows.jsonl:1." in reported
    assert "rows.jsonl:3: not JSON" in reported
    assert "rows.jsonl:4: target: span" in reported
    many = problems(tmp_path, *["nonsense"] * 25)
    assert many.count("not JSON") == 20
    assert many.endswith("... and 5 more")


def test_ids_name_rows_across_files(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.jsonl", grounding("a")) for name in "xy"]
    with pytest.raises(DataError, match=r"y\.jsonl:1: id 'a' is taken by .*x\.jsonl:1"):
        read_rows(files, None, list(TASKS))


def test_tasks_outside_the_recipe_are_refused(tmp_path: Path) -> None:
    assert "unknown task 'temporal_grounding'. Known: tracking." in problems(tmp_path, grounding(), tasks=("tracking",))


def test_files_without_rows(tmp_path: Path) -> None:
    assert problems(tmp_path) == "rows.jsonl: no rows"
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"(?s)gone\.jsonl: cannot be read: .*binary\.jsonl:1: not UTF-8"):
        read_rows([tmp_path / "gone.jsonl", tmp_path / "binary.jsonl"], None, list(TASKS))


def test_line_separators_inside_strings_do_not_split_rows(tmp_path: Path) -> None:
    row = json.dumps(grounding(query="one\u2028two"), ensure_ascii=False)
    (tmp_path / "rows.jsonl").write_text(row + "\r\n")
    (read,) = read_rows([tmp_path / "rows.jsonl"], None, list(TASKS))
    assert read.query == "one\u2028two"  # type: ignore[attr-defined]


def test_missing_files_are_counted_and_some_named(tmp_path: Path) -> None:
    write(
        tmp_path / "rows.jsonl", *[grounding(str(i), video=f"{i}.mp4") for i in range(9)], grounding("x", video="8.mp4")
    )
    (tmp_path / "0.mp4").write_text("")
    rows = read_rows([tmp_path / "rows.jsonl"], None, list(TASKS))
    reported = missing_files(rows)
    assert reported is not None
    assert reported.startswith("8 of 9 videos not found.")
    assert "1.mp4" in reported
    assert reported.endswith("... and 3 more")
    assert missing_files(rows[:1]) is None


def test_a_row_becomes_a_prompt(tmp_path: Path) -> None:
    row = read_rows([write(tmp_path / "r.jsonl", grounding(start_s=2.0, end_s=7.0))], None, list(TASKS))[0]
    recipe = Recipe.model_validate(
        {"model": "m", "tasks": {"temporal_grounding": {"think": False}}, "data": {"train": []}, "steps": 1}
    )
    prompt = to_prompt(row, recipe)
    assert prompt.text == TASKS["temporal_grounding"].prompt_text(row, think=False)
    assert prompt.target == SpanTarget(1.0, 2.5)
    assert prompt.media == Video(tmp_path / "a.mp4", recipe.video.sampling(), 2.0, 7.0, None)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [("sampled", (None, "even")), ("one_per_box", (3, "start_then_even")), ("seven", (7, "published_tracking"))],
)
def test_frames_of_a_tracking_clip_go_by_its_boxes(frames: str, expected: tuple[int | None, str]) -> None:
    tasks = {"tracking": {"frames": frames}, "temporal_grounding": {}}
    recipe = Recipe.model_validate({"model": "m", "tasks": tasks, "data": {"train": []}, "steps": 1})
    sampling = to_prompt(TASKS["tracking"].example, recipe).media.sampling
    assert (sampling.num_frames, sampling.pick) == expected
    assert (sampling.max_pixels, sampling.fps) == (recipe.video.max_pixels, recipe.video.fps)
    assert to_prompt(TASKS["temporal_grounding"].example, recipe).media.sampling == recipe.video.sampling()


@pytest.mark.parametrize(("query", "marks"), [("it moves", 0), ("<media> it moves", 2)])
def test_a_clip_is_shown_again_in_another_size(query: str, marks: int) -> None:
    row = TASKS["temporal_grounding"].example.model_copy(update={"query": query})
    video = {"max_frames": 8, "again": {"max_frames": 64, "min_pixels": 784, "max_pixels": 784}}
    keys = {"model": "m", "tasks": {"temporal_grounding": {}}, "data": {"train": []}, "steps": 1, "video": video}
    prompt = to_prompt(row, recipe := Recipe.model_validate(keys))
    first, second = prompt.media.parts
    assert (first.path, first.start_s, first.end_s) == (second.path, second.start_s, second.end_s)
    assert first.sampling == recipe.video.sampling()
    assert second.sampling == replace(first.sampling, max_frames=64, min_pixels=784, max_pixels=784)
    assert prompt.text.count("<media>") == marks


class FakeClips:
    def __init__(self, bad: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.bad = bad
        self.loaded: list[str] = []

    def fingerprinted(self, video: Video) -> Video:
        return video

    def load(self, video: Video) -> Frames:
        self.loaded.append(video.path.name)
        if video.path.name in self.bad:
            raise ClipError(f"{video.path}: damaged")
        return Frames(np.zeros((2, 28, 28, 3), np.uint8), (0.0, 0.5), (0, 1), 2.0, 2, 1.0, "")


def prompts(n: int) -> list[Prompt]:
    sampling = VideoSampling(2.0, 4, 8, 3136, 3136, 10**6)
    return [
        Prompt(f"p{i}", "temporal_grounding", "", Video(Path(f"v{i}"), sampling), SpanTarget(0, 1)) for i in range(n)
    ]


def ids(taken: tuple[Prompt, ...]) -> list[str]:
    return [prompt.prompt_id for prompt in taken]


def test_each_time_around_is_a_new_shuffle_of_all() -> None:
    order = PromptOrder(prompts(10), 3, FakeClips(), 0.0)
    first, second = ids(order.take(10)), ids(order.take(10))
    assert set(first) == set(second) == {f"p{i}" for i in range(10)}
    assert first != second
    assert ids(PromptOrder(prompts(10), 3, FakeClips(), 0.0).take(10)) == first
    assert ids(PromptOrder(prompts(10), 4, FakeClips(), 0.0).take(10)) != first


def test_prompts_about_one_clip_follow_each_other() -> None:
    about = [replace(one, media=replace(one.media, path=Path(f"v{i % 3}"))) for i, one in enumerate(prompts(12))]
    order = PromptOrder(about, 3, FakeClips(), 0.0, by_clip=True)
    first, second = order.take(12), order.take(12)
    assert set(ids(first)) == set(ids(second)) == {f"p{i}" for i in range(12)}
    assert ids(first) != ids(second)
    files = [prompt.media.path.name for prompt in first]
    assert [files[0], files[4], files[8]] == [files[3], files[7], files[11]]
    assert len(set(files[::4])) == 3


@pytest.mark.parametrize("bad", [set(), {"v3", "v7"}])
@pytest.mark.parametrize("at", [1, 6, 13])
def test_a_position_continues_the_order(bad: set[str], at: int) -> None:
    order = PromptOrder(prompts(10), 3, FakeClips(bad), 0.5)
    order.take(at)
    resumed = PromptOrder(prompts(10), 3, FakeClips(bad), 0.5)
    resumed.position = order.position
    assert ids(resumed.take(25)) == ids(order.take(25))


def test_bad_clips_are_left_out_named_and_tried_once() -> None:
    clips = FakeClips({"v3", "v7"})
    order = PromptOrder(prompts(10), 3, clips, 0.2)
    taken = ids(order.take(24))
    assert "p3" not in taken
    assert "p7" not in taken
    assert sorted(taken) == sorted(3 * [f"p{i}" for i in range(10) if i not in (3, 7)])
    assert order.bad == {"p3": "v3: damaged", "p7": "v7: damaged"}
    assert order.counters() == {"data/bad_clips": 2, "data/solved_rows": 0, "data/storage_waits": 0}
    assert clips.loaded.count("v3") == 1


@pytest.mark.parametrize(("outage", "waits", "bad"), [(2, 2, {}), (25, 24, {"p1": "v1: no answer"})])
def test_storage_that_does_not_answer_is_waited_for(outage: int, waits: int, bad: dict[str, str]) -> None:
    class SilentClips(FakeClips):
        def fingerprinted(self, video: Video) -> Video:
            nonlocal outage
            if video.path.name == "v1" and outage > 0:
                outage -= 1
                raise StorageError(f"{video.path}: no answer")
            return video

    slept: list[float] = []
    order = PromptOrder(prompts(3), 3, SilentClips(), 0.5, sleep=slept.append)
    assert set(ids(order.take(3))) == {"p0", "p1", "p2"} - bad.keys()
    assert slept == waits * [5.0]
    assert order.counters()["data/storage_waits"] == waits
    assert order.bad == bad


def test_too_many_bad_clips_stop_the_run_with_the_list() -> None:
    order = PromptOrder(prompts(10), 3, FakeClips({"v3", "v7"}), 0.1)
    with pytest.raises(DataError, match=r"(?s)2 of 10 rows .*max_bad_share 0\.1.*p[37]: v[37]: damaged") as caught:
        order.take(10)
    assert "p3: v3" in str(caught.value)
    assert "p7: v7" in str(caught.value)


def test_nothing_but_bad_clips_ends_as_well() -> None:
    with pytest.raises(DataError, match="3 of 3 rows"):
        PromptOrder(prompts(3), 3, FakeClips({"v0", "v1", "v2"}), 1.0).take(1)
    with pytest.raises(DataError, match="no prompts"):
        PromptOrder([], 3, FakeClips(), 1.0)


def test_the_next_clips_are_prefetched_up_to_the_end_of_the_round() -> None:
    prefetched: list[list[str]] = []
    order = PromptOrder(prompts(5), 3, FakeClips(), 0.0, lambda clips: prefetched.append([c.path.name for c in clips]))
    taken = [[prompt.media.path.name for prompt in order.take(2)] for _ in range(3)]
    assert prefetched[0] == taken[1]
    assert prefetched[1] == taken[2][:1]
    assert len(prefetched[2]) == 2


def test_solved_rows_are_passed_over_from_then_on() -> None:
    order = PromptOrder(prompts(6), 3, FakeClips(), 0.0)
    first = ids(order.take(4))
    order.drop(first[:2])
    rest = ids(order.take(2))
    assert {*first, *rest} == {f"p{i}" for i in range(6)}
    left = {f"p{i}" for i in range(6)} - set(first[:2])
    assert [set(ids(order.take(4))) for _ in range(3)] == [left] * 3
    assert order.counters()["data/solved_rows"] == 2


def test_rows_solved_later_change_nothing_of_positions_before() -> None:
    """Groups sampled ahead are taken again after a resume, with all that was solved since."""
    order = PromptOrder(prompts(6), 3, FakeClips(), 0.0)
    order.take(4)
    position = order.position
    taken = ids(order.take(4))
    order.drop(taken)
    resumed = PromptOrder(prompts(6), 3, FakeClips(), 0.0)
    resumed.position, resumed.solved = position, dict(order.solved)
    assert ids(resumed.take(4)) == taken
    assert ids(resumed.take(9)) == ids(order.take(9))


def test_solved_rows_are_drawn_again_where_too_few_are_left() -> None:
    order = PromptOrder(prompts(5), 3, FakeClips({"v0"}), 0.5, fewest=2)
    taken = ids(order.take(4))
    order.drop(taken[:2])
    assert set(ids(order.take(4))) == set(taken[2:])
    order.drop(taken[2:3])
    assert set(ids(order.take(8))) == set(taken)

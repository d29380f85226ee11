"""The page about a run: self-contained, escaped, of bounded size, and made from whatever is there."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from page_runs import ATTACK, BOXES, CLIP, CLIP_S, RECIPE, group, write_run

from rewards.targets import target_from_json
from rewards.targets.boxes import BoxesTarget
from rewards.targets.choice import ChoiceTarget
from rewards.types import Target
from rft.commands.report import chosen, clips
from rft.commands.report.chosen import NUM_BARS, NUM_STRETCHES, GroupFacts, histogram
from rft.commands.report.groups import answered, faults, group_form
from rft.commands.report.learned import all_figures, blind, grids
from rft.commands.report.page import CHARTS, RUNS
from rft.commands.report.report import report, run_data
from rft.data.video import clip_key
from rft.errors import CheckpointError
from rft.files import read_records, write_records
from rft.runs.rollout_files import write_rollouts
from rft.runs.run_dir import RunDir
from rft.types import Image, Several, Video


class Page(HTMLParser):
    """The tags of a page with their attributes, and the text in its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data

    @property
    def data(self) -> dict[str, Any]:
        """The run in the page's JSON."""
        return dict(json.loads(self.scripts[0])["runs"][0])


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    write_run(run)
    return run


def test_what_the_page_holds(run: RunDir) -> None:
    path = report(run)
    assert path == run.path / "report.html"
    data = Page(path.read_text()).data
    assert (data["name"], data["verdict"], data["step"], data["num_steps"]) == ("run", "Greedy answers improved.", 3, 3)
    (learned,) = data["learned"]
    assert learned["blind"] == {"name": "first_half", "estimate": [0.2, 0.2, 0.2]}
    assert learned["modes"]["greedy"] == {
        "before": [0.5, 0.4, 0.6],
        "after": [0.625, 0.525, 0.725],
        "change": [0.125, 0.1, 0.15],
    }
    assert learned["modes"]["sampled"]["change"] is None
    assert data["rewards"] == {"temporal_grounding": [[1, 0.1], [2, 0.2], [3, 0.3]]}
    assert [chart["title"] for chart in data["health"]] == ["Entropy of the policy"]
    assert {"title": "loss", "lines": {"all": [[1, None], [2, None], [3, None]]}} in data["charts"]
    assert data["timeline"]["steps"] == {"3": [["rollout", "rollout", 0.0, 2.0]]}
    assert data["files"]["recipe"].startswith("model: tiny")


def test_a_group_holds_its_target_its_answers_and_its_frames(run: RunDir) -> None:
    data = Page(report(run).read_text()).data
    groups = {group["id"]: group for group in data["rollouts"]["groups"]}
    span, boxes, lost = groups["span3"], groups["boxes3"], groups["choice3"]
    assert span["spans"] == [[2.0, 6.0]]
    assert span["rollouts"][0]["spans"] == [[4.0, 8.0]]
    assert [rollout["advantage"] for rollout in span["rollouts"]] == [-1.5, None, None, None]
    assert boxes["boxes"] == [list(box) for box in BOXES.boxes]
    assert boxes["rollouts"][0]["boxes"] == [[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
    frames = data["clips"][span["clips"][0]]
    assert (frames["times"], frames["duration_s"], frames["ratio"]) == ([0, 1, 2, 3, 4, 5, 6, 7], CLIP_S, 2.0)
    assert all(image.startswith("data:image/jpeg;base64,/9j/") for image in frames["images"])
    assert data["clips"][lost["clips"][0]] == {"missing": "its decoded frames are not in the folder of clips any more"}


def test_nothing_a_policy_wrote_becomes_markup(run: RunDir) -> None:
    page = Page(report(run).read_text())
    assert ATTACK in page.data["rollouts"]["groups"][0]["prompt"]
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "img" not in dict(page.tags)


def test_the_page_asks_nobody_for_anything(run: RunDir) -> None:
    text = report(run).read_text()
    page = Page(text)
    assert not [attributes for _, attributes in page.tags if {"src", "href"} & set(attributes)]
    assert "url(" not in text
    (policy,) = (a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'none'; script")


def test_scripts_never_write_markup() -> None:
    folder = Path(chosen.__file__).parent / "templates"
    for name in CHARTS + RUNS:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", (folder / name).read_text()
        )


def test_page_of_a_run_that_has_just_begun(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("steps: 3")
    data = Page(report(tmp_path).read_text()).data
    assert (data["step"], data["is_done"], data["learned"], data["rollouts"]["groups"]) == (0, False, [], [])


def test_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run here"):
        report(tmp_path)


def test_a_run_whose_clips_are_gone_says_so(run: RunDir) -> None:
    for path in run.clips.iterdir():
        path.unlink()
    run.clips.rmdir()
    groups = run_data(run)["rollouts"]["groups"]
    assert all("folder of decoded clips" in group["clips"][0]["missing"] for group in groups)


def test_a_long_run_makes_a_page_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "MAX_BYTES", 40_000)
    monkeypatch.setattr(clips, "MAX_BYTES", 1)
    run = RunDir(tmp_path / "run")
    write_run(run, 60)
    page = report(run).read_text()
    data = Page(page).data["rollouts"]
    assert (data["num_groups"], data["num_rollouts"], data["num_steps"]) == (180, 720, 60)
    assert 0 < len(data["groups"]) < NUM_STRETCHES
    assert len(json.dumps(data["groups"])) < 40_000
    # What is shown first goes to the end of the run.
    assert data["groups"][-1]["step"] == 60
    assert sum("images" in clip for clip in Page(page).data["clips"].values()) == 1


def test_which_groups_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = [
        GroupFacts(1, 0, "a", (1.0, 1.0), 0),
        GroupFacts(1, 1, "a", (0.0, 1.0), 2),
        GroupFacts(1, 2, "a", (0.25, 0.25), 1),
        GroupFacts(1, 3, "a", (0.5, 0.75), 0),
        GroupFacts(1, 4, "b", (0.5, 0.5), 0),
    ]
    assert chosen.chosen(facts)[1, 3] == []
    monkeypatch.setattr(chosen, "NUM_WHOLE", 4)
    assert chosen.chosen(facts) == {
        (1, 1): ["most spread", "fault"],
        (1, 0): ["best"],
        (1, 4): ["best", "worst"],
        (1, 2): ["worst"],
    }


def test_groups_are_shown_from_the_first_step_to_the_last() -> None:
    steps = {step for step, _ in chosen.chosen(GroupFacts(step, 0, "a", (0.5,), 0) for step in range(1, 1001))}
    assert len(steps) == NUM_STRETCHES
    assert min(steps) < 50
    assert max(steps) == 1000


def test_histogram_counts_every_rollout() -> None:
    facts = [GroupFacts(step, 0, "a", (0.0, 1.0, 2.0), 0) for step in (1, 2)]
    counted = histogram(facts)
    assert (counted["low"], counted["high"], counted["steps"]) == (0.0, 2.0, [1, 2])
    first = [0] * NUM_BARS
    first[0] = first[NUM_BARS // 2] = first[-1] = 1
    assert counted["tasks"] == {"a": [first, first]}


@pytest.mark.parametrize(
    ("target", "completion", "spans", "boxes"),
    [
        ({"span": [1.0, 2.0]}, "<answer>3.5 to 4</answer>", ((3.5, 4.0),), ()),
        ({"span": [1.0, 2.0]}, "<answer>4 to 3.5</answer>", ((4.0, 3.5),), ()),
        ({"span": [1.0, 2.0]}, "3.5 to 4", (), ()),
        (
            {"choice": "B", "spans": [[1.0, 2.0]]},
            "<answer>B</answer><glue>[(1, 2), (4, 5)]</glue>",
            ((1, 2), (4, 5)),
            (),
        ),
        ({"choice": "B"}, "<answer>1 to 2</answer>", (), ()),
        (
            {"boxes": [[0.1, 0.1, 0.2, 0.2], [0.1, 0.1, 0.2, 0.2]]},
            "<answer>[[0, 0, 1, 1]]</answer>",
            (),
            ((0, 0, 1, 1),),
        ),
        ({"boxes": [[0.1, 0.1, 0.2, 0.2], [0.1, 0.1, 0.2, 0.2]]}, "<answer>?</answer>", (), ()),
    ],
)
def test_spans_and_boxes_of_an_answer(
    target: dict[str, object], completion: str, spans: tuple[object, ...], boxes: tuple[object, ...]
) -> None:
    read: Target = target_from_json(target)
    assert answered(completion, read) == (spans, boxes)


def test_faults_of_a_completion() -> None:
    scores = {"a": {"fault": "no_tag"}, "b": {"fault": None}, "c": {"fault": "no_tag"}}
    assert faults({"scores": scores, "finish_reason": "length"}) == ["no_tag", "truncated"]
    assert faults({"scores": {}, "finish_reason": "error"}) == ["failed"]
    assert faults({"scores": {"a": {"fault": None}}, "finish_reason": "stop"}) == []


def test_a_target_of_an_unknown_kind_is_shown_as_text(run: RunDir) -> None:
    path = run.rollouts_file(4)
    write_rollouts(path, 4, [group("p", "tracking", CLIP, ChoiceTarget("B"), "<answer>B</answer>", 4)])
    write_records(path, [record | {"target": {"own": 1}} for record in read_records(path)])
    (shown,) = (group for group in run_data(run)["rollouts"]["groups"] if group["step"] == 4)
    assert (shown["target"], shown["written"], shown["spans"]) == ({"own": 1}, "", [])
    assert all((rollout["spans"], rollout["boxes"]) == ([], []) for rollout in shown["rollouts"])


def test_the_best_baseline_is_the_blind_one() -> None:
    summary = {
        "baselines": {"t": {"a": {"mIoU": 0.1}, "b": {"mIoU": 0.3}, "c": {"other": 0.9}}},
        "baseline_intervals": {"t": {"b": {"mIoU": [0.2, 0.4]}}},
    }
    assert blind(summary, "t", "mIoU") == {"name": "b", "estimate": [0.3, 0.2, 0.4]}
    assert blind(summary, "u", "mIoU") is None


def test_parts_that_cross_two_others_are_a_grid() -> None:
    parts = {"1,000 frames": 0.5, "200 frames": 1.0, "depth 0.50": 0.75, "depth 0.00": 0.5, "5 hops": 0.25}
    cells = {"1,000 frames, depth 0.50": 0.5, "200 frames, depth 0.50": 1.0, "200 frames, depth 0.00": 0.75}
    crossed = {"subsets": {"greedy": parts | cells | {"several hops, 200 frames": 0.25}}}
    summary = {"eval": {"base": {"needle": {}}, "final": {"needle": crossed, "quality": {"greedy": {}}}}}
    assert grids(summary) == [
        {
            "name": "needle",
            "mode": "greedy",
            "rows": ["200 frames", "1,000 frames"],
            "columns": ["depth 0.00", "depth 0.50"],
            "values": [[0.75, 1.0], [None, 0.5]],
        }
    ]
    assert grids({}) == []


def test_figures_show_both_parsers_and_published_figures() -> None:
    figures = {"greedy": {"accuracy": 0.5}, "intervals": {"greedy": {"accuracy": [0.25, 0.75]}}}
    of_set = {"task": "quality", "dataset": "vidtab_quality/test", "rows": 724, **figures, "strict": figures}
    (shown,) = all_figures({"eval": {"final": {"vidtab_quality/test": of_set}}})
    assert shown["metrics"] == ["accuracy"]
    for line in (
        ["final, greedy", "0.500 [0.250, 0.750]"],
        ["final, greedy, strict", "0.500 [0.250, 0.750]"],
        ["GRPO, 100 shots (table 7)", "0.726"],
    ):
        assert line in shown["rows"]
    (other,) = all_figures({"eval": {"final": {"vidtab_quality/test": of_set | {"rows": 100}}}})
    assert [row[0] for row in other["rows"]] == ["final, greedy", "final, greedy, strict"]


@pytest.mark.parametrize(
    ("media", "task", "num_boxes"),
    [
        (CLIP, "temporal_grounding", 0),
        (replace(CLIP, sampling=replace(CLIP.sampling, num_frames=2, pick="start_then_even")), "tracking", 2),
        (replace(CLIP, source_fps=5.0, end_s=9.0), "multiple_choice", 0),
        (Image(Path("i.png"), 784, 784, content="cc"), "multiple_choice", 0),
    ],
)
def test_a_clip_is_found_under_the_key_that_it_was_decoded_with(
    run: RunDir, media: Video | Image, task: str, num_boxes: int
) -> None:
    run.recipe.write_text(RECIPE.replace("tracking: {}", "tracking: {frames: one_per_box}"))
    target = BoxesTarget(((0.1, 0.1, 0.2, 0.2),) * num_boxes) if num_boxes else ChoiceTarget("B")
    write_rollouts(run.rollouts_file(9), 9, [group("p", task, media, target, "", 9)])
    shown, form = clips.run_clips(run), group_form(list(read_records(run.rollouts_file(9))))
    assert isinstance(shown, clips.Clips)
    assert shown.key(form, form["media"][0]) == clip_key(media)


def test_a_clip_is_shown_as_its_row_asks(run: RunDir) -> None:
    asked = group("p", "multiple_choice", replace(CLIP, view="reversed"), ChoiceTarget("B"), "", 9)
    asked = replace(asked, prompt=replace(asked.prompt, row={"view": "reversed"}))
    write_rollouts(run.rollouts_file(9), 9, [asked])
    shown, form = clips.run_clips(run), group_form(list(read_records(run.rollouts_file(9))))
    assert isinstance(shown, clips.Clips)
    key = shown.key(form, form["media"][0])
    as_filmed = shown.frames(clip_key(CLIP))["images"]
    assert shown.frames(key)["images"] == as_filmed[::-1] != as_filmed
    assert shown.frames(f"{clip_key(CLIP)}-sideways") == {"missing": "no such clip"}


def test_several_clips_of_a_prompt_are_found_one_by_one(run: RunDir) -> None:
    media = Several((replace(CLIP, end_s=9.0), Image(Path("i.png"), 784, 784, content="cc"), CLIP))
    clip = {"video": str(CLIP.path), "start_s": 1.0}
    row = {"media": [{**clip, "end_s": 9.0}, {"image": "i.png"}, clip]}
    asked = group("p", "multiple_choice", media, ChoiceTarget("B"), "", 9)
    write_rollouts(run.rollouts_file(9), 9, [replace(asked, prompt=replace(asked.prompt, row=row))])
    shown, form = clips.run_clips(run), group_form(list(read_records(run.rollouts_file(9))))
    assert isinstance(shown, clips.Clips)
    assert [shown.key(form, one) for one in form["media"]] == [clip_key(part) for part in media.parts]

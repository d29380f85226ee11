"""The page about a run: complete, escaped, and made from whatever is there."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rewards.targets.span import SpanTarget
from rewards.types import Score
from rft.commands.report.drawings import MAX_POINTS, Frame, svg_chart, svg_timeline, thin
from rft.commands.report.report import chart_of, evaluation, report
from rft.errors import CheckpointError
from rft.runs.rollout_files import write_rollouts
from rft.runs.run_dir import RunDir
from rft.runs.timeline import Event
from rft.types import Completion, Group, Prompt, Rollout, TrainGroup, Video, VideoSampling

VIDEO = Video(Path("clip<1>.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840), start_s=1.0)
ATTACK = "</pre><script>alert(1)</script>&amp;<img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "path", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "rect"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write_run(run: RunDir, num_steps: int) -> None:
    run.path.mkdir(exist_ok=True)
    run.recipe.write_text("model: tiny <b>\nsteps: 3\n")
    lines = []
    for step in range(1, num_steps + 1):
        prompt = Prompt(f"p{step}", "temporal_grounding", "When? " + ATTACK, VIDEO, SpanTarget(1.5, 3.0))
        rollouts = []
        for i in range(4):
            completion = Completion(f"text {step}.{i} {ATTACK}", (1, 2), (0.0, 0.0), 5, "stop", step)
            reward = (step * 4 + i) / 100
            rollouts.append(Rollout(completion, {"temporal_iou": Score(reward, ATTACK, f"IoU {reward}")}, reward))
        learned = [TrainGroup(prompt, (rollouts[0].completion,), (-1.5,))]
        write_rollouts(run.rollouts_file(step), step, [Group(prompt, tuple(rollouts))], learned)
        values = {"reward": step / 10, "reward/temporal_grounding": step / 10, "loss": None, ATTACK: 1.0}
        lines.append(json.dumps({"stage": "train", "step": step, "time": 0.0, **values}))
    lines.append(json.dumps({"stage": "cold_start", "step": 1, "time": 0.0, "loss": 2.5}))
    run.metrics.write_text("\n".join(lines) + "\n")
    result = {
        "rows": 40,
        "greedy": {"mIoU": 0.5},
        "sampled": {"mIoU": 0.25},
        "intervals": {"greedy": {"mIoU": [0.4, 0.6]}},
    }
    change = {"sampled": {"mIoU": {"change": 0.125, "low": 0.1, "high": 0.15}}}
    summary = {
        "eval": {"cold_start": {"temporal_grounding": result}, "final": {"temporal_grounding": result}},
        "baselines": {"temporal_grounding": {"whole_video": {"mIoU": 0.125}}},
        "change": {"temporal_grounding": change},
        "seconds": {"rollout": 12.34},
        "verdict": {"text": "Only sampled answers improved."},
    }
    run.summary.write_text(json.dumps(summary))


def test_page_of_a_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    write_run(run, 3)
    path = report(run)
    assert path == tmp_path / "run" / "report.html"
    page = Tags(path.read_text())
    assert page.open == []
    for part in (
        "tiny <b>",
        "baseline: whole_video",
        "temporal_grounding, 40 rows",
        "0.500 [0.400, 0.600]",
        "+0.125",
        "rollout12.3",
        "Best 6",
        "reward 0.150, not learned from, step 3, p3",
        "reward 0.040, advantage -1.50, step 1, p1",
        "text 3.3 " + ATTACK,
        '{"span": [1.5, 3.0]}',
        "IoU 0.15",
        "clip<1>.mp4 from 1.0 s to its end",
        "cold start: loss",
    ):
        assert part in page.text
    # The learning curve; reward, cold start loss, the oddly named one; the loss is not finite.
    assert page.tags.count("svg") == 4
    assert page.text.index("Only sampled answers") < page.text.index("Training reward") < page.text.index("Evaluation")


def test_nothing_a_policy_wrote_becomes_markup(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    write_run(run, 3)
    tags = Tags(report(run).read_text()).tags
    assert not {"script", "img"} & set(tags)


def test_page_of_a_long_run_looks_at_steps_from_first_to_last(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    write_run(run, 60)
    text = Tags(report(run.path).read_text()).text
    assert "64 rollouts of 16 of 60 steps" in text
    assert "step 60, p60" in text
    assert "step 1, p1" in text


def test_page_of_a_run_that_has_just_begun(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("steps: 3")
    page = Tags(report(tmp_path).read_text())
    assert "steps: 3" in page.text
    assert "Rollouts" not in page.text


def test_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run here"):
        report(tmp_path)


def test_report_needs_no_torch() -> None:
    program = "import sys, rft.commands.report.report; print({'torch', 'ray', 'vllm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("name", "chart"),
    [
        ("reward", ("reward", "all")),
        ("reward/tracking", ("reward", "tracking")),
        ("eval/tracking", ("held-out main metric", "tracking")),
        ("eval/tracking/greedy/R@0.5", ("tracking, greedy, held out", "R@0.5")),
        ("score/tracking/mean_box_iou", ("scores, tracking", "mean_box_iou")),
        ("fault/tracking/no_tag", ("completions at fault, tracking", "no_tag")),
        ("seconds/rollout", ("seconds", "rollout")),
    ],
)
def test_chart_of(name: str, chart: tuple[str, str]) -> None:
    assert chart_of(name) == chart


def test_curve_breaks_where_a_value_is_not_finite() -> None:
    frame = Frame(0, 4, 0.0, 1.0)
    path = frame.path([(0, 0.0), (1, 1.0), (2, float("nan")), (3, 0.5), (4, 0.5)])
    assert path.count("M") == 2
    assert path.count("L") == 2
    assert "nan" not in path


def test_curve_goes_up_with_its_values() -> None:
    frame = Frame(0, 10, 0.0, 1.0)
    assert frame.y(1.0) < frame.y(0.0)
    assert frame.x(10) > frame.x(0)


@pytest.mark.parametrize("points", [[(1, 0.5)], [(1, 0.0), (2, 0.0)], [(1, float("inf"))], []])
def test_chart_of_few_points_is_well_formed(points: list[tuple[float, float]]) -> None:
    figure = ElementTree.fromstring(svg_chart("a < b", {"line": points}))
    assert figure.findtext("figcaption/b") == "a < b"


def test_long_curves_are_averaged() -> None:
    points = [(float(i), float(i % 2)) for i in range(MAX_POINTS * 10)]
    thinned = thin(points)
    assert len(thinned) == MAX_POINTS
    assert all(value == 0.5 for _, value in thinned)


def test_evaluation_shows_both_parsers_and_published_figures() -> None:
    figures = {"greedy": {"accuracy": 0.5}, "intervals": {"greedy": {"accuracy": [0.25, 0.75]}}}
    of_set = {"task": "quality", "dataset": "vidtab_quality/test", "rows": 724, **figures, "strict": figures}
    (shown,) = evaluation({"eval": {"final": {"vidtab_quality/test": of_set}}})
    assert shown["metrics"] == ["accuracy"]
    for line in (
        ["final, greedy", "0.500 [0.250, 0.750]"],
        ["final, greedy, strict", "0.500 [0.250, 0.750]"],
        ["GRPO, 100 shots (table 7)", "0.726"],
    ):
        assert line in shown["rows"]
    (other,) = evaluation({"eval": {"final": {"vidtab_quality/test": of_set | {"rows": 100}}}})
    assert [row[0] for row in other["rows"]] == ["final, greedy", "final, greedy, strict"]


def test_the_picture_shows_the_last_steps_in_their_lanes() -> None:
    events = [
        Event(step, lane, lane, step + 0.0, step + 0.5) for step in range(1, 6) for lane in ("rollout", "learner")
    ]
    picture = svg_timeline(events, num_steps=2)
    assert picture.count("<rect") == 4
    assert "step 3" not in picture
    assert "step 5, learner: 0.500 s" in picture
    assert svg_timeline([]) == ""

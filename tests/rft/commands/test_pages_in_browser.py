"""The pages in a real browser: drawn, filtered, things in their places, no error, readable on a telephone.

Needs Chromium (`apt-get install chromium`) and skips without it.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_runs import ATTACK, BOXES, CLIP_S, LETTER, write_run, write_step
from page_server import served

from rft.commands.report.page import charts_page
from rft.commands.report.report import report
from rft.runs.run_dir import RunDir
from rft.tables import LineChart

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make env")
SHADE = "node => getComputedStyle(node).backgroundColor.match(/[0-9.]+/g).map(Number)"
"""Red, green, blue and opacity behind an element."""

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as driver, driver.chromium.launch(executable_path=CHROMIUM) as chromium:
        yield chromium


@pytest.fixture(scope="module")
def page_of_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = RunDir(tmp_path_factory.mktemp("runs") / "a run")
    write_run(run)
    return report(run).as_uri()


@pytest.fixture(scope="module", params=(1200, 400))
def page(request: pytest.FixtureRequest, browser: Any, page_of_run: str) -> Iterator[Any]:
    """The page of a run at two widths; whatever the browser complained of fails the last of its tests."""
    with opened(browser, page_of_run, request.param) as page:
        yield page


class opened:
    """A page of the browser that must neither complain nor ask whether something is all right."""

    def __init__(self, browser: Any, address: str, width: int = 1200) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.goto(address)

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *_: object) -> None:
        self.page.close()
        assert self.complaints == []


def edges(locator: Any) -> tuple[float, float]:
    """Left and right edge of an element, in pixels."""
    box = locator.bounding_box()
    return box["x"], box["x"] + box["width"]


def choose(page: Any, task: str) -> None:
    page.locator(f"[data-filter='task:{task}']").click()
    sync_api.expect(page.locator("#group h3")).to_contain_text(task.replace("_", " "))


def test_the_page_opens_with_what_its_reader_wants(page: Any) -> None:
    assert page.locator("h1").inner_text() == "a run"
    assert "Greedy answers improved." in page.locator("header").inner_text()
    titles = page.locator("h2").all_inner_texts()
    assert titles[:4] == ["Did it learn?", "Is it healthy?", "What does it do?", "Where did the time go?"]
    greedy = page.locator("#learned tr", has_text="greedy").inner_text()
    assert re.findall(r"[+-]?\d\.\d{3}", greedy)[:7] == ["0.500", "0.400", "0.600", "0.625", "0.525", "0.725", "+0.125"]


def test_alarms_are_told(page: Any) -> None:
    assert page.locator(".alarm").inner_text().split("\n") == [
        "truncation (tracking) at step 2: 0.75, threshold 0.5",
        "the longest completions",
    ]
    assert "1 alarm" in page.locator("header").inner_text()
    # Of steps 1 to 3, the alarm at step 2 stands in the middle of each chart.
    axis, alarm = page.locator("#health svg").first.locator("line").first, page.locator("#health svg .alarmed").first
    assert alarm.get_attribute("x1") == str(
        sum(float(axis.get_attribute(key)) for key in ("x1", "x2")) / 2
    ).removesuffix(".0")


def test_nothing_hangs_out_at_the_side(page: Any) -> None:
    for task in ("temporal_grounding", "tracking", "multiple_choice"):
        choose(page, task)
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_spans_stand_at_their_times(page: Any) -> None:
    choose(page, "temporal_grounding")
    tracks = page.locator("#group .track")
    start, end = edges(tracks.first)
    assert end - start > 200

    def at(time_s: float) -> float:
        return start + (end - start) * time_s / CLIP_S

    assert edges(page.locator("#group .span.true")) == pytest.approx((at(2), at(6)), abs=1)
    assert edges(page.locator("#group .span.guess").first) == pytest.approx((at(4), at(8)), abs=1)
    assert edges(page.locator("#group .veil")) == pytest.approx((at(2), at(6)), abs=1)
    frames = page.locator("#group .strip img")
    assert 2 <= frames.count() <= 8
    assert edges(frames.first)[0] == pytest.approx(at(0), abs=1)
    assert edges(frames.last)[1] == pytest.approx(at(8), abs=1)
    # A real picture: the test's frames get lighter with time.
    assert frames.last.evaluate("image => image.naturalWidth") == 64


def test_boxes_stand_in_their_places(page: Any) -> None:
    choose(page, "tracking")
    frames = page.locator("#group .frame")
    assert frames.count() == len(BOXES.boxes)
    picture, (true, answer) = frames.nth(1).locator("img").bounding_box(), frames.nth(1).locator("rect").all()
    for rect, (x0, y0, x1, y1) in ((true, BOXES.boxes[1]), (answer, (0.5, 0.5, 1.0, 1.0))):
        # Without its stroke, which is drawn over the edges.
        drawn = rect.evaluate("r => { const b = r.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom] }")
        x, y, width, height = (picture[key] for key in ("x", "y", "width", "height"))
        assert drawn == pytest.approx([x + x0 * width, y + y0 * height, x + x1 * width, y + y1 * height], abs=3)


def test_a_clip_that_is_gone_is_said_to_be(page: Any) -> None:
    choose(page, "multiple_choice")
    assert (
        "No frames: its decoded frames are not in the folder of clips" in page.locator("#group .missing").inner_text()
    )
    assert page.locator("#group img, #group .axis").count() == 0


def test_filters(browser: Any, page_of_run: str) -> None:
    with opened(browser, page_of_run) as page:
        items, said = page.locator(".item"), page.locator("#rollouts > div > p")
        sync_api.expect(items).to_have_count(9)
        page.locator("[data-filter='task:tracking']").click()
        sync_api.expect(items).to_have_count(3)
        page.get_by_label("step", exact=True).fill("2")
        page.get_by_label("step", exact=True).dispatch_event("change")
        sync_api.expect(items).to_have_count(1)
        sync_api.expect(page.locator("#group h3")).to_have_text("Step 2, tracking")
        page.locator("[data-filter='task:']").click()
        sync_api.expect(items).to_have_count(3)
        # A step whose groups the filters leave out is no step of the slider: the page goes back to all.
        page.get_by_label("from").fill("0.775")
        page.get_by_label("from").dispatch_event("change")
        sync_api.expect(items).to_have_count(3)
        sync_api.expect(page.get_by_label("step", exact=True)).to_have_value("0")
        page.get_by_label("from").fill("0.79")
        page.get_by_label("from").dispatch_event("change")
        sync_api.expect(items).to_have_count(0)
        assert "No group of those shown here is like this." in page.locator(".list").inner_text()
        page.get_by_label("from").fill("")
        page.get_by_label("from").dispatch_event("change")
        page.get_by_label("fault").select_option("truncated")
        sync_api.expect(said).to_contain_text("9 groups match")


def test_what_a_policy_wrote_is_shown_as_text(browser: Any, page_of_run: str) -> None:
    with opened(browser, page_of_run) as page:
        choose(page, "temporal_grounding")
        assert ATTACK in page.locator("#group .text").first.inner_text()
        assert page.locator("#group script").count() == 0
        page.locator("#group .answer").nth(2).click()
        sync_api.expect(page.locator("#group .answer").nth(2)).to_have_class("answer chosen")
        for summary in page.locator("summary").all():
            summary.click()
        assert page.locator("pre").first.inner_text().startswith("model: tiny")
        assert page.locator("#health figure").count() > 3


def test_tokens_are_shaded_by_their_ratio(page: Any) -> None:
    choose(page, "temporal_grounding")
    tokens = page.locator("#group .text .token")
    assert tokens.all_inner_texts() == [f"{LETTER} text", "alert", ">", "4"]
    assert [token.get_attribute("title").split()[0] for token in tokens.all()] == ["0.5", "1.03", "3", "3"]
    shades = [token.evaluate(SHADE) for token in tokens.all()]
    assert [red > blue for red, _, blue, _ in shades] == [True, False, False, False]
    assert shades[1][3] < shades[0][3] == shades[2][3]  # 1.03 is fainter than 0.5 and 3
    assert "Tokens of which the learner" in page.locator("#group").inner_text()
    choose(page, "tracking")
    assert tokens.count() == 0
    assert "single tokens are not compared" in page.locator("#group").inner_text()


def test_a_page_of_charts_alone(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "charts.html"
    path.write_text(charts_page("Cost", [LineChart("a < b", {"x": [(1, 0.5), (2, float("nan"))], "y": [(2, 0.25)]})]))
    with opened(browser, path.as_uri()) as page:
        assert page.locator("h1").inner_text() == "Cost"
        assert page.locator("figure b").all_inner_texts() == ["a < b"]
        page.locator("figure svg").hover()
        assert "x 0.5" in page.locator(".tip").inner_text()


def test_the_page_follows_a_run_that_goes_on(browser: Any, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "live")
    write_run(run, 1)
    with served([run]) as address, opened(browser, address) as page:
        choose(page, "tracking")
        sync_api.expect(page.locator("#group .frame")).to_have_count(len(BOXES.boxes))
        page.get_by_label("from").press_sequentially("0.2")
        write_step(run, 2)
        with run.metrics.open("a") as file:
            file.write(json.dumps({"stage": "train", "step": 2, "time": 0.0, "reward/tracking": 0.5}) + "\n")
        sync_api.expect(page.locator("header")).to_contain_text("2 steps", timeout=30_000)
        # What its reader is writing stays, what was chosen stays chosen, and the new step can be loaded whole.
        page.get_by_label("from").press_sequentially("5")
        assert page.get_by_label("from").input_value() == "0.25"
        page.get_by_label("from").press("Enter")
        assert page.locator("[data-filter='task:tracking']").get_attribute("aria-pressed") == "true"
        page.get_by_label("step", exact=True).fill("2")
        page.get_by_label("step", exact=True).dispatch_event("change")
        sync_api.expect(page.locator(".item")).to_have_count(1)
        sync_api.expect(page.locator("#group h3")).to_have_text("Step 2, tracking")


@pytest.mark.parametrize("width", [1200, 400])
def test_runs_side_by_side(browser: Any, tmp_path: Path, width: int) -> None:
    runs = [RunDir(tmp_path / name) for name in ("one", "two")]
    for run in runs:
        write_run(run, 2)
    runs[1].recipe.write_text(runs[1].recipe.read_text().replace("steps: 3", "steps: 4"))
    with served(runs) as address, opened(browser, address, width) as page:
        page.get_by_text("Recipes: 1 different key").click()
        assert page.locator("#compare details td").all_inner_texts() == ["steps", "3", "4"]
        reward = page.locator("#compare figure", has_text="training reward")
        assert reward.locator("path").count() == 2
        page.get_by_role("button", name="two", exact=True).click()
        assert page.locator("h1").inner_text() == "two"
        assert page.evaluate("document.documentElement.scrollWidth") <= width

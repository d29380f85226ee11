"""The views: what they say, when they keep silent, and that errors are still seen."""

import io
import logging
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from rft.errors import CheckpointError
from rft.runs.library_logs import quiet_libraries
from rft.runs.rich_view import ASCII_BLOCKS, BLOCKS, TerminalView, clock_text, numbers, sparkline
from rft.runs.views import PlainView, open_view
from rft.tables import TextTable

TABLE = TextTable("Held-out rows", ("task", "change"), (("tracking", "+0.1 [red]"),), "Caption.")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def run_steps(view: PlainView, clock: Clock, last: int, each_s: float) -> None:
    for step in range(1, last + 1):
        view.phase("rollout", 8)
        view.advance(8)
        view.phase("update")
        clock.now += each_s
        view.step(step, last, {"reward": 0.1 * step, "seconds/update": each_s})


def test_plain_view_of_a_whole_run() -> None:
    out, clock = io.StringIO(), Clock()
    view = PlainView("quickstart", out, clock)
    view.phase("cold start", 20)
    clock.now += 4
    view.advance(10)
    clock.now += 4
    view.advance(5)
    view.advance(5)
    run_steps(view, clock, 3, 6.0)
    view.evaluated({"eval/tracking": 0.5, "eval/tracking/greedy/overlap": 0.6})
    view.note("clip a.mp4 is damaged")
    view.table(TABLE)
    view.close()
    view.close()
    assert out.getvalue().splitlines() == [
        "quickstart",
        "cold start (20) ...",
        "cold start 15/20, 2.7 s left",
        "cold start 20/20 done in 8.0 s",
        "rollout (8) ...",
        "rollout 8/8 done in 0.0 s",
        "update ...",
        "update done in 6.0 s",
        "step 1/3: reward 0.1",
        "step 2/3: reward 0.2, 6.0 s left",
        "step 3/3: reward 0.3, 0.0 s left",
        "held-out: tracking 0.500",
        "note: clip a.mp4 is damaged",
        "",
        "Held-out rows",
        "task      change",
        "--------  ----------",
        "tracking  +0.1 [red]",
        "Caption.",
        "",
    ]


def test_plain_view_does_not_flood() -> None:
    out, clock = io.StringIO(), Clock()
    run_steps(PlainView("run", out, clock), clock, 100, 0.1)
    steps = [line for line in out.getvalue().splitlines() if line.startswith("step")]
    assert len(steps) == 3
    assert steps[-1].startswith("step 100/100")


def test_live_view_shows_the_run() -> None:
    out, clock = Terminal(), Clock()
    view = TerminalView("quickstart", out, clock, width=100)
    view.phase("evaluation", 8)
    view.advance(2)
    clock.now += 10
    assert "evaluation" in drawn(view)
    assert "2/8 30 s left" in drawn(view)
    for step in (1, 2, 3):
        clock.now += 5
        metrics = {"reward": 0.2 * step, "reward/tracking": 0.1 * step, "entropy": 1.5, "logprob_gap": 0.004}
        view.step(step, 10, metrics | {"seconds/rollout": 4.0})
    view.evaluated({"eval/tracking": 0.25, "eval/tracking/greedy/overlap": 0.6})
    shown = drawn(view)
    for part in (
        "quickstart",
        "step 3/10",
        "25 s so far",
        "about 35 s of training left",
        "reward 0.6, entropy 1.5, gap 0.004",
        "0.200 -> 0.600",
        "reward tracking",
        "held-out tracking",
        "0.250 -> 0.250",
        "time in rollout 12 s",
    ):
        assert part in shown
    assert "overlap" not in shown
    view.note("clip [bold]a.mp4 is damaged")
    view.table(TABLE)
    view.close()
    view.close()
    assert "note: clip [bold]a.mp4 is damaged" in out.getvalue()
    assert "+0.1 [red]" in out.getvalue()
    assert "\x1b[?25h" in out.getvalue()  # the cursor is back


def drawn(view: TerminalView) -> str:
    with view._console.capture() as capture:
        view._console.print(view.render())
    return capture.get()


def test_view_fits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_view("run", io.StringIO()), PlainView)
    live = open_view("run", Terminal())
    assert isinstance(live, TerminalView)
    live.close()
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_view("run", Terminal()), PlainView)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([math.nan], ""),
        ([0.5, 0.5], "++"),
        ([0, 1, 2, 3, 4, 5, 6, 7], ASCII_BLOCKS),
        ([1.0, math.nan, 0.0], "@_"),
        ([0.0] * 50 + [1.0] * 50, "____@@@@"),
    ],
)
def test_sparkline(values: list[float], expected: str) -> None:
    assert sparkline(values, ASCII_BLOCKS, 8) == expected


def test_sparkline_in_blocks() -> None:
    assert sparkline([0, 1]) == BLOCKS[0] + BLOCKS[-1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.2, "4.2 s"), (59.4, "59 s"), (59.6, "1:00"), (65, "1:05"), (7389, "2:03:09")]
)
def test_clock_text(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def test_numbers_in_one_order() -> None:
    assert numbers({"entropy": 0.41, "other": 1.0, "reward": 0.5123}) == "reward 0.512, entropy 0.41"


def test_library_noise_goes_to_the_log_and_errors_stay_visible(tmp_path: Path) -> None:
    program = f"""
import logging, os, sys, warnings
from pathlib import Path
logging.getLogger("vllm").addHandler(logging.StreamHandler(sys.stdout))
from rft.runs.library_logs import quiet_libraries
undo = quiet_libraries(Path({str(tmp_path / "run" / "log.txt")!r}))
logging.getLogger("vllm").warning("from vllm")
logging.getLogger("trl.trainer").info("from trl")
warnings.warn("from warnings")
os.write(2, b"from native code\\n")
print("message of an error", file=sys.stderr)
print("shown")
undo.close()
os.write(2, b"native again\\n")
logging.getLogger("vllm").warning("vllm again")
raise RuntimeError("traceback")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "shown\nvllm again\n"
    for part in ("message of an error", "native again", "RuntimeError: traceback"):
        assert part in done.stderr
    log = (tmp_path / "run" / "log.txt").read_text()
    for part in ("vllm WARNING from vllm", "trl.trainer INFO from trl", "from warnings", "from native code"):
        assert part in log
        assert part.removeprefix("vllm WARNING ") not in done.stderr


def test_settings_of_a_person_stay_and_ours_are_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    before = (logging.getLogger().handlers[:], warnings.showwarning, sys.stderr)
    with quiet_libraries(tmp_path / "log.txt"):
        assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
        assert os.environ["TQDM_DISABLE"] == "1"
    assert "TQDM_DISABLE" not in os.environ
    assert (logging.getLogger().handlers[:], warnings.showwarning, sys.stderr) == before


def test_log_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"log.txt: cannot be written"):
        quiet_libraries(tmp_path / "file" / "log.txt")

"""Curves, and what ran when, as inline SVG."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rft.runs.timeline import LANES, Event

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 8, 22
"""Margins of the plot, for its labels."""

COLOURS = ("#0969da", "#cf222e", "#1a7f37", "#8250df", "#bc4c00", "#57606a")
MAX_POINTS = 400
"""Points of a line that are drawn; longer ones are averaged over equal stretches."""

Points = Sequence[tuple[float, float]]

TIMELINE_WIDTH, LANE_HEIGHT, LANE_LEFT = 1040, 26, 64

_ENVIRONMENT = Environment(
    loader=PackageLoader("rft.commands.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def rendered(file: str, /, **values: Any) -> str:
    """A template of the folder templates with its names filled in. Values are escaped unless marked `safe`."""
    return _ENVIRONMENT.get_template(file).render(values)


def svg_chart(title: str, lines: Mapping[str, Points]) -> str:
    """One figure with a line per name over steps; points that are no finite number leave a gap and are counted."""
    finite = [point for points in lines.values() for point in points if math.isfinite(point[1])]
    steps, values = [step for step, _ in finite], [value for _, value in finite]
    frame = Frame(min(steps), max(steps), min(values), max(values)) if finite else None
    return rendered(
        "chart.html",
        title=title,
        gaps=sum(map(len, lines.values())) - len(finite),
        lines=[
            (name, COLOURS[i % len(COLOURS)], frame.path(thin(points)) if frame else "")
            for i, (name, points) in enumerate(lines.items())
        ],
        frame=frame,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        top=TOP,
        bottom=BOTTOM,
    )


class Frame:
    """Maps steps and values to the plot."""

    def __init__(self, first: float, last: float, low: float, high: float) -> None:
        self.first, self.last = first, last if last > first else first + 1
        room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
        self.low, self.high = low - room, high + room
        self.steps, self.values = dict.fromkeys((first, last)), dict.fromkeys((low, high))
        """The labelled ones: the least and the largest, which may be the same."""

    def x(self, step: float) -> float:
        return LEFT + (step - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Points) -> str:
        """A new stroke after each gap; a lone point is a dot (a stroke of no length with round ends)."""
        commands, pen_down = [], False
        for step, value in points:
            if math.isfinite(value):
                commands.append(f"{'L' if pen_down else 'M'}{self.x(step):.1f},{self.y(value):.1f}")
                if not pen_down:
                    commands.append("h0")
            pen_down = math.isfinite(value)
        return "".join(commands)


def thin(points: Points) -> list[tuple[float, float]]:
    """At most MAX_POINTS points: means of equal stretches, of their finite values."""
    if len(points) <= MAX_POINTS:
        return list(points)
    edges = [len(points) * i // MAX_POINTS for i in range(MAX_POINTS + 1)]
    thinned = []
    for i in range(MAX_POINTS):
        stretch = points[edges[i] : edges[i + 1]]
        values = [value for _, value in stretch if math.isfinite(value)]
        mean = sum(values) / len(values) if values else math.nan
        thinned.append((stretch[len(stretch) // 2][0], mean))
    return thinned


def svg_timeline(events: Sequence[Event], num_steps: int = 3) -> str:
    """The last steps as a picture, a lane each for rollouts and learner; "" without events."""
    last = max((event.step for event in events), default=0)
    latest = [event for event in events if event.step > last - num_steps]
    if not latest:
        return ""
    start_s, end_s = min(e.start_s for e in latest), max(e.end_s for e in latest)
    scale = (TIMELINE_WIDTH - LANE_LEFT) / max(end_s - start_s, 1e-9)
    return rendered(
        "timeline.html",
        num_steps=min(num_steps, last),
        seconds=end_s - start_s,
        bars=[(e, LANE_LEFT + (e.start_s - start_s) * scale, max(0.5, (e.end_s - e.start_s) * scale)) for e in latest],
        colours=dict(zip(dict.fromkeys(event.name for event in latest), cycle(COLOURS), strict=False)),
        lanes=LANES,
        width=TIMELINE_WIDTH,
        lane_height=LANE_HEIGHT,
    )

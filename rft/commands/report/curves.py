"""Curves as inline SVG."""

import html
import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 8, 22
"""Margins of the plot, for its labels."""

COLOURS = ("#0969da", "#cf222e", "#1a7f37", "#8250df", "#bc4c00", "#57606a")
MAX_POINTS = 400
"""Points of a line that are drawn; longer ones are averaged over equal stretches."""

Points = Sequence[tuple[float, float]]


def svg_chart(title: str, lines: Mapping[str, Points]) -> str:
    """One figure with a line per name over steps; points that are no finite number leave a gap and are counted."""
    finite = [point for points in lines.values() for point in points if math.isfinite(point[1])]
    gaps = sum(len(points) for points in lines.values()) - len(finite)
    drawn = {name: thin(points) for name, points in lines.items()}
    legend = "".join(
        f' <span style="color:{COLOURS[i % len(COLOURS)]}">&#9632; {html.escape(name)}</span>'
        for i, name in enumerate(drawn)
        if len(drawn) > 1
    )
    missing = f" ({gaps} not finite)" if gaps else ""
    caption = f"<figcaption><b>{html.escape(title)}</b>{missing}{legend}</figcaption>"
    if not finite:
        return f"<figure>{caption}</figure>"
    steps, values = [step for step, _ in finite], [value for _, value in finite]
    frame = Frame(min(steps), max(steps), min(values), max(values))
    paths = "".join(
        f'<path d="{frame.path(points)}" fill="none" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="1.5" '
        'stroke-linecap="round"/>'
        for i, points in enumerate(drawn.values())
    )
    svg = (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{frame.axes()}{paths}</svg>'
    )
    return f"<figure>{caption}{svg}</figure>"


class Frame:
    """Maps steps and values to the plot."""

    def __init__(self, first: float, last: float, low: float, high: float) -> None:
        self.first, self.last = first, last if last > first else first + 1
        room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
        self.low, self.high = low - room, high + room
        self.ends = ((low, high) if high > low else (low,), (first, last) if last > first else (first,))

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

    def axes(self) -> str:
        """The box, and the least and largest step and value."""
        values, steps = self.ends
        text = 'font-size="11" fill="#57606a"'
        labels = [
            f'<text x="{LEFT - 4}" y="{self.y(v) + 4:.1f}" text-anchor="end" {text}>{v:.3g}</text>' for v in values
        ] + [
            f'<text x="{self.x(s):.1f}" y="{HEIGHT - 6}" text-anchor="{"end" if s > self.first else "start"}" {text}>'
            f"{s:g}</text>"
            for s in steps
        ]
        box = (
            f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}" fill="none" '
            'stroke="#d8dee4"/>'
        )
        return box + "".join(labels)


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

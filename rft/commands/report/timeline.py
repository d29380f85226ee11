"""The last steps of a run as a picture of what ran when."""

import html
from collections.abc import Sequence

from rft.commands.report.curves import COLOURS
from rft.runs.timeline import LANES, Event

WIDTH, LANE_HEIGHT, LEFT = 1040, 26, 64


def svg_timeline(events: Sequence[Event], num_steps: int = 3) -> str:
    """The last steps as a picture, a lane each for rollouts and learner; "" without events."""
    last = max((event.step for event in events), default=0)
    latest = [event for event in events if event.step > last - num_steps]
    if not latest:
        return ""
    start_s, end_s = min(e.start_s for e in latest), max(e.end_s for e in latest)
    scale = (WIDTH - LEFT) / max(end_s - start_s, 1e-9)
    names = list(dict.fromkeys(event.name for event in latest))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    lanes = "".join(
        f'<text x="0" y="{row * LANE_HEIGHT + 17}" font-size="12">{lane}</text>' for row, lane in enumerate(LANES)
    )
    bars = "".join(
        f'<rect x="{LEFT + (e.start_s - start_s) * scale:.1f}" y="{LANES.index(e.lane) * LANE_HEIGHT + 4}" '
        f'width="{max(0.5, (e.end_s - e.start_s) * scale):.1f}" height="{LANE_HEIGHT - 8}" fill="{colours[e.name]}">'
        f"<title>step {e.step}, {html.escape(e.name)}: {e.end_s - e.start_s:.3f} s</title></rect>"
        for e in latest
    )
    legend = "".join(f' <span style="color:{colours[name]}">&#9632; {html.escape(name)}</span>' for name in names)
    height = LANE_HEIGHT * len(LANES)
    return (
        f"<figure><figcaption>the last {min(num_steps, last)} steps, {end_s - start_s:.2f} s{legend}</figcaption>"
        f'<svg width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">{lanes}{bars}</svg></figure>'
    )

"""The last steps of a run as a picture of what ran when."""

from collections.abc import Sequence
from itertools import cycle

from rft.commands.report.curves import COLOURS
from rft.commands.report.templates import rendered
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
    return rendered(
        "timeline.html",
        num_steps=min(num_steps, last),
        seconds=end_s - start_s,
        bars=[(e, LEFT + (e.start_s - start_s) * scale, max(0.5, (e.end_s - e.start_s) * scale)) for e in latest],
        colours=dict(zip(dict.fromkeys(event.name for event in latest), cycle(COLOURS), strict=False)),
        lanes=LANES,
        width=WIDTH,
        lane_height=LANE_HEIGHT,
    )

"""Rows about a drawn scene, with demonstrations by a loose annotator."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rewards.targets.choice import LETTERS
from rewards.types import Box, Span
from rft.synthetic.clips import Scene, Shape
from rft.synthetic.scenes import DIRECTIONS, boxes_of, direction_of, event_scene, journey_scene
from rft.tasks import TASKS

DRAWN_TASKS = ("temporal_grounding", "tracking", "multiple_choice", "grounded_qa")
"""Names of the tasks with rows about drawn scenes."""

FRAME_PARTS = (("northwest", "north", "northeast"), ("west", "middle", "east"), ("southwest", "south", "southeast"))
"""Names of the nine parts of the frame, by row and column."""


@dataclass(frozen=True, slots=True)
class LooseAnnotator:
    """Errors of the cold start's demonstrations; they are systematic, so that rewards have something to improve."""

    early_s: float = 2.0
    """Most seconds by which spans begin too early and end too late."""
    late_s: float = 0.25
    """Most seconds by which spans begin too late and end too early."""
    guessed: float = 0.3
    """Share of questions answered at random."""
    box_shift: float = 0.07
    """Standard deviation of the shift of all boxes after the first."""
    box_margin: float = 0.15
    """Most by which those boxes are too wide, on each of their sides."""

    def span(self, span: Span, duration_s: float, rng: random.Random) -> Span:
        start = span[0] + rng.uniform(-self.early_s, self.late_s)
        end = span[1] + rng.uniform(-self.late_s, self.early_s)
        start, end = max(0.0, round(2 * start) / 2), min(duration_s, round(2 * end) / 2)
        return (start, end) if start < end else (start, start + 0.5)

    def direction(self, direction: str, rng: random.Random) -> str:
        return rng.choice(DIRECTIONS) if rng.random() < self.guessed else direction

    def boxes(self, boxes: tuple[Box, ...], rng: random.Random) -> tuple[Box, ...]:
        dx, dy = rng.gauss(0, self.box_shift), rng.gauss(0, self.box_shift)
        m = rng.uniform(0, self.box_margin)
        moved = (
            (max(0.0, x0 + dx - m), max(0.0, y0 + dy - m), min(1.0, x1 + dx + m), min(1.0, y1 + dy + m))
            for x0, y0, x1, y1 in boxes[1:]
        )
        return (boxes[0], *moved)


EXACT = LooseAnnotator(early_s=0.0, late_s=0.0, guessed=0.0, box_shift=0.0, box_margin=0.0)
"""Annotator without errors: it demonstrates the target."""


def row_of(scene: Scene, task: str, rng: random.Random, annotator: LooseAnnotator = EXACT) -> dict[str, Any]:
    """The fields of a row of `task` about one shape of the scene, without `id` and `video`; with a demonstration."""
    shape = rng.choice(scene.shapes)
    # The shape's position in each second of the clip: "no no west middle ...".
    positions = " ".join(_frame_part(shape, float(second)) for second in range(int(scene.duration_s)))
    row: dict[str, Any] = {"task": task, "duration_s": scene.duration_s}
    if task == "tracking":
        boxes = boxes_of(scene)
        lists = ",".join(f"[{','.join(f'{value:.1f}' for value in box)}]" for box in annotator.boxes(boxes, rng))
        row |= {"object": shape.name, "target": {"boxes": boxes}}
        return row | {"demonstration": f"<think>{positions}</think><answer>[{lists}]</answer>"}
    start_s, end_s = annotator.span(shape.visible_s, scene.duration_s, rng)
    if task == "temporal_grounding":
        row |= {"query": f"the {shape.name} is visible", "target": {"span": shape.visible_s}}
        return row | {"demonstration": f"<think>{positions}</think><answer>{start_s:.1f} to {end_s:.1f}</answer>"}
    true, said = direction_of(shape), annotator.direction(direction_of(shape), rng)
    options = list(DIRECTIONS)
    target: dict[str, Any] = {"choice": LETTERS[options.index(true)]}
    seen = [position for position in positions.split() if position != "no"]
    thought = f"{positions} from {seen[0]} to {seen[-1]} moves {said}"
    answer = f"<think>{thought}</think><answer>{LETTERS[options.index(said)]}</answer>"
    if task == "grounded_qa":
        target["spans"] = [shape.visible_s]
        answer += f"<glue>[({start_s:.1f}, {end_s:.1f})]</glue>"
    row |= {"question": f"Which way does the {shape.name} move?", "options": options, "target": target}
    return row | {"demonstration": answer}


def tokenizer_texts() -> Iterator[str]:
    """Texts to train the tokenizer: prompts and answers about drawn clips, and the words of the chat template."""
    rng = random.Random(0)
    for _ in range(60):
        yield "system\nYou are a helpful assistant.\nuser\nassistant\n look"
        for task in (TASKS[name] for name in DRAWN_TASKS):
            scene = journey_scene(rng) if task.name == "tracking" else event_scene(rng)
            fields = row_of(scene, task.name, rng)
            yield task.prompt_text(task.row_type(id="text", video="none", **fields), True)
            yield fields["demonstration"]


def _frame_part(shape: Shape, second: float) -> str:
    """Part of the frame with the shape's centre, at the visible time nearest to the middle of the second; or "no"."""
    begin, end = shape.visible_s
    if begin >= second + 1 or second >= end:
        return "no"
    x, y = shape.centre(second + 0.5)
    return FRAME_PARTS[min(2, int(3 * y))][min(2, int(3 * x))]

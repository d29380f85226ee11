import random
import re
from fractions import Fraction

import pytest

from rewards import REWARDS
from rft.synthetic.clips import Scene, Shape
from rft.synthetic.questions import DRAWN_TASKS, EXACT, LooseAnnotator, row_of, tokenizer_texts
from rft.synthetic.scenes import (
    DIRECTIONS,
    OUT_OF_DOMAIN,
    TRAINED,
    Domain,
    boxes_of,
    direction_of,
    event_scene,
    journey_scene,
)
from rft.tasks import TASKS


def rows(task: str, annotator: LooseAnnotator = EXACT, num: int = 300) -> list[tuple[object, str]]:
    """(target, demonstration) of random rows."""
    rng = random.Random(task)
    demonstrated = []
    for i in range(num):
        scene = journey_scene(rng) if task == "tracking" else event_scene(rng)
        row = TASKS[task].row_type(id=str(i), video="clip.mp4", **row_of(scene, task, rng, annotator))
        demonstrated.append((TASKS[task].target(row), row.demonstration or ""))
    return demonstrated


def mean_score(task: str, annotator: LooseAnnotator) -> float:
    name = TASKS[task].rewards[0][0]
    return sum(REWARDS[name](text, target).value for target, text in rows(task, annotator)) / 300


@pytest.mark.parametrize("task", DRAWN_TASKS)
def test_rows_are_valid_and_exact_demonstrations_are_right(task: str) -> None:
    for target, text in rows(task):
        for name, weight in TASKS[task].default_rewards(think=True).items():
            value = REWARDS[name](text, target).value
            assert (weight and value == 1.0) or (task, name) == ("tracking", "mean_box_iou")
    # Coordinates of one decimal cost about a quarter of the overlap.
    assert mean_score(task, EXACT) > (0.7 if task == "tracking" else 0.999)


@pytest.mark.parametrize("task", DRAWN_TASKS)
def test_the_loose_annotator_is_worse_than_the_target_and_keeps_the_form(task: str) -> None:
    assert 0.3 < mean_score(task, LooseAnnotator()) < 0.85
    assert all(REWARDS["think_format"](text, target).value == 1.0 for target, text in rows(task, LooseAnnotator()))


def test_a_guessed_direction_is_named_in_thought_and_letter_alike() -> None:
    rng = random.Random(1)
    for _ in range(100):
        row = row_of(event_scene(rng), "multiple_choice", rng, LooseAnnotator())
        said = next(word for word in DIRECTIONS if f"moves {word}<" in row["demonstration"])
        letter = "ABCD"[row["options"].index(said)]
        assert f"<answer>{letter}</answer>" in row["demonstration"]


def test_thoughts_say_where_the_shape_is_each_second() -> None:
    shape = Shape("red", "circle", 0.15, (0.9, 0.1), (0.1, 0.1), (2.0, 5.0))
    scene = Scene((shape,), Fraction(10), 8.0, texture_seed=0)
    row = row_of(scene, "grounded_qa", random.Random(0))
    assert row["demonstration"] == (
        "<think>no no northeast north northwest no no no from northeast to northwest moves left</think>"
        "<answer>A</answer><glue>[(2.0, 5.0)]</glue>"
    )
    row = row_of(scene, "temporal_grounding", random.Random(0))
    assert row["demonstration"].startswith("<think>no no northeast north northwest no no no</think><answer>2.0 to 5.0<")


def test_thoughts_and_spans_reach_to_the_end_of_a_longer_clip() -> None:
    shape = Shape("red", "circle", 0.15, (0.9, 0.1), (0.1, 0.1), (9.0, 12.0))
    scene = Scene((shape,), Fraction(10), 12.0, texture_seed=0)
    row = row_of(scene, "temporal_grounding", random.Random(0))
    assert row["duration_s"] == 12.0
    assert row["demonstration"] == (f"<think>{'no ' * 9}northeast north northwest</think><answer>9.0 to 12.0</answer>")
    assert LooseAnnotator(late_s=0.0).span((9.0, 12.0), 12.0, random.Random(0))[1] == 12.0


@pytest.mark.parametrize("domain", OUT_OF_DOMAIN)
def test_out_of_domain_every_word_is_known_and_a_distractor_is_in_no_question(domain: Domain) -> None:
    known = set(re.findall(r"\w+", " ".join(tokenizer_texts())))
    rng = random.Random(4)
    for _ in range(50):
        for scene, tasks in ((event_scene(rng, domain), DRAWN_TASKS[2:]), (journey_scene(rng, domain), ["tracking"])):
            assert scene.distractor is not None
            assert 0 <= scene.distractor.visible_s[0] < scene.distractor.visible_s[1] <= scene.duration_s
            assert scene.distractor.colour not in {shape.colour for shape in scene.shapes}
            for name in tasks:
                fields = row_of(scene, name, rng)
                row = TASKS[name].row_type(id="x", video="x", **fields)
                text = TASKS[name].prompt_text(row, True) + fields["demonstration"]
                words = {word for word in re.findall(r"\w+", text) if not word.isdigit()}
                assert words <= known
                assert not words & {"violet", "cross"}


@pytest.mark.parametrize("domain", [TRAINED, *OUT_OF_DOMAIN])
def test_scenes_are_what_they_say(domain: Domain) -> None:
    rng = random.Random(3)
    for _ in range(200):
        shapes = event_scene(rng, domain).shapes
        assert len({shape.colour for shape in shapes}) == len(shapes) in (1, 2)
        for shape in shapes:
            (x0, y0), (x1, y1) = shape.start, shape.end
            step = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[direction_of(shape)]
            travel = abs(x1 - x0) + abs(y1 - y0)
            assert (x1 - x0, y1 - y0) == pytest.approx((travel * step[0], travel * step[1]))
            assert 0 <= shape.visible_s[0] < shape.visible_s[1] <= domain.duration_s
            assert all(shape.radius - 1e-9 <= c <= 1 - shape.radius + 1e-9 for c in (x0, y0, x1, y1))
        boxes = boxes_of(journey_scene(rng, domain))
        assert all(0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 for x0, y0, x1, y1 in boxes)

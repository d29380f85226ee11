"""The drawn pairs of shapes: the right caption can be read off the pixels; the wrong ones differ as they say."""

import random
from collections import Counter

import numpy as np

from rewards.format import think_format
from rft.packs.retrieval.drawn import draw_clip
from rft.packs.retrieval.targets import RankingTarget, parse_order


def words_of(pixels: np.ndarray, blank: np.ndarray) -> str:
    """Colour and side of what differs from the background, such as "red on the left"."""
    inside = np.abs(pixels.astype(int) - blank).sum(axis=2) > 60
    red, _, blue = pixels[inside].mean(axis=0)
    side = "left" if np.argwhere(inside)[:, 1].mean() < pixels.shape[1] / 2 else "right"
    return f"{'red' if red > blue else 'blue'} on the {side}"


def test_the_right_caption_is_seen_and_the_wrong_ones_differ_in_space_or_time() -> None:
    rng, places, first_said = random.Random(3), Counter(), Counter()
    for _ in range(80):
        clip = draw_clip(rng)
        first, second = words_of(clip.pixels[1], clip.blank[1]), words_of(clip.pixels[-2], clip.blank[-2])
        true, in_time = f"{first}, then {second}", f"{second}, then {first}"
        in_space, in_both = (
            one.replace("left", "?").replace("right", "left").replace("?", "right") for one in (true, in_time)
        )
        assert (clip.blank == clip.blank[0]).all()
        wrong = {"space": {in_space}, "time": {in_time}, "space or time": {in_space, in_time, in_both}}
        for row in clip.rows:
            target = RankingTarget.read(row["target"])
            right = target.relevance.index(1)
            places[target.negatives, right] += 1
            assert row["captions"][right] == true
            assert set(row["captions"]) - {true} == wrong[target.negatives]
            assert think_format(row["demonstration"], target).value == 1
            order = parse_order(row["demonstration"].split("<answer>")[1])
            first_said[target.negatives, row["captions"][order[0] - 1] == true] += 1
    # Each place is right often enough that no constant order is.
    assert min(places[kind, place] for kind in ("space", "time") for place in range(2)) > 20
    assert min(places["space or time", place] for place in range(4)) > 8
    # The demonstrator is right in space, and guesses the order of time.
    assert first_said["space", True] == 80
    assert min(first_said[kind, said] for kind in ("time", "space or time") for said in (True, False)) > 25

"""The drawn pairs of shapes: the right caption can be read off the pixels; the wrong ones differ as they say."""

import random
from collections import Counter

import numpy as np

from rewards.format import think_format
from rft.packs.retrieval.drawn import draw_clip
from rft.packs.retrieval.targets import RankingTarget


def words_of(pixels: np.ndarray, blank: np.ndarray) -> str:
    """Colour and side of what differs from the background, such as "red on the left"."""
    inside = np.abs(pixels.astype(int) - blank).sum(axis=2) > 60
    red, _, blue = pixels[inside].mean(axis=0)
    side = "left" if np.argwhere(inside)[:, 1].mean() < pixels.shape[1] / 2 else "right"
    return f"{'red' if red > blue else 'blue'} on the {side}"


def test_the_right_caption_is_seen_and_the_wrong_ones_differ_in_space_or_time() -> None:
    rng, places, well_formed = random.Random(3), Counter(), 0
    for _ in range(60):
        clip = draw_clip(rng)
        first, second = words_of(clip.pixels[1], clip.blank[1]), words_of(clip.pixels[-2], clip.blank[-2])
        true = f"{first}, then {second}"
        moved = true.replace("left", "?").replace("right", "left").replace("?", "right")
        assert (clip.blank == clip.blank[0]).all()
        for row, wrong in zip(clip.rows, ([moved], [f"{second}, then {first}"], None), strict=True):
            target = RankingTarget.read(row["target"])
            right = target.relevance.index(1)
            places[target.negatives, right] += 1
            assert row["captions"][right] == true
            others = [caption for caption in row["captions"] if caption != true]
            assert sorted(others) == sorted(wrong or [moved, f"{second}, then {first}"])
            well_formed += think_format(row["demonstration"], target).value
    assert well_formed == 180
    # Each place is right often enough that no constant order is.
    assert min(places["space", 0], places["space", 1], places["time", 0], places["time", 1]) > 15
    assert min(places["space or time", place] for place in range(3)) > 5

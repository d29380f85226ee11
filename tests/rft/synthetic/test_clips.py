from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rft.synthetic.clips import OTHER_STYLE, RGB, SIDE, Scene, Shape, draw, write_clip

CROSSING = Shape("red", "circle", 0.2, (0.2, 0.5), (0.8, 0.5), (1.0, 3.0))


def scene(*shapes: Shape, fps: Fraction = Fraction(10)) -> Scene:
    return Scene(shapes, fps, 4.0, texture_seed=3)


def covered(frame: np.ndarray, colour: str, tolerance: int = 0) -> np.ndarray:
    return (abs(frame.astype(int) - RGB[colour]) <= tolerance).all(-1)


def test_a_shape_is_drawn_from_its_first_to_before_its_last_moment() -> None:
    frames = draw(scene(CROSSING), [0.9, 1.0, 2.9, 3.0])
    assert [covered(frame, "red").any() for frame in frames] == [False, True, True, False]


def test_a_shape_moves_on_its_line() -> None:
    for time_s, x in ((1.0, 0.2), (2.0, 0.5), (2.999, 0.8)):
        rows, columns = np.nonzero(covered(draw(scene(CROSSING), [time_s])[0], "red"))
        assert columns.mean() + 0.5 == pytest.approx(x * SIDE, abs=0.6)
        assert rows.mean() + 0.5 == pytest.approx(0.5 * SIDE, abs=0.6)


@pytest.mark.parametrize(
    ("kind", "share"), [("square", 1.0), ("circle", np.pi / 4), ("triangle", 0.5), ("cross", 5 / 9)]
)
def test_kinds_cover_their_share_of_their_box(kind: str, share: float) -> None:
    shape = Shape("blue", kind, 0.4, (0.5, 0.5), (0.5, 0.5), (0.0, 4.0))
    pixels = covered(draw(scene(shape), [0.0])[0], "blue").sum()
    assert pixels / (0.8 * SIDE) ** 2 == pytest.approx(share, abs=0.04)


def test_a_later_shape_hides_an_earlier_one() -> None:
    over = Shape("green", "square", 0.4, (0.5, 0.5), (0.5, 0.5), (0.0, 4.0))
    assert not covered(draw(scene(CROSSING, over), [2.0])[0], "red").any()


def test_a_distractor_lies_behind_the_shapes_and_has_a_colour_of_its_own() -> None:
    cross = Shape("violet", "cross", 0.3, (0.5, 0.5), (0.5, 0.5), (0.0, 4.0))
    over = Shape("green", "square", 0.2, (0.5, 0.5), (0.5, 0.5), (2.0, 4.0))
    before, after = draw(Scene((over,), Fraction(10), 4.0, 3, OTHER_STYLE, cross), [1.0, 3.0])
    violet, green = (np.array(OTHER_STYLE.rgb[colour]) for colour in ("violet", "green"))
    middle = SIDE // 2
    assert (before[middle, middle] == violet).all()
    assert (after[middle, middle] == green).all()
    assert (after == violet).all(-1).sum() < (before == violet).all(-1).sum()


def test_styles_name_the_same_colours_in_other_shades() -> None:
    assert RGB.keys() < OTHER_STYLE.rgb.keys()
    for colour, trained in RGB.items():
        distances = {name: np.linalg.norm(np.subtract(rgb, OTHER_STYLE.rgb[colour])) for name, rgb in RGB.items()}
        assert min(distances, key=distances.__getitem__) == colour
        assert np.linalg.norm(np.subtract(trained, OTHER_STYLE.rgb[colour])) > 30


def test_textures_differ_and_repeat() -> None:
    one, same = draw(scene(), [0.0]), draw(scene(), [2.0])
    other = draw(Scene((), Fraction(10), 4.0, texture_seed=4), [0.0])
    assert (one == same).all()
    tiles = draw(Scene((), Fraction(10), 4.0, 3, OTHER_STYLE), [0.0])
    assert (one != other).mean() > 0.5
    assert (one != tiles).mean() > 0.5


@pytest.mark.parametrize("fps", [Fraction(8), Fraction(10), Fraction(25, 2)])
def test_files_are_h264_with_their_own_timing(tmp_path: Path, fps: Fraction) -> None:
    drawn = scene(CROSSING, fps=fps)
    write_clip(drawn, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.codec_context.name == "h264"
        assert [float(frame.time) for frame in frames] == pytest.approx(drawn.frame_times, abs=1e-3)
        pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
    assert abs(pixels.astype(int) - draw(drawn, drawn.frame_times)).mean() < 4

"""Draws clips of coloured shapes that appear, move and disappear on a textured background; writes H.264 files."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SIDE = 56
"""Width and height of a frame, in pixels."""

TILE = 8
"""Width and height of a background tile, in pixels; divides SIDE."""

RGB = {"red": (225, 45, 45), "green": (35, 200, 65), "blue": (50, 80, 235), "yellow": (240, 220, 50)}


@dataclass(frozen=True, slots=True)
class Style:
    """Colours and background texture of a clip."""

    rgb: Mapping[str, tuple[int, int, int]]
    """Name of a colour -> red, green and blue, each 0 to 255."""
    texture: Literal["stripes", "tiles"]


TRAINED_STYLE = Style(RGB, "stripes")
OTHER_STYLE = Style(
    {
        "red": (190, 25, 75),
        "green": (20, 140, 70),
        "blue": (70, 135, 240),
        "yellow": (250, 195, 95),
        "violet": (160, 85, 195),
    },
    "tiles",
)
"""Style of out-of-domain clips: other shades of the same colours, and a colour that is in no question."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape that moves on a straight line while it is visible. Positions are centres in [0, 1]."""

    colour: str
    kind: str
    radius: float
    """Half of the width and height, as a share of the frame."""
    start: tuple[float, float]
    end: tuple[float, float]
    visible_s: tuple[float, float]
    """(start, end) in seconds of the time in which it is drawn; the end is excluded."""

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"

    def centre(self, time_s: float) -> tuple[float, float]:
        """Position (x, y) at a time; before and after it is visible, its first and last position."""
        begin, end = self.visible_s
        share = min(1.0, max(0.0, (time_s - begin) / (end - begin)))
        (x0, y0), (x1, y1) = self.start, self.end
        return x0 + share * (x1 - x0), y0 + share * (y1 - y0)


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that determines a clip's pixels."""

    shapes: tuple[Shape, ...]
    """Drawn in this order: a later one hides an earlier one."""
    fps: Fraction
    duration_s: float
    texture_seed: int
    style: Style = TRAINED_STYLE
    distractor: Shape | None = None
    """Shape drawn under the others, about which there is no question."""

    @property
    def frame_times(self) -> tuple[float, ...]:
        return tuple(float(i / self.fps) for i in range(round(self.duration_s * self.fps)))


def draw(scene: Scene, times_s: Sequence[float]) -> Pixels:
    """The frames at these times: uint8 [F, SIDE, SIDE, 3]."""
    frames = np.repeat(_background(scene.texture_seed, scene.style.texture)[None], len(times_s), axis=0)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    distractors = (scene.distractor,) if scene.distractor else ()
    for shape in (*distractors, *scene.shapes):
        radius = shape.radius * SIDE
        for frame, time_s in zip(frames, times_s, strict=True):
            if shape.visible_s[0] <= time_s < shape.visible_s[1]:
                x, y = shape.centre(time_s)
                frame[_inside(shape.kind, columns - x * SIDE, rows - y * SIDE, radius)] = scene.style.rgb[shape.colour]
    return frames


def grey_noise(rng: random.Random, num_frames: int) -> Pixels:
    """Still grey noise as background, uint8 [num_frames, SIDE, SIDE, 3]."""
    noise = np.random.default_rng(rng.getrandbits(32)).normal(rng.uniform(70, 110), 12, (SIDE, SIDE, 1))
    frame = np.clip(np.repeat(noise, 3, axis=2), 0, 255).astype(np.uint8)
    return np.repeat(frame[None], num_frames, axis=0)


def write_clip(scene: Scene, path: Path) -> None:
    """Encodes the scene's frames as an H.264 mp4 file with its frame rate."""
    write_frames(draw(scene, scene.frame_times), scene.fps, path)


def write_frames(frames: Pixels, fps: Fraction, path: Path) -> None:
    """Encodes frames, uint8 [F, H, W, 3] with even H and W, as an H.264 mp4 file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "18"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _inside(kind: str, dx: NDArray[np.float64], dy: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """Mask of the pixels that a shape covers, from their distances to its centre, in pixels."""
    match kind:
        case "circle":
            return dx**2 + dy**2 <= radius**2
        case "square":
            return np.maximum(abs(dx), abs(dy)) <= radius
        case "triangle":
            return (dy <= radius) & (2 * abs(dx) <= dy + radius)
        case "cross":
            return (np.maximum(abs(dx), abs(dy)) <= radius) & (np.minimum(abs(dx), abs(dy)) <= radius / 3)
    raise ValueError(f"no shape called {kind!r}")


def _background(seed: int, texture: str) -> Pixels:
    """Still background, uint8 [SIDE, SIDE, 3]: light from the left, blue above, brown below, with texture and grain.

    The light shows the position of a patch in the frame, as sky and ground do in filmed video.
    """
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE - 0.5
    if texture == "tiles":
        pattern = np.kron(random.normal(0, 14, (SIDE // TILE, SIDE // TILE)), np.ones((TILE, TILE)))
    else:
        angle = random.uniform(0, 2 * np.pi)
        waves = random.uniform(1, 4) * (np.cos(angle) * columns + np.sin(angle) * rows)
        pattern = 8 * np.sin(2 * np.pi * waves)
    grain = random.normal(0, 1, (SIDE, SIDE))
    grey = random.uniform(100, 140) - 60 * columns + pattern + 5 * grain
    tint = np.array([50, 0, -70])
    pixels: Pixels = np.clip(grey[:, :, None] + tint * rows[:, :, None], 0, 255).astype(np.uint8)
    return pixels

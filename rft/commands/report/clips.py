"""Frames of a clip as small JPEGs, out of the clips that a run has decoded; nothing is decoded for a page."""

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from rft.data.dataset import sampling_at, task_sampling
from rft.data.frames import first_to_last, read_frames
from rft.errors import RecipeError
from rft.recipe import Recipe
from rft.recipe.load import load_recipe
from rft.recipe.model_folder import size_factor
from rft.runs.run_dir import RunDir
from rft.types import Image, Video, View

if TYPE_CHECKING:
    import numpy as np

MAX_FRAMES = 16
"""Frames of a clip that are shown, evenly from the first to the last."""

FRAME_WIDTH = 192
"""Most pixels of a frame's width."""

JPEG_QUALITY = 72
MAX_BYTES = 11 << 20
"""Most bytes of frames that a page holds."""

_KEY = re.compile(f"([0-9a-f]{{32}})(?:-({'|'.join(get_args(View))}))?")
"""Name of a decoded clip, and the view in which it is shown."""


@dataclass(frozen=True)
class Clips:
    """The decoded clips of a run."""

    directory: Path
    recipe: Recipe
    factor: int

    def key(self, group: Mapping[str, Any], media: Mapping[str, Any]) -> str:
        """Name in the folder of a clip of a group, and its view.

        `media`: one of the group's "media". Raises ClipError where only its file could tell, and is not there.
        """
        from rft.data.video import clip_key  # loads PyAV, which a page without clips does not need

        video = self.recipe.video
        path, content = Path(media["path"]), media["content"]
        if media["is_image"]:
            return clip_key(Image(path, video.min_pixels, video.max_pixels, content), video.decoder, self.factor)
        sampling = task_sampling(group["task"], len(group["boxes"]), self.recipe)
        sampling = sampling_at(sampling, media["frame_times_s"])
        clip = Video(path, sampling, media["start_s"], media["end_s"], media["source_fps"], content=content)
        key = clip_key(clip, video.decoder, self.factor)
        return f"{key}-{media['view']}" if media["view"] else key

    def frames(self, key: str) -> dict[str, Any]:
        """{"times", "duration_s", "ratio", "images"}: seconds, width over height, JPEGs as data URIs.

        Or {"missing": why}.
        """
        named = _KEY.fullmatch(key)
        if named is None:
            return {"missing": "no such clip"}
        try:
            frames = read_frames(self.directory / f"{named[1]}.clip")
        except FileNotFoundError:
            return {"missing": "its decoded frames are not in the folder of clips any more"}
        except (OSError, ValueError) as error:
            return {"missing": f"its decoded frames cannot be read: {error}"}
        frames = frames.seen(cast(View, named[2])) if named[2] else frames
        places = first_to_last(len(frames.pixels), MAX_FRAMES)
        height, width = frames.pixels.shape[1:3]
        return {
            "times": [round(frames.timestamps_s[i], 3) for i in places],
            "duration_s": frames.duration_s,
            "ratio": width / height,
            "images": [jpeg(frames.pixels[i]) for i in places],
        }


def jpeg(pixels: "np.ndarray") -> str:
    """A frame, uint8 [H, W, 3], as a data URI."""
    from PIL import Image as Picture

    picture = Picture.fromarray(pixels)
    picture.thumbnail((FRAME_WIDTH, FRAME_WIDTH))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def run_clips(run: RunDir) -> Clips | str:
    """The clips of a run, or why there are none to show."""
    try:
        recipe = load_recipe(run.recipe)
        directory = recipe.video.cache_dir or run.clips
        if not directory.is_dir():
            return f"the folder of decoded clips, {directory}, is not here"
        return Clips(directory, recipe, size_factor(recipe.model))
    except RecipeError as error:
        return f"the run's recipe cannot be read: {error}"
    except OSError as error:
        return f"the model's config.json cannot be read: {error}"

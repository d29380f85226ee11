"""A recipe whose paths hold on every node, whatever folder a process starts in."""

from pathlib import Path

from rft.data.row_files import HUB
from rft.recipe import Recipe


def with_whole_paths(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths. (FILE.py:NAME has one already.)"""

    def whole(path: Path) -> Path:
        return path if path.parts[:1] == (HUB,) else path.absolute()

    def whole_if_there(model: str) -> str:
        return str(Path(model).absolute()) if Path(model).is_dir() else model

    data, video, cold, judge = recipe.data, recipe.video, recipe.cold_start, recipe.judge
    changed = {
        "model": whole_if_there(recipe.model),
        "data": data.model_copy(
            update={
                "train": tuple(map(whole, data.train)),
                "eval": tuple(map(whole, data.eval)),
                "video_root": data.video_root and whole(data.video_root),
            }
        ),
        "video": video.model_copy(update={"cache_dir": video.cache_dir and whole(video.cache_dir)}),
        "cold_start": cold and cold.model_copy(update={"data": tuple(map(whole, cold.data))}),
        "judge": judge and judge.model_copy(update={"model": whole_if_there(judge.model)}),
    }
    return recipe.model_copy(update=changed)

"""rft check: the most tokens that a clip can have."""

import pytest

from rft.commands.check.prompt_length import visual_tokens
from rft.recipe.video import PATCH_PIXELS, VideoRecipe


@pytest.mark.parametrize(
    ("clip_s", "tokens"), [(10.0, 1989), (31.0, 3240), (60.0, 2832), (117.0, 2784), (240.0, 2868), (755.0, 4608)]
)
def test_visual_tokens_bound_clips_of_480_by_360(clip_s: float, tokens: int) -> None:
    sampling = VideoRecipe().sampling()
    assert tokens <= visual_tokens(sampling, clip_s) <= 2 * tokens
    assert visual_tokens(sampling, clip_s) <= visual_tokens(sampling, None) == 768 // 2 * 16


def test_visual_tokens_of_the_counts_beside_the_seconds() -> None:
    published = VideoRecipe().sampling()
    # 482 frames of 16 tokens a pair; 480 or 478 have fewer.
    assert visual_tokens(published, 240.0) == 241 * 16
    # 146 frames may have 49 tokens a pair; 148 may have 48, 150 may have 47.
    assert visual_tokens(VideoRecipe(fps=4, min_pixels=784).sampling(), 37.35) == 73 * 49


def test_visual_tokens_of_small_clips() -> None:
    pixels = 4 * PATCH_PIXELS
    tiny = VideoRecipe(fps=2, min_frames=16, max_frames=16, min_pixels=pixels, max_pixels=pixels, total_pixels=10**6)
    assert visual_tokens(tiny.sampling(), 8.0) == 8 * 4
    assert visual_tokens(tiny.sampling(), None) == 8 * 4

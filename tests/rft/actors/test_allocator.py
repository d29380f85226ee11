"""Settings of torch's GPU memory in a learning process."""

import pytest

from rft.actors.ranks import set_allocator
from rft.recipe import Recipe

GROWING = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}


@pytest.mark.parametrize(
    ("rollout", "before", "after"),
    [
        ({}, {}, GROWING),
        ({"share_gpu": True}, {}, {}),  # ipc
        ({"share_gpu": True, "weight_transfer": "object_store"}, {}, GROWING),
        ({}, {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}, {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}),
    ],
)
def test_segments_grow_unless_they_are_handed_over(
    rollout: dict[str, object], before: dict[str, str], after: dict[str, str]
) -> None:
    keys = {"model": "m", "tasks": {}, "data": {"train": []}, "steps": 1, "rollout": rollout}
    environment = dict(before)
    set_allocator(Recipe.model_validate(keys), environment)
    assert environment == after

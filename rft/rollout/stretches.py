"""Stretches of a stream in vLLM: items of their own in its caches, one clip in the model's positions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from vllm.model_executor.models.interfaces import supports_mrope
from vllm.multimodal.inputs import MultiModalFeatureSpec, MultiModalKwargsItem, PlaceholderRange


def joined(features: Sequence[MultiModalFeatureSpec]) -> list[MultiModalFeatureSpec]:
    """The features in the order of the prompt, videos that touch each other as one."""
    whole: list[MultiModalFeatureSpec] = []
    for feature in sorted(features, key=lambda feature: feature.mm_position.offset):
        if whole and "video" == feature.modality == whole[-1].modality and _touch(whole[-1], feature):
            feature = _joined(whole.pop(), feature)
        whole.append(feature)
    return whole


def join_positions(worker: Any) -> None:
    """In a vLLM worker, where this runs: from now on its model counts the positions of joined features.

    Qwen2.5-VL would begin each video anew behind the largest position of the one before.
    """
    model = worker.get_model()
    if supports_mrope(model):
        positions = model.get_mrope_input_positions
        model.get_mrope_input_positions = lambda token_ids, features: positions(token_ids, joined(features))


def _touch(first: MultiModalFeatureSpec, second: MultiModalFeatureSpec) -> bool:
    return bool(first.mm_position.offset + first.mm_position.length == second.mm_position.offset)


def _joined(first: MultiModalFeatureSpec, second: MultiModalFeatureSpec) -> MultiModalFeatureSpec:
    """Both as one video, without its pixels."""
    grid, other = (feature.data["video_grid_thw"] for feature in (first, second))
    summed = replace(grid, data=torch.cat([grid.data[:1] + other.data[:1], grid.data[1:]]))
    data = MultiModalKwargsItem({**first.data, "video_grid_thw": summed})
    place = PlaceholderRange(first.mm_position.offset, first.mm_position.length + second.mm_position.length)
    return replace(first, data=data, mm_position=place)

"""What vLLM makes of a prompt: the tokens, grid, time and positions that its model runs on."""

from collections.abc import Sequence
from typing import Any

from vllm.model_executor.models.interfaces import supports_mrope
from vllm.multimodal.inputs import MultiModalFeatureSpec
from vllm.v1.engine.llm_engine import LLMEngine

from rft.parity import Reading


def read_prompt(engine: LLMEngine, rendered: Any, policy_version: int) -> Reading:
    """`rendered`: of the engine's renderer, with one video. The reading has no log-probabilities yet."""
    token_ids = list(rendered["prompt_token_ids"])
    (item,) = rendered["mm_kwargs"]["video"]
    (key,) = rendered["mm_hashes"]["video"]
    (place,) = rendered["mm_placeholders"]["video"]
    feature = MultiModalFeatureSpec(data=item, modality="video", identifier=key, mm_position=place, mm_hash=key)
    # Of several tensor-parallel workers the first one speaks for all.
    positions = engine.collective_rpc(model_positions, args=(token_ids, [feature]))[0]
    seconds = item.get("second_per_grid_ts")
    tokenizer = engine.get_tokenizer()
    return Reading(
        policy_version=policy_version,
        text=tokenizer.decode(token_ids),
        token_ids=tuple(token_ids),
        clip=key,
        grid=tuple(item["video_grid_thw"].data.tolist()),
        seconds_per_grid=None if seconds is None else float(seconds.data),
        position_ids=tuple(map(tuple, positions)),
        logprobs=(),
    )


def model_positions(worker: Any, token_ids: list[int], features: Sequence[MultiModalFeatureSpec]) -> list[list[int]]:
    """Runs in a vLLM worker: the positions that its model gives to a prompt, [3][P].

    By the call with which vLLM's own runner places a new request.
    """
    model = worker.get_model()
    if not supports_mrope(model):
        return [list(range(len(token_ids)))] * 3
    positions, _ = model.get_mrope_input_positions(token_ids, list(features))
    rows: list[list[int]] = positions.tolist()
    return rows

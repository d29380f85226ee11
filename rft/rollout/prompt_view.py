"""The engine's view of a prompt: tokens, grid, times and positions that vLLM's model runs on."""

from collections.abc import Sequence
from typing import Any

from vllm.model_executor.models.interfaces import supports_mrope
from vllm.multimodal.inputs import MultiModalFeatureSpec
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.llm_engine import LLMEngine

from rft.parity.compare import PromptView
from rft.rollout.stretches import joined


def view_prompt(engine: LLMEngine, rendered: Any, clip: str, policy_version: int) -> PromptView:
    """The engine's view of a prompt that its renderer made, without log-probabilities. `clip`: key of its frames.

    The request is prepared as for a run, with the cached inputs of a known clip, but not run.
    """
    request = engine.input_processor.process_inputs(
        "view", rendered, SamplingParams(max_tokens=1), supported_tasks=engine.get_supported_tasks()
    )
    prepared, _ = engine.engine_core.engine_core.preprocess_add_request(request)
    features = prepared.mm_features
    data = [{name: value.data for name, value in feature.data.items()} for feature in joined(features)]
    token_ids = list(prepared.prompt_token_ids)
    # All tensor-parallel workers have the same positions.
    positions = engine.collective_rpc(model_positions, args=(token_ids, features))[0]
    grids = [one["video_grid_thw" if "video_grid_thw" in one else "image_grid_thw"] for one in data]
    return PromptView(
        policy_version=policy_version,
        text=engine.get_tokenizer().decode(token_ids),
        token_ids=tuple(token_ids),
        clip=clip,
        grid=tuple(side for grid in grids for side in grid.tolist()),
        seconds_per_grid=tuple(float(one["second_per_grid_ts"]) for one in data if "second_per_grid_ts" in one),
        position_ids=tuple(map(tuple, positions)),
        logprobs=(),
    )


def model_positions(worker: Any, token_ids: list[int], features: Sequence[MultiModalFeatureSpec]) -> list[list[int]]:
    """Position ids of a prompt, [3][P], from the model in a vLLM worker, where this runs.

    Uses the call that vLLM's runner makes for a new request.
    """
    model = worker.get_model()
    if not supports_mrope(model):
        return [list(range(len(token_ids)))] * 3
    positions, _ = model.get_mrope_input_positions(token_ids, list(features))
    rows: list[list[int]] = positions.tolist()
    return rows

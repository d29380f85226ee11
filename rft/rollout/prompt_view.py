"""The engine's view of a prompt: tokens, grid, times and positions that vLLM's model runs on."""

from collections.abc import Sequence
from typing import Any

from vllm.model_executor.models.interfaces import supports_mrope
from vllm.multimodal.inputs import MultiModalFeatureSpec
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.llm_engine import LLMEngine

from rft.parity.compare import PromptView
from rft.rollout.feature_connector import tower_and_key


def view_prompt(engine: LLMEngine, rendered: Any, policy_version: int) -> PromptView:
    """The engine's view of a prompt that its renderer made, without log-probabilities.

    The request is prepared as for a run, with the cached inputs of a known clip, but not run.
    """
    request = engine.input_processor.process_inputs(
        "view", rendered, SamplingParams(max_tokens=1), supported_tasks=engine.get_supported_tasks()
    )
    prepared, _ = engine.engine_core.engine_core.preprocess_add_request(request)
    features = prepared.mm_features
    assert len(features) <= 1
    data = {name: value.data for feature in features for name, value in feature.data.items()}
    token_ids = list(prepared.prompt_token_ids)
    # All tensor-parallel workers have the same positions.
    positions = engine.collective_rpc(model_positions, args=(token_ids, features))[0]
    grid = data.get("video_grid_thw", data.get("image_grid_thw"))
    seconds = data.get("second_per_grid_ts")
    return PromptView(
        policy_version=policy_version,
        text=engine.get_tokenizer().decode(token_ids),
        token_ids=tuple(token_ids),
        clip="".join(tower_and_key(feature.identifier)[1] for feature in features),
        grid=() if grid is None else tuple(grid.tolist()),
        seconds_per_grid=None if seconds is None else float(seconds),
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

"""Puts new weights into a vLLM engine, and proves that they arrived."""

from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.outputs import RequestOutput
from vllm.platforms import current_platform
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.llm_engine import LLMEngine

from rft.weights.ref import Address, StagedWeights, StoredWeights, WeightsRef
from rft.weights.transfer import NcclReceiver, Receiver, stored_tensors

PROBE = "probe"
"""Id of the probe's request."""


class WeightLoader:
    """Gives one engine the weights of the learner, and proves each time that they arrived."""

    def __init__(self, engine: LLMEngine, receiver: Receiver | None, model: str) -> None:
        """`model`: the folder that the engine was started from."""
        self._engine, self._receiver = engine, receiver
        self._model: str | None = model
        """Folder whose weights the engine holds, but for those that move; None: all have moved."""
        self._served: WeightsRef | None = None
        self._has_dropped = False
        """Whether the sleeping engine has no copy of its weights."""
        engine.set_weight_version("0")

    def sleep(self) -> None:
        """Leave the GPU to its other process. Weights of which none stays as it was are dropped, others copied to the
        CPU's memory: the next weights replace the first ones, and those that are served lie with the learner."""
        self._has_dropped = self._served is not None and self._served.model is None
        self._engine.sleep(level=2 if self._has_dropped else 1)

    def wake(self) -> None:
        """As the engine was before it slept; an engine that is awake stays as it is."""
        if not self._engine.is_sleeping():
            return
        if self._has_dropped and self._served is not None:
            self._fill(self._served)
        else:
            self._engine.wake_up()

    def group(self, source: StagedWeights) -> Address | None:
        """The group for broadcasts that the engine is in with the learner that `source` lies with; None: in none."""
        return self._receiver.group(source) if isinstance(self._receiver, NcclReceiver) else None

    def load(self, ref: WeightsRef, finish: Callable[[RequestOutput], None]) -> float:
        """Mean absolute difference between the engine's and the learner's log-probabilities of the probe.

        A sleeping engine is woken. Prefixes, processed clips and clip embeddings computed with the old weights are
        dropped: the prefix cache holds keys and values of the old policy, and vLLM's three multimodal caches name clips
        by content and must forget them together, or the next use of a known clip finds its embeddings missing.
        Requests that are not finished go on: the new policy reads their prompts and the tokens drawn so far anew.
        `finish` gets those that end with the probe.
        """
        engine = self._engine
        self._fill(ref)
        self._served = ref
        if not engine.reset_prefix_cache(reset_running_requests=True):
            raise RuntimeError("the prefix cache still holds blocks of the old weights")
        self._return_media()
        engine.reset_mm_cache()
        engine.reset_encoder_cache()
        engine.set_weight_version(str(ref.policy_version))
        measured = prompt_logprobs(engine, ref.probe.token_ids, finish)
        return fmean(abs(a - b) for a, b in zip(measured, ref.probe.logprobs, strict=True))

    def _fill(self, ref: WeightsRef) -> None:
        """Put these weights into the engine, which is woken where it sleeps."""
        engine = self._engine
        was_asleep = engine.is_sleeping()
        if was_asleep:
            engine.wake_up(["weights"])  # the key-value cache only after the copies between the GPU's processes
        if ref.model is not None and ref.model != self._model:
            engine.collective_rpc("reload_weights", kwargs={"weights_path": ref.model})
        self._model = ref.model
        match ref.source:
            case StoredWeights() as stored:
                weights = iter(list(stored_tensors(stored).items()))
                engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
            case StagedWeights() as staged:
                assert self._receiver is not None, "the engine was started for weights of the object store"
                self._receiver.receive(staged)
        engine.collective_rpc(repack_tied_head)
        if was_asleep:
            engine.wake_up(["kv_cache"])

    def _return_media(self) -> None:
        """Give the worker all media of the requests that go on: it has none of prompts that it found computed.

        vLLM's second model runner gets them anyway.
        """
        if not self._engine.vllm_config.use_v2_model_runner:
            requests = self._engine.engine_core.engine_core.scheduler.requests.values()
            self._engine.collective_rpc(take_media, args=({one.request_id: one.mm_features for one in requests},))


def take_media(worker: Any, media: Mapping[str, Any]) -> None:
    """Runs in a vLLM worker: `media` of requests by their ids, of those that it has."""
    for request_id in media.keys() & worker.model_runner.requests.keys():
        worker.model_runner.requests[request_id].mm_features = media[request_id]


def repack_tied_head(worker: Any) -> None:
    """Runs in a vLLM worker: a head tied to the embeddings uses the new weights on the CPU too.

    vLLM's CPU kernels multiply by a packed copy of a layer's weights, which is made when weights are loaded into that
    layer; a tied head gets its weights through the embeddings, and would keep the packed copy of the old ones.
    """
    if not current_platform.is_cpu():
        return
    for module in worker.get_model().modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


def prompt_logprobs(
    engine: LLMEngine, token_ids: tuple[int, ...], finish: Callable[[RequestOutput], None]
) -> tuple[float, ...]:
    """[len(token_ids) - 1], of each token after the first, under the bare logits of the policy.

    `finish` gets other requests that end meanwhile.
    """
    params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
    (request,) = engine.renderer.render_cmpl([{"prompt_token_ids": list(token_ids)}])
    engine.add_request(PROBE, request, params, priority=-1)
    rows: Any = None
    while rows is None:
        for output in engine.step():
            if output.request_id != PROBE:
                finish(output)
            elif output.finished:
                rows = output.prompt_logprobs[1:]
    return tuple(row[token].logprob for row, token in zip(rows, token_ids[1:], strict=True))

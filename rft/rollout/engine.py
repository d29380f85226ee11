"""A vLLM engine stepped by one thread, so that new requests join the batch that is being decoded."""

import itertools
import queue
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from vllm.engine.arg_utils import EngineArgs
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.llm_engine import LLMEngine

from rft.data.frames import Shown
from rft.data.processor import STRETCH_FRAMES, PromptProcessor
from rft.parity.compare import PromptView
from rft.recipe import Recipe
from rft.rollout.feature_connector import clip_identifier, connector_config, feature_counts
from rft.rollout.prompt_view import view_prompt
from rft.rollout.stretches import join_positions
from rft.types import Completion, Prompt, Sampling
from rft.weights.loader import WeightLoader
from rft.weights.ref import Address, StagedWeights, WeightsRef
from rft.weights.transfer import open_receiver, transfer_backend

BAN = -100.0
"""Added to the logits of banned tokens: vLLM's largest bias, which leaves them no probability in float32."""

CPU_BLOCK_TOKENS = 32
"""Tokens per cache block on the CPU, the least its kernels take: only whole blocks of a prefix are shared."""

METRICS = {
    "vllm:generation_tokens": "generated_tokens",
    "vllm:prompt_tokens": "prompt_tokens",
    "vllm:prefix_cache_queries": "prefix_cache_queries",
    "vllm:prefix_cache_hits": "prefix_cache_hits",
    "vllm:mm_cache_queries": "clip_cache_queries",
    "vllm:mm_cache_hits": "clip_cache_hits",
    "vllm:num_preemptions": "preemptions",
}
"""vLLM's counters -> ours. Prefix cache: prompt tokens. Clip cache: clips after the processor."""


class EngineFailed(Exception):
    """The engine raised while it stepped and cannot be used any more."""


class Aborted(Exception):
    """The request was dropped before it finished."""


class Engine:
    """Owns the vLLM engine and the thread that steps it. `render` is for one thread at a time, the others for any."""

    def __init__(self, model: str, recipe: Recipe, use_gpu: bool, features_dir: Path | None = None) -> None:
        """`features_dir`: where features of a frozen vision tower are kept; None: nowhere."""
        self._processor = PromptProcessor.of(model, recipe)
        args = engine_args(model, recipe, use_gpu) | self._processor.engine_options()
        if features_dir is not None:
            args["ec_transfer_config"] = connector_config(features_dir, recipe.video.cache_gib)
        self._logit_bias = dict.fromkeys(self._processor.banned_token_ids, BAN)
        self._policy_version = 0
        self._frozen_tower: str | None = None
        self._ids = itertools.count()
        self._requests: dict[str, Future[tuple[Completion, ...]]] = {}
        self._counted: dict[str, float] = {}
        self._failure: EngineFailed | None = None
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

        def build() -> None:
            self._engine = LLMEngine.from_engine_args(EngineArgs(**args), usage_context=UsageContext.LLM_CLASS)
            if recipe.video.stream:
                self._engine.collective_rpc(join_positions)
            self._weights = WeightLoader(self._engine, open_receiver(self._engine, recipe.rollout, use_gpu), model)

        # vLLM keeps CUDA streams by thread: what builds the engine has to step it.
        is_built: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(build, is_built), name="engine", daemon=True)
        self._thread.start()
        is_built.result()

    def render(self, prompt: Prompt, frames: Shown | None) -> Any:
        """The prompt after vLLM's tokenizer and processor. Raises what they raise, as for a prompt that is too long."""
        media = self._processor.engine_media(prompt, frames)
        engine_input = self._processor.engine_input(prompt, media)
        if frames is not None:
            # The key names the frames' content, so vLLM need not hash the pixels to find a known clip.
            engine_input["multi_modal_uuids"] = {
                kind: [clip_identifier(self._frozen_tower, one.key) for one in of_kind]
                for kind, of_kind in media.items()
                if of_kind
            }
        (rendered,) = self._engine.renderer.render_cmpl([engine_input])
        for item, clip in zip(rendered.get("mm_kwargs", {}).get("video", ()), media["video"], strict=False):
            if item is not None and "second_per_grid_ts" in item:
                # vLLM rounds them to the model's dtype: bfloat16 would move frame pairs to other positions.
                rounded, seconds = item["second_per_grid_ts"], self._processor.seconds_per_grid(clip)
                rounded.data = torch.full_like(rounded.data, seconds, dtype=torch.float32)
        return rendered

    def view_prompt(self, rendered: Any, clip: str) -> Future[PromptView]:
        """The engine's view of a rendered prompt, without log-probabilities; nothing is sampled.

        `clip`: key of the frames that it was rendered with.
        """

        def view(future: Future[PromptView]) -> None:
            self._weights.wake()
            future.set_result(view_prompt(self._engine, rendered, clip, self._policy_version))

        return self._command(view)

    def submit(self, rendered: Any, sampling: Sampling, seed: int) -> Future[tuple[Completion, ...]]:
        """The group of a rendered prompt, drawn with `seed`, seed + 1, ... Raises Aborted, EngineFailed, ValueError."""
        params = SamplingParams(
            n=sampling.num_generations,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_completion_length,
            seed=seed,
            logprobs=0,
            flat_logprobs=True,
            logit_bias=self._logit_bias,
            stop_token_ids=[self._processor.eos_token_id],
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

        def add(future: Future[tuple[Completion, ...]]) -> None:
            self._weights.wake()
            request_id = str(next(self._ids))
            self._engine.add_request(request_id, rendered, params)
            self._requests[request_id] = future

        return self._command(add)

    def broadcast_group(self, source: StagedWeights) -> Future[Address | None]:
        """The group that the engine is in with the learner that `source` lies with; None: in none."""

        def group(future: Future[Address | None]) -> None:
            future.set_result(self._weights.group(source))

        return self._command(group)

    def load_weights(self, ref: WeightsRef) -> Future[float]:
        """The gap of the probe. `render` must not be running, and what it returned be submitted."""

        def load(future: Future[float]) -> None:
            gap = self._weights.load(ref, self._finish)
            self._policy_version, self._frozen_tower = ref.policy_version, ref.frozen_tower
            future.set_result(gap)

        return self._command(load)

    def sleep(self) -> Future[None]:
        """Leave the GPU to its other process until there is something to do.

        The engine must be idle, and `render` not running.
        """

        def sleep(future: Future[None]) -> None:
            self._weights.sleep()
            future.set_result(None)

        return self._command(sleep)

    def abort_all(self) -> Future[int]:
        """Drop all requests; returns how many."""

        def abort(future: Future[int]) -> None:
            requests, self._requests = self._requests, {}
            self._engine.abort_request(list(requests))
            for request in requests.values():
                request.set_exception(Aborted("aborted"))
            future.set_result(len(requests))

        return self._command(abort)

    def counters(self) -> Future[dict[str, float]]:
        """Counts since the last call, by the names of METRICS and of feature_counts."""

        def count(future: Future[dict[str, float]]) -> None:
            totals: dict[str, float] = dict.fromkeys(METRICS.values(), 0.0)
            for metric in self._engine.get_metrics():
                if metric.name in METRICS:
                    totals[METRICS[metric.name]] += metric.value
            totals |= feature_counts(self._engine)
            before, self._counted = self._counted, totals
            future.set_result({name: total - before.get(name, 0.0) for name, total in totals.items()})

        return self._command(count)

    def _command(self, run: Callable[[Future[Any]], None]) -> Future[Any]:
        """Have `run` done by the engine's thread between two steps; what it raises goes into the future."""
        future: Future[Any] = Future()

        def guarded() -> None:
            if self._failure is not None:
                future.set_exception(self._failure)
                return
            try:
                run(future)
            except Exception as error:
                future.set_exception(error)

        self._commands.put(guarded)
        return future

    def _run(self, build: Callable[[], None], is_built: Future[None]) -> None:
        try:
            build()
        except BaseException as error:
            is_built.set_exception(error)
            return
        is_built.set_result(None)
        while True:
            busy = self._failure is None and self._engine.has_unfinished_requests()
            if not busy or not self._commands.empty():
                # Only this thread takes commands, so the queue cannot become empty meanwhile.
                self._commands.get()()
                continue
            try:
                for output in self._engine.step():
                    self._finish(output)
            except Exception as error:
                self._fail(error)

    def _finish(self, output: RequestOutput) -> None:
        future = self._requests.pop(output.request_id)
        try:
            future.set_result(tuple(self._completion(one, len(output.prompt_token_ids)) for one in output.outputs))
        except ValueError as error:
            future.set_exception(error)

    def _completion(self, output: CompletionOutput, num_prompt_tokens: int) -> Completion:
        if output.finish_reason not in ("stop", "length"):
            raise ValueError(f"vLLM ended the request with finish_reason {output.finish_reason!r}")
        banned = self._logit_bias.keys() & set(output.token_ids)
        if banned:
            raise ValueError(f"banned tokens {sorted(banned)} were sampled: their logits exceed all others by {-BAN:g}")
        first, *later = output.weight_versions
        return Completion(
            text=self._processor.tokenizer.decode(output.token_ids, skip_special_tokens=True),
            token_ids=tuple(output.token_ids),
            logprobs=tuple(output.logprobs.logprobs),
            num_prompt_tokens=num_prompt_tokens,
            finish_reason=output.finish_reason,
            policy_version=int(first.version),
            later_versions=tuple((span.start, int(span.version)) for span in later),
        )

    def _fail(self, error: Exception) -> None:
        self._failure = EngineFailed("".join(traceback.format_exception(error, limit=-3)).rstrip())
        requests, self._requests = self._requests, {}
        for request in requests.values():
            request.set_exception(self._failure)


def engine_args(model: str, recipe: Recipe, use_gpu: bool) -> dict[str, Any]:
    """Arguments of vLLM's engine for `recipe`, its rollout.engine last."""
    rollout = recipe.rollout
    num_videos = -(-recipe.video.max_frames // STRETCH_FRAMES) if recipe.video.stream else 1
    args: dict[str, Any] = {
        "model": model,
        "dtype": recipe.learner.dtype,
        "max_model_len": rollout.max_model_len,
        "max_num_seqs": rollout.max_num_seqs,
        "limit_mm_per_prompt": {"image": rollout.max_media, "video": max(rollout.max_media, num_videos)},
        "enable_prefix_caching": True,
        # Log-probabilities of the distribution the tokens were drawn from, after bias, temperature, top-p and top-k.
        "logprobs_mode": "processed_logprobs",
        "seed": recipe.seed,
        # The probe of new weights goes first, or it would wait for completions that go on under them.
        "scheduling_policy": "priority" if rollout.partial else "fcfs",
        "use_tqdm_on_load": False,
        "disable_log_stats": False,
    }
    if use_gpu:
        args["tensor_parallel_size"] = rollout.gpus_per_worker
        args["gpu_memory_utilization"] = rollout.gpu_memory_utilization
        args["enable_sleep_mode"] = rollout.sleeps_during_update
        if rollout.gpus_per_worker > 1:
            args["distributed_executor_backend"] = "mp"
        backend = transfer_backend(rollout, use_gpu)
        if backend != "object_store":
            args["weight_transfer_config"] = {"backend": backend}
    else:
        args["enforce_eager"] = True
        args["block_size"] = CPU_BLOCK_TOKENS
        # A prompt that is run in parts is sampled from after each part, and vLLM cannot take such a draw back from a
        # seeded generator of the CPU.
        args["enable_chunked_prefill"] = False
        # Stated in bytes, it spares the engine a forward pass over the longest prompt to find out.
        args["kv_cache_memory_bytes"] = int(rollout.kv_cache_gib * 2**30)
    return args | rollout.engine

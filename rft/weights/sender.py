"""The learner's end of a transfer between GPUs; its first rank sends by vLLM's own engine for trainers."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.multiprocessing.reductions import reduce_tensor

from rft.weights.ref import Address
from rft.weights.transfer import gpu_uuid


class WeightSender:
    """Copies of the published weights on this GPU, until the next ones are published."""

    def __init__(self) -> None:
        self._source = VllmWeightSource()
        self._group: Any = None

    def stage(self, weights: dict[str, Tensor]) -> None:
        """Replace the copies by `weights`."""
        torch.cuda.synchronize()  # readers in other processes do not wait for this one's stream
        self._source.weights = weights
        # What an engine has read stays taken until this process asks.
        torch.cuda.ipc_collect()  # type: ignore[no-untyped-call]

    def export(self) -> list[dict[str, tuple[Any, ...]]]:
        """CUDA handles of the weights, in their order, for one reader in another process on this GPU."""
        gpu, share = gpu_uuid(), cast("Callable[[Tensor], tuple[Any, tuple[Any, ...]]]", reduce_tensor)
        return [{gpu: share(tensor)[1]} for tensor in self._source.weights.values()]

    def open_group(self, address: Address, size: int) -> None:
        """Form an NCCL group of `size` with engines, as its first rank, in place of the one there was.

        Returns once all have joined.
        """
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        with kept_compile_threads():
            from vllm.distributed.weight_transfer import WeightTransferTrainerFactory
            from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        keep_default_stream()
        if self._group is not None:
            self._group.shutdown()
        self._group = WeightTransferTrainerFactory.trainer_init(
            NCCLTrainerInitInfo(address[0], address[1], size, rank=0), client=NoClient(), source=self._source
        )

    def send(self, timeout_s: float) -> None:
        """Broadcast the weights to the group; returns once they are sent.

        TimeoutError: an engine did not take them, and the group is broken up.
        """
        group, given_up = self._group, threading.Event()

        def give_up() -> None:
            given_up.set()
            group.shutdown()  # NCCL waits for ever for a process that ended

        timer = threading.Timer(timeout_s, give_up)
        timer.start()
        try:
            group.send_weights()
        finally:
            timer.cancel()
        if given_up.is_set():
            raise TimeoutError(f"an engine did not take the weights in {timeout_s:g} s")


@contextmanager
def kept_compile_threads() -> Iterator[None]:
    """vLLM, as it is imported, leaves torch's compiler one thread; afterwards it has as many as before."""
    from torch._inductor import config

    variable, threads = "TORCHINDUCTOR_COMPILE_THREADS", config.compile_threads
    told = os.environ.get(variable)
    try:
        yield
    finally:
        config.compile_threads = threads
        os.environ.pop(variable, None)
        os.environ.update({} if told is None else {variable: told})


def keep_default_stream() -> None:
    """Have vLLM, once imported, send on the stream that this thread computes on.

    It would move a thread whose stream it was never told to a new one, where memory that torch keeps for the default
    stream cannot be used again.
    """
    if torch.cuda.is_available():
        torch.cuda.set_stream(torch.cuda.default_stream())  # vLLM has put its own function here, which remembers


class VllmWeightSource:
    """vLLM's WeightSource over a dict of whole tensors."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def metadata(self) -> list[Any]:
        from vllm.distributed.weight_transfer import ParamMeta

        return [ParamMeta(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self.weights.items()]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return iter(self.weights.items())


class NoClient:
    """vLLM's client for the engine's side of a transfer. Here the engine's own process looks after that side."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        return

    def start_weight_update(self) -> None:
        return

    def update_weights(self, update_info: Any) -> None:
        return

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        return

"""One broadcast of weights to several engines: the receiving ends over gloo, with a sender and engines made up."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import torch
from torch.distributed import ProcessGroupGloo, TCPStore

from rft.weights import transfer
from rft.weights.ref import Address, Probe, StagedWeights, WeightsRef, broadcast_refs, tensor_metadata
from rft.weights.transfer import NcclReceiver

TIMEOUT = timedelta(seconds=60)


class Call:
    """A method of an actor: calls wait for those before them."""

    def __init__(self, thread: ThreadPoolExecutor, method: Callable[..., Any]) -> None:
        self.thread, self.method = thread, method

    def remote(self, *args: Any) -> Future:
        return self.thread.submit(self.method, *args)


class Sender:
    """Has the methods of the learner's first rank that engines call, in a thread of its own."""

    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}
        self.calls: list[str] = []
        thread = ThreadPoolExecutor(1)
        self.address = Call(thread, self.new_group)
        self.open_group, self.send_weights = Call(thread, self.open), Call(thread, self.send)

    def new_group(self) -> Address:
        """The port is held from here on."""
        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
        return "127.0.0.1", self.store.port

    def open(self, address: Address, size: int) -> None:
        self.calls.append(f"open {size}")
        assert self.store.port == address[1]
        self.group = ProcessGroupGloo(self.store, 0, size, TIMEOUT)

    def send(self) -> None:
        self.calls.append("send")
        for tensor in self.weights.values():
            self.group.broadcast(tensor, 0).wait()

    def publish(self, value: float) -> WeightsRef:
        self.weights = {"a": torch.full((2, 3), value), "b": torch.full((4,), value, dtype=torch.bfloat16)}
        source = StagedWeights((("GPU-0", self),), tensor_metadata(self.weights), self.new_group())
        return WeightsRef(int(value), source, Probe((), ()))


class FakeEngine:
    """Takes part with `num_gpus` processes, of which each gets the weights."""

    def __init__(self, num_gpus: int) -> None:
        self.num_gpus = num_gpus
        self.receiver = NcclReceiver(self, num_gpus)  # type: ignore[arg-type]
        self.groups: list[ProcessGroupGloo] = []
        self.weights: list[dict[str, torch.Tensor]] = []

    def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> list[Any]:
        with ThreadPoolExecutor(self.num_gpus) as processes:
            if method == "init_weight_transfer_engine":
                assert self.groups == [], "a group is left before the next one is formed"
                self.groups = list(processes.map(lambda rank: join(args[0], rank), range(self.num_gpus)))
            elif method == "shutdown_weight_transfer_engine":
                self.groups = []
            elif method == "update_weights":
                self.weights = list(processes.map(lambda group: received(group, args[0]), self.groups))
        return []


def join(info: dict[str, Any], rank: int) -> ProcessGroupGloo:
    store = TCPStore(info["master_address"], info["master_port"], timeout=TIMEOUT)
    return ProcessGroupGloo(store, info["rank_offset"] + rank, info["world_size"], TIMEOUT)


def received(group: ProcessGroupGloo, metadata: dict[str, Any]) -> dict[str, torch.Tensor]:
    shapes, dtypes = metadata["shapes"], metadata["dtype_names"]
    tensors = [torch.empty(shape, dtype=getattr(torch, dtype)) for shape, dtype in zip(shapes, dtypes, strict=True)]
    for tensor in tensors:
        group.broadcast(tensor, 0).wait()
    return dict(zip(metadata["names"], tensors, strict=True))


def hand_over(ref: WeightsRef, engines: list[FakeEngine]) -> None:
    """As the pool does it."""
    refs = broadcast_refs(ref, [engine.receiver.group(ref.source) for engine in engines])
    with ThreadPoolExecutor(len(engines)) as threads:
        list(threads.map(lambda engine, to: engine.receiver.receive(to.source), engines, refs))


def values(engines: list[FakeEngine]) -> list[set[float]]:
    return [{tensor.unique().item() for of in engine.weights for tensor in of.values()} for engine in engines]


@pytest.mark.parametrize("num_gpus", [1, 2])
def test_engines_get_equal_weights_and_so_does_one_that_takes_anothers_place(
    num_gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer.ray, "get", result)
    sender, engines = Sender(), [FakeEngine(num_gpus) for _ in range(3)]
    all_of_them = f"open {1 + 3 * num_gpus}"
    for value in (1.0, 2.0):
        hand_over(sender.publish(value), engines)
        assert values(engines) == [{value}] * 3
        assert [len(engine.weights) for engine in engines] == [num_gpus] * 3
    assert sender.calls == [all_of_them, "send", "send"]

    engines[0] = FakeEngine(num_gpus)
    hand_over(ref := sender.publish(3.0), engines)
    assert values(engines) == [{3.0}] * 3
    engines[2] = FakeEngine(num_gpus)
    engines[2].receiver.receive(ref.source)
    hand_over(sender.publish(4.0), engines)
    assert values(engines) == [{4.0}] * 3
    alone = f"open {1 + num_gpus}"
    assert sender.calls[3:] == [all_of_them, "send", alone, "send", all_of_them, "send"]

    other = Sender()
    hand_over(other.publish(5.0), engines)
    assert (values(engines), other.calls) == ([{5.0}] * 3, [all_of_them, "send"])


def result(of: Any) -> Any:
    return [one.result() for one in of] if isinstance(of, list) else of.result()

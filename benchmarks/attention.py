"""What does the attention of one packed group cost, forward and backward, in one layer, done in different ways?

    python -m benchmarks.attention                   # on a GPU the shape of a 7B model, else a tiny one
    python -m benchmarks.attention --device cpu --prompt-tokens 1200

ours: rft/learner/attention.py as the learner calls it on that device. varlen: two calls of torch's flash-attention
kernel for sequences of different lengths, joined by their log-sum-exp; on GPUs alone, in bfloat16. copies: a row for
each completion, with the whole prompt, plainly causal. dense: one row with a mask of L x L.
Queries, keys and values are made up; what comes out and its gradients are compared with ours.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.report import add_output_arguments, finish, gpu_name
from rft.learner.attention import Packing, packed_attention
from rft.learner.row_shape import GroupShape
from rft.tables import TextTable

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""[rows, L, heads, d] of queries [rows, heads, L, d], keys and values [rows, key heads, L, d]."""

SHAPES: dict[str, dict[str, Any]] = {
    "cpu": {"heads": 4, "key_heads": 2, "width": 32, "prompt_tokens": 600, "completion_tokens": 64, "dtype": "float32"},
    "cuda": {
        "heads": 28,
        "key_heads": 4,
        "width": 128,
        "prompt_tokens": 3700,
        "completion_tokens": 256,
        "dtype": "bfloat16",
    },
}
"""Defaults by device: a layer of the quickstart's policy, and one of Qwen2.5-VL-7B."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A flash-attention kernel for sequences of different lengths, forward and backward, as torch has them on GPUs."""

    forward: Callable[..., Any] = torch.ops.aten._flash_attention_forward
    backward: Callable[..., Any] = torch.ops.aten._flash_attention_backward


class TwoVarlenCalls(torch.autograd.Function):
    """Every run of tokens on itself, then all completions on the prompt, joined by their log-sum-exp.

    torch.nn.attention.varlen would take the first half, but its backward pass drops the gradient of the log-sum-exp.
    The kernel's own takes the joined output and log-sum-exp, and then gives what one softmax over all keys has.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, group: GroupShape, scale: float, kernel: Kernel
    ) -> Tensor:
        """[1, L, heads, d]."""
        rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
        calls = varlen_calls(group, query.device)
        out, log_sum, state, unused, _ = _run(kernel.forward, rows, calls[0], scale)
        behind = group.num_prefix
        share, share_log_sum, *_ = _run(kernel.forward, rows, calls[1], scale)
        joined = torch.logaddexp(log_sum[:, behind:], share_log_sum)
        weight = (share_log_sum - joined).exp().transpose(0, 1)[..., None]
        out[behind:] = torch.lerp(out[behind:].to(weight.dtype), share.to(weight.dtype), weight)
        log_sum[:, behind:] = joined
        ctx.save_for_backward(*rows, out, log_sum, state, unused)
        ctx.calls, ctx.scale, ctx.kernel = calls, scale, kernel
        return out[None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *rows, out, log_sum, state, unused = ctx.saved_tensors
        gradients = [torch.zeros_like(row) for row in rows]
        for call in ctx.calls:
            own, seen = call.queries, call.keys
            shares = ctx.kernel.backward(
                gradient[0, own].contiguous(),
                rows[0][own],
                rows[1][seen],
                rows[2][seen],
                out[own],
                log_sum[:, own].contiguous(),
                *call.lengths,
                0.0,
                call.is_causal,
                state,
                unused,
                scale=ctx.scale,
            )
            for whole, place, part in zip(gradients, (own, seen, seen), shares, strict=True):
                whole[place] += part
        return *(whole.transpose(0, 1)[None] for whole in gradients), None, None, None


@dataclass(frozen=True, slots=True)
class VarlenCall:
    """Sequences of queries and of keys that lie end to end in parts of the row."""

    queries: slice
    keys: slice
    lengths: tuple[Tensor, Tensor, int, int]
    """As the kernel wants them: where queries and keys begin, and the longest of each."""
    is_causal: bool


def varlen_calls(group: GroupShape, device: torch.device) -> tuple[VarlenCall, VarlenCall]:
    """All tokens, run by run; the completions as one sequence on the prompt."""

    def starts(lengths: Sequence[int]) -> Tensor:
        return torch.tensor([0, *lengths], device=device).cumsum(0).to(torch.int32)

    prefix, written, runs = group.num_prefix, sum(group.lengths), (group.num_prefix, *group.lengths)
    whole = slice(0, len(group))
    return (
        VarlenCall(whole, whole, (starts(runs), starts(runs), max(runs), max(runs)), True),
        VarlenCall(
            slice(prefix, len(group)), slice(0, prefix), (starts([written]), starts([prefix]), written, prefix), False
        ),
    )


def _run(forward: Callable[..., Any], rows: Sequence[Tensor], call: VarlenCall, scale: float) -> Any:
    query, key, value = rows[0][call.queries], rows[1][call.keys], rows[2][call.keys]
    return forward(query, key, value, *call.lengths, 0.0, call.is_causal, False, scale=scale)


def ours(group: GroupShape, scale: float, device: torch.device) -> Attend:
    packing = Packing((group,), device)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return packed_attention(torch.nn.Module(), query, key, value, None, scaling=scale, packing=packing)[0]

    return attend


def varlen(group: GroupShape, scale: float, device: torch.device, kernel: Kernel | None = None) -> Attend:
    kernel = kernel or Kernel()

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out: Tensor = TwoVarlenCalls.apply(query, key, value, group, scale, kernel)  # type: ignore[no-untyped-call]
        return out

    return attend


def copies(group: GroupShape, scale: float, device: torch.device) -> Attend:
    """For rows as Copies makes them."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=True)
        return out.transpose(1, 2)

    return attend


def dense(group: GroupShape, scale: float, device: torch.device) -> Attend:
    """As transformers does with a mask: every query head with its own copy of keys and values."""
    _, segment, _ = (labels.to(device) for labels in Packing((group,), device).labels)
    places = torch.arange(len(group), device=device)
    own = (segment[:, None] == segment) | (segment == 0)
    mask = (own & (places[:, None] >= places))[None, None]

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        times = query.shape[1] // key.shape[1]
        key, value = (tensor.repeat_interleave(times, dim=1) for tensor in (key, value))
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale).transpose(1, 2)

    return attend


WAYS = {"ours": ours, "varlen": varlen, "copies": copies, "dense": dense}


@dataclass(frozen=True, slots=True)
class Copies:
    """The packed row as one row per completion, and what they give as the packed row's."""

    group: GroupShape

    def spread(self, row: Tensor) -> Tensor:
        """[G, heads, P + C, d] of [1, heads, L, d]."""
        prefix, *runs = row[0].split([self.group.num_prefix, *self.group.lengths], dim=1)
        return torch.stack([torch.cat([prefix, run], dim=1) for run in runs])

    def gathered(self, rows: Tensor, *, add: bool) -> Tensor:
        """[1, heads, L, d] of [G, heads, P + C, d]; the prompt from the first row, or the sum over all."""
        prefix, runs = rows.split([self.group.num_prefix, self.group.lengths[0]], dim=2)
        shared = prefix.float().sum(0).to(rows.dtype) if add else prefix[0]
        return torch.cat([shared, *runs], dim=1)[None]


@dataclass(frozen=True, slots=True)
class Measured:
    forward_s: float
    both_s: float
    """Forward and backward."""
    peak_mib: float | None
    """That both add at their peak to what was allocated before; None on the CPU."""
    results: tuple[Tensor, ...]
    """What comes out and the gradients of queries, keys and values, of the packed row, on the CPU."""


def measure(way: str, arguments: argparse.Namespace) -> Measured:
    a, device = arguments, torch.device(arguments.device)
    # The last token of the prompt belongs to each completion, as rft/learner/packing.py has it.
    group = GroupShape(a.prompt_tokens - 1, (a.completion_tokens,) * a.group)
    torch.manual_seed(0)
    dtype = getattr(torch, a.dtype)
    inputs, wanted = [], torch.randn(1, a.heads, len(group), a.width)
    for heads in (a.heads, a.key_heads, a.key_heads):
        inputs.append(torch.randn(1, heads, len(group), a.width).to(device, dtype))
    wanted = wanted.to(device, dtype)
    spread = Copies(group)
    if way == "copies":
        inputs = [spread.spread(tensor) for tensor in inputs]
        wanted = spread.spread(wanted)
        wanted[:, :, : group.num_prefix] /= a.group  # every copy has the prompt's outputs, and one of them counts
    wanted = wanted.transpose(1, 2)
    inputs = [tensor.requires_grad_() for tensor in inputs]
    attend = WAYS[way](group, a.width**-0.5, device)

    def both() -> tuple[Tensor, ...]:
        out = attend(*inputs)
        return out.detach(), *torch.autograd.grad(out, inputs, wanted)

    both()  # compiles, fills caches
    peak = peak_mib(both, device)
    out, *gradients = both()
    results = [out.transpose(1, 2), *gradients]
    if way == "copies":
        results = [spread.gathered(of, add=place > 0) for place, of in enumerate(results)]
    with torch.no_grad():
        attend(*inputs)
        forward_s = median(seconds(lambda: attend(*inputs), device) for _ in range(a.repeats))
    both_s = median(seconds(both, device) for _ in range(a.repeats))
    return Measured(forward_s, both_s, peak, tuple(of.float().cpu() for of in results))


def seconds(run: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    begun = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_mib(run: Callable[[], object], device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return float(torch.cuda.max_memory_allocated() - before) / 2**20


def needed_gflop(arguments: argparse.Namespace) -> float:
    """Of the scores and the sums of values that a packed group cannot do without; backward counts twice."""
    prefix, length = arguments.prompt_tokens - 1, arguments.completion_tokens
    seen = prefix * (prefix + 1) / 2 + arguments.group * (length * prefix + length * (length + 1) / 2)
    return float(3 * 4 * seen * arguments.heads * arguments.width) / 1e9


def difference(one: Measured, other: Measured) -> float:
    """Largest, over the largest value, of what comes out and of each gradient."""
    pairs = zip(one.results, other.results, strict=True)
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


def compare(arguments: argparse.Namespace) -> dict[str, dict[str, float | None]]:
    has_kernel = arguments.device == "cuda" and arguments.dtype == "bfloat16"
    names = [name for name in WAYS if name != "varlen" or has_kernel]
    ways = {name: measure(name, arguments) for name in names}
    base = ways["ours"]
    return {
        name: {
            "forward_s": way.forward_s,
            "forward_and_backward_s": way.both_s,
            "times_ours": way.both_s / base.both_s,
            "needed_gflop_per_second": needed_gflop(arguments) / way.both_s,
            "peak_mib": way.peak_mib,
            "difference": difference(way, base),
        }
        for name, way in ways.items()
    }


def table(found: dict[str, dict[str, float | None]], shape: str) -> TextTable:
    columns = ("way", "forward, ms", "and backward, ms", "times ours", "needed GFLOP/s", "peak, MiB", "difference")
    lines = []
    for name in WAYS:
        if name not in found:
            lines.append((name, "bfloat16 on GPUs", "", "", "", "", ""))
            continue
        of = {key: value if value is not None else float("nan") for key, value in found[name].items()}
        peak = "not measured" if found[name]["peak_mib"] is None else f"{of['peak_mib']:,.0f}"
        lines.append(
            (
                name,
                f"{1e3 * of['forward_s']:.2f}",
                f"{1e3 * of['forward_and_backward_s']:.2f}",
                f"{of['times_ours']:.2f}",
                f"{of['needed_gflop_per_second']:,.0f}",
                peak,
                f"{of['difference']:.1e}",
            )
        )
    return TextTable(f"Attention of one packed group, one layer, {shape}", columns, tuple(lines))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--device", choices=tuple(SHAPES), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--prompt-tokens", type=int)
    parser.add_argument("--completion-tokens", type=int)
    parser.add_argument("--group", type=int, default=8, help="G, completions of the prompt")
    parser.add_argument("--heads", type=int)
    parser.add_argument("--key-heads", type=int)
    parser.add_argument("--width", type=int, help="d, of a head")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--repeats", type=int, default=20)
    add_output_arguments(parser)
    arguments = parser.parse_args(argv)
    for name, default in SHAPES[arguments.device].items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    return arguments


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("attention: no CUDA device here. Run on a GPU, or with --device cpu.", file=sys.stderr)
        return 2
    names = (*SHAPES["cpu"], "group", "repeats")
    shape = {name: getattr(arguments, name) for name in names}
    found = compare(arguments)
    result = {
        "question": "seconds of one layer's attention over a packed group, forward and backward",
        "hardware": gpu_name() if arguments.device == "cuda" else "CPU",
        "arguments": shape,
        "ways": found,
    }
    told = f"P {arguments.prompt_tokens}, C {arguments.completion_tokens}, G {arguments.group}, {arguments.dtype}"
    return finish("attention", result, [table(found, told)], arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

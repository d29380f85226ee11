"""AdamW, with its state in the precision and memory that a recipe asks for."""

import math
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim.adamw import adamw

from rft.learner.parts import CHUNK
from rft.learner.sharding import full, num_ranks, place_in_replica, sharded_as, sharded_like
from rft.recipe import LearnerRecipe

MOMENTS = ("exp_avg", "exp_avg_sq")


def build_optimizer(parameters: Sequence[nn.Parameter], recipe: LearnerRecipe) -> torch.optim.Optimizer:
    """AdamW over `parameters`, sharded or not; without weight decay for vectors."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    rate, betas, epsilon = recipe.learning_rate, (recipe.adam_beta1, recipe.adam_beta2), recipe.adam_epsilon
    state_dtype = torch.bfloat16 if recipe.optimizer_dtype == "bfloat16" else _wide(parameters[0])
    if recipe.offload_optimizer or torch.bfloat16 in {state_dtype, *(parameter.dtype for parameter in parameters)}:
        return LeanAdamW(groups, rate, betas, epsilon, state_dtype, offload=recipe.offload_optimizer)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=epsilon, fused=True)


class LeanAdamW(torch.optim.Optimizer):
    """torch's AdamW a chunk of numbers at a time, whose moments lie in another precision or in CPU memory.

    A chunk is computed in float32 on the parameters' device, so offloading changes no result. Numbers kept in bfloat16
    are rounded up or down at random, right on average: rounding to the nearest would swallow what changes a number by
    less than 0.2 %, such as a second moment that decays by 0.1 %. The noise follows from the number of updates and the
    share, so that a resumed run draws the same, and replicas of a share do.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        rate: float,
        betas: tuple[float, float],
        epsilon: float,
        state_dtype: torch.dtype,
        *,
        offload: bool,
    ) -> None:
        super().__init__(groups, {"lr": rate, "betas": betas, "eps": epsilon, "weight_decay": 0.0})
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        sizes = [_own(parameter).numel() for parameter in parameters]
        self._device = _own(parameters[0]).device
        self._place = place_in_replica(parameters[0])
        home = torch.device("cpu") if offload else self._device
        self._moments = torch.zeros(len(MOMENTS), sum(sizes), dtype=state_dtype, device=home)
        if self._device.type == "cuda" and offload:
            _pin(self._moments)
        for parameter, *flat in zip(parameters, *(moment.split(sizes) for moment in self._moments), strict=True):
            shaped = [moment.view(_own(parameter).shape) for moment in flat]
            self.state[parameter] = {"step": torch.zeros(()), **dict(zip(MOMENTS, shaped, strict=True))}

    @property
    def moments_dtype(self) -> torch.dtype:
        return self._moments.dtype

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        noise = torch.Generator(self._device)
        num_updates = sum(int(state["step"]) for state in self.state.values())
        noise.manual_seed(num_updates * 2**16 + self._place)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, _own(parameter.grad).reshape(-1), group, noise)
        if self._moments.is_pinned():
            torch.cuda.synchronize(self._device)  # copies to pinned memory run on after the call

    def _update(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any], noise: torch.Generator) -> None:
        state, wide = self.state[parameter], _wide(parameter)
        kept = [tensor.view(-1) for tensor in (_own(parameter), *(state[name] for name in MOMENTS))]
        for start in range(0, len(gradient), CHUNK):
            part = slice(start, start + CHUNK)
            self._update_chunk([tensor[part] for tensor in kept], gradient[part].to(wide), state["step"], group, noise)
        state["step"] += 1

    def _update_chunk(
        self, kept: list[Tensor], gradient: Tensor, step: Tensor, group: dict[str, Any], noise: torch.Generator
    ) -> None:
        """`kept`: weights and their moments, as they lie."""
        # First to the device, then wider: less to move.
        value, mean, square = (part.to(self._device, non_blocking=True).to(gradient.dtype) for part in kept)
        adamw(
            [value],
            [gradient],
            [mean],
            [square],
            [],
            [step.to(self._device, copy=True)],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        for part, new in zip(kept, (value, mean, square), strict=True):
            part.copy_(round_at_random(new, noise) if part.dtype == torch.bfloat16 else new, non_blocking=True)


def apply_gradients(
    parameters: Sequence[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    weight: float,
    max_grad_norm: float,
    rate: float,
) -> float:
    """One update of `parameters` with their gradients over `weight`; none where their norm is not finite.

    Returns that norm, before clipping. The gradients are gone afterwards.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(num_ranks() / weight)  # sharding averages over the ranks
    grad_norm = float(full(torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)))
    if math.isfinite(grad_norm):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return grad_norm


def round_at_random(values: Tensor, noise: torch.Generator) -> Tensor:
    """`values` (float32) in bfloat16: each one of its two neighbours there, the nearer one more often."""
    # A bfloat16 is the upper half of a float32: what carries over from the lower half rounds away from 0.
    lower = torch.empty(values.shape, dtype=torch.int32, device=values.device).random_(0, 2**16, generator=noise)
    return lower.add_(values.view(torch.int32)).bitwise_and_(-(2**16)).view(torch.float32).to(torch.bfloat16)


def read_state(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """What `optimizer` keeps of `parameter`, the moments on its device and sharded as it is."""
    state: dict[str, Tensor] = optimizer.state.get(parameter, {})
    if not isinstance(optimizer, LeanAdamW):
        return state
    device = _own(parameter).device
    return state | {name: sharded_as(state[name].to(device), parameter) for name in MOMENTS}


def empty_state(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """Tensors like those of `read_state` after an update, of any value; the number of updates is [1]."""
    dtype = optimizer.moments_dtype if isinstance(optimizer, LeanAdamW) else parameter.dtype
    moments = {name: torch.empty_like(parameter, dtype=dtype, requires_grad=False) for name in MOMENTS}
    return moments | {"step": torch.empty(1)}


def write_state(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, state: dict[str, Tensor]) -> None:
    """Undo `read_state`. `state`: the same, its moments sharded as `parameter`, or whole on the CPU."""
    sharded = {name: state[name] for name in MOMENTS}
    if not isinstance(parameter, DTensor) or not isinstance(state[MOMENTS[0]], DTensor):
        dtype = state[MOMENTS[0]].dtype if isinstance(optimizer, LeanAdamW) else None
        sharded = {name: sharded_like(moment, parameter, dtype) for name, moment in sharded.items()}
    if not isinstance(optimizer, LeanAdamW):
        optimizer.state[parameter] = sharded | {"step": state["step"].to(parameter.device)}
        return
    for name in MOMENTS:
        optimizer.state[parameter][name].copy_(_own(sharded[name]))
    optimizer.state[parameter]["step"].copy_(state["step"])


def _wide(parameter: Tensor) -> torch.dtype:
    """In which it is computed."""
    return torch.promote_types(parameter.dtype, torch.float32)


def _own(tensor: Tensor) -> Tensor:
    """This rank's share, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()


def _pin(tensor: Tensor) -> None:
    """Let the GPU copy to and from CPU memory by itself. (`pin_memory` would take up to twice the memory.)"""
    runtime, start = torch.cuda.cudart(), tensor.data_ptr()  # type: ignore[no-untyped-call]
    torch.cuda.check_error(runtime.cudaHostRegister(start, tensor.nbytes, 0))
    weakref.finalize(tensor, runtime.cudaHostUnregister, start).atexit = False

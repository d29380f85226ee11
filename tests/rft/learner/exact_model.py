"""Models in float64 throughout, and what they say without any of the learner's code."""

from collections.abc import Sequence
from pathlib import Path
from types import MethodType

import torch
from tiny_policy import IMAGE, VIDEO, VISION_END, VISION_START
from torch import Tensor
from transformers import PreTrainedModel

from rft.data.processor import PromptInputs
from rft.learner.batch import prompt_positions
from rft.learner.model import load_policy


def exact(directory: Path, **options: bool) -> PreTrainedModel:
    """The model in float64: transformers' norms would round to float32 on the way."""
    model = load_policy(directory, torch.float64, **options)

    def norm(self: torch.nn.Module, hidden: Tensor) -> Tensor:
        return self.weight * hidden * (hidden.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()

    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = MethodType(norm, module)
    return model


def rotate_exactly(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """The vision tower's rotary embedding without the rounding to float32 of transformers."""

    def rotate(tensor: Tensor) -> Tensor:
        first, second = tensor.chunk(2, dim=-1)
        return tensor * cos.unsqueeze(-2) + torch.cat([-second, first], dim=-1) * sin.unsqueeze(-2)

    return rotate(query), rotate(key)


def own_logprobs(
    model: PreTrainedModel,
    inputs: PromptInputs,
    completion: Sequence[int],
    temperature: float = 0.7,
    as_sampled: bool = True,
) -> Tensor:
    """[T], by the model's own forward on prompt and completion alone, at positions counted over both."""
    ids = torch.tensor([[*inputs.token_ids, *completion]])
    positions = prompt_positions(model, ids[0].tolist(), inputs.grid, inputs.seconds_per_grid)
    shown = {}
    if VIDEO in inputs.token_ids:
        shown = {"pixel_values_videos": inputs.patches, "video_grid_thw": inputs.grid}
    elif IMAGE in inputs.token_ids:
        shown = {"pixel_values": inputs.patches, "image_grid_thw": inputs.grid}
    logits = model(
        input_ids=ids,
        mm_token_type_ids=2 * (ids == VIDEO).int() + (ids == IMAGE).int(),
        position_ids=positions[:, None],
        **shown,
    ).logits[0, len(inputs.token_ids) - 1 : -1]
    if as_sampled:
        logits = logits / temperature
        logits[:, [VISION_START, VISION_END, IMAGE, VIDEO]] = -torch.inf
    return logits.log_softmax(-1).gather(-1, torch.tensor(completion)[:, None])[:, 0]


def gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    """Those of the last backward pass, which are then forgotten."""
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found

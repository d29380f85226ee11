"""The policy: loading it, and the log-probabilities it gives to completions."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, reduce
from inspect import signature
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForImageTextToText, PreTrainedModel

from rft.errors import DataError
from rft.learner.attention import Packing, pack_text_attention, why_not_packed
from rft.learner.packing import PackedBatch
from rft.learner.vision import batch_vision_windows, embed_patches_as_matrix, encode_visual
from rft.recipe import LoraRecipe

STORED_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def load_policy(
    model_dir: str | Path,
    dtype: torch.dtype,
    *,
    device: torch.device | str = "cpu",
    gradient_checkpointing: bool = False,
    freeze_vision: bool = False,
    packed: bool = False,
) -> PreTrainedModel:
    """The model of a Hugging Face folder in training mode, its vision windows batched.

    On the CPU in its `stored_dtype`, weights stay in the files, mapped into memory: they are read as they are used.

    `packed`: its text layers take packed groups, and nothing else, where `why_not_packed` gives no reason.

    Raises DataError where the folder holds no model that reads images or videos, or transformers is too old for it.
    """
    try:
        model: PreTrainedModel = AutoModelForImageTextToText.from_pretrained(
            model_dir, dtype=dtype, attn_implementation="sdpa"
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{model_dir}: no vision-language model can be loaded from here: {error}") from error
    _check_takes_features(model, model_dir)
    batch_vision_windows(model)
    embed_patches_as_matrix(model)
    if packed and why_not_packed(model) is None:
        pack_text_attention(model)
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if freeze_vision:
        model.model.visual.requires_grad_(False)
    return model.to(device).train()


def stored_dtype(model_dir: str | Path) -> torch.dtype | None:
    """In which all weights of a folder can be loaded as they are; None where it does not hold them in safetensors."""
    found = set()
    for path in Path(model_dir).glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            found |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    if not found or not found <= STORED_DTYPES.keys():
        return None
    return reduce(torch.promote_types, (STORED_DTYPES[name] for name in found))


def _check_takes_features(model: PreTrainedModel, model_dir: str | Path) -> None:
    if "mm_encoder_outputs" not in signature(model.model.forward).parameters:
        raise DataError(
            f"{model_dir}: {type(model).__name__} of transformers {transformers.__version__} takes no features of the "
            "vision tower (mm_encoder_outputs): it would read prompts without their clips and images, and not say so. "
            "Install transformers 5.19.0."
        )


def add_lora(model: PreTrainedModel, lora: LoraRecipe, seed: int, dtype: torch.dtype) -> LoraConfig:
    """Put trainable adapters in `dtype` into the language model and freeze the rest; returns their PEFT config."""
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        target_modules=list(lora.target_modules),
        exclude_modules=r".*\.visual\..*",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    return config


def lora_layers(model: nn.Module) -> dict[str, LoraLayer]:
    """Module name -> layer with an adapter."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    logprobs: Tensor
    """[M], of the batch's completion tokens, in packed order."""
    entropies: Tensor
    """[M], in nats, of the distributions they were drawn from; without gradient."""


class Policy(nn.Module):
    """A model with the sampling distribution around it: everything that needs the weights happens in `forward`."""

    def __init__(self, model: PreTrainedModel, *, temperature: float, banned: Iterable[int], chunk: int) -> None:
        """`banned`: token ids that are left out of the softmax. `chunk`: tokens whose logits exist at one time."""
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.chunk = chunk
        self.banned = tuple(sorted(set(banned)))
        self.num_encoded_videos = 0
        """Clips and images that the vision tower has seen."""

    def forward(self, batch: PackedBatch, *, as_sampled: bool = True) -> TokenLogprobs:
        """Log-probabilities of the batch's completion tokens.

        `as_sampled`: under logits / temperature with banned tokens left out; False: under the bare logits.
        """
        hidden = self._hidden(batch)
        hidden = hidden.flatten(0, 1)[batch.scored]
        chunks = list(zip(torch.split(hidden, self.chunk), torch.split(batch.labels, self.chunk), strict=True))
        if len(chunks) == 1:
            parts = [self._chunk_logprobs(*chunks[0], as_sampled)]
        else:
            parts = [
                checkpoint(self._chunk_logprobs, *part, as_sampled, use_reentrant=False, preserve_rng_state=False)
                for part in chunks
            ]
        return TokenLogprobs(torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]))

    def _hidden(self, batch: PackedBatch) -> Tensor:
        """[B, L, width], before the head."""
        inputs: dict[str, object] = {}
        if batch.groups is not None:
            inputs["packing"] = Packing(batch.groups, batch.token_ids.device, batch.share)
        visual, ids = batch.visual, batch.token_ids
        if visual is not None:
            # transformers fills images' places apart from videos'; here both lie in the order of the rows.
            ids = ids.masked_fill(ids == self.model.config.image_token_id, self.model.config.video_token_id)
            features = visual.features
            if features is None:
                features = encode_visual(self.model, visual)
                if visual.share is not None:
                    self.num_encoded_videos += visual.share.num_counted
                elif not visual.is_filler:
                    self.num_encoded_videos += len(visual.grid)
            if visual.is_filler:
                features = features.map(lambda tensor: tensor[:0])  # of no row, so that its gradients are 0
            if visual.share is not None:
                features = visual.share.own_rows(features)
            inputs["mm_encoder_outputs"] = {"video": features}
        hidden: Tensor = self.model.model(
            input_ids=ids, position_ids=batch.position_ids, use_cache=False, **inputs
        ).last_hidden_state
        return hidden

    def _chunk_logprobs(self, hidden: Tensor, labels: Tensor, as_sampled: bool) -> tuple[Tensor, Tensor]:
        logits = self.model.lm_head(hidden)
        if not as_sampled:
            return label_logprobs(logits, labels)
        banned = torch.tensor(self.banned, device=logits.device) if self.banned else None
        fused = logits.device.type == "cuda"
        return (_compiled_logprobs() if fused else label_logprobs)(logits, labels, self.temperature, banned)


def label_logprobs(
    logits: Tensor, labels: Tensor, temperature: float = 1.0, banned: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `labels` [M] under `logits` [M, vocabulary]; and entropies, in nats, without gradient."""
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    if temperature != 1:
        logits = logits / temperature
    if banned is not None:
        logits = logits.index_fill(-1, banned, -torch.inf)
    logprobs = logits.log_softmax(-1)
    entropies = torch.special.entr(logprobs.detach().exp()).sum(-1)
    return logprobs.gather(-1, labels[:, None])[:, 0], entropies


@cache
def _compiled_logprobs() -> Callable[[Tensor, Tensor, float, Tensor | None], tuple[Tensor, Tensor]]:
    """Its steps fused: on a GPU they cost what they read and write of the logits."""
    return torch.compile(label_logprobs)

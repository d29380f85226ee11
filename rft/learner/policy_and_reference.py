"""The models of a learner: the policy in training, the frozen reference, and what their frozen towers see."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import LoraConfig
from torch import Tensor
from torch.distributed import is_initialized
from transformers import PreTrainedModel

from rft.data.feature_store import FeatureFolder
from rft.errors import DataError
from rft.learner.attention import is_packed, why_not_packed
from rft.learner.model import Policy, add_lora, load_policy, lora_layers, stored_dtype
from rft.learner.packing import PackedBatch, PackedGroup, batch_groups, join_groups, share_groups, visual_rows
from rft.learner.sharding import init_alone, make_context, shard
from rft.learner.vision import (
    FeatureCache,
    VisualFeatures,
    VisualInput,
    encode_visual,
    filler_visual,
    join_visuals,
    share_visual,
    tower_fingerprint,
    tower_is_frozen,
)
from rft.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Loading:
    """How models are loaded, beside the recipe."""

    device: torch.device
    dtype: torch.dtype
    """Of forward and backward."""
    packed: bool
    """A group is one sequence, where the model can; False: a copy of the prompt per completion."""
    features_dir: Path | None
    """Where a frozen tower's features are kept; None: in memory alone."""


class Policies:
    """The policy and its reference, over one model folder."""

    def __init__(self, model_dir: str | Path, recipe: Recipe, banned: Iterable[int], loading: Loading) -> None:
        """Raises DataError where `model_dir` holds no usable model, or one whose prompts cannot be shared out."""
        self._recipe, self._banned, self._loading = recipe, tuple(banned), loading
        self._reference_features: FeatureCache | None = None
        self.model, self.lora = self._trained(model_dir)
        self._features = self._feature_cache(self.model)
        self.policy = self._with_sampling(self.model, None if self.lora else self._master)
        self._reference = self._frozen(model_dir)
        if recipe.learner.context_parallel > 1 and not self.is_packed:
            raise DataError(
                f"{model_dir}: learner.context_parallel shares out packed groups, and those of this model are not "
                "packed. Set it to 1."
            )
        self.context = make_context(recipe.learner.context_parallel, loading.device)
        """The ranks that share each prompt; None: a prompt is on one rank."""

    @property
    def is_packed(self) -> bool:
        return is_packed(self.model)

    @property
    def num_encoded_videos(self) -> int:
        """Passes of the policy's tower over a clip or image so far, by this rank."""
        return self.policy.num_encoded_videos + (self._features.num_encoded if self._features else 0)

    @property
    def frozen_tower(self) -> str | None:
        """Fingerprint of the policy's tower, by which its features are kept; None where it is trained."""
        return self._features.tower if self._features else None

    def batch(
        self,
        groups: Sequence[PackedGroup],
        pad_id: int,
        *,
        kept: bool = True,
        tower_runs: bool = False,
        shared: bool = False,
    ) -> PackedBatch:
        """The groups as the policy reads them. `kept`: with features that are kept; False: the tower encodes them anew.

        `tower_runs`: some rank shows its tower something in this forward, so that all ranks must where it is sharded.
        `shared`: the ranks of a context have the same prompts, with completions of their own, and share their tokens.
        """
        if self._features is not None:
            features_of = self._features.cached if kept else self._features.computed
            groups = [replace(group, visual=features_of(group.visual)) for group in groups]
        if shared and self.context is not None:
            batch = share_groups(groups, self.context, self._visual_ids, self._merge)
        else:
            batch = batch_groups(groups, pad_id, packed=self.is_packed)
        if tower_runs and batch.visual is None and self._features is None:
            return replace(batch, visual=filler_visual(self.model))
        return batch

    def reference_visual(self, groups: Sequence[PackedGroup], batch: PackedBatch) -> VisualInput | None:
        """What the reference reads in place of the videos of `batch`, which is of these groups; None: the same."""
        if self._reference_features is None:
            return None
        visual = join_visuals([self._reference_features.cached(group.visual) for group in groups])
        if visual is None or batch.share is None or self.context is None:
            return visual
        rows = visual_rows(join_groups(groups), batch.share, self._visual_ids)
        return share_visual(visual, rows, self.context, self._merge)

    @property
    def _visual_ids(self) -> tuple[int, int]:
        """Tokens that stand for pixels."""
        return self.model.config.video_token_id, self.model.config.image_token_id

    @property
    def _merge(self) -> int:
        side: int = self.model.config.vision_config.spatial_merge_size
        return side

    def prefetch(self, visual: VisualInput | None) -> None:
        """Let the reference's own tower see a clip or image ahead."""
        if self._reference_features is not None:
            self._reference_features.cached(visual)

    @torch.no_grad()
    def reference_logprobs(self, batch: PackedBatch, visual: VisualInput | None) -> Tensor:
        """[M]. `visual`: as `reference_visual` gave it."""
        if self._reference is not None:
            reference: Tensor = self._reference(replace(batch, visual=visual or batch.visual)).logprobs
            return reference
        adapters = lora_layers(self.model).values()
        for layer in adapters:
            layer.enable_adapters(False)
        logprobs: Tensor = self.policy(batch).logprobs
        for layer in adapters:
            layer.enable_adapters(True)
        return logprobs

    def _trained(self, model_dir: str | Path) -> tuple[PreTrainedModel, LoraConfig | None]:
        learner, loading = self._recipe.learner, self._loading
        if self._master != loading.dtype and not is_initialized():
            init_alone(loading.device)
        model = self._load(
            model_dir,
            self._master,
            checkpointing=learner.gradient_checkpointing,
            freeze_vision=learner.freeze_vision,
        )
        reason = why_not_packed(model) if loading.packed else None
        if reason is not None:
            warnings.warn(f"{model_dir}: a group is trained as copies of its prompt, because {reason}.", stacklevel=1)
        if learner.lora is None:
            return model, None
        return model, add_lora(model, learner.lora, self._recipe.seed, self._wide)

    @property
    def _wide(self) -> torch.dtype:
        """Of the weights that are trained. In bfloat16 a learning rate of 1e-6 would be rounded away."""
        wide = self._loading.dtype == torch.bfloat16 and self._recipe.learner.master_dtype == "float32"
        return torch.float32 if wide else self._loading.dtype

    @property
    def _master(self) -> torch.dtype:
        """Of the model's own weights."""
        return self._wide if self._recipe.learner.lora is None else self._loading.dtype

    def _frozen(self, model_dir: str | Path) -> Policy | None:
        """None where no KL term asks for a reference, or where the policy without its adapters is it."""
        if self._recipe.algorithm.beta == 0 or self.lora is not None:
            return None
        model = self._load(model_dir, self._loading.dtype).requires_grad_(False)
        if self._features is None:  # else the policy's tower is as frozen, and the same
            self._reference_features = self._feature_cache(model)
        return self._with_sampling(model, self._loading.dtype)

    def _load(
        self, model_dir: str | Path, dtype: torch.dtype, *, checkpointing: bool = False, freeze_vision: bool = False
    ) -> PreTrainedModel:
        """In `dtype` on the device; where shards will be cut of it, in its files' own, mapped into memory from them."""
        device = self._loading.device
        if is_initialized():
            device = torch.device("cpu")
            if self._recipe.learner.lora is None:  # adapters begin in the dtype of the layers that they lie beside
                dtype = stored_dtype(model_dir) or dtype
        return load_policy(
            model_dir,
            dtype,
            device=device,
            gradient_checkpointing=checkpointing,
            freeze_vision=freeze_vision,
            packed=self._loading.packed,
        )

    def _feature_cache(self, model: PreTrainedModel) -> FeatureCache | None:
        """None where the tower is trained."""
        if not tower_is_frozen(model):
            return None
        loading = self._loading
        tower = model.model.visual.to(loading.device)
        for parameter in tower.parameters():  # and no buffers: rotary frequencies are float32 in engines too
            parameter.data = parameter.data.to(loading.dtype)

        def encode(visual: VisualInput) -> VisualFeatures:
            with torch.no_grad():
                return encode_visual(model, visual.to(loading.device))

        directory = loading.features_dir
        folder = FeatureFolder(directory, self._recipe.video.cache_gib) if directory else None
        return FeatureCache(encode, tower_fingerprint(tower), model.config.text_config.hidden_size, folder)

    def _with_sampling(self, model: PreTrainedModel, dtype: torch.dtype | None) -> Policy:
        """`dtype`: that the weights are sharded in; None: in their own."""
        policy = Policy(
            model,
            temperature=self._recipe.sampling.temperature,
            banned=self._banned,
            chunk=self._recipe.learner.logprob_chunk,
        )
        if is_initialized():
            tower = model.model.visual if tower_is_frozen(model) else None
            blocks, loading = tuple(model._no_split_modules), self._loading
            num_replicas = self._recipe.learner.num_replicas
            shard(policy, blocks, loading.device, loading.dtype, tower, num_replicas, dtype)
        return policy

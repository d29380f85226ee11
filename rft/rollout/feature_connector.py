"""vLLM connector to a FeatureFolder: stored clip features replace a pass of the vision tower, new ones are stored."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from vllm.config import ECTransferConfig, VllmConfig
from vllm.distributed import get_tensor_model_parallel_rank
from vllm.distributed.ec_transfer.ec_connector.base import ECConnectorBase, ECConnectorMetadata, ECConnectorRole
from vllm.platforms import current_platform
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine.llm_engine import LLMEngine
from vllm.v1.request import Request

from rft.data.feature_store import FeatureFolder


def clip_identifier(tower: str | None, key: str) -> str:
    """Identifier of a clip in vLLM's caches; `tower`: fingerprint of a frozen tower, whose features are stored."""
    return key if tower is None else f"{tower}/{key}"


def tower_and_key(identifier: str) -> tuple[str, str]:
    """(tower, key) of an identifier of `clip_identifier`; the tower is "" if it had none."""
    tower, _, key = identifier.rpartition("/")
    return tower, key


def connector_config(directory: Path, max_gib: float) -> ECTransferConfig:
    """vLLM settings with which an engine stores features in `directory`, a FeatureFolder."""
    return ECTransferConfig(
        ec_connector=FeatureConnector.__name__,
        ec_connector_module_path=__name__,
        ec_role="ec_both",
        ec_connector_extra_config={"directory": str(directory), "max_gib": max_gib},
    )


@dataclass(frozen=True, slots=True)
class StepFeatures(ECConnectorMetadata):  # type: ignore[misc]
    """Metadata that the scheduler sends to the workers with a step: stored features of its clips."""

    features: dict[str, Tensor]
    """Identifier -> features, [visual tokens, width]. Loaded at lookup: the file may be removed until the step."""


class FeatureConnector(ECConnectorBase):  # type: ignore[misc]
    """Connector that vLLM creates once for its scheduler and once for each worker."""

    def __init__(self, vllm_config: VllmConfig, role: ECConnectorRole) -> None:
        super().__init__(vllm_config, role)
        assert vllm_config.ec_transfer_config is not None
        given = vllm_config.ec_transfer_config.ec_connector_extra_config
        self._folder = FeatureFolder(Path(given["directory"]), given["max_gib"])
        self._dtype = vllm_config.model_config.dtype
        self._looked_up: dict[str, Tensor] = {}
        """Features looked up in this step, by identifier."""
        self._needed: dict[str, Tensor] = {}
        """Those of `_looked_up` whose clip is part of the step."""
        self._waiting: dict[str, Tensor] = {}
        """Features looked up in the step before, by a prompt that did not fit into it."""
        self.num_encoded = 0
        """Clips that the tower encoded. Both counts are kept by the scheduler's connector."""
        self.num_loaded = 0
        """Clips whose features were loaded from the folder."""

    def has_cache_item(self, identifier: str) -> bool:
        """In the scheduler: whether the clip's features are stored. They are loaded at once."""
        tower, key = tower_and_key(identifier)
        features = self._waiting.get(identifier)
        if features is None and tower:
            features = self._folder.load(tower, key)
        if features is None:
            return False
        self._looked_up[identifier] = features
        return True

    def update_state_after_alloc(self, request: Request, index: int) -> None:
        """In the scheduler: the clip is part of the step, and is encoded unless its features were loaded."""
        identifier = request.mm_features[index].identifier
        if identifier in self._looked_up:
            self._needed[identifier] = self._looked_up[identifier]
            self.num_loaded += 1
        else:
            self.num_encoded += 1

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> StepFeatures:
        """In the scheduler, at the end of its part of a step: the metadata for the workers."""
        metadata = StepFeatures(self._needed)
        self._waiting = {name: one for name, one in self._looked_up.items() if name not in self._needed}
        self._looked_up, self._needed = {}, {}
        return metadata

    def start_load_caches(self, encoder_cache: dict[str, Tensor], **_: object) -> None:
        """In a worker, before a step: put the stored features into vLLM's cache."""
        metadata = self._get_connector_metadata()
        assert isinstance(metadata, StepFeatures)
        for identifier, features in metadata.features.items():
            encoder_cache[identifier] = features.to(current_platform.device_type, self._dtype)

    def save_caches(self, encoder_cache: dict[str, Tensor], mm_hash: str, **_: object) -> None:
        """In a worker, after a clip was encoded: store its features."""
        tower, key = tower_and_key(mm_hash)
        if tower and get_tensor_model_parallel_rank() == 0:
            self._folder.store(tower, key, encoder_cache[mm_hash])


def feature_counts(engine: LLMEngine) -> dict[str, float]:
    """Counts since the engine's start of clips encoded and of clips loaded; {} without a FeatureConnector."""
    connector = engine.engine_core.engine_core.scheduler.get_ec_connector()
    if not isinstance(connector, FeatureConnector):
        return {}
    return {"clips/encodes": float(connector.num_encoded), "clips/feature_hits": float(connector.num_loaded)}

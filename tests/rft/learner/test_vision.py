"""The vision tower: windows in one call, one pass per group, features of a frozen one kept."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from exact_model import exact, gradients
from tiny_policy import GRID, FakeClips, FakeProcessor, recipe, save_tiny, three_groups
from torch import Tensor, nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel

import rft.learner.vision as vision
from rft.data.feature_store import FeatureFolder
from rft.data.patches import scaled
from rft.errors import DataError
from rft.learner.learner import Learner
from rft.learner.model import load_policy
from rft.learner.vision import (
    VISION_ATTENTION,
    FeatureCache,
    PatchEmbedding,
    VisualFeatures,
    VisualInput,
    encode_visual,
    join_visuals,
    tower_fingerprint,
)
from rft.learner.weights import trainable

FROZEN = {"full": {"freeze_vision": True}, "lora": {"lora": {"r": 2, "lora_alpha": 4}}}


def learner(model_dir: Path, features_dir: Path | None = None, **sections: dict[str, object]) -> Learner:
    return Learner(
        model_dir,
        recipe(**sections),
        FakeProcessor(),
        FakeClips(),
        total_updates=4,
        dtype=torch.float64,
        features_dir=features_dir,
    )


@pytest.mark.parametrize(
    ("grid", "slices"),
    [
        ([[2, 4, 6]], [[[2, 4, 6]]]),
        ([[5, 4, 6]], [[[2, 4, 6]], [[2, 4, 6]], [[1, 4, 6]]]),
        ([[1, 4, 6], [3, 4, 4]], [[[1, 4, 6], [2, 4, 4]], [[1, 4, 4]]]),
        ([[2, 8, 8], [1, 2, 2]], [[[1, 8, 8]], [[1, 8, 8]], [[1, 2, 2]]]),
    ],
)
def test_slices_hold_whole_frame_pairs(
    grid: list[list[int]], slices: list[list[list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision, "SLICE_PATCHES", 60)
    assert [one.tolist() for one in vision._slices(torch.tensor(grid))] == slices


def test_checkpointing_shows_the_tower_a_slice_at_a_time(tiny_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "SLICE_PATCHES", 60)
    grid = torch.tensor([(5, 4, 6), (1, 4, 4)])
    pixels = torch.randn(int(grid.prod(-1).sum()), 3 * 2 * 14 * 14, dtype=torch.float64)
    models = [exact(tiny_dir, gradient_checkpointing=checkpointing) for checkpointing in (False, True)]
    found, seen = [], []
    for model in models:
        model.model.visual.register_forward_pre_hook(lambda tower, given: seen.append(len(given[0])))
        features = torch.cat(vision.encode_visual(model, VisualInput(pixels, grid)).pooler_output)
        features.square().sum().backward()
        found.append((features, gradients(model)))
    assert seen == [136, 48, 48, 40]
    (whole, of_whole), (sliced, of_sliced) = found
    assert (whole - sliced).abs().max() < 1e-12
    for name, gradient in of_whole.items():
        assert torch.allclose(of_sliced[name], gradient, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("grids", [[GRID], [(2, 4, 4)], [(1, 4, 6), (3, 6, 4)]])
def test_batched_vision_windows_equal_the_loop(tiny_dir: Path, grids: list[tuple[int, int, int]]) -> None:
    grid = torch.tensor(grids)
    pixels = torch.randn(int(grid.prod(-1).sum()), 3 * 2 * 14 * 14, dtype=torch.float64)
    found = []
    for attention in (VISION_ATTENTION, "sdpa"):
        model = exact(tiny_dir)
        assert model.model.visual.config._attn_implementation == VISION_ATTENTION
        model.model.visual.config._attn_implementation = attention
        features = torch.cat(model.model.get_video_features(pixels, grid).pooler_output)
        features.square().sum().backward()
        found.append((features, gradients(model)))
    (batched, batched_gradients), (looped, looped_gradients) = found
    assert (batched - looped).abs().max() < 1e-12
    for name, gradient in looped_gradients.items():
        assert torch.allclose(batched_gradients[name], gradient, rtol=1e-9, atol=1e-12), name


def test_patch_embedding_as_a_matrix_equals_the_convolution(tiny_dir: Path) -> None:
    embedding = exact(tiny_dir).model.visual.patch_embed
    assert type(embedding.proj) is PatchEmbedding
    patches = torch.randn(8, 3 * 2 * 14 * 14, dtype=torch.float64)
    product = embedding(patches)
    embedding.proj.__class__ = torch.nn.Conv3d
    assert torch.allclose(product, embedding(patches), rtol=1e-12)


def test_the_tower_reads_bytes_as_the_floats_that_they_stand_for(tiny_dir: Path) -> None:
    model, scale = load_policy(tiny_dir, torch.float32), torch.tensor([[122.8, 116.7, 104.1], [68.5, 66.6, 70.3]])
    grids = [torch.tensor([[1, 2, 4]]), torch.tensor([[2, 2, 2]])]
    clips = [torch.randint(0, 256, (8, 3 * 2 * 14 * 14), dtype=torch.uint8) for _ in grids]
    as_bytes = [VisualInput(*each, scale=scale) for each in zip(clips, grids, strict=True)]
    as_floats = [VisualInput(scaled(*each), grid) for *each, grid in zip(clips, [scale] * 2, grids, strict=True)]
    with torch.no_grad():
        found, expected = (encode_visual(model, join_visuals(one)).tensors() for one in (as_bytes, as_floats))
    assert all(torch.equal(*each) for each in zip(found, expected, strict=True))


def test_one_pass_per_group_and_update(tiny_dir: Path) -> None:
    """The reference has a tower of its own: its features are kept, and it encodes each clip once."""
    trained = learner(tiny_dir, algorithm={"num_iterations": 2, "beta": 0.1})
    passes = [trained.update(three_groups())["num_encoded_videos"] for _ in range(2)]
    assert passes == [2 * 3, 2 * 3]
    reference = trained._policies._reference_features
    assert reference is not None
    assert (reference.num_encoded, reference.num_hits) == (3, 3)
    assert trained._policies._reference is not None
    assert trained._policies._reference.num_encoded_videos == 0


@pytest.mark.parametrize("frozen", FROZEN)
def test_a_frozen_tower_encodes_a_clip_once(tmp_path: Path, tiny_dir: Path, frozen: str) -> None:
    settings: dict[str, dict[str, object]] = {"learner": FROZEN[frozen], "algorithm": {"beta": 0.1}}
    first = learner(tiny_dir, tmp_path, **settings)
    assert [first.update(three_groups())["num_encoded_videos"] for _ in range(2)] == [3, 0]
    again = learner(tiny_dir, tmp_path, **settings)
    assert again.update(three_groups())["num_encoded_videos"] == 0
    in_memory = learner(tiny_dir, **settings)
    assert [in_memory.update(three_groups())["num_encoded_videos"] for _ in range(2)] == [3, 0]
    again.update(three_groups())
    for other in (again, in_memory):
        for name, parameter in trainable(first._model).items():
            assert torch.equal(parameter, trainable(other._model)[name]), name


def test_kept_features_change_no_update(tiny_dir: Path) -> None:
    kept, computing = (learner(tiny_dir, learner={"freeze_vision": True}, algorithm={"beta": 0.1}) for _ in range(2))
    computing._policies._features = None
    for _ in range(2):
        one, other = (each.update(three_groups()) for each in (kept, computing))
        assert (one["num_encoded_videos"], other["num_encoded_videos"]) in ((3, 3), (0, 3))
        for name in ("loss", "kl", "grad_norm", "entropy"):
            assert one[name] == pytest.approx(other[name], rel=1e-9, abs=1e-12), name


def test_another_tower_has_another_fingerprint(tmp_path: Path, tiny_dir: Path) -> None:
    tower = exact(tiny_dir).model.visual
    assert tower_fingerprint(tower) == tower_fingerprint(exact(tiny_dir).model.visual)
    assert tower_fingerprint(tower) != tower_fingerprint(exact(save_tiny(tmp_path, seed=1)).model.visual)
    assert tower_fingerprint(tower) != tower_fingerprint(exact(tiny_dir).model.visual.float())


def video(key: str | None, value: float = 0.0) -> VisualInput:
    return VisualInput(torch.full((4, 2), value), torch.tensor([[1, 2, 2]]), key)


class Tower:
    """One visual token of 1000 values per video, and one for each of two inner layers."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self, one: VisualInput) -> VisualFeatures:
        assert one.pixels is not None
        value = one.pixels[0, 0]
        self.seen.append(value.item())
        layers = ((torch.full((1, 1000), 10.0),), (torch.full((1, 1000), 20.0),))
        return VisualFeatures((value.expand(1, 1000),), layers)


def cache(tower: Tower, directory: Path | None, max_gib: float = 1.0) -> FeatureCache:
    return FeatureCache(tower, "t", 1000, FeatureFolder(directory, max_gib) if directory else None)


def test_features_stay_within_their_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "MAX_MEMORY_BYTES", 2 * 12_000)  # two clips
    tower = Tower()
    kept = cache(tower, tmp_path, max_gib=3 * 12_500 / 2**30)
    for number in range(5):
        kept.cached(video(f"clip{number}", float(number)))
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= 3 * 12_500
    assert len(kept._memory) == 2
    for number in (4, 3, 2):  # memory, memory, disk
        filled = kept.cached(video(f"clip{number}", -1.0))
        assert filled is not None
        assert filled.features is not None
        assert filled.pixels is None
        assert filled.features.pooler_output[0][0, 0] == number
        assert [layer[0][0, 0] for layer in filled.features.deepstack_features] == [10.0, 20.0]
    assert (kept.num_encoded, kept.num_hits, tower.seen) == (5, 3, [0, 1, 2, 3, 4])
    kept.cached(video("clip0", 7.0))
    assert tower.seen[-1] == 7.0


def test_clips_without_a_name_are_not_kept(tmp_path: Path) -> None:
    tower = Tower()
    kept = cache(tower, tmp_path)
    for value in (1.0, 2.0):
        filled = kept.cached(video(None, value))
        assert filled is not None
        assert filled.features is not None
        assert filled.features.pooler_output[0][0, 0] == value
    assert kept.cached(None) is None
    assert not list(tmp_path.rglob("*.feat"))


def test_a_damaged_file_is_encoded_again(tmp_path: Path) -> None:
    tower = Tower()
    cache(tower, tmp_path).cached(video("clip", 1.0))
    (path,) = tmp_path.rglob("*.feat")
    path.write_bytes(b"cut off")
    cache(tower, tmp_path).cached(video("clip", 1.0))
    assert tower.seen == [1.0, 1.0]


def test_computed_features_are_neither_kept_ones_nor_kept(tmp_path: Path) -> None:
    tower = Tower()
    FeatureFolder(tmp_path, 1.0).store("t", "clip", torch.full((1, 3000), -5.0))
    kept = cache(tower, tmp_path)
    computed, filled = kept.computed(video("clip", 2.0)), kept.cached(video("clip", 2.0))
    assert computed is not None
    assert computed.features is not None
    assert computed.features.pooler_output[0][0, 0] == 2.0
    assert filled is not None
    assert filled.features is not None
    assert filled.features.pooler_output[0][0, 0] == -5.0
    assert kept.computed(None) is None


def test_what_an_engine_left_in_the_folder_is_what_the_learner_trains_on(
    tmp_path: Path, tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reading of a prompt, which is compared with the engine's, is by its own tower all the same."""
    monkeypatch.setattr(FakeProcessor, "tokenizer", SimpleNamespace(decode=str), raising=False)
    settings: dict[str, dict[str, object]] = {"learner": {"freeze_vision": True}, "algorithm": {"beta": 0.1}}
    told, alone = (learner(tiny_dir, folder, **settings) for folder in (tmp_path, None))
    tower = told.frozen_tower
    assert tower is not None
    assert learner(tiny_dir).frozen_tower is None
    folder = FeatureFolder(tmp_path, 1.0)
    for one in {group.prompt.media: group for group in three_groups()}.values():
        folder.store(tower, FakeClips().load(one.prompt.media).key, torch.zeros(12, 32, dtype=torch.float64))
    assert told.view_groups(three_groups()) == alone.view_groups(three_groups())
    metrics = told.update(three_groups())
    assert metrics["num_encoded_videos"] == 0
    assert metrics["entropy"] != pytest.approx(alone.update(three_groups())["entropy"], rel=1e-6)


def test_joined_videos_keep_their_order() -> None:
    tower = Tower()
    kept = cache(tower, None)
    joined = join_visuals([kept.cached(video("a", 1.0)), None, kept.cached(video("b", 2.0))])
    assert joined is not None
    assert joined.features is not None
    assert [tensor[0, 0].item() for tensor in joined.features.pooler_output] == [1.0, 2.0]
    assert [len(layer) for layer in joined.features.deepstack_features] == [2, 2]
    assert joined.grid.shape == (2, 3)
    assert join_visuals([None, None]) is None


def test_a_transformers_that_would_ignore_clips_is_refused(tiny_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older models swallow `mm_encoder_outputs` among their other arguments."""

    def older(self: nn.Module, input_ids: Tensor, **others: object) -> None: ...

    monkeypatch.setattr(Qwen2_5_VLModel, "forward", older)
    with pytest.raises(DataError, match=r"without their clips and images, and not say so\. Install transformers"):
        load_policy(tiny_dir, torch.float32)

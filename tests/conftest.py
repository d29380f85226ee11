"""What every test gets: the same random numbers each time; a model folder and data files that need no torch."""

import gc
import json
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tokenizers import Tokenizer, models, pre_tokenizers

from rft.evaluation import intervals
from rft.recipe import Recipe
from rft.tasks import TASKS

# Until all tests are collected: what they import stays, and looking through it takes a fifth of the time.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


# No deadlines and no check of speed: what others do on the machine decides nothing.
settings.register_profile(
    "fixed",
    max_examples=50,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "random", settings.get_profile("fixed"), derandomize=False, max_examples=1000, print_blob=True
)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Draws of a test that names no seed are the same in every run, whichever tests ran before it."""
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks at the second digit of an interval, and thousands of resamples take seconds."""
    monkeypatch.setattr(intervals, "NUM_RESAMPLES", 200)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """All files of a Qwen2.5-VL folder but its weights; the tokenizer makes one token of each byte."""
    folder = tmp_path / "model"
    folder.mkdir()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
    for name, data in {
        "config.json": {"model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"]},
        "tokenizer_config.json": {"tokenizer_class": "Qwen2TokenizerFast"},
        "preprocessor_config.json": {"image_processor_type": "Qwen2VLImageProcessorFast"},
        "video_preprocessor_config.json": {"video_processor_type": "Qwen2VLVideoProcessor"},
    }.items():
        (folder / name).write_text(json.dumps(data))
    return folder


@pytest.fixture
def example_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes the example rows of tasks as a JSONL file, with videos that hold one byte."""

    def write(path: Path, tasks: Iterable[str], copies: int = 1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            for copy in range(copies):
                for name in tasks:
                    row = TASKS[name].example.model_copy(update={"id": f"{path.parent.name} {path.stem} {name} {copy}"})
                    (path.parent / row.video).write_bytes(b"x")
                    file.write(row.model_dump_json(exclude_none=True) + "\n")
        return path

    return write


@pytest.fixture
def data_of(example_rows: Callable[..., Path]) -> Callable[[Recipe], None]:
    """Writes every data file that a recipe names, below the current directory."""

    def write(recipe: Recipe) -> None:
        cold_start = recipe.cold_start.data if recipe.cold_start else ()
        for path in (*recipe.data.train, *recipe.data.eval, *cold_start):
            assert not path.is_absolute()
            example_rows(path, recipe.tasks, copies=recipe.prompts_per_step)

    return write

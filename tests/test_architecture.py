"""Imports point one way: read from the source, so that nothing has to be imported to tell."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "rewards").rglob("*.py"), *(ROOT / "rft").rglob("*.py")])
HEAVY = ("torch", "ray", "vllm", "transformers", "trl", "av")

LAYERS = (
    "rewards",
    "rft.errors",
    "rft.tables",
    "rft.clock",
    "rft.files",
    "rft.types",
    "rft.recipe",
    "rft.tasks",
    "rft.synthetic",
    "rft.data",
    "rft.algorithm",
    "rft.scoring",
    "rft.evaluation",
    "rft.parity",
    "rft.weights",
    "rft.rollout_batches",
    "rft.train",
    "rft.learner",
    "rft.rollout",
    "rft.runs",
    "rft.actors",
    "rft.launch",
    "rft.commands",
    "rft.cli",
    "rft.__main__",
)
"""A folder or loose file imports only from itself and from those before it, inside functions too."""

ONLY_IN = {
    "vllm": ("rft/rollout/", "rft/weights/"),
    "trl": (),
    "ray": ("rft/actors/", "rft/weights/"),
    "rft.rollout": ("rft/rollout/", "rft/runs/", "rft/actors/", "rft/launch.py"),
}
"""Where else than in tests and benchmarks something may be imported at all."""

LIGHT = (
    "rft.recipe",
    "rft.recipe.load",
    "rft.recipe.docs",
    "rft.types",
    "rft.tasks",
    "rft.scoring.group",
    "rft.data.dataset",
    "rft.cli",
    "rft.commands.check.check",
    "rft.commands.data.convert.conversion",
    "rft.commands.data.inspect",
    "rft.commands.data.selection",
    "rft.commands.eval.offline",
    "rft.commands.eval.request",
    "rft.commands.list",
    "rft.commands.report.report",
    "rft.commands.reward.agree",
    "rft.commands.reward.new",
    "rft.commands.reward.try_rewards",
    "rft.commands.score.score",
    "rewards",
    "rewards.trl",
)
"""What runs without the heavy libraries."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module named by an import, as `a.b`; `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(path: Path) -> set[str]:
    return set(imports(ast.parse(path.read_text(encoding="utf-8"))))


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer_of(module: str) -> int | None:
    """Index in LAYERS; None: the module belongs to none."""
    return next((index for index, layer in enumerate(LAYERS) if within(module, layer)), None)


def offences(name: str, modules: set[str]) -> list[str]:
    """The imports that file `name` may not have."""
    own = layer_of(name.removesuffix(".py").replace("/", "."))
    assert own is not None, f"{name}: give it a place in LAYERS"
    found = [module for module in modules if (layer_of(module) or 0) > own]
    for library, places in ONLY_IN.items():
        if not name.startswith(places):
            found += [module for module in modules if within(module, library)]
    return sorted(set(found))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    if path == ROOT / "rft" / "__init__.py":
        assert imported(path) == set()
        return
    assert offences(str(path.relative_to(ROOT)), imported(path)) == []


def test_every_layer_is_there() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES}
    assert [layer for layer in LAYERS if not any(within(module, layer) for module in modules)] == []


def test_the_rules_find_offences() -> None:
    tree = ast.parse("def f():\n    from rft import rollout\n    import vllm.inputs\n    from ray import get\n")
    modules = set(imports(tree))
    assert offences("rft/learner/step.py", modules) == ["ray", "ray.get", "rft.rollout", "vllm.inputs"]
    assert offences("rft/rollout/engine.py", modules) == ["ray", "ray.get"]
    assert offences("rft/actors/rollout.py", modules) == ["vllm.inputs"]
    assert offences("rft/data/video.py", {"rft.data.frames", "rft.scoring.group", "rft.recipe"}) == [
        "rft.scoring.group"
    ]
    assert offences("rft/train.py", {"rft.learner", "rft.train", "rft.types"}) == ["rft.learner"]
    assert offences("rewards/choice.py", {"rft.types", "rewards.types"}) == ["rft.types"]


def test_rewards_need_the_standard_library_alone() -> None:
    for path in SOURCES:
        if path.is_relative_to(ROOT / "rewards"):
            outside = {name.split(".")[0] for name in imported(path)} - sys.stdlib_module_names - {"rewards"}
            assert outside == set(), path


def test_the_types_of_a_step_import_only_rewards() -> None:
    outside = {name.split(".")[0] for name in imported(ROOT / "rft" / "types.py")} - sys.stdlib_module_names
    assert outside == {"rewards"}


def test_light_modules_load_nothing_heavy() -> None:
    code = f"""
import importlib, sys
importlib.import_module("rft.cli")
assert "pydantic" not in sys.modules, "rft --help waits for pydantic"
for name in {LIGHT!r}:
    importlib.import_module(name)
    loaded = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]
    assert not loaded, f"{{name}} loads {{loaded}}"
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_learner_loads_without_ray_vllm_and_trl() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in SOURCES
        if path.is_relative_to(ROOT / "rft" / "learner") and path.name != "__init__.py"
    ]
    code = f"""
import importlib, sys
for library in ("ray", "vllm", "trl"):
    sys.modules[library] = None
for name in {modules!r}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_sizes(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common", "base", "manager", "misc"}
    text = path.read_text(encoding="utf-8")
    assert text.isascii()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 75, node.name
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: bare except"
            broad = ast.unparse(node.type) in {"Exception", "BaseException"}
            assert not (broad and isinstance(node.body[0], ast.Pass)), f"line {node.lineno}: errors vanish"


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports them by name alone."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))

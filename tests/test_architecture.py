"""Imports point one way: read from the source, so that nothing has to be imported to tell."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
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
    "rft.own_code",
    "rft.types",
    "rft.tasks",
    "rft.recipe",
    "rft.synthetic",
    "rft.data",
    "rft.packs",
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
    "rft.__main__",
    "rft.commands.check.check",
    "rft.data.convert.conversion",
    "rft.commands.data.inspect",
    "rft.commands.data.selection",
    "rft.commands.eval.offline",
    "rft.commands.eval.request",
    "rft.commands.init",
    "rft.commands.list",
    "rft.commands.push.push",
    "rft.commands.report.report",
    "rft.commands.reward.agree",
    "rft.commands.reward.new",
    "rft.commands.reward.try_rewards",
    "rft.commands.score.score",
    "rft.commands.view.server",
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


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(path: Path) -> set[str]:
    return set(imports(parsed(path)))


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@cache
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


def test_imports_point_one_way() -> None:
    assert imported(ROOT / "rft" / "__init__.py") == set()
    names = {str(path.relative_to(ROOT)): path for path in SOURCES if path != ROOT / "rft" / "__init__.py"}
    found = {name: offences(name, imported(path)) for name, path in names.items()}
    assert {name: modules for name, modules in found.items() if modules} == {}


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
    """But for a judge, which is asked by openai's client."""
    for path in SOURCES:
        if path.is_relative_to(ROOT / "rewards"):
            outside = {name.split(".")[0] for name in imported(path)} - sys.stdlib_module_names - {"rewards"}
            assert outside == ({"openai", "httpx"} if path.name == "judge.py" else set()), path


def test_the_types_of_a_step_import_only_rewards() -> None:
    outside = {name.split(".")[0] for name in imported(ROOT / "rft" / "types.py")} - sys.stdlib_module_names
    assert outside == {"rewards"}


def test_light_modules_load_nothing_heavy() -> None:
    code = f"""
import importlib, sys
importlib.import_module("rft.__main__")
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


def test_names_and_sizes() -> None:
    assert [fault for path in SOURCES for fault in faults(path)] == []


def faults(path: Path) -> Iterator[str]:
    name, text = path.relative_to(ROOT), path.read_text(encoding="utf-8")
    if path.stem in {"utils", "helpers", "common", "base", "manager", "misc"}:
        yield f"{name}: a name that says nothing"
    if not text.isascii():
        yield f"{name}: not ASCII"
    if text.count("\n") > 400:
        yield f"{name}: too long"
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 75:
            yield f"{name}:{node.lineno}: {node.name} is too long"
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
            if node.type is None or (broad and isinstance(node.body[0], ast.Pass)):
                yield f"{name}:{node.lineno}: errors vanish"


def test_faults_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "utils.py"
    long = "def f():\n" + "    x\n" * 400
    path.write_text(f"try:\n    x = 'caf\u00e9'\nexcept:\n    raise\n{long}", encoding="utf-8")
    assert [fault.partition(": ")[2] for fault in faults(path)] == [
        "a name that says nothing",
        "not ASCII",
        "too long",
        "f is too long",
        "errors vanish",
    ]


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports them by name alone."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))

"""`rft init`, from the checkout and from a wheel that lies elsewhere."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rft.__main__ import main
from rft.commands.init import init
from rft.commands.reward.new import QUICKSTART_TASKS
from rft.errors import DataError

ROOT = Path(__file__).parents[3]

AWAY = """\
import json, os, sys
import rft
from rft.__main__ import main

def run(*arguments):
    print(f"$ {' '.join(arguments)}", flush=True)
    assert main(arguments) == 0, arguments

print(rft.__file__)
run("list", "recipes")
run("check", "recipes/quickstart.yaml", *json.loads(sys.argv[1]))
run("init", "work")
os.chdir("work")
run("list", "recipes")
run("check", "own_reward.yaml", *json.loads(sys.argv[1]))
run("reward", "try", "own_reward.py:own_reward", "--task", "temporal_grounding")
"""


@pytest.mark.slow  # a wheel is built
def test_a_wheel_works_away_from_the_checkout(
    tmp_path: Path, model_folder: Path, example_rows: Callable[..., Path]
) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    # As an installer would without dependencies: a pure wheel is its files.
    zipfile.ZipFile(wheel).extractall(installed)
    elsewhere.mkdir()
    rows = example_rows(tmp_path / "rows.jsonl", QUICKSTART_TASKS, copies=4)
    given = [f"model={model_folder}", f"data={{train: [{rows}]}}", f"cold_start.data=[{rows}]"]
    done = subprocess.run(
        [sys.executable, "-c", AWAY, json.dumps([*given, "rollout.max_model_len=600"])],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed / "rft"))
    assert done.stdout.count("  recipes/quickstart.yaml ") == 2
    assert "temporal_grounding, think: own_reward 1, think_format 1" in done.stdout
    (scripts,) = installed.glob("*.dist-info/entry_points.txt")
    assert "rft = rft.__main__:main" in scripts.read_text()


def test_the_folder_has_all_that_its_makefile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "work")]) == 0
    assert f"cd {tmp_path}/work && make quickstart" in capsys.readouterr().out
    work = tmp_path / "work"
    assert {path.name for path in (work / "recipes").iterdir()} == {path.name for path in (ROOT / "recipes").iterdir()}
    for target in ("quickstart", "own", "try", "check", "tiny-labels"):
        shown = subprocess.run(["make", "-n", target], cwd=work, capture_output=True, text=True, timeout=60, check=True)
        named = [word for line in shown.stdout.splitlines() for word in line.split() if word.endswith((".yaml", ".py"))]
        assert named
        assert all((work / word).exists() for word in named), shown.stdout


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("mine:\n")
    (tmp_path / "test_own_reward.py").write_text("")
    with pytest.raises(DataError) as caught:
        init(tmp_path)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        str(tmp_path / "Makefile"),
        str(tmp_path / "test_own_reward.py"),
    ]
    assert not (tmp_path / "recipes").exists()

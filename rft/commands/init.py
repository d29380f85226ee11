"""`rft init`: a folder to begin in, away from a checkout."""

from pathlib import Path

from rft.commands.reward.new import recipe_text, reward_text, test_text
from rft.errors import refuse
from rft.files import write_text
from rft.recipe.shipped import FOLDER, PACKAGED
from rft.tasks import TASKS

REWARD = "own_reward"
TASK = "temporal_grounding"
"""Task of the example reward."""

MAKEFILE = """\
# make quickstart: draw video clips, train a tiny policy on them, say what it learned; 2 CPU cores, about 8 minutes.
# make own: train with the reward in own_reward.py, which is yours to change.   make try: see what it makes of answers.
# make check RECIPE=recipes/NAME.yaml: every problem of a recipe at once, or what it would run.   make train: run it.
# ARGS are keys of the recipe: make train RECIPE=recipes/NAME.yaml ARGS="model=/models/Qwen2.5-VL-7B-Instruct"

RFT ?= rft
PYTHON ?= python
RECIPE ?= recipes/quickstart.yaml

.PHONY: quickstart own try check train

quickstart: data/quickstart/.complete
	$(RFT) train recipes/quickstart.yaml $(ARGS)

own: data/quickstart/.complete
	$(RFT) train own_reward.yaml $(ARGS)

try:
	$(RFT) reward try own_reward.py:own_reward --task temporal_grounding
	$(PYTHON) -m pytest -q test_own_reward.py

check:
	$(RFT) check $(RECIPE) $(ARGS)

train:
	$(RFT) train $(RECIPE) $(ARGS)

# Drawn clips and a tiny policy of a task pack, such as make tiny-labels.
tiny-%: data/tiny_%/.complete
	$(RFT) train recipes/tiny_$*.yaml $(ARGS)

.PRECIOUS: data/tiny_%/.complete
data/tiny_%/.complete:
	$(RFT) data synthetic data/tiny_$* --pack $*
	@touch $@

data/quickstart/.complete:
	$(RFT) data synthetic data/quickstart
	@touch $@
"""


def init(folder: Path) -> str:
    """Write recipes, a reward with its test and recipe, and a Makefile that runs them; returns what to do with them.

    Raises DataError with every file that is there already, and CheckpointError where the folder cannot be written.
    """
    code, test, recipe = (Path(name) for name in (f"{REWARD}.py", f"test_{REWARD}.py", f"{REWARD}.yaml"))
    texts = {FOLDER / file.name: file.read_text("utf-8") for file in sorted(PACKAGED.glob("*.yaml"))}
    texts[Path("Makefile")] = MAKEFILE
    texts[code] = reward_text(REWARD, TASKS[TASK])
    texts[recipe] = recipe_text(REWARD, TASK, code, recipe)
    there = [folder / path for path in (*texts, test) if (folder / path).exists()]
    refuse([f"{path}: is there already. Delete it, or name another folder." for path in there])
    for path, text in texts.items():
        write_text(folder / path, text, "name another folder")
    # The test holds what the reward that was written gives.
    write_text(folder / test, test_text(REWARD, TASKS[TASK], folder / code), "name another folder")
    num_recipes = len(texts) - 3
    return "\n".join(
        [
            f"{folder}: {num_recipes} recipes, a reward of your own ({code}), its test and recipe, and a Makefile.",
            f"Begin: cd {folder} && make quickstart",
        ]
    )

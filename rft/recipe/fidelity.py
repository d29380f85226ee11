"""Values that `fidelity` sets: those of VideoChat-R1's released code, or those with its errors corrected.

Source: arXiv:2504.06958 and its repository, whose hyperparameters are mostly the defaults of TRL 0.15.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from rewards.types import Fidelity
from rft.recipe import Recipe
from rft.recipe.strict_yaml import parse_yaml

ONLY_WHERE_GIVEN = ("tasks", "cold_start")
"""Optional sections: `fidelity` sets their keys only if the recipe has the section."""


@dataclass(frozen=True, slots=True)
class PublishedSetting:
    """Value of a recipe key that `fidelity` sets if recipe and command line leave the key out."""

    key: str
    as_published: object
    corrected: object
    why: str
    """Why the two differ, or what the value is if they are equal."""

    def of(self, fidelity: Fidelity) -> object:
        return self.as_published if fidelity == "as_published" else self.corrected

    @property
    def differs(self) -> bool:
        return self.as_published != self.corrected


@cache
def published_settings() -> tuple[PublishedSetting, ...]:
    """The table fidelity.yaml."""
    table: Any = parse_yaml(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")).data
    return tuple(PublishedSetting(key, values[0], values[-2], values[-1]) for key, values in table.items())


def fill(data: dict[str, Any]) -> None:
    """Set the keys that a recipe leaves out to the values of its `fidelity`, in place. `data`: the parsed YAML."""
    fidelity: Any = data.get("fidelity")
    if fidelity not in get_args(Fidelity):
        return
    for setting in published_settings():
        *above, name = setting.key.split(".")
        section: Any = data
        for part in above:
            if isinstance(section, dict) and part not in section and above[0] not in ONLY_WHERE_GIVEN:
                section[part] = {}
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.setdefault(name, setting.of(fidelity))


def setting_lines(recipe: Recipe) -> tuple[str, ...]:
    """One line per setting that differs between the two or was set by hand, with its value; () without `fidelity`."""
    if recipe.fidelity is None:
        return ()
    parser = {"as_published": "as the released rewards do", "corrected": "as they were meant"}
    lines = [f"{recipe.fidelity}: answers are read {parser[recipe.fidelity]} (docs/readings.md)"]
    other: Fidelity = "corrected" if recipe.fidelity == "as_published" else "as_published"
    in_effect = recipe.model_dump()
    for setting in published_settings():
        used, value = _value_at(in_effect, setting.key)
        set_by_hand = used and value != setting.of(recipe.fidelity)
        line = f"{setting.key} {_format_value(value)}" if used else f"{setting.key}: not used here"
        if set_by_hand:
            line += f", set by hand; {recipe.fidelity}: {_format_value(setting.of(recipe.fidelity))}"
        if used and setting.differs:
            line += f"; {other}: {_format_value(setting.of(other))} ({setting.why})"
        if set_by_hand or setting.differs:
            lines.append(line)
    return tuple(lines)


def _value_at(value: Any, key: str) -> tuple[bool, object]:
    """(whether the nested dict `value` has the key's section, the value there)."""
    for part in key.split("."):
        if not isinstance(value, dict):
            return False, None
        value = value.get(part)
    return True, value


def _format_value(value: object) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

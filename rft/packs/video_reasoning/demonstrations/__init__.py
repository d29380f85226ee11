"""The six demonstrations, one file each. Standard library only."""

from collections.abc import Mapping

from rft.packs.video_reasoning.demonstrations.card import Card
from rft.packs.video_reasoning.demonstrations.chip import Chip
from rft.packs.video_reasoning.demonstrations.circle import Circle
from rft.packs.video_reasoning.demonstrations.cup import Cup
from rft.packs.video_reasoning.demonstrations.file import File
from rft.packs.video_reasoning.demonstrations.number import Number
from rft.packs.video_reasoning.demonstrations.types import Demonstration

DEMONSTRATIONS: Mapping[str, Demonstration] = {
    rules.name: rules for rules in (Number(), Circle(), Cup(), File(), Card(), Chip())
}
"""Name -> rules."""

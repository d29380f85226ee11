"""Card: piles of playing cards, added on top and removed from the bottom. A state is {"pile0": [top, .., bottom]}."""

import random
import re
from typing import Any, ClassVar

from rft.packs.video_reasoning.demonstrations.containers import (
    action,
    action_parts,
    action_pattern,
    things_of_kind,
)
from rft.packs.video_reasoning.demonstrations.reading import Reader
from rft.packs.video_reasoning.demonstrations.types import (
    Ask,
    Demonstration,
    IllegalOperation,
    Items,
    Operated,
    Readers,
    Skill,
)

VALUES = ("Ace", "2", "3", "4", "5", "6", "7", "8", "9", "10", "Jack", "Queen", "King")
SUITS = ("Hearts", "Clubs", "Diamonds", "Spades")
CARDS = tuple(f"{value} of {suit}" for suit in SUITS for value in VALUES)

_CARD = rf"\b({'|'.join(reversed(VALUES))})\s++of\s++({'|'.join(SUITS)})\b"
_STRAY = re.compile(rf"\b(?:{'|'.join((*SUITS, 'Ace', 'Jack', 'Queen', 'King'))})\b", re.IGNORECASE)


def _card(match: re.Match[str], group: int = 1) -> str:
    return f"{match[group].capitalize()} of {match[group + 1].capitalize()}"


def _pile(text: str) -> str:
    return text.lower().replace(" ", "")


_CARDS = Reader(re.compile(_CARD, re.IGNORECASE), _card, _STRAY)


class Card(Demonstration):
    name = "card"
    has_containers = True
    readers: ClassVar[Readers] = {
        "recall order": Reader(
            re.compile(rf"{_CARD}[\s,:;(]*+(?:(?:to|from|in|on|into)\s++)?+(pile\s?+[0-9])\b", re.IGNORECASE),
            lambda m: f"{_card(m)}, {_pile(m[3])}",
            _STRAY,
        ),
        "recall count": _CARDS,
        "infer state": _CARDS,
        "compare state": _CARDS,
        "predict state": _CARDS,
        "predict operation": Reader(
            action_pattern(_CARD, "pile"), lambda m: action(_verb(m[1]), _card(m, 2), _pile(m[4])), _STRAY
        ),
    }

    def state_problem(self, state: object) -> str | None:
        if not isinstance(state, dict) or not state or not all(re.fullmatch("pile[0-9]", str(key)) for key in state):
            return 'is no {"pile0": [cards, the top one first], ..}'
        if not all(isinstance(cards, list) for cards in state.values()):
            return "a pile is no list of cards"
        odd = [card for cards in state.values() for card in cards if card not in CARDS]
        return f"{odd[0]!r:.30} is no card" if odd else None

    def apply(self, state: Any, operation: str) -> Any:
        verb, card, pile = action_parts(operation)
        if card not in CARDS or pile not in state:
            raise IllegalOperation("there is no such card or pile")
        cards = state[pile]
        if verb == "remove" and cards[-1:] != [card]:
            raise IllegalOperation(f"at the bottom of {pile} is {cards[-1] if cards else 'no card'}")
        return {**state, pile: [card, *cards] if verb == "add" else cards[:-1]}

    def recalled(self, video: Operated, skill: Skill, ask: Ask) -> Items:
        moved = things_of_kind(video, ask.kind)
        if skill == "recall order":
            return Items(tuple(f"{card}, {pile}" for card, pile in moved[ask.first - 1 : ask.last]), "list")
        return Items(tuple(card for card, pile in moved if pile == ask.container), "bag")

    def shown(self, state: Any, ask: Ask) -> Items:
        return Items(tuple(state[ask.container]), "list")

    def compared(self, video: Operated, ask: Ask) -> Items:
        first, last = (state[ask.container] for state in (video.states[0], video.states[-1]))
        there, taken = (first, last) if ask.change == "gone" else (last, first)
        return Items(tuple(card for card in there if card not in taken))

    def solution(self, state: Any, ask: Ask) -> tuple[str, ...] | None:
        cards = state[ask.container]
        # As many cards stay, from the top of the pile, as stand at the bottom of the goal.
        stays = next(n for n in range(len(cards), -1, -1) if list(ask.goal)[len(ask.goal) - n :] == cards[:n])
        removed = [action("remove", card, ask.container) for card in reversed(cards[stays:])]
        added = [action("add", card, ask.container) for card in reversed(ask.goal[: len(ask.goal) - stays])]
        return (*removed, *added)

    def size(self, state: Any) -> str:
        return f"{len(state)} pile{'s' if len(state) > 1 else ''}"

    def random_state(self, size: int, rng: random.Random) -> Any:
        cards = rng.sample(CARDS, 5 * size)
        return {f"pile{i}": cards[5 * i : 5 * i + rng.randint(3, 5)] for i in range(size)}

    def random_operation(self, state: Any, rng: random.Random) -> str:
        pile = rng.choice(list(state))
        if state[pile] and rng.random() < 0.5:
            return action("remove", state[pile][-1], pile)
        used = {card for cards in state.values() for card in cards}
        return action("add", rng.choice([card for card in CARDS if card not in used]), pile)


def _verb(text: str) -> str:
    return "add" if text.lower() == "add" else "remove"

"""Questions about a target in our own words, for rows that bring none."""

from collections.abc import Mapping

from rft.packs.video_reasoning.demonstrations.types import Items, Skill
from rft.packs.video_reasoning.targets import ReasoningTarget

INTRODUCTIONS: Mapping[str, str] = {
    "number": (
        "A sliding puzzle: its numbers are shown only at the {visible} of the video and covered while squares move "
        "into the empty one, 0. Rows are lettered from the top, from a; columns are numbered from 1."
    ),
    "circle": (
        "Black and white pieces lie on a grid and are shown only at the {visible} of the video. A red ring walks over "
        "it. Each piece that it arrives at is flipped, and so are the pieces above, below, left and right of that one. "
        "Rows are lettered from the top, from a; columns are numbered from 0."
    ),
    "cup": (
        "Some cups hide a coin; what is below them is shown only at the {visible} of the video. Pairs of cups swap "
        "places with what they hide. Rows are lettered from the top, from a; columns are numbered from 1."
    ),
    "file": (
        "A terminal: the files of each path are listed only at the {visible} of the video; commands make, remove, copy "
        "and move files."
    ),
    "card": (
        "Piles of cards are shown only at the {visible} of the video. Cards are added on top of a pile and removed "
        "from its bottom."
    ),
    "chip": (
        "The chips in each cup are shown only at the {visible} of the video. Chips are added to the cups and removed "
        "from them."
    ),
}

STATES: Mapping[str, str] = {
    "number": 'Give each square and its number, such as "a1: 3".',
    "circle": 'Give each place and its colour, such as "a0: black".',
    "cup": 'Give the places of all coins, such as "a2, b1".',
    "file": "Give the names of the files.",
    "card": 'List the cards from top to bottom, such as "6 of Hearts, King of Clubs".',
    "chip": 'Give the value of each chip, such as "20, 5, 5".',
}
"""Form of an answer about a state."""

OPERATIONS: Mapping[str, str] = {
    "number": "Moves are left, right, up and down, by where the square goes.",
    "circle": "Moves are left, right, up and down.",
    "cup": 'Swaps are pairs, such as "(a1, b2)".',
    "file": 'At most two commands, touch and rm -rf, such as "touch path0/{{a.txt,b.py}} & rm -rf path0/{{c.csv}}".',
    "card": 'Actions are such as "add 6 of Hearts to pile0, remove King of Clubs from pile0".',
    "chip": 'Actions are such as "add 20 to cup0, remove 50 from cup0".',
}
"""Form of operations."""

ORDERS: Mapping[str, str] = {
    "number": 'Which squares move as number {first} to {last}, and where? Write such as "a2 right; b2 up".',
    "circle": "Which are the moves number {first} to {last} of the ring?",
    "cup": "Which are the swaps number {first} to {last}?",
    "file": "Which are the {kind} commands number {first} to {last}?",
    "card": 'Which cards does the video {kind} as number {first} to {last}? Write such as "6 of Hearts, pile0".',
    "chip": 'Which chips does the video {kind} as number {first} to {last}? Write such as "20, cup0".',
}

COUNTS: Mapping[str, str] = {
    "number": "How often does a square move {kind}? Give the place of each before its move.",
    "circle": "How often does the ring move {kind}? Give its place before each such move.",
    "cup": 'Which cups of row {kind} are swapped, in order? Write both where a swap has two of them: "b2; (b1, b3)".',
    "file": "How many different {extension} files do the {kind} commands name? Give their names.",
    "card": "Which cards does the video {kind}, of {container} alone?",
    "chip": "Which chips does the video {kind}, of {container} alone?",
}


def question_about(target: ReasoningTarget) -> str:
    """Introduction and question; what is hidden lies at the other end of the video than what is shown."""
    fields = {
        "visible": target.visible,
        "hidden": "end" if target.visible == "start" else "start",
        "first": target.ask.first,
        "last": target.ask.last,
        "kind": target.ask.kind,
        "container": target.ask.container,
        "extension": target.ask.extension,
        "goal": Items(target.ask.goal).written(),
        "operations": Items(target.ask.operations).written(),
    }
    template = f"{INTRODUCTIONS[target.demonstration]}\n{_asked(target.demonstration, target.skill, target)}"
    return template.format(**fields)


def _asked(name: str, skill: Skill, target: ReasoningTarget) -> str:
    within = f" of {target.ask.container}" if target.rules.has_containers else ""
    kind = f", {target.ask.extension} files alone" if target.ask.extension else ""
    match skill:
        case "recall order":
            return ORDERS[name]
        case "recall count":
            return COUNTS[name]
        case "infer state":
            return f"What is the state{within} at the {{hidden}} of the video{kind}? {STATES[name]}"
        case "compare state":
            return _compared(target)
        case "predict state":
            then = "From the state at the {hidden} of the video, these operations follow: {operations}."
            return f"{then} What is the state{within} then{kind}? {STATES[name]}"
        case "predict operation":
            goal = f"From the state at the {{hidden}} of the video, which operations lead{within} to exactly {{goal}}?"
            return f"{goal} {OPERATIONS[name]}"


def _compared(target: ReasoningTarget) -> str:
    ask = target.ask
    if target.demonstration == "chip":
        return 'When is the value of {container} higher, and by how much? Write such as "end, 15".'
    if ask.other:
        return f"After operation number {ask.after}, which files are in {ask.container} and not in {ask.other}?"
    if target.rules.has_containers:
        there, gone = ("start", "end") if ask.change == "gone" else ("end", "start")
        return f"What is in {ask.container} at the {there} of the video and not at the {gone}?"
    return f"What differs between start and end, as it is at the {{hidden}}? {_cells(target.demonstration)}"


def _cells(name: str) -> str:
    return 'Write such as "b2: empty, a1: coin".' if name == "cup" else STATES[name]

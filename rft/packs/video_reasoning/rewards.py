"""Rewards that simulate: an answer about a state is compared part by part, operations are carried out one by one."""

from typing import Literal

from rewards.parsing import answer_text
from rewards.types import Score
from rft.packs.video_reasoning.demonstrations.types import IllegalOperation, Items, State
from rft.packs.video_reasoning.targets import ReasoningTarget

Partial = Literal["none", "items", "progress"]

MARKER = "Final Answer"
"""What the published prompt asks to write before the answer."""


def verified_answer(
    completion: str,
    target: ReasoningTarget,
    *,
    partial: Partial = "none",
    partial_weight: float = 0.2,
    marker: Literal["last", "first"] = "last",
    skip_illegal: bool = False,
    bottom_first: bool = False,
    refuse_empty: bool = False,
    keep_blanks: bool = False,
) -> Score:
    """1 if the answer is exactly right, else 0: sets as sets, lists as lists, operations legal and reaching the goal.

    Reads the last <answer>, or else the text behind the last "Final Answer". `partial`: a wrong answer earns
    `partial_weight` times, with "items", the F1 of its parts; with "progress", the share of the way to the goal that
    its legal operations go. The other arguments are the errors of the released code, see `published_answer`.
    """
    answer = _final_answer(completion, marker)
    if answer is None:
        return Score(0.0, None, f"neither <answer> nor '{MARKER}'", "no_tag")
    read = target.read_answer(answer)
    if read.problem:
        return Score(0.0, answer, read.problem, "unreadable")
    if target.skill != "predict operation":
        right = target.right
        if right.equal(read.items):
            return Score(1.0, answer, "right")
        value = partial_weight * right.f1(read.items) if partial == "items" else 0.0
        return Score(value, answer, f"not {right.written()[:200]}")
    if refuse_empty and not read.items:
        return Score(0.0, answer, "no operations; the released code wants some")
    if keep_blanks and target.demonstration == "file" and _has_blank_names(answer):
        return Score(0.0, answer, "blanks in braces belong to the names in the released code")
    goal = target.right
    if bottom_first and target.demonstration == "card":
        goal = Items(goal.items[::-1], goal.order)
    return _judge_operations(answer, read.items, target, goal, skip_illegal, partial_weight * (partial == "progress"))


def published_answer(completion: str, target: ReasoningTarget) -> Score:
    """`verified_answer` with the errors of the code released with VideoReasonBench (arXiv:2505.23359).

    Reads from the first "Final Answer" on; skips illegal moves in number, circle and cup; compares a card pile bottom
    first with a goal that is written top first; refuses an empty list of operations; takes blanks in braces for a part
    of file names. The language model that judges the other skills there is replaced by the rules of `verified_answer`.
    """
    return verified_answer(
        completion,
        target,
        marker="first",
        skip_illegal=True,
        bottom_first=True,
        refuse_empty=True,
        keep_blanks=True,
    )


def _final_answer(completion: str, marker: Literal["last", "first"]) -> str | None:
    """Text of the answer; our prompts ask for <answer> in place of the published marker."""
    tagged = answer_text(completion)
    if tagged is not None and (marker == "last" or MARKER not in completion):
        return tagged
    find = completion.find if marker == "first" else completion.rfind
    place = find(MARKER)
    return completion[place + len(MARKER) :].strip().removesuffix("</answer>").lstrip(":* \n") if place >= 0 else None


def _has_blank_names(answer: str) -> bool:
    return any(" " in part.partition("}")[0] for part in answer.split("{")[1:])


def _judge_operations(
    answer: str,
    operations: tuple[str, ...],
    target: ReasoningTarget,
    goal: Items,
    skip_illegal: bool,
    progress_weight: float,
) -> Score:
    """1 if the operations are legal and lead from the latent state to the goal."""
    rules, ask, latent = target.rules, target.ask, target.video.latent
    problem = rules.rule_problem(operations)
    if problem:
        return Score(0.0, answer, problem)
    state: State = latent
    note = "does not reach the goal"
    for step, operation in enumerate(operations, start=1):
        try:
            state = rules.apply(state, operation)
        except IllegalOperation as error:
            if skip_illegal and not rules.has_containers:
                continue
            note = f"step {step}, '{operation[:60]}': {error}"
            break
    else:
        if goal.equal(rules.shown(state, ask).items):
            return Score(1.0, answer, f"reaches the goal in {len(operations)} steps")
    if not progress_weight:
        return Score(0.0, answer, note)
    # One more than the distance: an answer that is not exact never counts as there.
    before, after = (1 + goal.distance(rules.shown(one, ask).items) for one in (latent, state))
    return Score(progress_weight * max(0.0, 1 - after / before), answer, note)

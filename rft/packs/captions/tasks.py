"""Tasks of the pack: captions with objects, captions that answer questions, captions by words, structured captions."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rewards.statements import sentences
from rewards.targets.caption import CaptionTarget
from rewards.types import Target
from rft.packs.captions import rewards as own
from rft.packs.captions.targets import ObjectsTarget, QuestionsTarget, StructuredTarget
from rft.tasks.caption import QUERY, CaptionRow, caption_baselines, f1_of_means
from rft.tasks.types import THOUGHT, Answers, HeldOut, Rewards, Task, thought_before

Judged = Sequence[tuple[Target, Mapping[str, float]]]
"""Target and metrics of each completion."""


class CaptionObjects(Task):
    """CapST of CaReBench: events and objects."""

    name = "caption_objects"
    row_type = CaptionRow
    target_type = ObjectsTarget
    example = CaptionRow(
        id="example",
        task="caption_objects",
        video="garden.mp4",
        target={
            "events": ["A boy runs across the grass", "He falls"],
            "objects": ["There is a boy in a red coat", "There is a wooden bench"],
        },
    )
    rewards = (("event_f1", 1.0), ("object_f1", 1.0))
    own_rewards: ClassVar[Rewards] = {
        "object_recall": own.object_recall,
        "object_precision": own.object_precision,
        "object_f1": own.object_f1,
    }
    main_metric = "event_f1"

    def question(self, row: CaptionRow, target: ObjectsTarget) -> str:
        return (row.query or f"{QUERY} Describe the persons and things, too.").strip()

    def row_problems(self, row: CaptionRow, target: ObjectsTarget) -> list[str]:
        return wordless({"events": target.events, "objects": target.objects})

    def metrics(self, completion: str, target: ObjectsTarget, rewards: Rewards) -> dict[str, float]:
        names = [f"{kind}_{what}" for kind in ("event", "object") for what in ("recall", "precision", "f1")]
        return {name: rewards[name](completion, target).value for name in names}

    def corpus_metrics(self, judged: Judged) -> dict[str, float]:
        return f1_of_means(judged, "event") | f1_of_means(judged, "object")

    def baselines(self, train: Sequence[ObjectsTarget], rows: HeldOut[ObjectsTarget]) -> Answers:
        return caption_baselines(train, rows)


class CaptionQuestions(Task):
    """VDCscore of AuroraCap: questions that a caption must answer."""

    name = "caption_questions"
    row_type = CaptionRow
    target_type = QuestionsTarget
    example = CaptionRow(
        id="example",
        task="caption_questions",
        video="garden.mp4",
        query="Describe the main subject of the video, its looks, actions and movements.",
        target={"questions": [["Who runs?", "a boy in a red coat"], ["Where does he fall?", "on the grass"]]},
    )
    rewards = (("question_accuracy", 1.0),)
    own_rewards: ClassVar[Rewards] = {"question_accuracy": own.question_accuracy}
    main_metric = "accuracy"

    def question(self, row: CaptionRow, target: QuestionsTarget) -> str:
        return (row.query or QUERY).strip()

    def row_problems(self, row: CaptionRow, target: QuestionsTarget) -> list[str]:
        return wordless({"questions": [answer for _, answer in target.questions]})

    def metrics(self, completion: str, target: QuestionsTarget, rewards: Rewards) -> dict[str, float]:
        return {"accuracy": rewards["question_accuracy"](completion, target).value}

    def corpus_metrics(self, judged: Judged) -> dict[str, float]:
        """The released mean, which leaves captions out that answer no question rightly."""
        above_0 = [values["accuracy"] for _, values in judged if values["accuracy"] > 0]
        return {"accuracy_as_published": sum(above_0) / len(above_0)} if above_0 else {}

    def baselines(self, train: Sequence[QuestionsTarget], rows: HeldOut[QuestionsTarget]) -> Answers:
        return caption_baselines(train, rows)


class CaptionWords(Task):
    """Vript-HAL: the words of a caption that the annotated one has, and the other way round."""

    name = "caption_words"
    row_type = CaptionRow
    target_type = CaptionTarget
    example = CaptionRow(
        id="example",
        task="caption_words",
        video="garden.mp4",
        target={"text": "A boy runs across the grass and falls."},
    )
    rewards = (("word_f1", 1.0),)
    own_rewards: ClassVar[Rewards] = {
        "word_precision": own.word_precision,
        "word_recall": own.word_recall,
        "word_f1": own.word_f1,
    }
    published_rewards: ClassVar[Rewards] = {"word_recall": own.published_word_recall, "word_f1": own.published_word_f1}
    main_metric = "word_f1"

    def question(self, row: CaptionRow, target: CaptionTarget) -> str:
        return (row.query or "Describe this video in detail.").strip()

    def row_problems(self, row: CaptionRow, target: CaptionTarget) -> list[str]:
        return wordless({"target": [target.told]})

    def metrics(self, completion: str, target: CaptionTarget, rewards: Rewards) -> dict[str, float]:
        return {name: rewards[name](completion, target).value for name in self.own_rewards}

    def baselines(self, train: Sequence[CaptionTarget], rows: HeldOut[CaptionTarget]) -> Answers:
        return caption_baselines(train, rows)


class StructuredCaption(Task):
    """VideoCap-R1: a thought that lists who does what, then the caption. Metrics go by rule, events word for word."""

    name = "structured_caption"
    row_type = CaptionRow
    target_type = StructuredTarget
    example = CaptionRow(
        id="example",
        task="structured_caption",
        video="garden.mp4",
        target={
            "events": ["A boy runs across the grass", "A woman helps him up"],
            "elements": [["boy", "in a red coat", "runs across the grass"], ["woman", "old", "helps the boy up"]],
        },
    )
    rewards = (("element_f1", 1.0), ("event_f1", 1.0))
    own_rewards: ClassVar[Rewards] = {"element_f1": own.element_f1}
    main_metric = "event_f1"

    def question(self, row: CaptionRow, target: StructuredTarget) -> str:
        query = (row.query or QUERY).strip()
        return f"{query} In your thoughts, list who does what, one line each: subject | attribute | action."

    def row_problems(self, row: CaptionRow, target: StructuredTarget) -> list[str]:
        of_elements = {f"elements[{i}]": element for i, element in enumerate(target.elements)}
        return wordless({"events": target.events, **of_elements})

    def default_rewards(self, think: bool) -> dict[str, float]:
        weights = super().default_rewards(think)
        return weights if think else {name: weight for name, weight in weights.items() if name != "element_f1"}

    def target_completion(self, target: Target, think: bool, thought: str = THOUGHT) -> str:
        if think and isinstance(target, StructuredTarget) and target.elements:
            return thought_before(target.written(), target.thought)
        return super().target_completion(target, think, thought)

    def metrics(self, completion: str, target: StructuredTarget, rewards: Rewards) -> dict[str, float]:
        names = ("event_recall", "event_precision", "event_f1")
        of_events = {name: rewards[name](completion, target, judge="verbatim").value for name in names}
        return {**of_events, "element_f1": rewards["element_f1"](completion, target).value}

    def corpus_metrics(self, judged: Judged) -> dict[str, float]:
        return f1_of_means(judged, "event")

    def baselines(self, train: Sequence[StructuredTarget], rows: HeldOut[StructuredTarget]) -> Answers:
        return caption_baselines(train, rows)


def wordless(parts: Mapping[str, Sequence[str]]) -> list[str]:
    """A problem for each text without words, named by its part of the target."""
    return [
        f"{name}[{i}]: {text!r} holds no words"
        for name, texts in parts.items()
        for i, text in enumerate(texts)
        if not sentences(text)
    ]

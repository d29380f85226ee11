"""Captions: one text per clip, or its events one by one. No caption set of VideoChat-R1 is published; this is ours."""

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from rft.data.convert.source import Format, Published, SourceRequest, read_json


class Clip(BaseModel):
    """{"video": "a.mp4", "caption": "..."} or {"video": "a.mp4", "events": ["...", ...]}."""

    model_config = ConfigDict(frozen=True)

    video: str
    id: str | None = None
    caption: str | None = Field(None, validation_alias=AliasChoices("caption", "text"))
    events: tuple[str, ...] = ()
    query: str | None = Field(None, validation_alias=AliasChoices("query", "instruction"))
    """The question, where it is not the task's own."""
    duration_s: float | None = Field(
        None, gt=0, allow_inf_nan=False, validation_alias=AliasChoices("duration_s", "duration")
    )

    @model_validator(mode="after")
    def _has_target(self) -> "Clip":
        if self.caption is None and not self.events:
            raise ValueError('neither "caption" nor "events"')
        return self


def read(request: SourceRequest) -> Published:
    """Events win over the text where a record has both."""
    clips = read_json(request.source, tuple[Clip, ...])
    drafts = tuple(
        request.draft(
            request.own_dataset,
            number if clip.id is None else clip.id,
            [clip.video],
            duration_s=clip.duration_s,
            query=clip.query,
            target={"events": list(clip.events)} if clip.events else {"text": clip.caption},
        )
        for number, clip in enumerate(clips)
    )
    with_events = sum(bool(clip.events) for clip in clips)
    facts = (("clips with events", f"{with_events:,}"), ("clips with a text alone", f"{len(clips) - with_events:,}"))
    return Published(drafts, facts)


FORMAT = Format(("caption",), read)

"""Settings of the built-in corpus, read from a YAML file."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from tidyvoice.settings import Strict


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first of [{pair[0]}, {pair[1]}] must not exceed the second")
    return pair


Seconds = Annotated[float, Field(ge=0.5, le=30)]
Positive = Annotated[int, Field(ge=1)]


class Split(Strict):
    """Set of speakers, disjoint from the other sets."""

    speakers: Annotated[int, Field(ge=1, le=3999)]
    languages: Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
    utterances_per_language: Positive
    seconds: Annotated[tuple[Seconds, Seconds], AfterValidator(_ordered)]
    channels: Literal["A", "B"]


class Trials(Strict):
    """Number of trials of each kind within a language; as many again are across languages."""

    targets: Positive
    nontargets: Positive


class Collections(Strict):
    """Files of each augmentation collection."""

    noise: Positive
    music: Positive
    speech: Positive
    rirs: Annotated[int, Field(ge=3)]


class Settings(Strict):
    """All settings that determine the bytes of the corpus."""

    seed: Annotated[int, Field(ge=0)]
    languages: Annotated[list[str], Field(min_length=1)]
    shared_shift: Annotated[float, Field(ge=0, le=1)]
    pretrain: Split
    train: Split
    dev: Split
    trials: Trials
    collections: Collections

    @model_validator(mode="after")
    def _enough_languages(self) -> "Settings":
        listed = len(self.languages)
        if listed != len(set(self.languages)):
            raise ValueError("languages lists a language twice")
        for name in ("pretrain", "train", "dev"):
            most = getattr(self, name).languages[1]
            if most > listed:
                raise ValueError(
                    f"{name}.languages asks for {most} a speaker, but languages lists {listed}"
                )
        return self

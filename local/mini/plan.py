"""Plan of the corpus: which speaker speaks which languages in which files."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from local.mini.seeds import stream
from local.mini.settings import Settings, Split


@dataclass(frozen=True)
class Layout:
    """Folder of a split, and the numbers of its speakers and files."""

    folder: str
    speaker: str  # a format of the speaker's number
    first_speaker: int
    first_file: int


LAYOUTS = {
    "pretrain": Layout("pretrain", "mp{:05d}", 1, 30_000_001),
    "train": Layout("TidyVoiceX_ASV/TidyVoiceX_Train", "id{:06d}", 10_001, 10_000_001),
    "dev": Layout("TidyVoiceX_ASV/TidyVoiceX_Dev", "id{:06d}", 14_001, 20_000_001),
}


@dataclass(frozen=True)
class Speaker:
    """Speaker, and the names of the files in each of its languages."""

    split: str
    name: str
    files: dict[str, tuple[str, ...]]

    @property
    def folder(self) -> PurePosixPath:
        """Return the speaker's folder below the corpus root."""
        return PurePosixPath(LAYOUTS[self.split].folder, self.name)

    @property
    def utterances(self) -> list[tuple[str, str]]:
        """Return language and id of each utterance; ids are paths below the split's folder."""
        return [
            (language, f"{self.name}/{language}/{file}")
            for language, files in self.files.items()
            for file in files
        ]


def plan(settings: Settings) -> list[Speaker]:
    """Return all speakers of all splits, in order."""
    speakers: list[Speaker] = []
    for name, layout in LAYOUTS.items():
        split: Split = getattr(settings, name)
        number = layout.first_file
        for index in range(split.speakers):
            speaker = layout.speaker.format(layout.first_speaker + index)
            rng = stream(settings.seed, "languages", speaker)
            fewest, most = split.languages
            chosen = rng.choice(
                sorted(settings.languages), rng.integers(fewest, most + 1), replace=False
            )
            files = {}
            for language in sorted(map(str, chosen)):
                last = number + split.utterances_per_language
                files[language] = tuple(f"{language}_{n}.wav" for n in range(number, last))
                number = last
            speakers.append(Speaker(name, speaker, files))
    return speakers

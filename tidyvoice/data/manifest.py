"""Kaldi-style tables of a data folder: read, checked, written.

A data folder holds, one line an utterance, ``wav.scp`` (path), ``utt2spk``, ``utt2lang`` (where
languages are known) and ``utt2dur`` (seconds), and one line a speaker, ``spk2utt``. Tables are
polars frames, so that ten million utterances fit in memory and are read in seconds.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.headers import measure
from tidyvoice.kaldi_tables import duplicates, read_table, write_table

PART = "part-{:03d}-of-{:03d}"
TABLES = {"path": "wav.scp", "speaker": "utt2spk", "language": "utt2lang", "seconds": "utt2dur"}


@dataclass(frozen=True)
class Manifest:
    """Utterances of a data folder, sorted by id.

    Attributes:
        table: columns ``utterance``, ``path``, ``speaker`` (strings), ``language`` (string or
            null) and ``seconds`` (float or null).
    """

    table: pl.DataFrame

    def __len__(self) -> int:
        return self.table.height

    @classmethod
    def build(
        cls,
        utterances: Sequence[str],
        paths: Sequence[str],
        speakers: Sequence[str],
        languages: Sequence[str] | None = None,
        seconds: Sequence[float] | None = None,
    ) -> "Manifest":
        """A manifest from columns of equal length.

        Raises:
            TidyVoiceError: an id holds white space, or stands twice; all of them are named.
        """
        table = pl.DataFrame(
            {"utterance": utterances, "path": paths, "speaker": speakers},
            schema=dict.fromkeys(("utterance", "path", "speaker"), pl.String),
        ).with_columns(
            language=pl.lit(None, pl.String) if languages is None else pl.Series(languages),
            seconds=pl.lit(None, pl.Float64) if seconds is None else pl.Series(seconds),
        )
        spaced = table.filter(pl.col("utterance").str.contains(r"\s"))["utterance"].to_list()
        problems = [f"white space in {utterance!r}: rename the file" for utterance in spaced]
        problems += duplicates(table["utterance"])
        if problems:
            raise TidyVoiceError(summarise(problems))
        return cls(table.sort("utterance"))

    @classmethod
    def read(cls, folder: str | Path) -> "Manifest":
        """The manifest of a data folder.

        Raises:
            TidyVoiceError: a table is missing or malformed, an id stands twice in a table, an
                utterance of ``wav.scp`` has no speaker, or another table disagrees with it.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise TidyVoiceError(f"{folder} is missing: run stage 1 (data preparation)")
        if not (folder / "wav.scp").exists():
            raise TidyVoiceError(f"{folder / 'wav.scp'} is missing: run stage 1 (data preparation)")
        table = read_table(folder / "wav.scp", "path")
        if table.is_empty():
            raise TidyVoiceError(f"{folder / 'wav.scp'} is empty: prepare the data again")
        problems = []
        for column, name in list(TABLES.items())[1:]:
            if column != "speaker" and not (folder / name).exists():
                table = table.with_columns(pl.lit(None, pl.String).alias(column))
                continue
            other = read_table(folder / name, column)
            for here, there in (
                (table.join(other, "utterance", how="anti"), name),
                (other.join(table, "utterance", how="anti"), "wav.scp"),
            ):
                absent = here["utterance"].to_list()
                problems += [f"{utterance} is not in {folder / there}" for utterance in absent]
            table = table.join(other, "utterance", how="left")
        if problems:
            raise TidyVoiceError(summarise(problems) + ": prepare the data again")
        try:
            table = table.with_columns(pl.col("seconds").cast(pl.Float64))
        except pl.exceptions.InvalidOperationError:
            raise TidyVoiceError(f"{folder / 'utt2dur'}: a duration is not a number") from None
        return cls(table.sort("utterance"))

    def write(self, folder: str | Path) -> None:
        """Write the tables.

        wav.scp is deleted first and written last, so its presence marks a complete folder.
        """
        folder = Path(folder)
        (folder / "wav.scp").unlink(missing_ok=True)
        for column in ("language", "seconds"):
            if self.table[column].null_count() == 0:
                write_table(folder / TABLES[column], self.table["utterance"], self.table[column])
            else:
                (folder / TABLES[column]).unlink(missing_ok=True)
        write_table(folder / "utt2spk", self.table["utterance"], self.table["speaker"])
        by_speaker = self.table.group_by("speaker").agg(pl.col("utterance").sort()).sort("speaker")
        write_table(
            folder / "spk2utt", by_speaker["speaker"], by_speaker["utterance"].list.join(" ")
        )
        write_table(folder / "wav.scp", self.table["utterance"], self.table["path"])

    def speakers(self) -> list[str]:
        """Speaker ids, sorted."""
        return self.table["speaker"].unique().sort().to_list()

    def select(self, speakers: Iterable[str]) -> "Manifest":
        """The utterances of ``speakers``."""
        return Manifest(self.table.filter(pl.col("speaker").is_in(list(speakers))))


def part_folder(folder: str | Path, part: int, parts: int) -> Path:
    """Where part ``part`` (from 1) of ``parts`` of a large data folder is; itself if it is all."""
    return Path(folder) if parts == 1 else Path(folder) / PART.format(part, parts)


def parse_part(text: str) -> tuple[int, int]:
    """The number and the count of ``3/16``.

    Raises:
        TidyVoiceError: it is not so written, or the number is not between 1 and the count.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise TidyVoiceError(f"--part {text}: write 3/16 for the third of sixteen parts")
    return int(number), int(count)


def parts_of(folder: str | Path) -> list[Path]:
    """The data folders that a large one consists of; ``[folder]`` where it is not divided.

    Raises:
        TidyVoiceError: some parts are not there, or there are those of two divisions.
    """
    folder = Path(folder)
    found = sorted(path.name for path in folder.glob("part-*-of-*") if path.is_dir())
    if not found:
        return [folder]
    divisions = sorted({int(name.rpartition("-")[2]) for name in found})
    if len(divisions) > 1:
        raise TidyVoiceError(
            f"{folder} has parts of {' and of '.join(map(str, divisions))}: remove one division"
        )
    wanted = [PART.format(number, divisions[0]) for number in range(1, divisions[0] + 1)]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise TidyVoiceError(
            f"{folder} lacks {summarise(missing, 3)}: prepare these parts as well (--part)"
        )
    return [folder / name for name in wanted]


def check(
    folder: str | Path,
    disjoint_from: Sequence[str | Path] = (),
    minimum: float = 0.1,
    audio: bool = True,
) -> list[str]:
    """Every problem of a data folder, one line each; an empty list if it is sound.

    Checks the tables against each other, that no speaker is in a folder of ``disjoint_from`` too,
    and with ``audio`` each file's header (there, not empty, readable, 16 kHz, at least
    ``minimum`` seconds).
    """
    try:
        manifest = Manifest.read(folder)
    except TidyVoiceError as error:
        return [str(error)]
    problems = []
    listed = read_table(Path(folder) / "spk2utt", "utterances")["utterance"].to_list()
    unknown = sorted(set(manifest.speakers()).symmetric_difference(listed))
    problems += [f"speaker {name} is in only one of utt2spk and spk2utt" for name in unknown]
    for other in disjoint_from:
        shared = sorted(set(manifest.speakers()) & set(Manifest.read(other).speakers()))
        problems += [f"speaker {name} is in {folder} and in {other}" for name in shared]
    if audio:
        problems += measure(manifest.table["path"].to_list(), minimum)[1]
    return problems


def scan(
    root: str | Path,
    language_folder: bool,
    endings: Sequence[str] = (".wav",),
    part: tuple[int, int] = (1, 1),
    prefix: str = "",
) -> Manifest:
    """Manifest of a corpus laid out as SPEAKER/FOLDER/FILE, durations read from the headers.

    The id of an utterance is its path below ``root``, with extension. Hidden files, such as the
    ``._FILE.wav`` that some systems leave, are passed over.

    Args:
        language_folder: the middle folder is the language (TidyVoiceX), not a video.
        endings: those of audio files.
        part: number (from 1) and count: every so many-th speaker only, so that nothing but a part
            of a large corpus is held in memory.
        prefix: put before ids and speakers, which two corpora may call alike.

    Raises:
        TidyVoiceError: there is no such file, or some are unfit; up to ten of them are named.
    """
    root = Path(root)
    if not root.is_dir():
        raise TidyVoiceError(f"{root} is missing: give the folder that holds the speakers")
    speakers = _visible(root, folders=True)[part[0] - 1 :: part[1]]
    names = [
        f"{speaker}/{folder}/{file}"
        for speaker in tqdm(speakers, "speakers", unit=" speakers", disable=None)
        for folder in _visible(root / speaker, folders=True)
        for file in _visible(root / speaker / folder, folders=False)
        if file.endswith(tuple(endings))
    ]
    if not names:
        wanted = " or ".join(endings)
        raise TidyVoiceError(f"{root} holds no SPEAKER/FOLDER/FILE{wanted}: is it the root?")
    names.sort()
    table = pl.DataFrame({"name": names}, schema={"name": pl.String})
    del names
    table = table.with_columns(
        utterance=prefix + pl.col("name"),
        path=f"{root}/" + pl.col("name"),
        speaker=prefix + pl.col("name").str.split("/").list.get(0),
        language=pl.col("name").str.split("/").list.get(1) if language_folder else None,
    )
    seconds, problems = measure(table["path"])
    if problems:
        raise TidyVoiceError(f"{len(problems)} unfit files: {summarise(problems)}")
    known = not np.isnan(seconds).any()
    return Manifest.build(
        table["utterance"],
        table["path"],
        table["speaker"],
        table["language"] if language_folder else None,
        seconds if known else None,
    )


def _visible(folder: Path, folders: bool) -> list[str]:
    """Names in a folder, sorted, without hidden ones: those of folders, or of everything else."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if entry.name[0] != "." and entry.is_dir() == folders
        )

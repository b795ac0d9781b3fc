"""Data folders: Kaldi-style tables of utterances, read, checked and written.

A data folder contains, one line an utterance, ``wav.scp`` (path), ``utt2spk``, ``utt2lang`` (where
languages are known) and ``utt2dur`` (seconds); one line a speaker, ``spk2utt``; and ``terms``, the
licence and terms of the corpus.
"""

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from tqdm import tqdm

from tidyvoice.audio import measure
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning, reading, summarise
from tidyvoice.files import UNUSABLE, write_text
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.kaldi_tables import duplicates, read_table, write_table

TABLES = {"path": "wav.scp", "speaker": "utt2spk", "language": "utt2lang", "seconds": "utt2dur"}
OPTIONAL = ("language", "seconds")
TERMS = "terms"
AGAIN = "prepare the data again"
LONGEST_SECONDS = 10**6  # of one utterance: eleven days
DEEPEST = 8  # folder levels that are searched: a link in a circle has no end


@dataclass(frozen=True)
class Manifest:
    """Utterances of a data folder, sorted by id.

    ``table`` has the columns ``utterance``, ``path``, ``speaker`` (strings), ``language`` (string
    or null) and ``seconds`` (float or null).
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
    ) -> "Manifest":
        """Build a manifest from columns of equal length; durations stay unknown."""
        table = pl.DataFrame(
            {"utterance": utterances, "path": paths, "speaker": speakers},
            schema=dict.fromkeys(("utterance", "path", "speaker"), pl.String),
        ).with_columns(
            language=pl.lit(None, pl.String) if languages is None else pl.Series(languages),
            seconds=pl.lit(None, pl.Float64),
        )
        spaced = table.filter(pl.col("utterance").str.contains(r"\s"))["utterance"]
        problems = [f"white space in {utterance!r}. Rename the file" for utterance in spaced]
        if problems := problems + duplicates(table["utterance"]):
            raise TidyVoiceError(summarise(problems))
        return cls(table.sort("utterance"))

    @classmethod
    def read(cls, folder: str | Path) -> "Manifest":
        """Read a data folder; tables that disagree are a TidyVoiceError."""
        folder = Path(folder)
        for path in (folder, folder / "wav.scp"):
            if not path.exists():
                raise TidyVoiceError(f"{path} is missing. Run stage 1 (data preparation)")
        table = read_table(folder / "wav.scp", "path")
        if table.is_empty():
            raise TidyVoiceError(f"{folder / 'wav.scp'} is empty. Prepare the data again")
        problems = []
        for column in ("speaker", *OPTIONAL):
            name = TABLES[column]
            if column in OPTIONAL and not (folder / name).exists():
                kind = pl.Float64 if column == "seconds" else pl.String
                table = table.with_columns(pl.lit(None, kind).alias(column))
                continue
            other = read_table(folder / name, column)
            if column == "seconds":
                seconds = other[column].cast(pl.Float64, strict=False)
                wrong = ~seconds.is_between(0, LONGEST_SECONDS, "right").fill_null(False)
                if len(lines := wrong.arg_true()):
                    problem = f"{other[column][lines[0]]!r} is no duration in seconds"
                    raise TidyVoiceError(f"{folder / name} line {lines[0] + 1}: {problem}: {AGAIN}")
                other = other.with_columns(seconds=seconds)
            for left, right, where in ((table, other, name), (other, table, "wav.scp")):
                absent = left.join(right, "utterance", how="anti")["utterance"]
                problems += [f"{utterance} is not in {folder / where}" for utterance in absent]
            table = table.join(other, "utterance", how="left")
        spaced = table.filter(pl.col("speaker").str.contains(r"\s"))["utterance"]
        problems += [f"{folder / 'utt2spk'}: white space in the speaker of {u}" for u in spaced]
        problems += duplicates(table["utterance"].str.strip_suffix(".wav"))
        if problems:
            raise TidyVoiceError(summarise(problems) + ". Prepare the data again")
        return cls(table.sort("utterance"))

    def write(self, folder: str | Path, terms: str | None = None) -> None:
        """Write the tables, and the terms of the corpus where there are any.

        wav.scp is deleted first and written last, so its presence marks a complete folder.
        """
        folder, table = Path(folder), self.table
        for name in ("wav.scp", TERMS, *(TABLES[column] for column in OPTIONAL)):
            (folder / name).unlink(missing_ok=True)
        for column in OPTIONAL:
            if table[column].null_count() == 0:
                write_table(folder / TABLES[column], table["utterance"], table[column])
        if terms:
            write_text(folder / TERMS, terms + "\n")
        write_table(folder / "utt2spk", table["utterance"], table["speaker"])
        by_speaker = table.group_by("speaker").agg(pl.col("utterance").sort()).sort("speaker")
        utterances = by_speaker["utterance"].list.join(" ")
        write_table(folder / "spk2utt", by_speaker["speaker"], utterances)
        write_table(folder / "wav.scp", table["utterance"], table["path"])

    def speakers(self) -> list[str]:
        """Return the speaker ids, sorted."""
        return self.table["speaker"].unique().sort().to_list()

    def select(self, speakers: Iterable[str]) -> "Manifest":
        """Return the utterances of ``speakers``."""
        return Manifest(self.table.filter(pl.col("speaker").is_in(list(speakers))))

    def measured(self, unfit: Path | None = None, advice: str = "") -> "Manifest":
        """Return the utterances with the durations in the headers of their files.

        Unfit files are a TidyVoiceError that ends in ``advice``. With ``unfit``, the name of a text
        file, they are left out and listed there.
        """
        seconds, problems = measure(self.table["path"])
        lines = [problem for problem in problems if problem]
        if lines and (unfit is None or len(lines) == len(self)):
            raise TidyVoiceError(f"{len(lines):,} unfit files: {summarise(lines)}{advice}")
        if lines:
            write_text(unfit, "".join(f"{line}\n" for line in lines))
            print(f"{unfit}: {len(lines):,} unfit files left out")
        table = self.table.with_columns(seconds=pl.Series(seconds).fill_nan(None))
        return Manifest(table.filter(pl.Series([not problem for problem in problems])))


def terms_of(folder: str | Path) -> list[str]:
    """Return the terms of the corpora that a data folder, or its parts, were prepared from."""
    paths = [Path(folder) / TERMS, *Path(folder).glob(f"part-*/{TERMS}")]
    texts = set()
    for path in filter(Path.is_file, paths):
        with reading(path, "text file", AGAIN):
            texts.add(path.read_text(encoding="utf-8").strip())
    return sorted(texts)


def own_files(folder: str | Path) -> list[Path]:
    """Return the paths of a data folder's files; shards and parts are folders of such files."""
    names = (*TABLES.values(), "spk2utt", TERMS, "shards")
    return [*(Path(folder) / name for name in names), *Path(folder).glob("part-*-of-*")]


def part_folder(folder: str | Path, part: int, parts: int) -> Path:
    """Return the folder of part ``part`` (from 1) of ``parts``; ``folder`` if there is one part."""
    return Path(folder) if parts == 1 else Path(folder) / f"part-{part:03d}-of-{parts:03d}"


def parse_part(text: str) -> tuple[int, int]:
    """Return number and count of ``3/16``, or raise a TidyVoiceError."""
    number, _, count = text.partition("/")
    short = len(text) < 20 and number.isdecimal() and count.isdecimal()
    if not (short and 1 <= int(number) <= int(count)):
        raise TidyVoiceError(f"--part {text}: write 3/16 for the third of sixteen parts")
    return int(number), int(count)


def parts_of(folder: str | Path) -> list[Path]:
    """Return the parts of a data folder, all of which must be there; [folder] if not divided."""
    folder = Path(folder)
    names = sorted(path.name for path in folder.glob("part-*-of-*") if path.is_dir())
    if not names:
        return [folder]
    if not all(re.fullmatch(r"part-\d{3,5}-of-\d{3,5}", name, re.ASCII) for name in names):
        raise TidyVoiceError(f"{folder} has parts with names of another kind than part-003-of-016")
    count = int(names[0].rpartition("-")[2])
    parts = [part_folder(folder, number, count) for number in range(1, count + 1)]
    wanted = [part.name for part in parts]
    if missing := [name for name in wanted if name not in names]:
        raise TidyVoiceError(f"{folder} lacks {summarise(missing, 3)}. Prepare them too (--part)")
    if others := [name for name in names if name not in wanted]:
        raise TidyVoiceError(f"{folder} is divided twice. Remove {summarise(others, 3)}")
    return parts


def check(
    folder: str | Path,
    disjoint_from: Sequence[str | Path] = (),
    audio: bool = True,
    decode: bool = False,
) -> list[str]:
    """Return all problems of a data folder, one line each.

    Compares the tables, speakers with those of other folders, and with ``audio`` the header of each
    file with utt2dur. ``decode`` also decodes each file.
    """
    try:
        manifest = Manifest.read(folder)
        others = [(other, Manifest.read(other).speakers()) for other in disjoint_from]
        spk2utt = read_table(Path(folder) / "spk2utt", "utterances")
    except TidyVoiceError as error:
        return [str(error)]
    listed = spk2utt.select(
        speaker="utterance", utterance=pl.col("utterances").str.split(" ")
    ).explode("utterance")
    spoken, pair = manifest.table.select("speaker", "utterance"), ["speaker", "utterance"]
    odd = pl.concat([listed.join(spoken, pair, "anti"), spoken.join(listed, pair, "anti")])
    problems = [
        f"speaker {name} has other utterances in utt2spk than in spk2utt"
        for name in sorted(odd["speaker"].unique())
    ]
    for other, speakers in others:
        shared = sorted({*manifest.speakers()} & {*speakers})
        problems += [f"speaker {name} is in {folder} and in {other}" for name in shared]
    if audio or decode:
        paths, durations = manifest.table["path"], manifest.table["seconds"]
        measured, unfit = measure(paths, minimum=0.1, decode=decode)
        for path, problem, seconds, stated in zip(paths, unfit, measured, durations, strict=True):
            if not problem and stated and abs(seconds - stated) * SAMPLE_RATE >= 0.5:
                problem = f"{path} lasts {seconds:.5f} s, its utt2dur says {stated:.5f}: {AGAIN}"
            problems += filter(None, [problem])
    return problems


def find_audio(
    root: str | Path, endings: Sequence[str] = (".wav",), part: tuple[int, int] = (1, 1)
) -> list[str]:
    """Return the paths below ``root`` of all audio files, sorted.

    Hidden files, such as the ``._FILE.wav`` that macOS writes, are left out. ``part`` is a number
    (from 1) and a count: only the folders of this part of the speakers are searched.
    """
    root = Path(root)
    if not root.is_dir():
        raise TidyVoiceError(f"{root} is missing. Give the folder of the corpus")
    entries = sorted(name for name in os.listdir(root) if name[0] != ".")
    folders = [name for name in entries if os.path.isdir(root / name)]
    names = list(set(entries) - set(folders)) if part[0] == 1 else []
    for top in tqdm(folders[part[0] - 1 :: part[1]], "folders", unit=" folders", disable=None):
        for place, below, files in os.walk(root / top, followlinks=True):
            folder = os.path.relpath(place, root)
            deep = folder.count("/") >= DEEPEST
            below[:] = [] if deep else [name for name in below if name[0] != "."]
            names += [f"{folder}/{file}" for file in files if file[0] != "."]
    names = sorted(name for name in names if name.lower().endswith(tuple(endings)))
    if not names:
        kinds = " or ".join(endings)
        raise TidyVoiceError(f"{root} contains no {kinds} file. Give the folder of the speakers.")
    if name := next(filter(UNUSABLE.search, (str(root), *names)), None):
        raise TidyVoiceError(f"{os.fsencode(name)!r} is not UTF-8 in one line. Rename the file")
    return names


def of_layout(
    root: str | Path, names: Sequence[str], language_folder: bool, prefix: str = ""
) -> Manifest:
    """Return the manifest of files SPEAKER/FOLDER/FILE below ``root``; warn of files elsewhere.

    The id of an utterance is ``prefix`` and its path below ``root``. The middle folder is a
    language if ``language_folder``, otherwise a video.
    """
    kept = [name for name in names if name.count("/") == 2]
    if not kept:
        raise TidyVoiceError(f"{root} has no SPEAKER/FOLDER/FILE. Give the folder of the speakers.")
    if strays := sorted(set(names) - set(kept)):
        message = f"{root}: {len(strays):,} files are not SPEAKER/FOLDER/FILE and left out: "
        warnings.warn(f"{message}{strays[0]} ..", TidyVoiceWarning, stacklevel=2)
    folders = pl.Series(kept).str.split("/").list
    return Manifest.build(
        [prefix + name for name in kept],
        [f"{root}/{name}" for name in kept],
        prefix + folders.get(0),
        folders.get(1) if language_folder else None,
    )


def scan(
    root: str | Path,
    language_folder: bool,
    endings: Sequence[str] = (".wav",),
    part: tuple[int, int] = (1, 1),
    prefix: str = "",
) -> Manifest:
    """Return the manifest of ``of_layout`` for the files of ``find_audio``, with durations."""
    return of_layout(root, find_audio(root, endings, part), language_folder, prefix).measured()

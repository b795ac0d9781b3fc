"""A corpus of your own: recordings of any rate and format, from a folder or from Kaldi's tables.

    python -m local.own --root DIR --out data/own

``--root`` holds ``SPEAKER/LANGUAGE/FILE``, or ``SPEAKER/FILE`` where languages are not known; or
Kaldi's tables, ``wav.scp``, ``utt2spk`` and perhaps ``utt2lang``, whose relative paths start from
the current folder. The first channel of each recording is written to OUT/audio at 16 kHz (115 MB an
hour). Recordings that cannot be read or hold no speech are left out and listed in OUT/unfit.txt,
those of poor quality in OUT/warnings.txt.
"""

from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from local.recordings import THREADS, UNFIT, find_recordings, manifest_of
from local.sources import parser_of
from tidyvoice.audio import wav_bytes
from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError, one_line_errors, summarise
from tidyvoice.files import write_text
from tidyvoice.headers import WITH_HEADER
from tidyvoice.kaldi_tables import read_table
from tidyvoice.readahead import read_ahead
from tidyvoice.recordings import Recording

ENDINGS = (*sorted(WITH_HEADER), ".aac", ".m4a")


def of_folder(root: Path) -> Manifest:
    """Recordings SPEAKER/LANGUAGE/FILE or SPEAKER/FILE.

    Raises:
        TidyVoiceError: there is none, or they are laid out in another way.
    """
    found = find_recordings(root, ENDINGS)
    found.tell_hidden()
    floors = {name.count("/") for name in found.names}
    if floors not in ({1}, {2}):
        odd = next(name for name in found.names if name.count("/") != 2)
        raise TidyVoiceError(
            f"{root / odd}: lay out all recordings as SPEAKER/LANGUAGE/FILE, or all as SPEAKER/FILE"
        )
    return manifest_of(root, found.names, languages=floors == {2})


def of_tables(data: Path) -> Manifest:
    """Recordings of Kaldi's tables.

    Raises:
        TidyVoiceError: a table is missing or malformed, an utterance is not in all of them, or is
            part of a recording.
    """
    if (data / "segments").exists():
        raise TidyVoiceError(
            f"{data / 'segments'}: utterances are not cut out of recordings here; write each to a "
            "file of its own, and list those in wav.scp"
        )
    table = read_table(data / "wav.scp", "path")
    piped = table.filter(table["path"].str.ends_with("|"))
    if len(piped):
        raise TidyVoiceError(
            f"{data / 'wav.scp'}: '{piped['utterance'][0]}' is a command ({len(piped):,} such "
            "lines): run it once, and list the file that it writes"
        )
    for name, column in (("utt2spk", "speaker"), ("utt2lang", "language")):
        if column == "language" and not (data / name).exists():
            continue
        other = read_table(data / name, column)
        for here, there in (
            (table.join(other, "utterance", how="anti"), name),
            (other.join(table, "utterance", how="anti"), "wav.scp"),
        ):
            if len(here):
                raise TidyVoiceError(
                    f"'{here['utterance'][0]}' is not in {data / there} ({len(here):,} such "
                    "utterances)"
                )
        table = table.join(other, "utterance", how="left")
    languages = table["language"] if "language" in table.columns else None
    return Manifest.build(table["utterance"], table["path"], table["speaker"], languages)


def converted(manifest: Manifest, out: Path) -> Manifest:
    """The recordings at 16 kHz in ``out``, without those that are unfit.

    Raises:
        TidyVoiceError: all are unfit.
    """
    (out / "audio").mkdir(parents=True, exist_ok=True)
    sources = manifest.table["path"].to_list()
    paths = [f"{out}/audio/{number:06d}.wav" for number in range(len(sources))]
    with closing(read_ahead(_convert, zip(sources, paths, strict=True), THREADS, ahead=64)) as done:
        found = list(tqdm(done, "recordings", len(paths), unit=" files", disable=None))
    unfit = [line for seconds, said in found if seconds is None for line in said]
    if len(unfit) == len(found):
        raise TidyVoiceError(f"no recording is fit: {summarise(unfit)}")
    warnings = [line for seconds, said in found if seconds is not None for line in said]
    for name, lines, what in (
        (UNFIT, unfit, "recordings left out"),
        ("warnings.txt", warnings, "warnings"),
    ):
        write_text(out / name, "".join(f"{line}\n" for line in lines))
        if lines:
            print(f"{out}: {len(lines):,} {what}, see {out / name}: {lines[0]}")
    table = manifest.table.with_columns(
        path=pl.Series(paths),
        seconds=pl.Series([seconds for seconds, _ in found], dtype=pl.Float64),
    )
    return Manifest(table.drop_nulls("seconds"))


def _convert(paths: tuple[str, str]) -> tuple[float | None, tuple[str, ...]]:
    """Seconds and warnings of a recording; None and the reason where it is unfit."""
    try:
        recording = Recording.load(paths[0])
    except TidyVoiceError as error:
        return None, (str(error),)
    samples = np.rint(recording.samples * 32768).clip(-32768, 32767).astype(np.int16)
    Path(paths[1]).write_bytes(wav_bytes(samples))
    return recording.seconds, recording.warnings


def main() -> None:
    parser = parser_of("python -m local.own", __doc__)
    parser.add_argument("--root", type=Path, required=True, help="recordings, or Kaldi's tables")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    args = parser.parse_args()
    if args.out.resolve() == args.root.resolve():
        raise TidyVoiceError(f"--out {args.out} is --root: give another folder")
    tables = (args.root / "wav.scp").exists()
    manifest = of_tables(args.root) if tables else of_folder(args.root)
    (args.out / "wav.scp").unlink(missing_ok=True)
    manifest = converted(manifest, args.out)
    manifest.write(args.out)
    print(f"{args.out}: {len(manifest.speakers()):,} speakers, {len(manifest):,} utterances")


if __name__ == "__main__":
    with one_line_errors():
        main()

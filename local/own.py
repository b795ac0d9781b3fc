"""A corpus of your own: recordings of any sample rate and format, in a folder or in Kaldi's tables.

    python -m local.own --root DIR --out data/own

``--root`` contains ``SPEAKER/LANGUAGE/FILE``, or ``SPEAKER/FILE`` where languages are not known; or
Kaldi's tables, ``wav.scp``, ``utt2spk`` and perhaps ``utt2lang``, whose relative paths start from
the current folder. The command writes the first channel of each recording to OUT/audio at 16 kHz
(115 MB an hour). It leaves out recordings that cannot be read or contain no speech and lists them
in OUT/unfit.txt; OUT/warnings.txt lists those of poor quality.
"""

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from local.sources import parser_of, refuse_corpus
from tidyvoice.audio import wav_bytes
from tidyvoice.data.manifest import Manifest, find_audio
from tidyvoice.errors import TidyVoiceError, one_line_errors, summarise
from tidyvoice.files import RECORDINGS, write_text
from tidyvoice.kaldi_tables import read_table
from tidyvoice.readahead import read_ahead
from tidyvoice.recordings import Recording

THREADS = 8


def of_folder(root: Path) -> Manifest:
    """Return the recordings SPEAKER/LANGUAGE/FILE or SPEAKER/FILE below ``root``."""
    names = find_audio(root, RECORDINGS)
    parts = [name.split("/") for name in names]
    levels = {len(part) for part in parts}
    if levels not in ({2}, {3}):
        odd = next(name for name in names if name.count("/") != 2)
        raise TidyVoiceError(
            f"{root / odd}: lay out all recordings as SPEAKER/LANGUAGE/FILE, or all as SPEAKER/FILE"
        )
    paths, speakers = [f"{root}/{name}" for name in names], [part[0] for part in parts]
    return Manifest.build(
        names, paths, speakers, [part[1] for part in parts] if levels == {3} else None
    )


def of_tables(data: Path) -> Manifest:
    """Return the recordings of Kaldi's tables."""
    if (data / "segments").exists():
        raise TidyVoiceError(
            f"{data / 'segments'}: segments of recordings are not supported. Write each utterance "
            "to its own file, and list these in wav.scp"
        )
    paths = read_table(data / "wav.scp", "path")
    piped = paths.filter(pl.col("path").str.ends_with("|"))
    if len(piped):
        raise TidyVoiceError(
            f"{data / 'wav.scp'}: '{piped['utterance'][0]}' is a command ({len(piped):,} such "
            "lines). Run it once, and list the file that it writes"
        )
    return Manifest.read(data)


def converted(manifest: Manifest, out: Path) -> Manifest:
    """Write the recordings at 16 kHz to ``out``; return those that are fit."""
    (out / "audio").mkdir(parents=True, exist_ok=True)
    sources = manifest.table["path"].to_list()
    audio = os.path.realpath(out / "audio") + os.sep
    if lost := next((path for path in sources if os.path.realpath(path).startswith(audio)), None):
        raise TidyVoiceError(f"{lost} would be overwritten: give another --out than {out}")
    paths = [f"{out}/audio/{number:06d}.wav" for number in range(len(sources))]
    with closing(read_ahead(_convert, zip(sources, paths, strict=True), THREADS, ahead=64)) as done:
        results = list(tqdm(done, "recordings", len(paths), unit=" files", disable=None))
    unfit = [line for seconds, lines in results if seconds is None for line in lines]
    if len(unfit) == len(results):
        raise TidyVoiceError(f"no recording is fit: {summarise(unfit)}")
    warnings = [line for seconds, lines in results if seconds is not None for line in lines]
    for name, lines in (("unfit.txt", unfit), ("warnings.txt", warnings)):
        write_text(out / name, "".join(f"{line}\n" for line in lines))
        if lines:
            print(f"{out / name}: {len(lines):,} recordings, such as {lines[0]}")
    seconds = pl.Series([seconds for seconds, _ in results], dtype=pl.Float64)
    table = manifest.table.with_columns(path=pl.Series(paths), seconds=seconds)
    return Manifest(table.drop_nulls("seconds"))


def _convert(paths: tuple[str, str]) -> tuple[float | None, tuple[str, ...]]:
    """Convert a recording; return its seconds and warnings, or None and why it is unfit."""
    try:
        recording = Recording.load(paths[0])
    except TidyVoiceError as error:
        return None, (str(error),)
    samples = np.rint(recording.samples * 32768).clip(-32768, 32767).astype(np.int16)
    Path(paths[1]).write_bytes(wav_bytes(samples))
    return recording.seconds, recording.warnings


def main() -> None:
    """Prepare the corpus."""
    parser = parser_of("own", __doc__, root="recordings, or Kaldi's tables")
    args = parser.parse_args()
    refuse_corpus(args.root, args.out)
    tables = (args.root / "wav.scp").exists()
    manifest = of_tables(args.root) if tables else of_folder(args.root)
    (args.out / "wav.scp").unlink(missing_ok=True)
    manifest = converted(manifest, args.out)
    manifest.write(args.out)
    print(f"{args.out}: {len(manifest.speakers()):,} speakers, {len(manifest):,} utterances")


if __name__ == "__main__":
    with one_line_errors():
        main()

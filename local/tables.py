"""Kaldi's tables of somebody else's data folder: ``wav.scp``, ``utt2spk`` and perhaps ``utt2lang``.

    python -m local.tables --data kaldi/data/test --out data/test

writes a data folder of ours from them: durations are read from the headers, ``spk2utt`` is made.
Paths of wav.scp are taken as they are, relative ones from the folder that this is called in. A
command in place of a path (``sox ... |``) is refused: run it once, and list what it wrote. So is
``segments``, which cuts utterances out of longer recordings.
"""

from pathlib import Path

from local.sources import parser_of
from tidyvoice.errors import TidyVoiceError, one_line_errors, summarise
from tidyvoice.headers import measure
from tidyvoice.manifest import Manifest, read_table


def convert(data: Path) -> Manifest:
    """The manifest of a folder of Kaldi's.

    Raises:
        TidyVoiceError: a table is missing or malformed, an utterance is not in all of them, is a
            part of a recording, or is no file that can be read.
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
    seconds, problems = measure(table["path"])
    if problems:
        raise TidyVoiceError(f"{len(problems)} unfit files: {summarise(problems)}")
    languages = table["language"] if "language" in table.columns else None
    return Manifest.build(table["utterance"], table["path"], table["speaker"], languages, seconds)


def main() -> None:
    parser = parser_of("python -m local.tables", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    args = parser.parse_args()
    if args.out.resolve() == args.data.resolve():
        raise TidyVoiceError(f"--out {args.out} is --data: give another folder")
    manifest = convert(args.data)
    manifest.write(args.out)
    print(f"{args.out}: {len(manifest.speakers()):,} speakers, {len(manifest):,} utterances")


if __name__ == "__main__":
    with one_line_errors():
        main()

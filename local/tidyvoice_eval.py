"""TidyVoiceX2, the evaluation set of the TidyVoice 2026 challenge: about 200,000 utterances, 32 GB.

Layout: ``ID.wav`` at any depth, with ids such as ``j8pvmcu6iuh`` that tell neither speaker nor
language. Trials: ``tv26_eval-A.txt`` (4,000,000 lines) and ``tv26_eval-U.txt`` (1,280,000), lines
``enroll test``.

    python -m local.tidyvoice_eval --root corpus/TidyVoiceX2 --out data/eval \\
        --lists corpus/tv26_eval-A.txt corpus/tv26_eval-U.txt

writes a data folder and checks that each id of the lists has audio; with ``--archive FILE`` that is
unpacked to --root first. Who speaks is not known: in ``utt2spk`` each utterance stands for itself,
which says nothing about two of them. There is no ``utt2lang``.
"""

from collections.abc import Sequence
from pathlib import Path

from local.lists import check_count, describe, require_audio
from local.recordings import find_recordings, inspected
from local.sources import add_source, parser_of, provide
from tidyvoice.errors import TidyVoiceError, one_line_errors, summarise
from tidyvoice.manifest import Manifest
from tidyvoice.scoring.trials import read_trials

FOLDER = "TidyVoiceX2"
COUNTS = {"tv26_eval-A.txt": 4_000_000, "tv26_eval-U.txt": 1_280_000}


def read_corpus(root: Path) -> Manifest:
    """The utterances below ``root`` under their flat names, without durations.

    Raises:
        TidyVoiceError: there are none, two have the same name, or one has white space in it.
    """
    found = find_recordings(root)
    found.tell_hidden()
    places: dict[str, str] = {}
    problems = []
    for name in found.names:
        utterance = Path(name).stem
        other = places.setdefault(utterance, name)
        if other != name:
            problems.append(f"{root / other} and {root / name} have one id: keep one")
    if problems:
        raise TidyVoiceError(summarise(problems))
    ids = list(places)
    return Manifest.build(ids, [f"{root}/{places[name]}" for name in ids], speakers=ids)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the set; ``arguments`` are those of the command line unless given."""
    parser = parser_of("python -m local.tidyvoice_eval", __doc__, "TidyVoiceX")
    add_source(parser, root="folder that holds the WAV files, at any depth")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    parser.add_argument(
        "--lists", type=Path, nargs="+", default=[], help="trial lists to check the audio against"
    )
    args = parser.parse_args(arguments)
    manifest = read_corpus(root := provide(args, FOLDER, None))
    utterances = manifest.table["utterance"].to_list()
    for path in args.lists:
        trials = read_trials(path)
        check_count(trials, COUNTS.get(path.name))
        require_audio(trials, utterances, root)
        print(f"{path}: {describe(trials)}")
    manifest = inspected(manifest)
    manifest.write(args.out)
    hours = manifest.table["seconds"].sum() / 3600
    print(f"{args.out}: {len(manifest):,} utterances, {hours:.2f} h, speakers not known")


if __name__ == "__main__":
    with one_line_errors():
        main()

"""TidyVoiceX2, the evaluation set of the TidyVoice 2026 challenge: about 200,000 utterances, 32 GB.

Layout: ``ID.wav`` at any depth, with ids such as ``j8pvmcu6iuh`` that tell neither speaker nor
language; or, as it was laid out after the challenge, ``SPEAKER/LANGUAGE/FILE.wav``. Trials:
``tv26_eval-A.txt`` (4,000,000 lines) and ``tv26_eval-U.txt`` (1,280,000), lines ``enroll test``, or
with labels. The ids of the lists are the names of the files, or SPEAKER/LANGUAGE/FILE.

    python -m local.tidyvoice_eval --root corpus/TidyVoiceX2 --out data/eval \\
        --lists corpus/tv26_eval-A.txt corpus/tv26_eval-U.txt

writes a data folder and checks that each id of the lists has audio; with ``--archive FILE`` that is
unpacked to --root first. Speakers and languages are known only where the lists name them. Otherwise
each utterance is its own speaker in ``utt2spk``, which says nothing about two of them, and there is
no ``utt2lang``.
"""

from collections.abc import Sequence
from pathlib import Path

from local.lists import check_count, describe, require_audio
from local.recordings import find_recordings, inspected
from local.sources import add_source, parser_of, provide
from local.tidyvoice import read_corpus
from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError, one_line_errors, summarise
from tidyvoice.scoring.trials import read_trials

FOLDER = "TidyVoiceX2"
COUNTS = {"tv26_eval-A.txt": 4_000_000, "tv26_eval-U.txt": 1_280_000}


def read_flat(root: Path) -> Manifest:
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
    root = provide(args, FOLDER, None)
    lists = [read_trials(path) for path in args.lists]
    # An id that is a path names speaker and language.
    paths = any("/" in utterance for trials in lists for utterance in trials.ids)
    manifest = read_corpus(root, languages=True) if paths else read_flat(root)
    utterances = manifest.table["utterance"].to_list()
    for path, trials in zip(args.lists, lists, strict=True):
        check_count(trials, COUNTS.get(path.name))
        require_audio(trials, utterances, root)
        print(f"{path}: {describe(trials)}")
    manifest = inspected(manifest)
    manifest.write(args.out)
    hours = manifest.table["seconds"].sum() / 3600
    known = f"{len(manifest.speakers()):,} speakers" if paths else "speakers not known"
    print(f"{args.out}: {len(manifest):,} utterances, {hours:.2f} h, {known}")


if __name__ == "__main__":
    with one_line_errors():
        main()

"""TidyVoiceX2, the evaluation set of the TidyVoice 2026 challenge: about 200,000 utterances, 32 GB.

Layout: ``ID.wav`` at any depth, with ids such as ``j8pvmcu6iuh`` that tell neither speaker nor
language; or, as published after the challenge, ``SPEAKER/LANGUAGE/FILE.wav``. Trials:
``tv26_eval-A.txt`` (4,000,000 lines) and ``tv26_eval-U.txt`` (1,280,000), lines ``enroll test``, or
with labels. The ids of the lists are the names of the files, or SPEAKER/LANGUAGE/FILE.

    python -m local.tidyvoice_eval --root corpus/TidyVoiceX2 --out data/eval \\
        --lists corpus/tv26_eval-A.txt corpus/tv26_eval-U.txt

writes a data folder and checks that each id of the lists has audio. Speakers and languages are
known only if the lists name them. Otherwise ``utt2spk`` makes each utterance its own speaker, and
there is no ``utt2lang``.
"""

from pathlib import Path

from local.sources import describe, parser_of, print_terms, refuse_corpus
from local.tidyvoice import TERMS, read_corpus
from tidyvoice.data.manifest import Manifest, find_audio
from tidyvoice.errors import TidyVoiceError, one_line_errors, summarise
from tidyvoice.scoring.trials import read_trials


def read_flat(root: Path) -> Manifest:
    """Return the utterances below ``root`` under the names of their files."""
    places: dict[str, str] = {}
    problems = []
    for name in find_audio(root):
        other = places.setdefault(Path(name).stem, name)
        if other != name:
            problems.append(f"{root / other} and {root / name} have one id. Keep one")
    if problems:
        raise TidyVoiceError(summarise(problems))
    ids = list(places)
    return Manifest.build(ids, [f"{root}/{name}" for name in places.values()], speakers=ids)


def main() -> None:
    """Prepare the set."""
    root = "folder that contains the WAV files, at any depth"
    parser = parser_of("tidyvoice_eval", __doc__, TERMS, root)
    parser.add_argument(
        "--lists", type=Path, nargs="+", default=[], help="trial lists to check the audio against"
    )
    args = parser.parse_args()
    refuse_corpus(args.root, args.out)
    print_terms(args, args.root)
    lists = [read_trials(path) for path in args.lists]
    # An id that is a path names speaker and language.
    paths = any("/" in utterance for trials in lists for utterance in trials.ids)
    manifest = read_corpus(args.root) if paths else read_flat(args.root)
    utterances = manifest.table["utterance"].to_list()
    for trials in lists:
        trials.places_in(utterances, f"audio in {args.root}")
        print(f"{trials.source}: {describe(trials)}")
    manifest = manifest.measured()
    manifest.write(args.out, args.terms)
    hours = manifest.table["seconds"].sum() / 3600
    speakers = f"{len(manifest.speakers()):,} speakers" if paths else "speakers not known"
    print(f"{args.out}: {len(manifest):,} utterances, {hours:.2f} h, {speakers}")


if __name__ == "__main__":
    with one_line_errors():
        main()

"""VoxCeleb1 (Nagrani, Chung, Zisserman, Interspeech 2017), the test set of a pretraining.

Layout: ``SPEAKER/VIDEO/UTTERANCE.wav`` (``id10270/5r0dWxy17C8/00001.wav``); the parts dev and test
may be in two folders below --root. The audio needs an account (https://mm.kaist.ac.kr/datasets/
voxceleb), the lists do not: O (37,611 trials), E (579,818) and H (550,894), cleaned, as published
(``veri_test2.txt``, ``list_test_all2.txt``, ``list_test_hard2.txt``) or in Kaldi's columns
(``vox1_O_cleaned.kaldi`` and so on).

    python -m local.voxceleb1 --root corpus/voxceleb1 --lists corpus/voxceleb1/lists \\
        --download-lists --out data/voxceleb1

writes a data folder of the utterances that the lists name, and the lists beside it as lines
``enroll test target|nontarget``: OUT/vox1_O_cleaned.kaldi.
"""

from pathlib import Path

from local.fetch import download
from local.sources import describe, parser_of, print_terms, refuse_corpus
from tidyvoice.data.manifest import Manifest, find_audio
from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.files import atomic_path, refuse_inputs
from tidyvoice.scoring.trials import read_trials, write_trials

TERMS = "VoxCeleb1 and VoxCeleb2: the metadata are CC BY 4.0, the videos belong to their owners."
URL = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta"
# The names of a list: in Kaldi's columns, and as published.
LISTS = {
    "vox1_O_cleaned.kaldi": "veri_test2.txt",
    "vox1_E_cleaned.kaldi": "list_test_all2.txt",
    "vox1_H_cleaned.kaldi": "list_test_hard2.txt",
}


def read_corpus(root: Path) -> Manifest:
    """Return all utterances below ``root``, without durations."""
    names = [name for name in find_audio(root) if name.count("/") >= 2]
    if not names:
        raise TidyVoiceError(f"{root} contains no SPEAKER/VIDEO/UTTERANCE.wav. Is it the root?")
    ids = ["/".join(name.split("/")[-3:]) for name in names]
    paths = [f"{root}/{name}" for name in names]
    return Manifest.build(ids, paths, [utterance.partition("/")[0] for utterance in ids])


def main() -> None:
    """Prepare the test set."""
    root = "folder that contains the speakers, or one above"
    parser = parser_of("voxceleb1", __doc__, TERMS, root)
    parser.add_argument("--lists", type=Path, required=True, help="folder of the trial lists")
    parser.add_argument(
        "--download-lists", action="store_true", help="download those that are missing there"
    )
    parser.add_argument("--url", default=URL, help="folder to download them from (%(default)s)")
    args = parser.parse_args()
    refuse_corpus(args.root, args.out)
    print_terms(args, args.root)
    paths = {}
    for name, published in LISTS.items():
        path = args.lists / name
        if not path.is_file():
            path = args.lists / published
            if args.download_lists:
                download(f"{args.url}/{published}", path)
        if path.is_file():
            paths[args.out / name] = path
    if not paths:
        raise TidyVoiceError(f"{args.lists} contains no {', '.join(LISTS)}. Use --download-lists")
    refuse_inputs(list(paths), paths.values())
    manifest = read_corpus(args.root)
    utterances = manifest.table["utterance"].to_list()
    used: set[int] = set()
    for out, path in paths.items():
        trials = read_trials(path)
        if trials.label is None:
            raise TidyVoiceError(f"{path} has no labels. Give the published list")
        used.update(trials.places_in(utterances, f"audio in {args.root}").tolist())
        with atomic_path(out) as partial, open(partial, "wb") as file:
            write_trials(file, trials)
        print(f"{out}: {describe(trials)}")
    manifest = Manifest(manifest.table[sorted(used)]).measured()
    manifest.write(args.out, args.terms)
    print(
        f"{args.out}: {len(manifest.speakers()):,} speakers, {len(manifest):,} of "
        f"{len(utterances):,} utterances"
    )


if __name__ == "__main__":
    with one_line_errors():
        main()

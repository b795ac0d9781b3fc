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

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local.lists import check_count, describe
from local.sources import Remote, add_source, parser_of, provide
from tidyvoice.data.manifest import Manifest, find_audio
from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.files import atomic_path
from tidyvoice.scoring.trials import read_trials, write_trials

TERMS = "VoxCeleb1 and VoxCeleb2: the metadata are CC BY 4.0, the videos belong to their owners."
FOLDER = "voxceleb1"
URL = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta"


@dataclass(frozen=True)
class PublishedList:
    """Trial list: the names of its two forms and its number of trials."""

    name: str
    original: str
    trials: int

    def find(self, folder: Path) -> Path | None:
        """Return the path of the list in ``folder``, in either form."""
        paths = (folder / self.name, folder / self.original)
        return next((path for path in paths if path.is_file()), None)


LISTS = (
    PublishedList("vox1_O_cleaned.kaldi", "veri_test2.txt", 37_611),
    PublishedList("vox1_E_cleaned.kaldi", "list_test_all2.txt", 579_818),
    PublishedList("vox1_H_cleaned.kaldi", "list_test_hard2.txt", 550_894),
)


def read_corpus(root: Path) -> Manifest:
    """Return all utterances below ``root``, without durations.

    Raises:
        TidyVoiceError: there are none, or one occurs in two places.
    """
    names = [name for name in find_audio(root) if name.count("/") >= 2]
    if not names:
        raise TidyVoiceError(f"{root} contains no SPEAKER/VIDEO/UTTERANCE.wav. Is it the root?")
    ids = ["/".join(name.split("/")[-3:]) for name in names]
    paths = [f"{root}/{name}" for name in names]
    return Manifest.build(ids, paths, [utterance.partition("/")[0] for utterance in ids])


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the test set; ``arguments`` are those of the command line unless given."""
    parser = parser_of("python -m local.voxceleb1", __doc__, TERMS)
    add_source(parser, root="folder that contains the speakers, or one above it")
    parser.add_argument("--lists", type=Path, required=True, help="folder of the trial lists")
    parser.add_argument(
        "--download-lists", action="store_true", help="download those that are missing there"
    )
    parser.add_argument("--url", default=URL, help="folder to download them from (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    args = parser.parse_args(arguments)
    if args.download_lists:
        for each in LISTS:
            if not each.find(args.lists):
                Remote(args.url, each.original).fetch(args.lists)
    paths = {each: path for each in LISTS if (path := each.find(args.lists))}
    if not paths:
        names = ", ".join(f"{each.name} or {each.original}" for each in LISTS)
        raise TidyVoiceError(f"{args.lists} contains no {names}. Use --download-lists")
    manifest = read_corpus(root := provide(args, FOLDER, None))
    utterances = manifest.table["utterance"].to_list()
    used: set[int] = set()
    lists = {}
    for each, path in paths.items():
        trials = read_trials(path)
        if trials.label is None:
            raise TidyVoiceError(f"{path} has no labels. Give the published list")
        check_count(trials, each.trials)
        used.update(trials.places_in(utterances, f"audio in {root}").tolist())
        lists[each.name] = trials
    manifest = Manifest(manifest.table[sorted(used)]).measured()
    for name, trials in lists.items():
        with atomic_path(args.out / name) as partial, open(partial, "wb") as file:
            write_trials(file, trials)
        print(f"{args.out / name}: {describe(trials)}")
    manifest.write(args.out, args.terms)
    print(
        f"{args.out}: {len(manifest.speakers()):,} speakers, {len(manifest):,} of "
        f"{len(utterances):,} utterances"
    )


if __name__ == "__main__":
    with one_line_errors():
        main()

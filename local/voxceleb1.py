"""VoxCeleb1 (Nagrani, Chung, Zisserman, Interspeech 2017), which a pretraining is tested on.

Layout: ``SPEAKER/VIDEO/UTTERANCE.wav`` (``id10270/5r0dWxy17C8/00001.wav``); the parts dev and test
may be in two folders below --root. The audio needs an account (https://mm.kaist.ac.kr/datasets/
voxceleb), the lists do not: O (37,611 trials), E (579,818) and H (550,894), cleaned, as published
(``veri_test2.txt``, ``list_test_all2.txt``, ``list_test_hard2.txt``) or as Kaldi's users have them
(``vox1_O_cleaned.kaldi`` and so on).

    python -m local.voxceleb1 --root corpus/voxceleb1 --lists corpus/voxceleb1/lists \\
        --download-lists --out data/voxceleb1

writes a data folder of the utterances that the lists name, and the lists beside it as lines
``enroll test target|nontarget``: OUT/vox1_O_cleaned.kaldi.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from local.lists import check_count, describe
from local.recordings import by_root, find_recordings, inspected, manifest_of
from local.sources import Remote, add_source, parser_of, provide
from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.files import atomic_path
from tidyvoice.scoring.trials import read_trials, write_trials

FOLDER = "voxceleb1"
URL = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta"


@dataclass(frozen=True)
class PublishedList:
    """A trial list: the names of its two forms and how many trials it has."""

    name: str
    original: str
    trials: int

    def find(self, folder: Path) -> Path | None:
        """The list in ``folder``, in either form."""
        paths = (folder / self.name, folder / self.original)
        return next((path for path in paths if path.is_file()), None)


LISTS = (
    PublishedList("vox1_O_cleaned.kaldi", "veri_test2.txt", 37_611),
    PublishedList("vox1_E_cleaned.kaldi", "list_test_all2.txt", 579_818),
    PublishedList("vox1_H_cleaned.kaldi", "list_test_hard2.txt", 550_894),
)


def read_corpus(root: Path) -> Manifest:
    """All utterances below ``root``, without durations.

    Raises:
        TidyVoiceError: there are none, or one stands in two places.
    """
    found = find_recordings(root)
    found.tell_hidden()
    parts = [
        manifest_of(root if folder == "." else root / folder, names, languages=False)
        for folder, names in by_root(found).items()
    ]
    if not parts:
        raise TidyVoiceError(f"{root} holds no SPEAKER/VIDEO/UTTERANCE.wav: is it the root?")
    table = pl.concat(part.table for part in parts)
    columns = (table[name].to_list() for name in ("utterance", "path", "speaker"))
    return Manifest.build(*columns)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the test; ``arguments`` are those of the command line unless given."""
    parser = parser_of("python -m local.voxceleb1", __doc__, "VoxCeleb")
    add_source(parser, root="folder that holds the speakers, or one above it")
    parser.add_argument("--lists", type=Path, required=True, help="folder of the trial lists")
    parser.add_argument(
        "--download-lists", action="store_true", help="fetch to it those that are not there"
    )
    parser.add_argument("--url", default=URL, help="folder to fetch them from (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    args = parser.parse_args(arguments)
    if args.download_lists:
        for each in LISTS:
            if not each.find(args.lists):
                Remote(args.url, each.original).fetch(args.lists)
    paths = {each: path for each in LISTS if (path := each.find(args.lists))}
    if not paths:
        names = ", ".join(f"{each.name} or {each.original}" for each in LISTS)
        raise TidyVoiceError(f"{args.lists} holds no {names}: fetch them with --download-lists")
    manifest = read_corpus(root := provide(args, FOLDER, None))
    utterances = manifest.table["utterance"].to_list()
    used: set[int] = set()
    lists = {}
    for each, path in paths.items():
        trials = read_trials(path)
        if trials.label is None:
            raise TidyVoiceError(f"{path} has no labels: give the published list")
        check_count(trials, each.trials)
        used.update(trials.places_in(utterances, f"audio in {root}").tolist())
        lists[each.name] = trials
    manifest = inspected(Manifest(manifest.table[sorted(used)]))
    for name, trials in lists.items():
        with atomic_path(args.out / name) as partial, open(partial, "wb") as file:
            write_trials(file, trials)
        print(f"{args.out / name}: {describe(trials)}")
    manifest.write(args.out)
    print(
        f"{args.out}: {len(manifest.speakers()):,} speakers, {len(manifest):,} of "
        f"{len(utterances):,} utterances"
    )


if __name__ == "__main__":
    with one_line_errors():
        main()

"""Choose the best of several score files: the lowest EER, ties by minDCF.

    python -m local.choice blind=dev-blind.score asnorm=dev-asnorm.score

prints the metrics of each, then the name of the best.
"""

import argparse
from collections.abc import Sequence

from tidyvoice.cli.app import name_and_path
from tidyvoice.errors import one_line_errors
from tidyvoice.evaluation.categories import evaluate
from tidyvoice.evaluation.tables import format_systems
from tidyvoice.scoring.groups import languages_of
from tidyvoice.scoring.trials import read_scores


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose; ``arguments`` are those of the command line unless given."""
    parser = argparse.ArgumentParser("python -m local.choice", description=__doc__)
    parser.add_argument("scores", nargs="+", metavar="NAME=SCORES", help="score file with labels")
    rows = {}
    for name, path in map(name_and_path, parser.parse_args(arguments).scores):
        table = read_scores(path)
        rows[name] = evaluate(table, languages_of(table.trials))
    print(format_systems(rows, ()))
    best = min(rows, key=lambda name: (rows[name][0].eer, rows[name][0].min_dcf))
    print(f"lowest EER (ties by minDCF): {best}")


if __name__ == "__main__":
    with one_line_errors():
        main()

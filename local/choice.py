"""Choose the best of several score files: the lowest EER, ties by minDCF.

    python -m local.choice blind=dev-blind.score asnorm=dev-asnorm.score

prints the metrics of each, then the name of the best.
"""

import argparse
from collections.abc import Sequence

from tidyvoice.cli.app import name_and_path
from tidyvoice.errors import one_line_errors
from tidyvoice.evaluation.evaluate import ScoreFile, evaluate
from tidyvoice.evaluation.tables import brief_table


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose; ``arguments`` are those of the command line unless given."""
    parser = argparse.ArgumentParser("python -m local.choice", description=__doc__)
    parser.add_argument("scores", nargs="+", metavar="NAME=SCORES", help="score file with labels")
    files = map(name_and_path, parser.parse_args(arguments).scores)
    systems = {name: evaluate(ScoreFile(path)) for name, path in files}
    print(brief_table(systems).to_text())
    best = min(systems, key=lambda name: (systems[name].pooled.eer, systems[name].pooled.min_dcf))
    print(f"lowest EER (ties by minDCF): {best}")


if __name__ == "__main__":
    with one_line_errors():
        main()

"""The sections of a report below its results, each as HTML."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from tidyvoice.evaluation.categories import POOLED
from tidyvoice.evaluation.languages import LanguageRow
from tidyvoice.evaluation.tables import count, decimals, percent
from tidyvoice.report.figures import (
    CURVE_POINTS,
    det_picture,
    histogram_picture,
    named,
    training_pictures,
)
from tidyvoice.report.hardest import HardSpeaker, HardTrial
from tidyvoice.report.markup import absent, figure, folded, grid, note, section, signed, slug, table
from tidyvoice.report.matrix import matrix_picture
from tidyvoice.report.results import DASH, NO_LANGUAGES, NO_SPEAKERS
from tidyvoice.report.system import SystemResult
from tidyvoice.scoring.metrics import Costs

SOME_LANGUAGES = 6


def errors_section(results: Sequence[SystemResult]) -> str:
    """DET curves and score distributions."""
    main = results[0]
    curves = named(main.det)
    figures = [
        (
            det_picture("det", f"DET curves of {main.name}", curves, pooled=True),
            f"DET curves of {main.name}, targets/non-targets, on probit axes; the legend gives "
            "the EER in percent, where a curve meets the diagonal.",
        ),
        _scores(main, "scores"),
    ]
    if len(results) > 1:
        pooled = {result.name: result.det[POOLED] for result in results}
        picture = det_picture("det-systems", "DET curves by system", pooled, pooled=True)
        figures.append((picture, "DET curves of the systems, all trials."))
        figures += [
            _scores(other, f"scores-{number}") for number, other in enumerate(results[1:], 2)
        ]
    return section("errors", "Error trade-off and scores", grid(figures))


def _scores(result: SystemResult, name: str) -> tuple:
    picture = histogram_picture(
        name, f"Scores of {result.name}", result.edges, result.histograms, result.threshold
    )
    return picture, (
        f"Scores of {result.name} by kind of trial; each kind has unit area. The dotted line is "
        "the EER threshold."
    )


def languages_section(main: SystemResult, costs: Costs) -> str:
    """The matrix of language pairs, the same as a table, and the languages, hardest first."""
    if main.languages is None:
        return section("languages", "Languages", absent(NO_LANGUAGES))
    picture = matrix_picture(
        "languages-matrix",
        f"EER of {main.name} by pair of languages",
        main.languages.names,
        main.by_pair,
    )
    text = figure(
        picture,
        f"EER of {main.name} in percent, by the languages of the two sides of a trial; within one "
        "language on the diagonal. Hatched: targets or non-targets are missing; empty: no trials.",
        scrolls=True,
    )
    head = ["Targets", "Non-targets", "EER", f"minDCF, P {costs.p_target:g}"]
    pairs = table("pairs", "Pairs of languages", ["Pair", *head], _hardest_first(main.by_pair))
    text += folded(f"All {len(main.by_pair):,} pairs of languages as a table", pairs)
    text += "<h3>By language, hardest first</h3>\n"
    text += table(
        "by-language", "By language", ["Language", *head], _hardest_first(main.by_language)
    )
    return section(
        "languages",
        "Languages",
        text + note("A language's trials are those with at least one side in it."),
    )


def _hardest_first(rows: Sequence[LanguageRow]) -> list[list[str]]:
    ordered = sorted(rows, key=lambda row: -1 if row.eer is None else row.eer, reverse=True)
    return [
        [
            escape(" – ".join(dict.fromkeys(row.languages))),
            count(row.targets),
            count(row.nontargets),
            percent(row.eer),
            decimals(row.min_dcf),
        ]
        for row in ordered
    ]


def hardest_section(main: SystemResult) -> str:
    """The speakers and the trials that the main system fails at."""
    title = f"Hardest speakers and trials of {main.name}"
    if main.speakers is None:
        text = absent(f"No speakers: {NO_SPEAKERS}.")
    elif not main.hard_speakers:
        text = absent("No speaker has an error at the EER threshold.")
    else:
        head = ["Speaker", "Targets", "Missed (%)", "Non-targets", "False alarms (%)", "Languages"]
        rows = [_speaker(found) for found in main.hard_speakers]
        text = table("hard-speakers", "Hardest speakers", head, rows, left=(5,), kind="wide")
        text += note(
            f"At the EER threshold, {signed(main.threshold, '.4g')}; by the mean of both rates. "
            "A non-target trial counts for both of its speakers."
        )
    head = ["Enrolment", "Test", "Score", "Languages"]
    for name, kind, found in (
        ("hard-targets", "Targets of the lowest scores", main.hard_targets),
        ("hard-nontargets", "Non-targets of the highest scores", main.hard_nontargets),
    ):
        rows = [_trial(one) for one in found]
        text += f"<h3>{kind}</h3>\n" + table(name, kind, head, rows, left=(1, 3), kind="wide ids")
    return section("hardest", title, text)


def _speaker(found: HardSpeaker) -> list[str]:
    languages = list(found.languages[:SOME_LANGUAGES])
    if more := len(found.languages) - len(languages):
        languages.append(f"{more} more")
    return [
        escape(found.name),
        f"{found.targets:,}",
        f"{100 * found.misses / found.targets:.2f}" if found.targets else DASH,
        f"{found.nontargets:,}",
        f"{100 * found.false_alarms / found.nontargets:.2f}" if found.nontargets else DASH,
        escape(", ".join(languages)) or DASH,
    ]


def _trial(found: HardTrial) -> list[str]:
    languages = " – ".join(dict.fromkeys(found.languages)) if found.languages else DASH
    score = signed(found.score, ".4f")
    return [escape(found.enroll), escape(found.test), score, escape(languages)]


def training_section(result: SystemResult, number: int, alone: bool) -> str:
    """The curves of the training log."""
    title = "Training" if alone else f"Training of {result.name}"
    anchor = "training" if number == 1 else f"training-{number}"
    if result.log is None:
        return section(anchor, title, absent("No training log."))
    prefix = "training" if alone else f"training-{slug(result.name)}"
    text = grid([(picture, "") for picture in training_pictures(prefix, result.log)])
    text += note(
        f"{len(result.log.iteration):,} logged steps, the last at iteration "
        f"{result.log.iteration[-1]:,}; at most {CURVE_POINTS} of them are drawn."
    )
    if result.log.unreadable:
        text += absent(f"{result.log.unreadable:,} unreadable lines of the log are left out.")
    return section(anchor, title, text)


def configuration_section(path: Path) -> str:
    """The resolved settings, as they stand in the file."""
    text = absent("No config.yaml.")
    if path.is_file():
        settings = escape(path.read_text(encoding="utf-8", errors="replace"))
        text = folded(
            "config.yaml, every setting as resolved", f"<pre><code>{settings}</code></pre>"
        )
    return section("configuration", "Configuration", text)

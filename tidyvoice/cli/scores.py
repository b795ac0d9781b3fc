"""Commands that write score files."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidyvoice.cli.app import (
    AllowOverlap,
    AsJson,
    Blind,
    CohortLanguages,
    CohortSpeakers,
    CohortTable,
    Languages,
    Mean,
    Out,
    Speakers,
    TopN,
    app,
)
from tidyvoice.errors import TidyVoiceError, one_line_errors

if TYPE_CHECKING:
    from tidyvoice.scoring.measures import Measures
    from tidyvoice.scoring.pipeline import CohortFiles, Made

Tables = Annotated[
    list[Path] | None,
    typer.Option(help="raw embeddings of both lists, for magnitudes (repeatable)"),
]
Durations = Annotated[list[Path] | None, typer.Option(help="durations in seconds (repeatable)")]
LanguageMatch = Annotated[
    bool, typer.Option("--language-match", help="whether both sides are in one language")
]
Prior = Annotated[
    float | None, typer.Option(help="prior of a target that the fit is weighted for; 0.01")
]
ScoresThatCount = Annotated[
    int | None, typer.Option(min=2, help="highest cohort scores that count; 300")
]
Saved = Annotated[Path | None, typer.Option(help="where to keep the calibration")]
Folds = Annotated[
    int | None,
    typer.Option(min=3, help="fit to the other speakers of the list itself, in this many folds"),
]


@app.command()
@one_line_errors()
def score(
    embeddings: Annotated[Path, typer.Option(help="table of embeddings")],
    trials: Annotated[Path, typer.Option(help="trial list")],
    out: Out,
    mean: Mean = None,
    utt2spk: Speakers = None,
    in_sample: AllowOverlap = False,
    as_json: AsJson = False,
) -> None:
    """Cosine scores of a trial list.

    Example: tidyvoice score --embeddings dev.npz --trials trials --mean train.npz --out dev.score
    """
    from tidyvoice.scoring.pipeline import score_list

    made = score_list(embeddings, trials, out, mean, utt2spk or (), in_sample)
    _say(made, as_json, mean=mean and str(mean))


@app.command()
@one_line_errors()
def normalize(
    scores: Annotated[Path, typer.Argument(help="score file of cosines")],
    embeddings: Annotated[Path, typer.Option(help="embeddings of the trials")],
    cohort: Annotated[Path, typer.Option(help="embeddings of the cohort's utterances")],
    cohort_utt2spk: Annotated[Path, typer.Option(help="their speakers")],
    out: Out,
    mean: Mean = None,
    method: Annotated[str, typer.Option(help="asnorm, snorm or language")] = "asnorm",
    top_n: TopN = 300,
    utt2lang: Languages = None,
    cohort_utt2lang: CohortLanguages = None,
    blind: Blind = False,
    utt2spk: Speakers = None,
    in_sample: AllowOverlap = False,
    as_json: AsJson = False,
) -> None:
    """Normalise cosine scores by a cohort of other speakers.

    "asnorm" measures each side against the cohort speakers nearest to it, "snorm" against all,
    "language" against those who speak the language of the other side.

    Example: tidyvoice normalize dev.score --embeddings dev.npz --cohort train.npz
    --cohort-utt2spk data/train/utt2spk --mean train.npz --out dev-asnorm.score
    """
    from tidyvoice.scoring.pipeline import BY_LANGUAGE, CohortFiles, normalize_scores

    if method != BY_LANGUAGE:
        needed = f"only --method {BY_LANGUAGE} minds the languages"
        _without({"--utt2lang": utt2lang, "--cohort-utt2lang": cohort_utt2lang}, needed)
        _without({"--blind": blind}, needed)
    members = CohortFiles(cohort, cohort_utt2spk, cohort_utt2lang, top_n)
    made = normalize_scores(
        scores, embeddings, members, out, mean, method, utt2lang or (), blind, utt2spk or (),
        in_sample,
    )  # fmt: skip
    _say(made, as_json)


@app.command()
@one_line_errors()
def calibrate(
    out: Out,
    fit: Annotated[list[Path] | None, typer.Option(help="labelled scores of others")] = None,
    apply: Annotated[list[Path] | None, typer.Option(help="scores to calibrate")] = None,
    cross_fit: Folds = None,
    use: Annotated[Path | None, typer.Option(help="a saved calibration instead of --fit")] = None,
    save: Saved = None,
    embeddings: Tables = None,
    utt2dur: Durations = None,
    language_match: LanguageMatch = False,
    utt2lang: Languages = None,
    cohort: CohortTable = None,
    cohort_utt2spk: CohortSpeakers = None,
    cohort_utt2lang: CohortLanguages = None,
    top_n: ScoresThatCount = None,
    mean: Mean = None,
    blind: Blind = False,
    prior: Prior = None,
    utt2spk: Speakers = None,
    in_sample: AllowOverlap = False,
    as_json: AsJson = False,
) -> None:
    """Turn scores into log-likelihood ratios, by logistic regression on labelled scores.

    Quality measures are added by giving what they need: --utt2dur (durations), --embeddings
    (magnitudes), --cohort (mean cohort scores), --language-match.

    Example: tidyvoice calibrate --fit calib.score --apply dev.score --out dev-llr.score
    """
    if not apply:
        raise TidyVoiceError("--apply is missing: give the scores to calibrate")
    if not cohort:
        given = {"--cohort-utt2spk": cohort_utt2spk, "--cohort-utt2lang": cohort_utt2lang}
        _without({**given, "--top-n": top_n, "--mean": mean}, "it is of use with --cohort only")
    if len(apply) > 1 or len(fit or []) > 1:
        raise TidyVoiceError("give one score file each to --fit and --apply; `fuse` takes several")
    _calibrate(
        fit or [], apply, out, cross_fit, use, save,
        _measures(
            embeddings, utt2dur, language_match, utt2lang, blind,
            _cohort(cohort, cohort_utt2spk, cohort_utt2lang, top_n or 300), mean,
        ),
        prior, utt2spk, in_sample, as_json,
    )  # fmt: skip


@app.command()
@one_line_errors()
def fuse(
    out: Out,
    fit: Annotated[list[Path] | None, typer.Option(help="labelled scores of each system")] = None,
    apply: Annotated[list[Path] | None, typer.Option(help="scores of each, to fuse")] = None,
    cross_fit: Folds = None,
    use: Annotated[Path | None, typer.Option(help="a saved fusion instead of --fit")] = None,
    save: Saved = None,
    embeddings: Tables = None,
    utt2dur: Durations = None,
    language_match: LanguageMatch = False,
    utt2lang: Languages = None,
    prior: Prior = None,
    utt2spk: Speakers = None,
    in_sample: AllowOverlap = False,
    as_json: AsJson = False,
) -> None:
    """Fuse the scores of several systems into log-likelihood ratios.

    Example: tidyvoice fuse --fit a/calib.score b/calib.score --apply a/dev.score b/dev.score
    --out fused.score
    """
    if len(apply or []) < 2:
        raise TidyVoiceError("--apply: give the score files of two systems or more")
    if not cross_fit and not use and len(fit or []) != len(apply):
        raise TidyVoiceError(
            f"--fit has {len(fit or [])} score files, --apply {len(apply)}: give one of each a "
            "system, in the same order"
        )
    _calibrate(
        fit or [], apply, out, cross_fit, use, save,
        _measures(embeddings, utt2dur, language_match, utt2lang),
        prior, utt2spk, in_sample, as_json,
    )  # fmt: skip


def _without(options: dict[str, object], why: str) -> None:
    """Refuse options that would have no effect."""
    given = [name for name, value in options.items() if value]
    if given:
        raise TidyVoiceError(f"{given[0]}: {why}; leave it out")


def _cohort(
    table: Path | None, utt2spk: Path | None, utt2lang: Path | None, top_n: int
) -> "CohortFiles | None":
    from tidyvoice.scoring.pipeline import CohortFiles

    if table is None:
        return None
    if utt2spk is None:
        raise TidyVoiceError("--cohort needs --cohort-utt2spk, the speakers of its utterances")
    return CohortFiles(table, utt2spk, utt2lang, top_n)


def _measures(
    embeddings: list[Path] | None,
    utt2dur: list[Path] | None,
    language_match: bool,
    utt2lang: list[Path] | None,
    blind: bool = False,
    cohort: "CohortFiles | None" = None,
    mean: Path | None = None,
) -> "Measures":
    from tidyvoice.scoring.measures import Measures

    return Measures(
        embeddings or (), utt2dur or (), language_match, utt2lang or (), blind, cohort, mean
    )


def _calibrate(
    fit: list[Path],
    apply: list[Path],
    out: Path,
    folds: int | None,
    use: Path | None,
    save: Path | None,
    measures: "Measures",
    prior: float | None,
    utt2spk: list[Path] | None,
    in_sample: bool,
    as_json: bool,
) -> None:
    from tidyvoice.scoring.calibrated import apply_calibration, calibrate_scores, cross_calibrate
    from tidyvoice.scoring.calibration import Fit

    given = [
        name for name, value in (("--fit", fit), ("--cross-fit", folds), ("--use", use)) if value
    ]
    if len(given) != 1:
        what = " and ".join(given) or "none of them is given"
        raise TidyVoiceError(f"give one of --fit, --cross-fit and --use: {what}")
    if save and not fit:
        raise TidyVoiceError(f"--save {save}: only what --fit makes is kept")
    if use:
        _without({"--prior": prior}, f"{use} has been fitted already")
    how, speakers = Fit() if prior is None else Fit(prior), utt2spk or ()
    if fit:
        made = calibrate_scores(fit, apply, out, measures, how, save, speakers, in_sample)
    elif folds:
        made = cross_calibrate(apply, out, folds, measures, how, speakers, in_sample)
    else:
        made = apply_calibration(use, apply, out, measures, speakers, in_sample)
    _say(made, as_json)


def _say(made: "Made", as_json: bool, **more: object) -> None:
    lineage, step = made.lineage, made.lineage.steps[-1]
    if as_json:
        row = {"scores": str(made.out), "trials": made.trials, **more, **asdict(step)}
        typer.echo(json.dumps({**row, **lineage.to_json()}))
        return
    typer.echo(f"{made.out}: {made.trials:,} trials, {step.text}")
    for said in lineage.remarks():
        typer.echo(said)

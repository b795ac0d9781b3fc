"""Commands that write score files."""

import json
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
    from tidyvoice.scoring.pipeline import ScoringResult

CALIBRATE = """Turn scores into log-likelihood ratios, by logistic regression on labelled scores.

    Fit on the scores of other speakers (--fit), on the other speakers of the list itself
    (--cross-fit), or use a saved calibration (--use). Quality measures are added by giving what
    they need: --utt2dur (durations), --embeddings (magnitudes), --cohort (mean cohort scores),
    --language-match.

    Example: tidyvoice calibrate --fit calib.score --apply dev.score --out dev-llr.score
    """
FUSE = """Fuse the scores of several systems into log-likelihood ratios.

    The options are those of calibrate; --fit and --apply take one score file for each system.

    Example: tidyvoice fuse --fit a/calib.score b/calib.score --apply a/dev.score b/dev.score
    --out fused.score
    """


@app.command()
@one_line_errors()
def score(
    embeddings: Annotated[Path, typer.Option(help="embeddings of the trials' utterances")],
    trials: Annotated[Path, typer.Option(help="trial list")],
    out: Out,
    mean: Mean = None,
    utt2spk: Speakers = None,
    allow_overlap: AllowOverlap = False,
    as_json: AsJson = False,
) -> None:
    """Write the cosine scores of a trial list.

    Example: tidyvoice score --embeddings dev.npz --trials trials --mean train.npz --out dev.score
    """
    from tidyvoice.scoring.pipeline import score_list

    _print(score_list(embeddings, trials, out, mean, utt2spk or (), allow_overlap), as_json)


@app.command()
@one_line_errors()
def normalize(
    scores: Annotated[Path, typer.Option(help="cosine scores")],
    embeddings: Annotated[Path, typer.Option(help="embeddings of the trials' utterances")],
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
    allow_overlap: AllowOverlap = False,
    as_json: AsJson = False,
) -> None:
    """Normalise cosine scores by a cohort of other speakers.

    "asnorm" compares each side with the cohort speakers nearest to it, "snorm" with all,
    "language" with those who speak the language of the other side.

    Example: tidyvoice normalize --scores dev.score --embeddings dev.npz --cohort train.npz
    --cohort-utt2spk data/train/utt2spk --mean train.npz --out dev-asnorm.score
    """
    from tidyvoice.scoring.pipeline import BY_LANGUAGE, normalize_scores
    from tidyvoice.scoring.tables import CohortFiles

    if method != BY_LANGUAGE:
        options = {"utt2lang": utt2lang, "cohort-utt2lang": cohort_utt2lang, "blind": blind}
        _refuse(options, f"it has an effect only with --method {BY_LANGUAGE}")
    members = CohortFiles(cohort, cohort_utt2spk, cohort_utt2lang, top_n)
    result = normalize_scores(
        scores, embeddings, members, out, mean, method, utt2lang or (), blind, utt2spk or (),
        allow_overlap,
    )  # fmt: skip
    _print(result, as_json)


@app.command("fuse", help=FUSE)
@app.command("calibrate", help=CALIBRATE)
@one_line_errors()
def calibrate(
    context: typer.Context,
    apply: Annotated[list[Path], typer.Option(help="scores to calibrate")],
    out: Out,
    fit: Annotated[
        list[Path] | None, typer.Option(help="labelled scores of other speakers, to fit on")
    ] = None,
    cross_fit: Annotated[
        int | None, typer.Option(min=3, help="folds of a fit to the list's other speakers")
    ] = None,
    use: Annotated[Path | None, typer.Option(help="saved calibration")] = None,
    save: Annotated[Path | None, typer.Option(help="file for the calibration of --fit")] = None,
    embeddings: Annotated[
        list[Path] | None, typer.Option(help="raw embeddings of both lists (repeatable)")
    ] = None,
    utt2dur: Annotated[
        list[Path] | None, typer.Option(help="durations in seconds (repeatable)")
    ] = None,
    language_match: Annotated[
        bool, typer.Option("--language-match", help="measure if both sides are in one language")
    ] = False,
    utt2lang: Languages = None,
    cohort: CohortTable = None,
    cohort_utt2spk: CohortSpeakers = None,
    cohort_utt2lang: CohortLanguages = None,
    top_n: Annotated[
        int | None, typer.Option(min=2, show_default="300", help="highest cohort scores that count")
    ] = None,
    mean: Mean = None,
    blind: Blind = False,
    prior: Annotated[
        float | None, typer.Option(show_default="0.01", help="prior of a target trial in the fit")
    ] = None,
    utt2spk: Speakers = None,
    allow_overlap: AllowOverlap = False,
    as_json: AsJson = False,
) -> None:
    from tidyvoice.scoring.calibrated import Calibrator
    from tidyvoice.scoring.calibration import Fit
    from tidyvoice.scoring.measures import Measures
    from tidyvoice.scoring.tables import CohortFiles

    if context.info_name == "fuse" and len(apply) < 2:
        raise TidyVoiceError("--apply: give the score files of two systems or more.")
    if context.info_name == "calibrate" and max(len(apply), len(fit or [])) > 1:
        raise TidyVoiceError("--fit, --apply: give one score file each. `fuse` takes several.")
    ways = {"--fit": fit, "--cross-fit": cross_fit, "--use": use}
    if sum(map(bool, ways.values())) != 1:
        names = " and ".join(name for name, value in ways.items() if value) or "none"
        raise TidyVoiceError(f"give one of {', '.join(ways)}, not {names}.")
    if not fit:
        _refuse({"save": save}, "only the calibration of --fit can be saved")
    if use:
        _refuse({"prior": prior}, f"{use} is fitted already")
    if not cohort:
        options = {"cohort-utt2spk": cohort_utt2spk, "cohort-utt2lang": cohort_utt2lang}
        _refuse({**options, "top-n": top_n, "mean": mean}, "it has an effect only with --cohort")
    elif not cohort_utt2spk:
        raise TidyVoiceError("--cohort: give --cohort-utt2spk, the speakers of its utterances.")
    members = cohort and CohortFiles(cohort, cohort_utt2spk, cohort_utt2lang, top_n or 300)
    measures = Measures(
        embeddings or (), utt2dur or (), language_match, utt2lang or (), blind, members, mean
    )
    calibrator = Calibrator(apply, out, measures, utt2spk or (), allow_overlap)
    how = Fit() if prior is None else Fit(prior)
    if fit:
        result = calibrator.fit(fit, how, save)
    else:
        result = calibrator.use(use) if use else calibrator.cross_fit(cross_fit, how)
    _print(result, as_json)


def _refuse(options: dict[str, object], why: str) -> None:
    """Refuse options that would have no effect."""
    for name, value in options.items():
        if value:
            raise TidyVoiceError(f"--{name}: {why}. Leave it out.")


def _print(result: "ScoringResult", as_json: bool) -> None:
    from tidyvoice.scoring.provenance import describe

    lineage, step = result.lineage, result.lineage.steps[-1]
    if as_json:
        row = {"scores": str(result.out), "trials": result.trials, **step.model_dump(mode="json")}
        typer.echo(json.dumps({**row, **lineage.to_json()}))
        return
    typer.echo(f"{result.out}: {result.trials:,} trials, {describe(step)}")
    for line in lineage.remarks():
        typer.echo(line)

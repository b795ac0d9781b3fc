"""Commands that write score files and the challenge's zip."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidyvoice.cli import common
from tidyvoice.cli.common import command, emit
from tidyvoice.errors import TidyVoiceError

if TYPE_CHECKING:
    from tidyvoice.scoring.lineage import Lineage


@command()
def score(
    embeddings: Annotated[Path, typer.Option(help="embeddings of the trials' utterances")],
    trials: Annotated[Path, typer.Option(help="trial list")],
    out: common.Out,
    mean: common.Mean = None,
    utt2spk: common.Speakers = None,
    allow_overlap: common.AllowOverlap = False,
    as_json: common.AsJson = False,
) -> None:
    """Write the cosine scores of a trial list.

    Example: tidyvoice score --embeddings dev.npz --trials trials --mean train.npz --out dev.score
    """
    from tidyvoice.scoring.pipeline import score_list

    _print(out, score_list(embeddings, trials, out, mean, utt2spk or (), allow_overlap), as_json)


@command()
def normalize(
    scores: Annotated[Path, typer.Option(help="cosine scores")],
    embeddings: Annotated[Path, typer.Option(help="embeddings of the trials' utterances")],
    cohort: Annotated[Path, typer.Option(help="embeddings of the cohort's utterances")],
    cohort_utt2spk: Annotated[Path, typer.Option(help="their speakers")],
    out: common.Out,
    mean: common.Mean = None,
    method: Annotated[str, typer.Option(help="asnorm, snorm or language")] = "asnorm",
    top_n: common.TopN = 300,
    utt2lang: common.Languages = None,
    cohort_utt2lang: common.CohortLanguages = None,
    blind: common.Blind = False,
    utt2spk: common.Speakers = None,
    allow_overlap: common.AllowOverlap = False,
    as_json: common.AsJson = False,
) -> None:
    """Normalise cosine scores by a cohort of other speakers.

    "asnorm" compares each side with the cohort speakers nearest to it, "snorm" with all,
    "language" with those who speak the language of the other side.

    Example: tidyvoice normalize --scores dev.score --embeddings dev.npz --cohort train.npz
    --cohort-utt2spk data/train/utt2spk --mean train.npz --out dev-asnorm.score
    """
    from tidyvoice.scoring.pipeline import BY_LANGUAGE, normalize_scores
    from tidyvoice.scoring.tables import CohortFiles, Tables

    languages = {"utt2lang": utt2lang, "cohort-utt2lang": cohort_utt2lang, "blind": blind}
    _need(f"--method {BY_LANGUAGE}", method == BY_LANGUAGE, languages)
    members = CohortFiles(cohort, cohort_utt2spk, cohort_utt2lang, top_n)
    tables = Tables([embeddings], mean, members, utt2lang or (), blind)
    lineage = normalize_scores(scores, tables, out, method, utt2spk or (), allow_overlap)
    _print(out, lineage, as_json)


@command("fuse")
@command("calibrate")
def calibrate(
    apply: Annotated[list[Path], typer.Option(help="scores to calibrate")],
    out: common.Out,
    fit: Annotated[list[Path] | None, typer.Option(help="labelled scores to fit on")] = None,
    cross_fit: Annotated[int | None, typer.Option(min=3, help="folds of speakers")] = None,
    use: Annotated[Path | None, typer.Option(help="saved calibration")] = None,
    save: Annotated[Path | None, typer.Option(help="file for the calibration of --fit")] = None,
    embeddings: Annotated[list[Path] | None, typer.Option(help="embeddings (repeatable)")] = None,
    utt2dur: Annotated[list[Path] | None, typer.Option(help="durations in seconds")] = None,
    language_match: Annotated[
        bool, typer.Option("--language-match", help="measure if both sides are in one language")
    ] = False,
    utt2lang: common.Languages = None,
    cohort: common.CohortTable = None,
    cohort_utt2spk: common.CohortSpeakers = None,
    cohort_utt2lang: common.CohortLanguages = None,
    top_n: Annotated[
        int | None, typer.Option(min=2, show_default="300", help="highest cohort scores that count")
    ] = None,
    mean: common.Mean = None,
    blind: common.Blind = False,
    prior: Annotated[
        float | None, typer.Option(show_default="0.01", help="prior of a target trial in the fit")
    ] = None,
    utt2spk: common.Speakers = None,
    allow_overlap: common.AllowOverlap = False,
    as_json: common.AsJson = False,
) -> None:
    """Turn scores of a system (calibrate) or of several (fuse) into log-likelihood ratios.

    Fit a logistic regression on labelled scores of other speakers (--fit), on the other speakers of
    the list itself (--cross-fit), or use a saved calibration (--use). These options add quality
    measures: --utt2dur (durations), --embeddings (magnitudes), --cohort, --language-match.

    Example: tidyvoice calibrate --fit calib.score --apply dev.score --out dev-llr.score

    Example: tidyvoice fuse --fit a/calib.score b/calib.score --apply a/dev.score b/dev.score
    --out fused.score
    """
    from tidyvoice.scoring.calibration import PRIOR
    from tidyvoice.scoring.pipeline import calibrate_scores
    from tidyvoice.scoring.tables import CohortFiles, Tables

    if sum(map(bool, (fit, cross_fit, use))) != 1:
        raise TidyVoiceError("give one of --fit, --cross-fit and --use.")
    _need("--fit", fit, {"save": save})
    _need("--fit or --cross-fit", not use, {"prior": prior})
    others = {"cohort-utt2spk": cohort_utt2spk, "cohort-utt2lang": cohort_utt2lang}
    _need("--cohort", cohort, {**others, "top-n": top_n, "mean": mean, "blind": blind})
    _need("--language-match", language_match, {"utt2lang": utt2lang, "blind": blind})
    _need("--embeddings and --cohort-utt2spk", embeddings and cohort_utt2spk, {"cohort": cohort})
    members = cohort and CohortFiles(cohort, cohort_utt2spk, cohort_utt2lang, top_n or 300)
    tables = Tables(
        embeddings or (), mean, members, utt2lang or (), blind, utt2dur or (), language_match
    )
    prior = PRIOR if prior is None else prior
    lineage = calibrate_scores(
        apply, out, tables, fit or (), use, cross_fit, prior, save, utt2spk or (), allow_overlap
    )
    _print(out, lineage, as_json)


@command()
def submission(
    scores_a: Annotated[Path, typer.Option(help="scores of list A")],
    scores_u: Annotated[Path, typer.Option(help="scores of list U")],
    trials_a: Annotated[Path, typer.Option(help="the challenge's tv26_eval-A.txt")],
    trials_u: Annotated[Path, typer.Option(help="the challenge's tv26_eval-U.txt")],
    out: Annotated[Path, typer.Option(help="zip to write")],
    any_count: Annotated[bool, typer.Option("--any-count", help="allow another length")] = False,
    name: Annotated[str | None, typer.Option(help="name of the system in the output")] = None,
    as_json: common.AsJson = False,
) -> None:
    """Pack the scores of both evaluation lists into the challenge's zip.

    The scores must be those of the lists, in their order. The same scores give the same bytes.

    Example: tidyvoice submission --scores-a A.score --scores-u U.score
    --trials-a tv26_eval-A.txt --trials-u tv26_eval-U.txt --out submission.zip
    """
    from tidyvoice.submission import write_submission

    scores, trials = {"A": scores_a, "U": scores_u}, {"A": trials_a, "U": trials_u}
    archive = write_submission(out, scores, trials, any_count)
    about = f"{name}, " if name else ""
    lines = [
        f"{f}: {about}{archive['systems'][f]}; {n:,} scores" for f, n in archive["lines"].items()
    ]
    lines.append(f"{out}: read back and equal; SHA-256 {archive['sha256']}")
    emit(as_json, archive, lines)


def _need(needed: str, present: object, options: dict[str, object]) -> None:
    """Refuse options that would have no effect."""
    for name, value in options.items():
        if value and not present:
            raise TidyVoiceError(f"--{name}: it needs {needed}.")


def _print(out: Path, lineage: "Lineage", as_json: bool) -> None:
    from tidyvoice.scoring.provenance import describe

    step = lineage.steps[-1]
    row = {"scores": str(out), **step.model_dump(mode="json"), **lineage.to_json()}
    emit(as_json, row, [f"{out}: {describe(step)}", *lineage.remarks()])

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
    backend: common.BackendFile = None,
    utt2spk: common.Speakers = None,
    allow_overlap: common.AllowOverlap = False,
    as_json: common.AsJson = False,
) -> None:
    """Write the scores of a trial list: cosines, or the scores of a back end.

    Example: tidyvoice score --embeddings dev.npz --trials trials --mean train.npz --out dev.score
    """
    from tidyvoice.scoring.pipeline import score_list

    files = mean, backend, utt2spk or ()
    _print(out, score_list(embeddings, trials, out, *files, allow_overlap), as_json)


@command()
def fit_backend(
    embeddings: Annotated[Path, typer.Option(help="embeddings of training speakers")],
    out: Annotated[Path, typer.Option(help="file to write")],
    utt2spk: common.Speakers = None,
    utt2lang: common.Languages = None,
    method: Annotated[
        list[str] | None, typer.Option(show_default="centre", help="centre, nap, lda or plda")
    ] = None,
    dimensions: Annotated[
        list[int] | None, typer.Option(help="that nap removes, or lda and plda keep")
    ] = None,
    cohort: Annotated[bool, typer.Option(help="lower scores by those of other speakers")] = True,
    held_out: Annotated[
        Path | None, typer.Option(help="embeddings of other speakers, to choose by")
    ] = None,
    trials: Annotated[Path | None, typer.Option(help="their labelled trials")] = None,
    allow_overlap: common.AllowOverlap = False,
    as_json: common.AsJson = False,
) -> None:
    """Fit how embeddings are compared, to the embeddings of training speakers.

    Several methods or numbers of dimensions are compared on the trials of held-out speakers. Their
    cost is the larger one of EER and minDCF, each relative to the centred cosine. The one with
    the lowest sum of cost and standard error is written.

    Example: tidyvoice fit-backend --embeddings train.npz --out backend.json --method centre lda
    --dimensions 10 20 40 --held-out calib.npz --trials calib/trials
    """
    from tidyvoice.backend_choice import choose
    from tidyvoice.files import refuse_inputs

    inputs = filter(None, [embeddings, held_out, trials, *(utt2spk or ()), *(utt2lang or ())])
    refuse_inputs([out], inputs)
    if (held_out is None) != (trials is None):
        raise TidyVoiceError("give both --held-out and --trials, or neither.")
    candidates, warnings = choose(
        embeddings, utt2spk or (), utt2lang or (), method or ["centre"], dimensions or [], cohort,
        held_out, trials, allow_overlap,
    )  # fmt: skip
    best = candidates[0]
    best.backend.save(out)
    lines = [f"{out}: {best.describe()}", *(f"  {each.describe()}" for each in candidates[1:])]
    rows = [each.to_json() for each in candidates]
    emit(as_json, {"backend": str(out), "candidates": rows, "warnings": warnings}, lines, warnings)


@command()
def normalize(
    scores: Annotated[Path, typer.Option(help="cosine scores")],
    embeddings: Annotated[Path, typer.Option(help="embeddings of the trials' utterances")],
    cohort: Annotated[Path, typer.Option(help="embeddings of the cohort's utterances")],
    cohort_utt2spk: Annotated[Path, typer.Option(help="their speakers")],
    out: common.Out,
    mean: common.Mean = None,
    method: Annotated[str, typer.Option(help="asnorm or snorm")] = "asnorm",
    top_n: Annotated[int, typer.Option(min=2, help="number of highest cohort scores used")] = 300,
    utt2spk: common.Speakers = None,
    allow_overlap: common.AllowOverlap = False,
    as_json: common.AsJson = False,
) -> None:
    """Normalise cosine scores by a cohort of other speakers, as published systems do.

    "asnorm" compares each side with the cohort speakers nearest to it, "snorm" with all. The
    offsets of `tidyvoice fit-backend` are better where false alarms must be few.

    Example: tidyvoice normalize --scores dev.score --embeddings dev.npz --cohort train.npz
    --cohort-utt2spk data/train/utt2spk --mean train.npz --out dev-asnorm.score
    """
    from tidyvoice.scoring.pipeline import normalize_scores
    from tidyvoice.scoring.tables import Tables

    tables = Tables([embeddings], mean, cohort=(cohort, cohort_utt2spk))
    lineage = normalize_scores(scores, tables, out, method, top_n, utt2spk or (), allow_overlap)
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
    magnitude: Annotated[
        bool, typer.Option("--magnitude", help="measure the lengths of --embeddings")
    ] = False,
    languages: Annotated[
        str | None,
        typer.Option(
            help="measure how alike the languages of both sides are: known, guessed (by "
            "--backend), or a table of language embeddings"
        ),
    ] = None,
    utt2lang: common.Languages = None,
    backend: Annotated[Path | None, typer.Option(help="back end that guesses languages")] = None,
    prior: Annotated[
        float | None, typer.Option(show_default="0.01", help="prior of a target trial in the fit")
    ] = None,
    utt2spk: common.Speakers = None,
    allow_overlap: common.AllowOverlap = False,
    as_json: common.AsJson = False,
) -> None:
    """Turn scores of a system (calibrate) or of several (fuse) into log-likelihood ratios.

    Fit a logistic regression on labelled scores of other speakers (--fit), on the other speakers of
    the list itself (--cross-fit), or use a saved calibration (--use). Quality measures are added by
    --utt2dur (durations), --magnitude and --languages.

    Example: tidyvoice calibrate --fit calib.score --apply dev.score --out dev-llr.score

    Example: tidyvoice fuse --fit a/calib.score b/calib.score --apply a/dev.score b/dev.score
    --out fused.score
    """
    from tidyvoice.scoring.calibration import PRIOR
    from tidyvoice.scoring.pipeline import calibrate_scores
    from tidyvoice.scoring.tables import Measures, Tables

    if sum(map(bool, (fit, cross_fit, use))) != 1:
        raise TidyVoiceError("give one of --fit, --cross-fit and --use.")
    guessed = languages == "guessed"
    _need("--fit", fit, {"save": save})
    _need("--fit or --cross-fit", not use, {"prior": prior})
    _need("--languages", languages, {"utt2lang": utt2lang})
    _need("--languages guessed", guessed, {"backend": backend})
    _need("--magnitude or --languages guessed", magnitude or guessed, {"embeddings": embeddings})
    if magnitude and not embeddings:
        raise TidyVoiceError("--magnitude: give --embeddings.")
    if guessed and not (embeddings and backend):
        raise TidyVoiceError("--languages guessed: give --embeddings and --backend.")
    measures = Measures(utt2dur or (), magnitude, languages, utt2lang or ())
    tables = Tables(embeddings or (), backend=backend, measures=measures)
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

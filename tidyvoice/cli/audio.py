"""Commands on recordings: embeddings, decisions, enrolled speakers."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidyvoice.cli.app import (
    AllowOverlap,
    AsJson,
    CohortSpeakers,
    CohortTable,
    Device,
    Mean,
    Model,
    Speakers,
    TopN,
    app,
)
from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.terms import IDENTIFICATION

if TYPE_CHECKING:
    from tidyvoice.encoder import SpeakerEncoder

Channel = Annotated[int, typer.Option(min=0, help="channel of the recordings, from 0")]
VoiceFile = Annotated[Path, typer.Option(help="file of enrolled speakers, .npz")]
Recordings = Annotated[list[Path], typer.Argument(help="recordings in any format")]


@app.command()
@one_line_errors()
def embed(
    recordings: Recordings,
    model: Model,
    out: Annotated[Path | None, typer.Option(help="embeddings to write, .npz")] = None,
    channel: Channel = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Embed recordings; their paths are the ids of the embeddings.

    Example: tidyvoice embed one.wav other.wav --model exp/mini/finetune/models --out voices.npz
    """
    from tidyvoice.files import refuse_inputs
    from tidyvoice.modelhub.folder import local_files
    from tidyvoice.scoring.embeddings import save_embeddings

    ids = [str(path) for path in recordings]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise TidyVoiceError(f"{twice} is given twice, but ids must differ")
    if out is not None:
        if spaced := next((name for name in ids if len(name.split()) != 1), None):
            raise TidyVoiceError(f"{spaced}: an id must not contain spaces; rename the file")
        refuse_inputs([out], [*recordings, *local_files(model)])
    elif not as_json:
        raise TidyVoiceError("give --out FILE.npz for the embeddings, or --json to print them")
    encoder = _encoder(model, device)
    vectors = encoder.embed_many(recordings, channel=channel)
    if out is not None:
        save_embeddings(out, ids, vectors, encoder.trained_on, encoder.weights)
    if as_json:
        rows = zip(ids, vectors.astype(float).tolist(), strict=True)
        typer.echo(json.dumps([{"recording": name, "embedding": row} for name, row in rows]))
    else:
        typer.echo(f"{out}: {len(ids):,} embeddings of {vectors.shape[1]} dimensions")


@app.command()
@one_line_errors()
def verify(
    one: Annotated[Path, typer.Argument(help="a recording")],
    other: Annotated[Path, typer.Argument(help="another recording")],
    model: Model,
    prior: Annotated[
        float, typer.Option(help="probability of one speaker before hearing the recordings")
    ] = 0.5,
    threshold: Annotated[
        float | None,
        typer.Option(help="score that one speaker must exceed, instead of the prior's"),
    ] = None,
    channel: Annotated[
        list[int], typer.Option(min=0, help="channel of both recordings, or twice, one for each")
    ] = [0],  # noqa: B006
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Decide whether two recordings are of one speaker.

    Example: tidyvoice verify one.wav other.wav --model exp/mini/finetune/models
    """
    from tidyvoice.recordings import Recording

    if len(channel) > 2:
        raise TidyVoiceError(f"--channel: {len(channel)} values for two recordings; give 1 or 2")
    pair = zip((one, other), (channel[0], channel[-1]), strict=True)
    voices = [Recording.load(path, channel=number) for path, number in pair]
    result = _encoder(model, device).verify(*voices, prior, threshold)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
        return
    _warn(result.warnings)
    if result.same_speaker is None:
        typer.echo(
            f"score {result.score:.3f} (cosine; without a verifier there is no threshold: give "
            "--threshold, or fit one with `tidyvoice fit-verifier`)"
        )
        return
    answer = "the same speaker" if result.same_speaker else "different speakers"
    typer.echo(f"{answer}: score {result.score:.3f}, threshold {result.threshold:.3f}")
    if result.llr is not None:
        typer.echo(
            f"log-likelihood ratio {result.llr:+.2f}; probability of the same speaker "
            f"{result.probability:.4g} at a prior of {result.prior:g}"
        )


@app.command(epilog=IDENTIFICATION)
@one_line_errors()
def enroll(
    name: Annotated[str, typer.Argument(help="name of the speaker")],
    recordings: Recordings,
    model: Model,
    voices: VoiceFile,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace a speaker of this name")
    ] = False,
    channel: Channel = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Enroll a speaker with one or several recordings.

    Example: tidyvoice enroll Ann ann-1.wav ann-2.wav --model exp/mini/finetune/models
    --voices voices.npz
    """
    from tidyvoice.files import one_at_a_time
    from tidyvoice.verification.enrollment import Gallery

    speaker = _encoder(model, device).enroll(name, recordings, channel=channel)
    # Embedding takes long; only the update of the file excludes other programs.
    with one_at_a_time(voices):
        gallery = Gallery.load(voices) if voices.exists() else Gallery()
        gallery.add(speaker, overwrite)
        gallery.save(voices)
    if as_json:
        row = {"voices": str(voices), "name": speaker.name, "recordings": speaker.recordings}
        typer.echo(json.dumps({**row, "seconds": speaker.seconds, "enrolled": len(gallery)}))
    else:
        typer.echo(
            f"{voices}: {speaker.name} enrolled with {speaker.recordings} recordings, "
            f"{speaker.seconds:.1f} s; speakers: {len(gallery):,}"
        )


@app.command()
@one_line_errors()
def voices(
    path: Annotated[Path, typer.Argument(metavar="VOICES", help="file of enrolled speakers, .npz")],
    remove: Annotated[str | None, typer.Option(help="name of a speaker to delete")] = None,
    as_json: AsJson = False,
) -> None:
    """List the enrolled speakers, or delete one.

    Example: tidyvoice voices voices.npz --remove Ann
    """
    from tidyvoice.files import one_at_a_time
    from tidyvoice.verification.enrollment import Gallery

    gallery = Gallery.load(path)
    if remove is not None:
        with one_at_a_time(path):
            gallery = Gallery.load(path)  # another program may have changed the file
            gallery.remove(remove)
            gallery.save(path)
    rows = [{"name": s.name, "recordings": s.recordings, "seconds": s.seconds} for s in gallery]
    if as_json:
        typer.echo(json.dumps({"voices": str(path), "enrolled": rows}))
        return
    typer.echo(f"{path}: speakers: {len(rows):,}")
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        typer.echo(
            f"  {row['name']:<{width}}  {row['recordings']} recordings, {row['seconds']:.1f} s"
        )


@app.command(epilog=IDENTIFICATION)
@one_line_errors()
def identify(
    recordings: Recordings,
    model: Model,
    voices: VoiceFile,
    false_alarm: Annotated[
        float, typer.Option(help="target rate of unknown speakers who are accepted")
    ] = 0.01,
    top: Annotated[int, typer.Option(min=1, help="number of candidates to print")] = 5,
    channel: Channel = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the speaker of each recording among the enrolled speakers.

    Example: tidyvoice identify unknown.wav --model exp/mini/finetune/models --voices voices.npz
    """
    from tidyvoice.verification.enrollment import Gallery

    gallery = Gallery.load(voices)
    encoder = _encoder(model, device)
    results = encoder.identify(recordings, gallery, false_alarm, top, channel=channel)
    pairs = list(zip(map(str, recordings), results, strict=True))
    if as_json:
        rows = [{"recording": name, **asdict(result)} for name, result in pairs]
        typer.echo(json.dumps({"enrolled": len(gallery), "results": rows}))
        return
    for name, result in pairs:
        _warn(result.warnings)
        answer = result.name or "not an enrolled speaker"
        typer.echo(f"{name}: {answer} (threshold {result.threshold:.3f})")
        width = max(len(candidate.name) for candidate in result.candidates)
        for row in result.candidates:
            typer.echo(f"  {row.name:<{width}}  score {row.score:6.3f}  llr {row.llr:+.2f}")
    typer.echo(
        f"speakers: {len(gallery):,}; target false-alarm rate {false_alarm:.2%} for speech like "
        f"that of {results[0].fitted_to}, to which the verifier was fitted"
    )


@app.command()
@one_line_errors()
def fit_verifier(
    model: Annotated[Path, typer.Option(help="model folder to write to", envvar="TIDYVOICE_MODEL")],
    embeddings: Annotated[Path, typer.Option(help="embeddings of the trials' utterances")],
    trials: Annotated[Path, typer.Option(help="labelled trials of speakers unknown to the model")],
    prior: Annotated[
        float, typer.Option(help="prior of target trials at which the calibration fits best")
    ] = 0.1,
    mean: Mean = None,
    cohort: CohortTable = None,
    cohort_utt2spk: CohortSpeakers = None,
    top_n: TopN = 300,
    utt2spk: Speakers = None,
    allow_overlap: AllowOverlap = False,
    as_json: AsJson = False,
) -> None:
    """Fit the calibration and the thresholds of `verify` and `identify`: verifier.json.

    With a cohort, AS-norm normalises the scores. The thresholds hold for the kind of speech of the
    trials.

    Example: tidyvoice fit-verifier --model exp/mini/finetune/models --embeddings calib.npz
    --trials data/mini/calib/trials --mean mean.npz
    """
    from tidyvoice.modelhub.folder import fingerprint, load_model, model_files
    from tidyvoice.publish.facts import shown
    from tidyvoice.scoring.tables import CohortFiles
    from tidyvoice.verification.fit import fit_verifier as fit

    if (cohort is None) != (cohort_utt2spk is None):
        raise TidyVoiceError("give both --cohort and --cohort-utt2spk, or neither")
    others = CohortFiles(cohort, cohort_utt2spk, None, top_n) if cohort else None
    weights = fingerprint(load_model(model)[0])
    verifier = fit(embeddings, trials, mean, utt2spk or (), prior, allow_overlap, others)
    if verifier.model != weights:
        raise TidyVoiceError(f"{embeddings} belongs to another model than {model}: extract again")
    data = {"embeddings": shown(embeddings), "trials": shown(trials)}
    verifier = replace(verifier, notes={**verifier.notes, **data})
    path, notes = verifier.save(model_files(model).folder), verifier.notes
    if as_json:
        scales = [
            {"recordings": scale.recordings, "slope": scale.slope, "offset": scale.offset}
            for scale in verifier.scales
        ]
        typer.echo(json.dumps({"verifier": str(path), "scales": scales, **notes}))
        return
    scores = f"AS-norm with {notes['cohort_of']:,} speakers" if others else "cosine"
    typer.echo(
        f"{path}: {scores}, fitted to {notes['targets']:,} target and {notes['nontargets']:,} "
        "non-target trials"
    )
    for scale in verifier.scales:
        threshold = verifier.decide(0.0, recordings=scale.recordings).threshold
        typer.echo(
            f"  {scale.recordings} enrolment recordings: threshold {threshold:.3f} at prior 0.5"
        )
    for remark in (*notes["in_sample"], *notes["unchecked"]):
        typer.echo(f"  {remark}", err=True)


def _encoder(model: str, device: str) -> "SpeakerEncoder":
    from tidyvoice.encoder import SpeakerEncoder

    return SpeakerEncoder.from_pretrained(model, device)


def _warn(messages: Sequence[str]) -> None:
    for message in messages:
        typer.echo(f"warning: {message}", err=True)

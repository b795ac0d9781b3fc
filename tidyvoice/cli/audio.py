"""Commands on recordings: embeddings, decisions, enrolled voices."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidyvoice.cli.app import AllowOverlap, AsJson, Mean, Speakers, app
from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.terms import IDENTIFICATION

if TYPE_CHECKING:
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.verifier import Verification

Model = Annotated[
    str,
    typer.Option(
        help="model folder, or Hugging Face repository OWNER/NAME", envvar="TIDYVOICE_MODEL"
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
Channel = Annotated[int, typer.Option(min=1, help="which channel of the recordings")]
Voices = Annotated[Path, typer.Option(help="file of enrolled voices, .npz")]
Recordings = Annotated[list[Path], typer.Argument(help="recordings, in any format")]


@app.command()
@one_line_errors()
def embed(
    recordings: Recordings,
    model: Model,
    out: Annotated[Path | None, typer.Option(help="table of embeddings to write, .npz")] = None,
    channel: Channel = 1,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Embed recordings; their paths are the ids of the table.

    Example: tidyvoice embed one.wav other.wav --model exp/mini/finetune/models --out voices.npz
    """
    from tidyvoice.files import refuse_inputs
    from tidyvoice.modelhub.folder import local_files
    from tidyvoice.scoring.embeddings import save_embeddings

    if out is None and not as_json:
        raise TidyVoiceError("say where the embeddings go: --out FILE.npz, or --json to print them")
    ids = [str(path) for path in recordings]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise TidyVoiceError(f"{twice} is given twice: ids of a table are distinct")
    if out is not None and (blank := next((name for name in ids if len(name.split()) != 1), None)):
        raise TidyVoiceError(
            f"{blank}: an id of a table may hold no blank, at which lists are split: rename it"
        )
    if out is not None:
        refuse_inputs([out], [*recordings, *local_files(model)])
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
    other: Annotated[Path, typer.Argument(help="another one")],
    model: Model,
    prior: Annotated[
        float, typer.Option(help="probability of one speaker before the recordings were heard")
    ] = 0.5,
    channel: Annotated[
        list[int] | None,
        typer.Option(min=1, help="which channel, or twice, one for each recording; 1"),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Say whether two recordings are of one person.

    Example: tidyvoice verify one.wav other.wav --model exp/mini/finetune/models
    """
    channels = channel or [1]
    if len(channels) > 2:
        raise TidyVoiceError(f"--channel: {len(channels)} for two recordings, give one or two")
    found = _encoder(model, device).verify(one, other, prior, channel=(channels[0], channels[-1]))
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    _say_warnings(found.warnings)
    typer.echo(describe(found))


def describe(found: "Verification") -> str:
    """A verification in a few lines."""
    if found.llr is None:
        return (
            f"score {found.score:.3f} (cosine; the model carries no calibration, so that no "
            "decision follows: `tidyvoice fit-verifier` makes one)"
        )
    said = "the same speaker" if found.same_speaker else "different speakers"
    return (
        f"{said}: score {found.score:.3f}, threshold {found.threshold:.3f}\n"
        f"log-likelihood ratio {found.llr:+.2f}; at a prior of {found.prior:g} the probability of "
        f"the same speaker is {found.probability:.4g}"
    )


@app.command(epilog=IDENTIFICATION)
@one_line_errors()
def enroll(
    name: Annotated[str, typer.Argument(help="of the speaker")],
    recordings: Recordings,
    model: Model,
    voices: Voices,
    replace: Annotated[
        bool, typer.Option("--replace", help="replace a speaker of that name")
    ] = False,
    channel: Channel = 1,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Enrol a speaker from recordings of theirs.

    Example: tidyvoice enroll Ann ann-1.wav ann-2.wav --model exp/mini/finetune/models
    --voices voices.npz
    """
    from tidyvoice.enrolment import Gallery
    from tidyvoice.files import one_at_a_time

    encoder = _encoder(model, device)
    made = encoder.enrol(name, recordings, channel=channel)
    # Read again after the embeddings, which take long: others may enrol meanwhile.
    with one_at_a_time(voices):
        gallery = Gallery.load(voices) if voices.exists() else Gallery()
        gallery.add(made, replace)
        gallery.save(voices)
    if as_json:
        row = {"voices": str(voices), "name": made.name, "recordings": made.recordings}
        typer.echo(json.dumps({**row, "seconds": made.seconds, "enrolled": len(gallery)}))
    else:
        typer.echo(
            f"{voices}: {made.name} enrolled (recordings: {made.recordings}, {made.seconds:.1f} s; "
            f"voices in all: {len(gallery):,})"
        )


@app.command()
@one_line_errors()
def voices(
    path: Annotated[Path, typer.Argument(metavar="VOICES", help="file of enrolled voices, .npz")],
    remove: Annotated[str | None, typer.Option(help="name of a speaker to delete from it")] = None,
    as_json: AsJson = False,
) -> None:
    """List the enrolled speakers, or delete one.

    Example: tidyvoice voices voices.npz --remove Ann
    """
    from tidyvoice.enrolment import Gallery
    from tidyvoice.files import one_at_a_time

    gallery = Gallery.load(path)
    if remove is not None:
        # Read again: others may enrol meanwhile.
        with one_at_a_time(path):
            gallery = Gallery.load(path)
            gallery.remove(remove)
            gallery.save(path)
    if as_json:
        rows = [
            {"name": one.name, "recordings": one.recordings, "seconds": one.seconds}
            for one in gallery
        ]
        typer.echo(json.dumps({"voices": str(path), "enrolled": rows}))
        return
    typer.echo(f"{path}: voices in all: {len(gallery):,}")
    width = max((len(one.name) for one in gallery), default=0)
    for one in gallery:
        typer.echo(f"  {one.name:<{width}}  recordings: {one.recordings}, {one.seconds:.1f} s")


@app.command(epilog=IDENTIFICATION)
@one_line_errors()
def identify(
    recording: Annotated[Path, typer.Argument(help="of an unknown speaker")],
    model: Model,
    voices: Voices,
    false_alarm: Annotated[
        float, typer.Option(help="target rate of strangers taken for an enrolled speaker")
    ] = 0.01,
    top: Annotated[int, typer.Option(min=1, help="candidates to name")] = 5,
    channel: Channel = 1,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Say who of the enrolled speakers it is, if any.

    Example: tidyvoice identify unknown.wav --model exp/mini/finetune/models --voices voices.npz
    """
    from tidyvoice.enrolment import Gallery

    gallery = Gallery.load(voices)
    found = _encoder(model, device).identify(recording, gallery, false_alarm, top, channel=channel)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "enrolled": len(gallery)}))
        return
    _say_warnings(found.warnings)
    typer.echo(
        f"{found.name or 'nobody who is enrolled'} (threshold {found.threshold:.3f}; voices: "
        f"{len(gallery):,})\n"
        f"target false-alarm rate {false_alarm:.2%}, for speech like that of {found.fitted_to}, to "
        "which the verifier was fitted; fit it again for another kind of speech"
    )
    width = max(len(candidate.name) for candidate in found.candidates)
    for candidate in found.candidates:
        typer.echo(f"  {candidate.name:<{width}}  {candidate.score:6.3f}  llr {candidate.llr:+.2f}")


@app.command()
@one_line_errors()
def fit_verifier(
    model: Annotated[Path, typer.Option(help="model folder, which gets its verifier.json")],
    embeddings: Annotated[Path, typer.Option(help="embeddings of the trials' utterances")],
    trials: Annotated[Path, typer.Option(help="labelled trials of speakers it does not know")],
    prior: Annotated[
        float, typer.Option(help="prior of a target that the calibration is weighted for")
    ] = 0.1,
    mean: Mean = None,
    utt2spk: Speakers = None,
    allow_overlap: AllowOverlap = False,
    as_json: AsJson = False,
) -> None:
    """Fit what `verify` and `identify` need: a calibration of cosines, and thresholds.

    They hold for the kind of speech of the trials; fit again for another kind.

    Example: tidyvoice fit-verifier --model exp/mini/finetune/models --embeddings calib.npz
    --trials data/mini/calib/trials --mean mean.npz
    """
    from tidyvoice.modelhub.folder import fingerprint, load_model, model_files
    from tidyvoice.publish.privacy import shown
    from tidyvoice.verifier_fit import fit_verifier as fit

    weights = fingerprint(load_model(model)[0])
    made = fit(embeddings, trials, mean, utt2spk or (), prior, allow_overlap)
    if made.model != weights:
        raise TidyVoiceError(f"{embeddings} are embeddings of another model than {model}")
    data = {"embeddings": shown(embeddings), "trials": shown(trials)}
    made = replace(made, notes={**made.notes, **data})
    path = made.save(model_files(model).folder)
    if as_json:
        row = {"verifier": str(path), "slope": made.slope, "offset": made.offset}
        typer.echo(json.dumps({**row, **made.notes}))
    else:
        neutral = -made.offset / made.slope
        typer.echo(
            f"{path}: fitted to {made.notes['targets']:,} target and {made.notes['nontargets']:,} "
            f"non-target trials; at a prior of 0.5 the threshold is {neutral:.3f}"
        )
        for said in (*made.notes["in_sample"], *made.notes["unchecked"]):
            typer.echo(f"  {said}", err=True)


def _encoder(model: str, device: str) -> "SpeakerEncoder":
    from tidyvoice.encoder import SpeakerEncoder

    return SpeakerEncoder.from_pretrained(model, device)


def _say_warnings(said: tuple[str, ...]) -> None:
    for line in said:
        typer.echo(f"warning: {line}", err=True)

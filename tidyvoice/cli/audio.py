"""Commands on recordings: embeddings, decisions, enrolled speakers, and the demo page."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tidyvoice.cli import common
from tidyvoice.cli.common import command, emit
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import one_at_a_time, refuse_inputs
from tidyvoice.verification import IDENTIFICATION

Channel = Annotated[int, typer.Option(min=0, help="channel of the recordings, from 0")]
VoiceFile = Annotated[Path, typer.Option(help="file of enrolled speakers, .npz")]
Recordings = Annotated[list[Path], typer.Argument(help="recordings in any format")]


@command()
def embed(
    recordings: Recordings,
    model: common.Model,
    out: Annotated[Path | None, typer.Option(help="embeddings to write, .npz")] = None,
    channel: Channel = 0,
    device: common.Device = "auto",
    as_json: common.AsJson = False,
) -> None:
    """Embed recordings; their paths are the ids of the embeddings.

    Example: tidyvoice embed one.wav other.wav --model exp/mini/finetune/models --out voices.npz
    """
    from tidyvoice.modelhub.folder import local_files
    from tidyvoice.scoring.embeddings import save_embeddings

    ids = [str(path) for path in recordings]
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
    rows = vectors.astype(float).tolist()
    content = [{"recording": name, "embedding": row} for name, row in zip(ids, rows, strict=True)]
    emit(as_json, content, [f"{out}: {len(ids):,} embeddings of {vectors.shape[1]} dimensions"])


@command()
def verify(
    one: Annotated[Path, typer.Argument(help="a recording")],
    other: Annotated[Path, typer.Argument(help="another recording")],
    model: common.Model,
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
    device: common.Device = "auto",
    as_json: common.AsJson = False,
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
    if result.same_speaker is None:
        fix = "there is no threshold: give --threshold, or fit one with `tidyvoice fit-verifier`"
        lines = [f"score {result.score:.3f} (cosine; {fix})"]
    else:
        answer = "the same speaker" if result.same_speaker else "different speakers"
        lines = [f"{answer}: score {result.score:.3f}, threshold {result.threshold:.3f}"]
    if result.llr is not None:
        chance = f"probability {result.probability:.4g} at a prior of {result.prior:g}"
        lines.append(f"log-likelihood ratio {result.llr:+.2f}; {chance}")
    emit(as_json, asdict(result), lines, result.warnings)


@command(epilog=IDENTIFICATION)
def enroll(
    name: Annotated[str, typer.Argument(help="name of the speaker")],
    recordings: Recordings,
    model: common.Model,
    voices: VoiceFile,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the speaker")] = False,
    channel: Channel = 0,
    device: common.Device = "auto",
    as_json: common.AsJson = False,
) -> None:
    """Enroll a speaker with one or several recordings.

    Example: tidyvoice enroll Ann ann-1.wav ann-2.wav --model exp/mini/finetune/models
    --voices voices.npz
    """
    from tidyvoice.modelhub.folder import local_files
    from tidyvoice.verification.enrollment import Gallery

    refuse_inputs([voices], [*recordings, *local_files(model)])
    if voices.exists():
        Gallery.load(voices)  # another kind of file stays, and ends the command before its work
    speaker = _encoder(model, device).enroll(name, recordings, channel=channel)
    # Embedding takes long; only the update of the file excludes other programs.
    with one_at_a_time(voices):
        gallery = Gallery.load(voices) if voices.exists() else Gallery()
        gallery.add(speaker, overwrite)
        gallery.save(voices)
    content = {"voices": str(voices), **_row(speaker), "enrolled": len(gallery)}
    emit(as_json, content, [f"{voices}: speakers: {len(gallery):,}; added", _line(speaker)])


@command()
def voices(
    path: Annotated[Path, typer.Argument(metavar="VOICES", help="file of enrolled speakers, .npz")],
    remove: Annotated[str | None, typer.Option(help="name of a speaker to delete")] = None,
    as_json: common.AsJson = False,
) -> None:
    """List the enrolled speakers, or delete one.

    Example: tidyvoice voices voices.npz --remove Ann
    """
    from tidyvoice.verification.enrollment import Gallery

    gallery = Gallery.load(path)
    if remove is not None:
        with one_at_a_time(path):
            gallery = Gallery.load(path)  # another program may have changed the file
            gallery.remove(remove)
            gallery.save(path)
    content = {"voices": str(path), "enrolled": [_row(speaker) for speaker in gallery]}
    emit(as_json, content, [f"{path}: speakers: {len(gallery):,}", *map(_line, gallery)])


@command(epilog=IDENTIFICATION)
def identify(
    recordings: Recordings,
    model: common.Model,
    voices: VoiceFile,
    false_alarm: Annotated[
        float, typer.Option(help="target rate of unknown speakers who are accepted")
    ] = 0.01,
    top: Annotated[int, typer.Option(min=1, help="number of candidates to print")] = 5,
    channel: Channel = 0,
    device: common.Device = "auto",
    as_json: common.AsJson = False,
) -> None:
    """Find the speaker of each recording among the enrolled speakers.

    Example: tidyvoice identify unknown.wav --model exp/mini/finetune/models --voices voices.npz
    """
    from tidyvoice.verification.enrollment import Gallery

    gallery = Gallery.load(voices)
    encoder = _encoder(model, device)
    results = encoder.identify(recordings, gallery, false_alarm, top, channel=channel)
    rows, lines = [], []
    for name, result in zip(map(str, recordings), results, strict=True):
        rows.append({"recording": name, **asdict(result)})
        answer = result.name or "not an enrolled speaker"
        lines.append(f"{name}: {answer} (threshold {result.threshold:.3f})")
        for row in result.candidates:
            lines.append(f"  {row.name}: score {row.score:.3f}, llr {row.llr:+.2f}")
    rate = f"target false-alarm rate {false_alarm:.2%} for speech like that of"
    lines.append(f"speakers: {len(gallery):,}; {rate} {results[0].fitted_to}")
    warnings = [line for result in results for line in result.warnings]
    emit(as_json, {"enrolled": len(gallery), "results": rows}, lines, warnings)


@command()
def fit_verifier(
    model: Annotated[Path, typer.Option(help="model folder to write to", envvar="TIDYVOICE_MODEL")],
    embeddings: Annotated[Path, typer.Option(help="embeddings of the trials' utterances")],
    trials: Annotated[Path, typer.Option(help="labelled trials of speakers unknown to the model")],
    prior: Annotated[float, typer.Option(help="prior at which the calibration fits best")] = 0.1,
    mean: common.Mean = None,
    backend: common.BackendFile = None,
    utt2spk: common.Speakers = None,
    allow_overlap: common.AllowOverlap = False,
    as_json: common.AsJson = False,
) -> None:
    """Fit the calibration and the thresholds of `verify` and `identify`: verifier.json.

    The verifier contains the back end. The thresholds hold for the kind of speech of the trials.

    Example: tidyvoice fit-verifier --model exp/mini/finetune/models --embeddings calib.npz
    --trials data/mini/calib/trials --backend backend.json
    """
    from tidyvoice.model_files import VERIFIER_FILE
    from tidyvoice.modelhub.folder import fingerprint, load_model, model_files
    from tidyvoice.publish.facts import shorten
    from tidyvoice.verification.fit import fit_verifier as fit

    inputs = filter(None, [embeddings, trials, mean, backend, *(utt2spk or ())])
    refuse_inputs([model_files(model).folder / VERIFIER_FILE], inputs)
    weights = fingerprint(*load_model(model))
    verifier = fit(embeddings, trials, mean, backend, utt2spk or (), prior, allow_overlap)
    if verifier.model != weights:
        raise TidyVoiceError(f"{embeddings} belongs to another model than {model}: extract again")
    verifier.notes.update(embeddings=shorten(embeddings), trials=shorten(trials))
    path, notes = verifier.save(model_files(model).folder), verifier.notes
    trials = f"{notes['targets']:,} target and {notes['nontargets']:,} non-target trials"
    lines = [f"{path}: {verifier.backend.title}, fitted to {trials}; thresholds at prior 0.5:"]
    for scale in verifier.scales:
        threshold = verifier.decide(0.0, recordings=scale.recordings).threshold
        lines.append(f"  {scale.recordings} enrolment recordings: {threshold:.3f}")
    scales = [scale.model_dump(exclude={"distribution"}) for scale in verifier.scales]
    content = {"verifier": str(path), "scales": scales, **notes}
    emit(as_json, content, lines, [*notes["in_sample"], *notes["unchecked"]])


@command()
def demo(
    model: common.Model,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0 for a free one")] = 7860,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="open the page in the browser")
    ] = True,
    device: common.Device = "auto",
) -> None:
    """Serve a page on this machine that compares two recordings. It needs the extra `demo`.

    Example: tidyvoice demo --model exp/mini/finetune/models
    """
    from tidyvoice.demo.server import serve

    serve(_encoder(model, device), port, browser)


def _encoder(model: str, device: str) -> Any:
    from tidyvoice.encoder import SpeakerEncoder

    return SpeakerEncoder.from_pretrained(model, device)


def _row(speaker: Any) -> dict[str, Any]:
    return {key: getattr(speaker, key) for key in ("name", "recordings", "seconds")}


def _line(speaker: Any) -> str:
    return f"  {speaker.name}: {speaker.recordings} recordings, {speaker.seconds:.1f} s"

"""Commands that fetch, export and publish models."""

import tempfile
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.common import AsJson, Model, Resamples, app, command, emit
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import refuse_inputs, refuse_used

ABOUT_HUB = "Publish models on the Hugging Face Hub."
hub = typer.Typer(help=ABOUT_HUB, no_args_is_help=True, rich_markup_mode=None)
app.add_typer(hub, name="hub")


@command()
def fetch_model(
    source: Annotated[
        str,
        typer.Argument(
            help="Hugging Face repository OWNER/NAME, YAML file that names one, archive, or folder"
        ),
    ],
    out: Annotated[Path, typer.Option(help="model folder to write")],
    revision: Annotated[
        str | None, typer.Option(help="commit, tag or branch instead of the YAML file's or main")
    ] = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="write commit and checksum to the YAML file")
    ] = False,
    trained_on: Annotated[
        list[Path] | None,
        typer.Option(help="utt2spk of its training data, for the leak guard (repeatable)"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a released model, try it, and write a model folder with its origin.

    A folder that exists must hold the same files.

    Environment variables of huggingface_hub: HF_HOME is the cache, HF_TOKEN gives access to
    private repositories, HF_HUB_OFFLINE=1 reads the cache only.

    Example: tidyvoice fetch-model conf/tidyvoice/released.yaml --out exp/released
    """
    from tidyvoice.model_files import OTHERS
    from tidyvoice.modelhub.folder import training_speakers
    from tidyvoice.released import fetch_model as fetch
    from tidyvoice.scoring.groups import read_maps

    speakers = set((read_maps(trained_on or (), "speaker") or {}).values())
    origin = fetch(source, out, revision, speakers, pin)
    names = set(training_speakers(out) or ())
    named, others = len(names - {OTHERS}), OTHERS in names
    version = f" at commit {origin.commit}" if origin.commit else ""
    lines = [f"{out}: {origin.source}{version}"]
    lines += [f"  {name} sha256 {checksum}" for name, checksum in origin.files.items()]
    unknown = " and on others that are unknown" if others else ""
    lines.append(f"  trained on {named:,} speakers whose names are known{unknown}")
    if origin.revision != origin.commit and not pin:
        fix = f"give --revision {origin.commit}, or a YAML file with --pin"
        lines.append(f"{origin.revision} may change: to fetch this version again {fix}")
    row = {"model": str(out), **origin.model_dump(), "speakers": named, "others": others}
    emit(as_json, row, lines)


class Input(str, Enum):
    waveform = "waveform"
    features = "features"


@command()
def export(
    model: Model,
    out: Annotated[Path, typer.Option(help="ONNX file to write")],
    input: Annotated[Input, typer.Option(help="input of the file")] = Input.waveform,
    int8: Annotated[
        Path | None,
        typer.Option(help="use 8-bit convolutions; data folder to measure their ranges from"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export a model to ONNX, and compare the file with the model.

    The file accepts any number of utterances of any equal length. It is not written if an embedding
    differs from the model's by more than 1e-4 of its length (with --int8: 0.5; compare the error
    rates). The speakers of the data folder of --int8 count as training speakers of the file.

    Example: tidyvoice export --model exp/mini/finetune/models --out model.onnx
    """
    from tidyvoice.data.manifest import own_files
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.export.command import export as run
    from tidyvoice.export.onnx_encoder import ENDING
    from tidyvoice.modelhub.folder import local_files

    inputs = [path for path in local_files(model) if path.suffix != ENDING]
    refuse_inputs([out], [*inputs, *(own_files(int8) if int8 else ())])
    encoder = SpeakerEncoder.from_pretrained(model, "cpu")
    exported = run(encoder, out, input.value, int8)
    size, most = f"{exported.bytes / 2**20:.1f} MiB", f"{exported.difference:.1e} of their length"
    line = (
        f"{out}: {size}; {exported.compared} embeddings differ from the model's by at most {most}"
    )
    emit(as_json, asdict(exported), [line])


@command(group=hub)
def push(
    model: Annotated[Path, typer.Argument(help="experiment or model folder")],
    repository: Annotated[str, typer.Argument(help="Hugging Face repository, OWNER/NAME")],
    licence: Annotated[
        str,
        typer.Option(
            "--licence",
            "--license",
            help="licence of the weights as the Hub writes it: apache-2.0, ..., or other",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="folder to write instead of pushing")] = None,
    about: Annotated[str, typer.Option(help="description of the model for its card")] = "",
    scores: Annotated[
        list[str] | None, typer.Option(help="NAME of EXP/scores/NAME.score (repeatable)")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="create a private repository; refuse a public one")
    ] = False,
    bootstrap: Resamples = 1000,
    as_json: AsJson = False,
) -> None:
    """Publish a model: weights, settings, calibration and a model card made from its experiment.

    The folder is loaded back and compared bit for bit before it is pushed. It contains no path of
    this machine and no name of a speaker. The card reports the score files dev and dev-llr if they
    exist; --scores chooses others. Set HF_TOKEN to a token that may write.

    Example: tidyvoice hub push exp/mini/finetune me/my-model --licence apache-2.0 --out my-model
    """
    from tidyvoice.modelhub.folder import REPOSITORY
    from tidyvoice.publish.facts import gather
    from tidyvoice.publish.folder import write_folder

    if not REPOSITORY.fullmatch(repository):
        raise TidyVoiceError(f"{repository}: not a repository id; write OWNER/NAME")
    if out is None:
        from tidyvoice.modelhub.huggingface import require_token, upload

        require_token()
    else:
        refuse_used(out)
    facts = gather(model, scores or (), bootstrap)
    with tempfile.TemporaryDirectory() as scratch:
        folder = out or Path(scratch) / "model"
        files = write_folder(facts, folder, repository, licence, about)
        row = {"weights": facts.encoder.weights, "files": files}
        row["scores"] = [result.name for result in facts.results]
        row |= {"folder": str(out)} if out else upload(repository, folder, private)
    lines = [f"{k}: {', '.join(v) if isinstance(v, list) else v}" for k, v in row.items()]
    if not facts.results:
        lines.append("the card reports no results: --scores NAME adds score files of an experiment")
    emit(as_json, row, lines)

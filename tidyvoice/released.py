"""Released models: from a Hugging Face repository, an archive or a folder to a model folder.

What is fetched is loaded and tried before the folder gets its name. Beside the files as they were
released it holds ``source.json``, where they are from and their checksums, and ``speakers.txt``,
for the leak guard.
"""

import json
import re
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.files import atomic_folder, sha256, write_text
from tidyvoice.model_files import (
    ARCHIVES,
    CONFIG_FILE,
    OTHERS,
    SPEAKERS_FILE,
    copy_model,
    unpack_model,
)
from tidyvoice.modelhub.folder import (
    REPOSITORY,
    SHOWN,
    WeightsMismatch,
    model_files,
    training_speakers,
)
from tidyvoice.modelhub.huggingface import download
from tidyvoice.settings import Strict, load_settings

SOURCE_FILE = "source.json"
YAML = (".yaml", ".yml")
COMMIT = re.compile(r"[0-9a-f]{40}")
TRIED_SAMPLES = 16000


class Release(Strict):
    """A YAML file that names a released model, and which version of it is meant."""

    repo: str = Field(description="Hugging Face repository, OWNER/NAME")
    revision: str = Field("main", description="commit, tag or branch")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="of the weights")


@dataclass(frozen=True)
class Source:
    """Where a model is from, as ``source.json`` says it.

    Attributes:
        source: the id of a repository, or the path of an archive or a folder.
        revision: what was asked for; None for a path.
        commit: the commit that this was; None for a path.
        files: SHA-256 of each file, by name.
    """

    source: str
    revision: str | None
    commit: str | None
    files: dict[str, str]

    def in_words(self) -> str:
        """Describe the source in Markdown, without folders of this machine."""
        if self.commit is None:
            return f"the files {', '.join(sorted(self.files))} of `{Path(self.source).name}`"
        return f"`{self.source}` at commit `{self.commit}`"


@dataclass(frozen=True)
class Fetched:
    """A model folder, and what it holds.

    Attributes:
        found: whether it was there already, with the same files.
        parameters: how many the model has.
        speakers: those that it was trained on, see ``hub.training_speakers``.
    """

    folder: Path
    source: Source
    parameters: int
    speakers: list[str]
    found: bool

    @property
    def moves(self) -> bool:
        """Whether the same command may fetch another model tomorrow."""
        return self.source.revision is not None and not COMMIT.fullmatch(self.source.revision)


def fetch_model(
    source: str,
    out: str | Path,
    revision: str | None = None,
    trained_on: Iterable[str] = (),
    pin: bool = False,
) -> Fetched:
    """Write the model folder ``out``, or find it there with the same files.

    Args:
        source: the id of a Hugging Face repository, a YAML file that names one (see ``Release``),
            an archive, or a folder.
        revision: of a repository, instead of that of the YAML file or main.
        trained_on: speakers that the model was trained on, beside those that it names itself.
        pin: write the commit and the checksum to the YAML file.

    Raises:
        TidyVoiceError: there is no such source, or it cannot be read; its checksum is not that of
            the YAML file; it is no model that can be built here; tensors do not fit; its embeddings
            are not finite; or something else is at ``out``.
    """
    out, path = Path(out), Path(source)
    is_yaml = path.suffix in YAML
    release = load_settings(Release, path) if is_yaml else None
    if release is None and not path.exists() and REPOSITORY.fullmatch(source):
        release = Release(repo=source)
    if revision and release is None:
        raise TidyVoiceError(f"--revision {revision}: only repositories have them; leave it out")
    if pin and not is_yaml:
        raise TidyVoiceError(f"--pin: give a YAML file that names {source}, it is written there")
    if release is not None and revision:
        release = release.model_copy(update={"revision": revision})
    if out.is_dir() and any(out.iterdir()):
        # Nothing but a comparison is to be made of it, so it needs no better place.
        with tempfile.TemporaryDirectory() as scratch:
            fetched = _collect(source, release, Path(scratch), out, trained_on)
            _refuse_another(out, Path(scratch), fetched.source)
        fetched = replace(fetched, found=True)
    else:
        with atomic_folder(out) as partial:
            fetched = _collect(source, release, partial, out, trained_on)
    if pin:
        _pin(path, fetched.source)
    return fetched


def _collect(
    source: str, release: Release | None, into: Path, out: Path, trained_on: Iterable[str]
) -> Fetched:
    """Fill the folder ``into`` and try what it holds; ``out`` is what it will be called."""
    commit = None
    if release is not None:
        snapshot = download(release.repo, release.revision)
        commit = snapshot.name
        name = f"{release.repo} at {commit}"
        copy_model(snapshot, into, name)
    elif Path(source).is_dir():
        name = source
        copy_model(Path(source), into, source)
    elif source.endswith(ARCHIVES) and Path(source).is_file():
        name = source
        unpack_model(Path(source), into)
    else:
        raise TidyVoiceError(
            f"{source}: no folder, archive ({', '.join(ARCHIVES)}), YAML file, or id of a Hugging "
            "Face repository (OWNER/NAME)"
        )
    model = model_files(into)
    files = {path.name: sha256(path) for path in (model.weights, model.config)}
    weights = model.weights.name
    if release is not None and release.sha256 not in (None, files[weights]):
        raise TidyVoiceError(
            f"{name}: {weights} has the SHA-256 {files[weights]}, {source} says {release.sha256}: "
            "it is not the model that was meant"
        )
    parameters = _try(into, name, out)
    speakers = sorted({*(training_speakers(into) or [OTHERS]), *trained_on})
    found = Source(release.repo if release else source, release and release.revision, commit, files)
    write_text(into / SPEAKERS_FILE, "".join(f"{speaker}\n" for speaker in speakers))
    write_text(into / SOURCE_FILE, json.dumps(asdict(found), indent=2) + "\n")
    return Fetched(out, found, parameters, speakers, found=False)


def _try(folder: Path, name: str, out: Path) -> int:
    """Load a model and embed a second of noise; the number of its parameters.

    Raises:
        TidyVoiceError: it does not work; the source is called ``name``. Tensors that do not fit are
            listed in a file beside ``out`` where they are many.
    """
    noise = np.random.default_rng(1).integers(-3000, 3000, (1, TRIED_SAMPLES), dtype=np.int16)
    try:
        encoder = SpeakerEncoder.from_pretrained(folder, "cpu")
        encoder.embed_samples(noise)
    except WeightsMismatch as error:
        listed = summarise(error.problems, SHOWN)
        if len(error.problems) > SHOWN:
            beside = out.with_name(f"{out.name}-mismatch.txt")
            write_text(beside, "".join(f"{problem}\n" for problem in error.problems))
            listed += f" (all are in {beside})"
        raise TidyVoiceError(f"{name} does not fit its {CONFIG_FILE}: {listed}") from None
    except TidyVoiceError as error:
        said = str(error).replace(f"{folder}/", "")
        raise TidyVoiceError(f"{name}: {said}") from None
    return sum(parameter.numel() for parameter in encoder.model.parameters())


def _refuse_another(out: Path, new: Path, source: Source) -> None:
    """Refuse a folder that holds anything else than what was fetched anew."""
    expected = {**source.files, SPEAKERS_FILE: sha256(new / SPEAKERS_FILE)}
    for name, checksum in expected.items():
        if not (out / name).is_file() or sha256(out / name) != checksum:
            raise TidyVoiceError(
                f"{out} is there and its {name} is another one than that of {source.source}: "
                "delete it or give another --out"
            )


def _pin(path: Path, source: Source) -> None:
    """Write commit and checksum to the YAML file, and leave its other lines as they are."""
    text = path.read_text(encoding="utf-8")
    weights = next(checksum for name, checksum in source.files.items() if name != CONFIG_FILE)
    for key, value in (("revision", source.commit), ("sha256", weights)):
        line = f"{key}: {value}"
        text, count = re.subn(rf"^{key}:.*$", line, text, flags=re.MULTILINE)
        if not count:
            text = f"{text.rstrip()}\n{line}\n"
    write_text(path, text)

"""Released models: from a Hugging Face repository, an archive or a folder to a model folder."""

import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pydantic import Field

from tidyvoice.archives import unpack
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_folder, sha256, write_text
from tidyvoice.model_files import ARCHIVES, CONFIG_FILE, OTHERS, SPEAKERS_FILE, model_in
from tidyvoice.modelhub.folder import REPOSITORY, model_files, training_speakers
from tidyvoice.modelhub.huggingface import download
from tidyvoice.settings import Strict, load_settings, read_json

SOURCE_FILE = "source.json"
YAML = (".yaml", ".yml")


class Release(Strict):
    """A YAML file that names a released model and its version."""

    repo: str = Field(description="Hugging Face repository, OWNER/NAME")
    revision: str = Field("main", description="commit, tag or branch")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="of the weights")


class ModelOrigin(Strict):
    """The origin of a model, the content of ``source.json``."""

    source: str  # the id of a repository, or the path of an archive or folder
    revision: str | None  # the requested revision; None for a path
    commit: str | None  # the commit of that revision; None for a path
    files: dict[str, str]  # SHA-256 by name

    def in_words(self) -> str:
        """Describe the origin in Markdown, without folders of this machine."""
        if self.commit is None:
            return f"the files {', '.join(sorted(self.files))} of `{Path(self.source).name}`"
        return f"`{self.source}` at commit `{self.commit}`"


def fetch_model(
    source: str,
    out: str | Path,
    revision: str | None = None,
    trained_on: Iterable[str] = (),
    pin: bool = False,
) -> ModelOrigin:
    """Write the model folder ``out``, or check that it already holds the same files.

    Beside the released files it holds ``source.json``, their origin and checksums, and
    ``speakers.txt`` for the leak guard. The model is loaded and embeds noise before the folder
    appears. The arguments are those of ``tidyvoice fetch-model``.
    """
    out, path = Path(out), Path(source)
    release = load_settings(Release, path) if path.suffix in YAML else None
    if pin and release is None:
        raise TidyVoiceError(f"--pin: give a YAML file that names {source} to write the commit to")
    if release is None and not path.exists() and REPOSITORY.fullmatch(source):
        release = Release(repo=source)
    if revision:
        if release is None:
            raise TidyVoiceError(f"--revision {revision}: {source} is not a repository")
        release = release.model_copy(update={"revision": revision})
    if out.is_dir() and any(out.iterdir()):
        with tempfile.TemporaryDirectory() as scratch:
            origin = _collect(source, release, Path(scratch), trained_on)
            for name in (*origin.files, SPEAKERS_FILE):
                if not (out / name).is_file() or sha256(out / name) != sha256(f"{scratch}/{name}"):
                    problem = f"{out} exists and its {name} differs from that of {origin.source}"
                    raise TidyVoiceError(f"{problem}: delete the folder or give another --out")
    else:
        with atomic_folder(out) as partial:
            origin = _collect(source, release, partial, trained_on)
    if pin:
        _pin(path, origin)
    return origin


def _collect(
    source: str, release: Release | None, into: Path, trained_on: Iterable[str]
) -> ModelOrigin:
    """Fill the folder ``into`` and try the model in it."""
    folder, commit, name = Path(source), None, source
    if release is not None:
        folder = download(release.repo, release.revision)
        commit = folder.name
        name = f"{release.repo} at {commit}"
    with tempfile.TemporaryDirectory(dir=into.parent) as unpacked:
        if source.endswith(ARCHIVES) and folder.is_file():
            unpack(folder, Path(unpacked))
            folder = Path(unpacked)
        if not folder.is_dir():
            kinds = f"folder, archive ({', '.join(ARCHIVES)}), YAML file, or id OWNER/NAME"
            raise TidyVoiceError(f"{source}: no {kinds} of a Hugging Face repository")
        for path in model_in(folder, name).paths:
            shutil.copyfile(path, into / path.name)
    model = model_files(into)
    files = {path.name: sha256(path) for path in (model.weights, model.config)}
    checksum = files[model.weights.name]
    if release is not None and release.sha256 not in (None, checksum):
        problem = f"{name}: {model.weights.name} has the SHA-256 {checksum}"
        raise TidyVoiceError(f"{problem}, but {source} says {release.sha256}: check both")
    noise = np.random.default_rng(1).integers(-3000, 3000, (1, 16000), dtype=np.int16)
    try:
        SpeakerEncoder.from_pretrained(into, "cpu").embed_samples(noise)
    except TidyVoiceError as error:
        raise TidyVoiceError(f"{name}: {str(error).replace(f'{into}/', '')}") from None
    speakers = sorted({*(training_speakers(into) or [OTHERS]), *trained_on})
    write_text(into / SPEAKERS_FILE, "".join(f"{speaker}\n" for speaker in speakers))
    origin = ModelOrigin(
        source=release.repo if release else source,
        revision=release and release.revision,
        commit=commit,
        files=files,
    )
    write_text(into / SOURCE_FILE, origin.model_dump_json(indent=2) + "\n")
    return origin


def _pin(path: Path, origin: ModelOrigin) -> None:
    """Write commit and checksum to the YAML file; keep its other lines."""
    text = path.read_text(encoding="utf-8")
    weights = next(checksum for name, checksum in origin.files.items() if name != CONFIG_FILE)
    for key, value in (("revision", origin.commit), ("sha256", weights)):
        text, count = re.subn(rf"^{key}:.*$", f"{key}: {value}", text, flags=re.MULTILINE)
        if not count:
            text = f"{text.rstrip()}\n{key}: {value}\n"
    write_text(path, text)


def read_source(folder: Path) -> ModelOrigin | None:
    """Read the origin of a model folder; None if it is unknown or the weights have changed."""
    path = folder / SOURCE_FILE
    if not path.is_file():
        return None
    source = read_json(ModelOrigin, path, "fetch the model again, or delete the file")
    weights = model_files(folder).weights
    return source if source.files.get(weights.name) == sha256(weights) else None

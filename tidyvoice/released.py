"""Released models: from a Hugging Face repository, an archive or a folder to a model folder.

A model is loaded and tried before its folder appears. Beside the released files the folder holds
``source.json``, their origin and checksums, and ``speakers.txt`` for the leak guard.
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
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_folder, sha256, write_text
from tidyvoice.model_files import (
    ARCHIVES,
    CONFIG_FILE,
    OTHERS,
    SPEAKERS_FILE,
    copy_model,
    unpack_model,
)
from tidyvoice.modelhub.folder import REPOSITORY, model_files, training_speakers
from tidyvoice.modelhub.huggingface import download
from tidyvoice.settings import Strict, load_settings

SOURCE_FILE = "source.json"
YAML = (".yaml", ".yml")
COMMIT = re.compile(r"[0-9a-f]{40}")
TRIED_SAMPLES = 16000


class Release(Strict):
    """A YAML file that names a released model and its version."""

    repo: str = Field(description="Hugging Face repository, OWNER/NAME")
    revision: str = Field("main", description="commit, tag or branch")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="of the weights")


@dataclass(frozen=True)
class Source:
    """The origin of a model, as in ``source.json``.

    Attributes:
        source: the id of a repository, or the path of an archive or folder.
        revision: the requested revision; None for a path.
        commit: the commit of that revision; None for a path.
        files: SHA-256 of each file, by name.
    """

    source: str
    revision: str | None
    commit: str | None
    files: dict[str, str]

    def in_words(self) -> str:
        """Describe the origin in Markdown, without folders of this machine."""
        if self.commit is None:
            return f"the files {', '.join(sorted(self.files))} of `{Path(self.source).name}`"
        return f"`{self.source}` at commit `{self.commit}`"


@dataclass(frozen=True)
class Fetched:
    """A model folder and its contents.

    Attributes:
        parameters: the number of the model's parameters.
        speakers: that it was trained on, see ``training_speakers``.
        existing: True if the folder existed with the same files.
    """

    folder: Path
    source: Source
    parameters: int
    speakers: list[str]
    existing: bool

    @property
    def pinned(self) -> bool:
        """True if the same command always fetches the same model."""
        return self.source.revision is None or bool(COMMIT.fullmatch(self.source.revision))


def fetch_model(
    source: str,
    out: str | Path,
    revision: str | None = None,
    trained_on: Iterable[str] = (),
    pin: bool = False,
) -> Fetched:
    """Write the model folder ``out``, or check that it already holds the same files.

    Args:
        source: the id of a Hugging Face repository, a YAML file that names one (see ``Release``),
            an archive, or a folder.
        revision: of the repository; by default that of the YAML file, or main.
        trained_on: further speakers that the model was trained on.
        pin: write the commit and the checksum to the YAML file.

    Raises:
        TidyVoiceError: the source is missing or unreadable, does not match the checksum of the YAML
            file, or is not a working model; or ``out`` holds something else.
    """
    out, path = Path(out), Path(source)
    is_yaml = path.suffix in YAML
    release = load_settings(Release, path) if is_yaml else None
    if release is None and not path.exists() and REPOSITORY.fullmatch(source):
        release = Release(repo=source)
    if revision and release is None:
        raise TidyVoiceError(f"--revision {revision}: {source} is not a repository; leave it out")
    if pin and not is_yaml:
        raise TidyVoiceError(f"--pin: give a YAML file that names {source} to write the commit to")
    if release is not None and revision:
        release = release.model_copy(update={"revision": revision})
    if out.is_dir() and any(out.iterdir()):
        with tempfile.TemporaryDirectory() as scratch:
            fetched = _collect(source, release, Path(scratch), out, trained_on)
            _compare(out, Path(scratch), fetched.source)
        fetched = replace(fetched, existing=True)
    else:
        with atomic_folder(out) as partial:
            fetched = _collect(source, release, partial, out, trained_on)
    if pin:
        _pin(path, fetched.source)
    return fetched


def _collect(
    source: str, release: Release | None, into: Path, out: Path, trained_on: Iterable[str]
) -> Fetched:
    """Fill the folder ``into``, which will become ``out``, and try the model in it."""
    commit, name = None, source
    if release is not None:
        snapshot = download(release.repo, release.revision)
        commit = snapshot.name
        name = f"{release.repo} at {commit}"
        copy_model(snapshot, into, name)
    elif Path(source).is_dir():
        copy_model(Path(source), into, source)
    elif source.endswith(ARCHIVES) and Path(source).is_file():
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
            f"{name}: {weights} has the SHA-256 {files[weights]}, but {source} says "
            f"{release.sha256}: the model was replaced, or the YAML file is wrong"
        )
    parameters = _try(into, name)
    speakers = sorted({*(training_speakers(into) or [OTHERS]), *trained_on})
    origin = Source(
        release.repo if release else source, release and release.revision, commit, files
    )
    write_text(into / SPEAKERS_FILE, "".join(f"{speaker}\n" for speaker in speakers))
    write_text(into / SOURCE_FILE, json.dumps(asdict(origin), indent=2) + "\n")
    return Fetched(out, origin, parameters, speakers, existing=False)


def _try(folder: Path, name: str) -> int:
    """Load a model and embed a second of noise; return the number of its parameters.

    Args:
        name: the origin of the model, for error messages.
    """
    noise = np.random.default_rng(1).integers(-3000, 3000, (1, TRIED_SAMPLES), dtype=np.int16)
    try:
        encoder = SpeakerEncoder.from_pretrained(folder, "cpu")
        encoder.embed_samples(noise)
    except TidyVoiceError as error:
        raise TidyVoiceError(f"{name}: {str(error).replace(f'{folder}/', '')}") from None
    return sum(parameter.numel() for parameter in encoder.model.parameters())


def _compare(out: Path, new: Path, source: Source) -> None:
    """Check that a folder holds the files that were just fetched."""
    expected = {**source.files, SPEAKERS_FILE: sha256(new / SPEAKERS_FILE)}
    for name, checksum in expected.items():
        if not (out / name).is_file() or sha256(out / name) != checksum:
            raise TidyVoiceError(
                f"{out} exists and its {name} differs from that of {source.source}: delete the "
                "folder or give another --out"
            )


def _pin(path: Path, source: Source) -> None:
    """Write commit and checksum to the YAML file; keep its other lines."""
    text = path.read_text(encoding="utf-8")
    weights = next(checksum for name, checksum in source.files.items() if name != CONFIG_FILE)
    for key, value in (("revision", source.commit), ("sha256", weights)):
        line = f"{key}: {value}"
        text, count = re.subn(rf"^{key}:.*$", line, text, flags=re.MULTILINE)
        if not count:
            text = f"{text.rstrip()}\n{line}\n"
    write_text(path, text)


def read_source(folder: Path) -> Source | None:
    """Read the origin of a model folder; None if it is unknown or the weights have changed.

    Raises:
        TidyVoiceError: ``source.json`` cannot be read.
    """
    path = folder / SOURCE_FILE
    if not path.is_file():
        return None
    try:
        source = Source(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise TidyVoiceError(
            f"{path}: cannot be read ({error}); fetch the model again, or delete the file"
        ) from None
    weights = model_files(folder).weights
    return source if source.files.get(weights.name) == sha256(weights) else None

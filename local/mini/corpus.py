"""Making the corpus: folder by folder, whole or absent, and the marker last."""

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from local.mini import espeak
from local.mini.channels import record
from local.mini.collections import (
    NOISES,
    write_babble,
    write_music,
    write_noise,
    write_rooms,
    write_wav,
)
from local.mini.plan import Speaker, plan
from local.mini.rooms import ROOMS
from local.mini.seeds import stream
from local.mini.settings import Settings, Split
from local.mini.trials import draw_trials
from local.mini.voices import draw_voice, speak
from local.mini.workers import Task, run
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.files import PARTIAL, write_text
from tidyvoice.settings import differences

GENERATOR = 2  # raise it whenever the same settings give other bytes
MARKER = "corpus.json"
BEGUN = f".{MARKER}{PARTIAL}"  # the settings of a corpus that is not finished
TRIALS = "TidyVocieX_Dev_trialPairs.txt"  # spelt as in the real corpus


def write_speaker(folder: Path, data: Path, seed: int, split: Split, speaker: Speaker) -> None:
    """All utterances of one speaker. Needs a fresh process (see ``espeak``)."""
    voice = draw_voice(stream(seed, "voice", speaker.name))
    engine = espeak.Engine(data, int(stream(seed, "engine", speaker.name).integers(2**31)))
    for language, files in speaker.files.items():
        shifted = voice.in_language(stream(seed, "voice", speaker.name, language))
        engine.set_voice(language, shifted.variant())
        for index, file in enumerate(files):
            rng = stream(seed, speaker.split, speaker.name, language, index)
            clean = speak(engine, rng, rng.uniform(*split.seconds))
            write_wav(folder / language / file, record(clean, split.channels, rng))


def _whole(folder: Path, write: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Fill a folder under a temporary name, then rename it."""
    partial = folder.with_name(f".{folder.name}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial, *arguments)
    partial.rename(folder)


def _tasks(settings: Settings, speakers: list[Speaker], out: Path, data: Path) -> list[Task]:
    """What is still to be made: one task a folder."""
    seed, sizes = settings.seed, settings.collections
    folders: dict[str, tuple[Callable[..., None], tuple[Any, ...]]] = {
        str(speaker.folder): (
            write_speaker,
            (data, seed, getattr(settings, speaker.split), speaker),
        )
        for speaker in speakers
    }
    for name, files in _shares(sizes.noise, list(NOISES)).items():
        folders[f"musan/noise/{name}"] = (write_noise, (seed, name, files))
    folders["musan/music/chords"] = (write_music, (seed, sizes.music))
    babble = (data, seed, settings.languages, sizes.speech)
    folders["musan/speech/babble"] = (write_babble, babble)
    for name, rooms in _shares(sizes.rirs, list(ROOMS)).items():
        folders[f"RIRS_NOISES/simulated_rirs/{name}"] = (write_rooms, (seed, name, rooms))
    return [
        Task(name, _whole, (out / name, *what))
        for name, what in folders.items()
        if not (out / name).exists()
    ]


def _shares(total: int, names: list[str]) -> dict[str, int]:
    """``total`` things dealt out to names, evenly; who gets none is left out."""
    shares = Counter(names[number % len(names)] for number in range(total))
    return dict(shares)


def _check(settings: Settings, out: Path, version: str) -> bool:
    """Whether the corpus is finished.

    Raises:
        TidyVoiceError: the folder holds something else than this corpus or the beginnings of it.
    """
    found = next((out / name for name in (MARKER, BEGUN) if (out / name).is_file()), None)
    if found is None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise TidyVoiceError(
                f"{out}: is neither empty nor a corpus made here; use another --out"
            )
        return False
    try:
        earlier: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
        settings_then = earlier["settings"]
    except (ValueError, TypeError, KeyError):
        raise TidyVoiceError(f"{found}: damaged; delete the folder {out}") from None
    different = list(differences(settings.model_dump(mode="json"), settings_then))
    now = {"generator": GENERATOR, "espeak_ng": version}
    different += [key for key, value in now.items() if earlier.get(key) != value]
    if different:
        raise TidyVoiceError(
            f"{out}: was made with other values of {summarise(different)}; delete the folder, or "
            "choose another (--out; ./run.sh --corpus)"
        )
    return found.name == MARKER


def digest(out: Path) -> str:
    """One sha256 over the names and contents of all files but the marker, in sorted order."""
    total = hashlib.sha256()
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if name not in (MARKER, BEGUN):
            total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def make(settings: Settings, out: Path, jobs: int) -> None:
    """Make the corpus, or what is missing of it, with ``jobs`` processes; say what was done.

    The bytes do not depend on ``jobs`` nor on interruptions.

    Raises:
        TidyVoiceError: espeakng-loader is missing, a language is unknown to espeak-ng, or ``out``
            holds another corpus.
    """
    version = espeak.version()
    if _check(settings, out, version):
        print(f"{out}: finished already, with the same settings; nothing to do")
        return
    header = {
        "generator": GENERATOR,
        "espeak_ng": version,
        "settings": settings.model_dump(mode="json"),
    }
    write_text(out / BEGUN, json.dumps(header))
    speakers = plan(settings)
    with tempfile.TemporaryDirectory(prefix="mini-") as scratch:
        data = espeak.data_folder(Path(scratch, "data"))
        tasks = _tasks(settings, speakers, out, data)
        print(f"{out}: making {len(tasks)} folders with {jobs} processes", flush=True)
        done = run(tasks, jobs, preload=__name__)
        try:
            for _ in tqdm(done, total=len(tasks), desc="folders", disable=None):
                pass
        finally:
            done.close()
            for partial in out.rglob(f".*{PARTIAL}"):
                if partial.is_dir():
                    shutil.rmtree(partial)
    lines, remarks = draw_trials(
        [speaker for speaker in speakers if speaker.split == "dev"], settings.trials, settings.seed
    )
    write_text(out / TRIALS, "\n".join(lines) + "\n")
    counts = {
        "speakers": dict(Counter(speaker.split for speaker in speakers)),
        "utterances": {
            name: sum(len(s.utterances) for s in speakers if s.split == name)
            for name in ("pretrain", "train", "dev")
        },
        "trials": len(lines),
    }
    marker = {**header, "counts": counts, "sha256": digest(out)}
    write_text(out / MARKER, json.dumps(marker, indent=2) + "\n")
    (out / BEGUN).unlink()
    for remark in remarks:
        print(remark)
    print(
        f"{out}: {sum(counts['speakers'].values()):,} speakers, "
        f"{sum(counts['utterances'].values()):,} utterances, {len(lines):,} dev trials"
    )

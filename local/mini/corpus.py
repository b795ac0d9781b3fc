"""Make the corpus folder by folder, each complete or absent, and the marker last."""

import hashlib
import json
import multiprocessing
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from local.mini import MARKER, espeak
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
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.files import PARTIAL, write_text
from tidyvoice.readahead import read_ahead
from tidyvoice.settings import Strict, differences, read_json

GENERATOR = 2  # raise it when the same settings give other bytes
BEGUN = f".{MARKER}{PARTIAL}"  # the settings of an unfinished corpus
TRIALS = "TidyVocieX_Dev_trialPairs.txt"  # spelt as in the real corpus


class Marker(Strict):
    """Versions and settings of a corpus; its counts and checksum once it is complete."""

    generator: int
    espeak_ng: str
    settings: dict[str, Any]
    counts: dict[str, Any] | None = None
    sha256: str | None = None


Task = tuple[Callable[..., None], Path, tuple[Any, ...]]  # fills a folder, given further arguments


def write_speaker(
    folder: Path, data: Path, seed: int, shared: float, split: Split, speaker: Speaker
) -> None:
    """Write all utterances of one speaker. Needs a fresh process (see ``espeak``)."""
    voice = draw_voice(stream(seed, "voice", speaker.name))
    engine = espeak.Engine(data, int(stream(seed, "engine", speaker.name).integers(2**31)))
    for language, files in speaker.files.items():
        own, common = (
            stream(seed, "voice", *key) for key in ((speaker.name, language), (language,))
        )
        shifted = voice.in_language(own, common, shared)
        engine.set_voice(language, shifted.variant())
        for index, file in enumerate(files):
            rng = stream(seed, speaker.split, speaker.name, language, index)
            clean = speak(engine, rng, rng.uniform(*split.seconds))
            write_wav(folder / language / file, record(clean, split.channels, rng))


def _fill(task: Task) -> None:
    """Fill a folder under a temporary name, then rename it."""
    write, folder, arguments = task
    partial = folder.with_name(f".{folder.name}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial, *arguments)
    partial.rename(folder)


def _tasks(settings: Settings, speakers: list[Speaker], out: Path, data: Path) -> list[Task]:
    """Return one task for each folder that is still missing."""
    seed, sizes = settings.seed, settings.collections
    folders: dict[str, tuple[Callable[..., None], tuple[Any, ...]]] = {
        str(speaker.folder): (
            write_speaker,
            (data, seed, settings.shared_shift, getattr(settings, speaker.split), speaker),
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
        (write, out / name, arguments)
        for name, (write, arguments) in folders.items()
        if not (out / name).exists()
    ]


def run(tasks: Sequence[Task], jobs: int) -> Iterator[None]:
    """Run ``tasks``, ``jobs`` at a time, each in a process of its own; yield as each ends.

    Raises:
        TidyVoiceError, OSError: a task raised it, or its process died.
    """
    # The server imports this module once; its forks start in milliseconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])

    def run_in_process(task: Task) -> None:
        try:
            # Ctrl-C interrupts this process, which waits for the tasks that have begun.
            ignore = (signal.SIGINT, signal.SIG_IGN)
            with ProcessPoolExecutor(1, context, signal.signal, ignore) as pool:
                pool.submit(_fill, task).result()
        except BrokenProcessPool:
            raise TidyVoiceError(
                f"{task[1]}: its process died (is the memory full?). Run the same command again"
            ) from None

    with closing(read_ahead(run_in_process, tasks, jobs, ahead=jobs)) as ended:
        yield from ended


def _shares(total: int, names: list[str]) -> dict[str, int]:
    """Divide ``total`` evenly among names, and leave out names that get none."""
    shares = Counter(names[number % len(names)] for number in range(total))
    return dict(shares)


def _check(settings: Settings, out: Path, version: str) -> bool:
    """Return True if the corpus is finished.

    Raises:
        TidyVoiceError: the folder contains something other than this corpus or a part of it.
    """
    marker = next((out / name for name in (MARKER, BEGUN) if (out / name).is_file()), None)
    if marker is None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise TidyVoiceError(
                f"{out} is neither empty nor a built-in corpus. Give another --out"
            )
        return False
    earlier = read_json(Marker, marker, f"delete the folder {out}")
    different = list(differences(settings.model_dump(mode="json"), earlier.settings))
    now = {"generator": GENERATOR, "espeak_ng": version}
    different += [key for key, value in now.items() if getattr(earlier, key) != value]
    if different:
        raise TidyVoiceError(
            f"{out} was made with other values of {summarise(different)}. Delete the folder, or "
            "choose another (--out; ./run.sh --corpus)"
        )
    return marker.name == MARKER


def digest(out: Path) -> str:
    """Return one SHA-256 of the names and contents of all files but the marker."""
    total = hashlib.sha256()
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if name not in (MARKER, BEGUN):
            total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def make(settings: Settings, out: Path, jobs: int) -> None:
    """Make the corpus, or its missing folders, with ``jobs`` processes, and print its counts.

    The bytes do not depend on ``jobs`` nor on interruptions.

    Raises:
        TidyVoiceError: espeakng-loader is missing, a language is unknown to espeak-ng, or ``out``
            contains another corpus.
    """
    version = espeak.version()
    if _check(settings, out, version):
        print(f"{out} is finished, with the same settings: nothing to do")
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
        try:
            with closing(run(tasks, jobs)) as done:
                for _ in tqdm(done, total=len(tasks), desc="folders", disable=None):
                    pass
        finally:
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

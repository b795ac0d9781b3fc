"""The speaker and the language of each id of a list."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.kaldi_tables import read_table
from tidyvoice.scoring.trials import Trials

# Common Voice's codes: "en", "ckb", "zh-CN", "nan-tw"; but not the id of a video.
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class Groups:
    """The speaker or language of each of U ids: int64 [U], places in the sorted names."""

    codes: np.ndarray
    names: list[str]


def read_maps(paths: Sequence[str | Path], what: str) -> dict[str, str] | None:
    """Read lines ``utterance value`` of files; ``what`` names the value in errors, "speaker"."""
    if not paths:
        return None
    values: dict[str, str] = {}
    for path in paths:
        table = dict(read_table(path, what).iter_rows())
        if twice := sorted(table.keys() & values.keys()):
            raise TidyVoiceError(f"{path}: another file has a {what} of '{twice[0]}' already.")
        values |= table
    return values


def languages_of(trials: Trials, utt2lang: Mapping[str, str] | None = None) -> Groups | None:
    """Look up the language of each id, or read it from ids speaker/LANGUAGE/file; else None."""
    if utt2lang is not None:
        return _looked_up(trials, utt2lang, "language")
    parts = [utterance.split("/") for utterance in trials.ids]
    if not all(len(part) == 3 and _LANGUAGE.fullmatch(part[1]) for part in parts):
        return None
    return _numbered([part[1] for part in parts])


def speakers_of(trials: Trials, utt2spk: Mapping[str, str] | None = None) -> Groups | None:
    """Look up the speaker of each id, or read it from ids SPEAKER/folder/file; else None."""
    if utt2spk is not None:
        return _looked_up(trials, utt2spk, "speaker")
    if not all(utterance.count("/") == 2 for utterance in trials.ids):
        return None
    return _numbered([utterance.partition("/")[0] for utterance in trials.ids])


def same_language(trials: Trials, languages: Groups) -> np.ndarray:
    """Return which trials have both sides in the same language: bool [T]."""
    codes = languages.codes.astype(np.int32)
    return codes[trials.enroll] == codes[trials.test]


def _looked_up(trials: Trials, table: Mapping[str, str], what: str) -> Groups:
    places = trials.places_in(list(table), what)
    values = list(table.values())
    return _numbered([values[place] for place in places])


def _numbered(values: list[str]) -> Groups:
    names, codes = np.unique(values, return_inverse=True)
    return Groups(codes, names.tolist())

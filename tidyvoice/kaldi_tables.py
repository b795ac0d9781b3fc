"""Read and write Kaldi-style tables: text files of lines ``key value``."""

from pathlib import Path

import polars as pl

from tidyvoice.errors import TidyVoiceError, reading, summarise
from tidyvoice.files import atomic_path

LARGEST = 2**34  # bytes; a wav.scp of ten million long paths has 2**31


def read_table(path: str | Path, column: str) -> pl.DataFrame:
    """Read lines ``id value`` (it may have spaces) into ``utterance`` and ``column``, in order."""
    path = Path(path)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "is missing"
        raise TidyVoiceError(f"{path} {problem}. Give a file of lines 'utterance {column}'")
    with reading(path, f"text file of lines 'utterance {column}'", "give a Kaldi table in UTF-8"):
        with open(path, "rb") as file:
            if b"\0" in file.read(2**16) or path.stat().st_size > LARGEST:
                raise ValueError("binary, or too large")
        try:
            lines = pl.read_csv(
                path, has_header=False, separator="\x01", quote_char=None, raise_if_empty=False,
                schema={"line": pl.String},
            )["line"]  # fmt: skip
        except pl.exceptions.ComputeError:
            with open(path, "rb") as file:
                number = next((n for n, line in enumerate(file, 1) if b"\x01" in line), None)
            if number is None:
                raise
            raise ValueError(f"line {number} has the control character \\x01") from None
    table = pl.select(
        utterance=lines.str.extract(r"^(\S+)\s+\S", 1),
        value=lines.str.extract(r"^\S+\s+(.*\S)\s*$", 1),
    ).rename({"value": column})
    broken = table["utterance"].is_null().arg_true()
    if len(broken):
        count = f"({len(broken)} such lines)"
        raise TidyVoiceError(f"{path} line {broken[0] + 1}: expected 'id value' {count}")
    if problems := duplicates(table["utterance"]):
        raise TidyVoiceError(f"{path}: {summarise(problems)}")
    return table


def write_table(path: str | Path, keys: pl.Series, values: pl.Series) -> None:
    """Write lines ``key value`` atomically."""
    lines = pl.select((keys.cast(pl.String) + " " + values.cast(pl.String)).alias("line"))
    with atomic_path(path) as partial_path:
        lines.write_csv(partial_path, include_header=False, quote_style="never")


def duplicates(ids: pl.Series) -> list[str]:
    """Return a line for each id that occurs more than once."""
    repeated = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
    return [f"{utterance} occurs twice. Keep one" for utterance in repeated]

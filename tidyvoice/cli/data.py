"""Commands on data folders, and the check of data and machine before a training."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.common import AsJson, Data, command, emit
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_path, refuse_inputs


@command()
def check(
    data: Data,
    disjoint: Annotated[
        list[Path] | None,
        typer.Option(help="folder that must share no speaker with DATA (repeatable)"),
    ] = None,
    audio: Annotated[bool, typer.Option(help="check the header of every file")] = True,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="decode every file, and read all shards")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Report all problems of a data folder, or of its parts, and whether its shards belong to it.

    Example: tidyvoice check data/mini/finetune --disjoint data/mini/dev
    """
    from tidyvoice.data.manifest import check as find_problems
    from tidyvoice.data.manifest import parts_of
    from tidyvoice.data.shards import check_shards

    problems = []
    for part in parts_of(data):
        problems += find_problems(part, disjoint or [], audio=audio, decode=thorough)
        problems += check_shards(part, thorough)
    content = {"data": str(data), "problems": problems}
    emit(as_json, content, problems or [f"{data}: no problem"])
    if problems:
        raise TidyVoiceError(f"{data} has {len(problems)} problem(s)")


@command()
def shards(
    data: Data,
    per_shard: Annotated[int, typer.Option(min=1, help="utterances in a shard")] = 1000,
    tolerate: Annotated[
        float, typer.Option(min=0, max=1, help="fraction of files that may be unreadable")
    ] = 0.0,
    part: Annotated[str | None, typer.Option(help="only this part of a divided DATA: 3/16")] = None,
    as_json: AsJson = False,
) -> None:
    """Pack a data folder into indexed shards, DATA/shards.

    A divided data folder is packed part by part: all parts, or the one that --part names, so that
    several machines can share the work.

    Example: tidyvoice shards data/mini/pretrain
    """
    from tidyvoice.data.manifest import parse_part, part_folder, parts_of
    from tidyvoice.data.packing import write_shards

    for folder in [part_folder(data, *parse_part(part))] if part else parts_of(data):
        packed = write_shards(folder, per_shard, tolerate=tolerate)
        line = f"{packed.folder}: {packed.utterances:,} utterances in {packed.shards:,} shards "
        line += "already up to date" if packed.up_to_date else "written"
        if packed.unreadable:
            line += f", {packed.unreadable:,} unreadable files left out"
        emit(as_json, asdict(packed), [line])


@command()
def trials(
    data: Data,
    out: Annotated[Path, typer.Option(help="trial list to write")],
    targets: Annotated[int, typer.Option(min=1, help="target trials")] = 10_000,
    nontargets: Annotated[int, typer.Option(min=1, help="non-target trials")] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="seed that draws the trials")] = 1,
    as_json: AsJson = False,
) -> None:
    """Make a trial list from a data folder's speakers: half within a language, half across.

    Memory grows with the square of the number of speakers: 0.4 GB for 3,000.

    Example: tidyvoice trials data/mini/calib --out data/mini/calib/trials
    """
    from tidyvoice.data.manifest import Manifest, own_files
    from tidyvoice.scoring.pairs import make_trials
    from tidyvoice.scoring.trials import write_trials

    refuse_inputs([out], own_files(data))
    table = Manifest.read(data).table
    languages = None if table["language"].null_count() else table["language"].to_list()
    ids, speakers = table["utterance"].to_list(), table["speaker"].to_list()
    pairs, lacking = make_trials(ids, speakers, languages, targets, nontargets, seed)
    with atomic_path(out) as partial, open(partial, "wb") as file:
        write_trials(file, pairs)
    count = int(pairs.label.sum())
    others = len(pairs) - count
    content = {"trials": out, "targets": count, "nontargets": others, "lacking": lacking}
    warnings = [f"{data} has {n:,} {kind} fewer than requested" for kind, n in lacking.items()]
    emit(as_json, content, [f"{out}: {count:,} target and {others:,} non-target trials"], warnings)


@command()
def doctor(
    data: Annotated[
        list[Path] | None, typer.Option(help="data folder that is evaluated (repeatable)")
    ] = None,
    train: Annotated[
        list[Path] | None,
        typer.Option(help="data folder that is packed for a training (repeatable)"),
    ] = None,
    exp: Annotated[Path | None, typer.Option(help="folder for the embeddings of --data")] = None,
    trials: Annotated[list[Path] | None, typer.Option(help="trial list (repeatable)")] = None,
    expect: Annotated[Path | None, typer.Option(help="YAML file of expected counts")] = None,
    as_json: AsJson = False,
) -> None:
    """Check packages, ffmpeg, device, data folders, counts, and disk space.

    Each line is OK, WARN or FAIL and says what is wrong, where, and what to do. The exit status is
    1 if a check fails. To check a training's settings, use tidyvoice train --check.

    Example: tidyvoice doctor --train data/mini/finetune --data data/mini/dev
    """
    from tidyvoice.doctor import examine

    groups = examine(data or [], train or [], exp, trials or [], expect)
    counted = Counter(finding.status for findings in groups.values() for finding in findings)
    summary = {status: counted[status] for status in ("OK", "WARN", "FAIL")}
    rows, lines = [], []
    for group, findings in groups.items():
        rows += [{"group": group, **asdict(finding)} for finding in findings]
        lines += [group, *map(str, findings), ""] if findings else []
    lines.append(", ".join(f"{number} {status}" for status, number in summary.items()))
    emit(as_json, {"findings": rows, "summary": summary}, lines)
    if summary["FAIL"]:
        raise typer.Exit(1)

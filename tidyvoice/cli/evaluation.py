"""Commands that evaluate score files and list experiments."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli import common
from tidyvoice.cli.common import command, emit, name_and_path
from tidyvoice.errors import TidyVoiceError


@command()
def metrics(
    scores: Annotated[list[str], typer.Argument(help="score files, each SCORES or NAME=SCORES")],
    trials: Annotated[Path | None, typer.Option(help="trial list that gives the labels")] = None,
    utt2lang: common.Languages = None,
    utt2spk: common.Speakers = None,
    p_target: Annotated[
        list[float] | None,
        typer.Option(show_default="0.01, 0.05", help="prior of a target trial (repeatable)"),
    ] = None,
    c_miss: Annotated[float, typer.Option(help="cost of a miss")] = 1.0,
    c_fa: Annotated[float, typer.Option(help="cost of a false alarm")] = 1.0,
    bootstrap: common.Resamples = 0,
    languages: Annotated[bool, typer.Option("--languages", help="print each language too")] = False,
    pairs: Annotated[bool, typer.Option("--pairs", help="print pairs of languages too")] = False,
    published: Annotated[Path | None, typer.Option(help="YAML file of published results")] = None,
    trial_list: Annotated[
        str | None,
        typer.Option("--list", show_default="of the same length", help="list in --published"),
    ] = None,
    as_json: common.AsJson = False,
) -> None:
    """Print EER, detection costs and Cllr of all trials and of the four language categories.

    Several score files are compared: one row each, then the differences to the first one. With
    --published they are compared with published results.

    The evaluation is kept in NAME.metrics.json beside NAME.score until an input changes.

    Example: tidyvoice metrics exp/mini/finetune/scores/dev.score --bootstrap 1000
    """
    from tidyvoice.evaluation import tables
    from tidyvoice.evaluation.categories import OPERATING_POINTS
    from tidyvoice.evaluation.evaluate import ScoreFile, evaluate
    from tidyvoice.evaluation.published import compare
    from tidyvoice.scoring.metrics import Costs

    points = [Costs(p, c_miss, c_fa) for p in p_target or [at.p_target for at in OPERATING_POINTS]]
    if published and points[0] != OPERATING_POINTS[0]:
        fix = "leave out --p-target, --c-miss and --c-fa"
        raise TidyVoiceError(f"--published needs the usual costs: {fix}")
    if trial_list and not published:
        raise TidyVoiceError("--list chooses a list of the file that --published gives")
    systems = {}
    for name, path in map(name_and_path, scores):
        file = ScoreFile(path, trials, tuple(utt2lang or ()), tuple(utt2spk or ()))
        name = name or file.name
        if name in systems:
            raise TidyVoiceError(f"two score files are called {name}: write NAME={path}")
        evaluation = systems[name] = evaluate(file, points, bootstrap)
        if bootstrap and evaluation.speakers is None:
            raise TidyVoiceError(f"{path}: its ids do not name the speakers; give --utt2spk")
        if (languages or pairs) and not evaluation.languages:
            raise TidyVoiceError(f"{path}: its ids do not name the languages; give --utt2lang")
    (name, main), *others = systems.items()
    compared = compare(published, systems, trial_list) if published else None
    several = bool(others or compared)
    if as_json:
        content = main.to_json()
        if several:
            deltas = {key: other.minus(main) for key, other in others}
            content = {
                "systems": {key: evaluation.to_json() for key, evaluation in systems.items()},
                "differences": {key: delta and asdict(delta) for key, delta in deltas.items()},
                **(compared.to_json() if compared else {}),
            }
        typer.echo(json.dumps(content, indent=2))
        return
    remarks = []
    if compared:
        title = f"{compared.list_name}, all trials, by EER:"
        ranking = f"{title}\n{compared.ranking.to_text()}"
        parts, remarks = [compared.categories.to_text(), ranking], compared.remarks
    elif others:
        parts = [tables.systems_table(systems).transposed().to_text()]
        for key, other in others:
            if other.trials != main.trials:
                remarks.append(f"{key}: other trials than {name}, so there are no differences")
    else:
        parts = [tables.categories_table(main).to_text()]
        if not main.lineage.calibrated:
            remarks.append("actDCF and Cllr assume calibrated scores, which these may not be")
    for name, evaluation in systems.items():
        about, head = (f"{name}: ", f"{name}:\n") if several else ("", "")
        for wanted, rows in ((languages, evaluation.languages), (pairs, evaluation.pairs)):
            if wanted:
                parts.append(head + tables.languages_table(rows).to_text())
        remarks += evaluation.lineage.remarks(about)
    typer.echo("\n\n".join([*parts, *(["\n".join(remarks)] if remarks else [])]))


@command()
def report(
    experiment: Annotated[Path, typer.Argument(help="experiment folder with scores")],
    compare: Annotated[
        list[str] | None,
        typer.Option(help="[NAME=]EXPERIMENT or [NAME=]SCORES to compare with (repeatable)"),
    ] = None,
    scores: Annotated[str, typer.Option(help="NAME of EXP/scores/NAME.score")] = "dev",
    name: Annotated[
        str | None, typer.Option(show_default="that of the folder", help="name of the system")
    ] = None,
    trials: Annotated[
        list[str] | None, typer.Option(help="NAME=LIST: trial list with the labels (repeatable)")
    ] = None,
    utt2lang: common.Languages = None,
    utt2spk: common.Speakers = None,
    bootstrap: common.Resamples = 1000,
    out: Annotated[
        Path | None, typer.Option(show_default="EXP/report.html", help="page to write")
    ] = None,
    as_json: common.AsJson = False,
) -> None:
    """Write the page of an experiment, EXP/report.html, and print the table of its systems.

    The page is one self-contained file: metrics with intervals, DET curves, languages,
    calibration, the hardest trials, training curves, settings, and how the scores were made.

    Example: tidyvoice report exp/mini/finetune --compare exp/mini/pretrain
    """
    from tidyvoice.evaluation.tables import brief_table
    from tidyvoice.report.page import write_report
    from tidyvoice.report.system import load_system

    if out is None and experiment.is_file():
        raise TidyVoiceError(f"{experiment} is a score file: name the page to write with --out")
    maps = {"utt2lang": utt2lang or (), "utt2spk": utt2spk or ()}
    systems = [load_system(experiment, scores, name, **maps)]
    for title, path in map(name_and_path, compare or []):
        systems.append(load_system(path, scores, title, **maps))
    names, lists = [system.name for system in systems], {}
    for title, path in map(name_and_path, trials or []):
        if title not in names or title in lists:
            fix = f"write NAME=LIST, each NAME once, among {', '.join(names)}"
            raise TidyVoiceError(f"--trials {path}: {fix}")
        lists[title] = path
    systems = [replace(s, file=replace(s.file, trials=lists.get(s.name))) for s in systems]
    page = out or experiment / "report.html"
    evaluations = write_report(experiment, systems, page, resamples=bootstrap)
    content = {key: evaluation.to_json() for key, evaluation in evaluations.items()}
    lines = [brief_table(evaluations).to_text(), "", f"report: {page}"]
    emit(as_json, {"report": page, "systems": content}, lines)


@command()
def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(show_default="exp", help="folders with experiments")
    ] = None,
    as_json: common.AsJson = False,
) -> None:
    """List the experiments below folders, best EER first, with the settings that differ.

    Example: tidyvoice runs exp/mini/pretrain exp/mini/finetune
    """
    from tidyvoice.runs import find_experiments, list_experiments

    listing = list_experiments(find_experiments(folders or [Path("exp")]))
    emit(as_json, listing.to_json(), [listing.to_text()])

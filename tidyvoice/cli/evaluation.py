"""Commands that evaluate score files."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, Languages, Speakers, app, name_and_path
from tidyvoice.errors import TidyVoiceError, one_line_errors

Resamples = Annotated[
    int, typer.Option(min=0, help="resamples of the speakers for 95 % intervals; 0 for none")
]


@app.command()
@one_line_errors()
def metrics(
    scores: Annotated[Path, typer.Argument(help="score file, with labels or with --trials")],
    trials: Annotated[
        Path | None, typer.Option(help="trial list that gives the labels, by pair in any order")
    ] = None,
    utt2lang: Languages = None,
    utt2spk: Speakers = None,
    p_target: Annotated[
        list[float] | None, typer.Option(help="prior of a target trial (repeatable); 0.01, 0.05")
    ] = None,
    c_miss: Annotated[float, typer.Option(help="cost of a miss")] = 1.0,
    c_fa: Annotated[float, typer.Option(help="cost of a false alarm")] = 1.0,
    bootstrap: Resamples = 0,
    seed: Annotated[int, typer.Option(help="of the resamples")] = 1,
    languages: Annotated[bool, typer.Option("--languages", help="also each language")] = False,
    pairs: Annotated[bool, typer.Option("--pairs", help="also each pair of languages")] = False,
    as_json: AsJson = False,
) -> None:
    """EER, detection costs and Cllr, over all trials and in the four language categories.

    actDCF and Cllr take the scores for log-likelihood ratios.

    Example: tidyvoice metrics exp/mini/finetune/scores/dev.score --bootstrap 1000
    """
    from tidyvoice.evaluation.bootstrap import enough, resample, with_intervals
    from tidyvoice.evaluation.categories import OPERATING_POINTS, evaluate
    from tidyvoice.evaluation.labels import read_labelled
    from tidyvoice.evaluation.languages import by_language
    from tidyvoice.evaluation.tables import format_languages, format_table, to_json
    from tidyvoice.scoring.groups import languages_of, read_maps, speakers_of
    from tidyvoice.scoring.lineage import read_lineage
    from tidyvoice.scoring.metrics import Costs

    enough(bootstrap)
    priors = p_target or [point.p_target for point in OPERATING_POINTS]
    points = [Costs(prior, c_miss, c_fa) for prior in priors]
    table = read_labelled(scores, trials)
    spoken = languages_of(table.trials, read_maps(utt2lang or (), "language"))
    rows = evaluate(table, spoken, points)
    if bootstrap:
        speakers = speakers_of(table.trials, read_maps(utt2spk or (), "speaker"))
        if speakers is None:
            raise TidyVoiceError(f"{scores}: its ids tell no speaker; give --utt2spk")
        rows = with_intervals(rows, resample(table, spoken, speakers, points, bootstrap, seed))
    parts: dict[str, list] = {}
    if languages or pairs:
        if spoken is None:
            raise TidyVoiceError(f"{scores}: its ids tell no language; give --utt2lang")
        single, both = by_language(table, spoken, points[0])
        parts = {"languages": single} if languages else {}
        parts |= {"pairs": both} if pairs else {}
    lineage = read_lineage(scores)
    if as_json:
        calibrated = {"calibrated": lineage.calibrated, **lineage.to_json()}
        typer.echo(to_json(categories=rows, **parts, **calibrated))
        return
    tables = [format_table(rows), *(format_languages(part) for part in parts.values())]
    typer.echo("\n\n".join(tables))
    if not lineage.calibrated:
        typer.echo(
            "actDCF and Cllr assume calibrated log-likelihood ratios; these scores may be none"
        )
    for said in lineage.remarks():
        typer.echo(said)


@app.command()
@one_line_errors()
def report(
    experiment: Annotated[Path, typer.Argument(help="experiment folder with scores")],
    compare: Annotated[
        list[str] | None,
        typer.Option(help="experiment or score file, or NAME=it, to show beside it (repeatable)"),
    ] = None,
    scores: Annotated[str, typer.Option(help="which scores: EXP/scores/NAME.score")] = "dev",
    name: Annotated[str | None, typer.Option(help="how the system is called")] = None,
    trials: Annotated[
        list[str] | None,
        typer.Option(help="NAME=LIST: the trial list that gives the labels of NAME (repeatable)"),
    ] = None,
    utt2lang: Languages = None,
    utt2spk: Speakers = None,
    bootstrap: Resamples = 1000,
    out: Annotated[Path | None, typer.Option(help="page to write; EXP/report.html")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the systems' table and write one self-contained page, EXP/report.html.

    Example: tidyvoice report exp/mini/finetune --compare exp/mini/pretrain
    """
    from tidyvoice.evaluation.bootstrap import enough
    from tidyvoice.evaluation.tables import format_systems
    from tidyvoice.report import load_system, write_report

    enough(bootstrap)
    if out is None and experiment.is_file():
        raise TidyVoiceError(f"{experiment} is a score file: say with --out where the page goes")
    maps = {"utt2lang": utt2lang or (), "utt2spk": utt2spk or ()}
    systems = [load_system(experiment, scores, name, **maps)]
    for other in compare or []:
        called, path = name_and_path(other)
        systems.append(load_system(path, scores, called, **maps))
    keys = dict(map(name_and_path, trials or []))
    systems = [replace(system, key_path=keys.pop(system.name, None)) for system in systems]
    if keys:
        names = ", ".join(system.name for system in systems)
        raise TidyVoiceError(
            f"--trials {keys.popitem()[1]}: write NAME=LIST; NAME is one of {names}"
        )
    page = out or experiment / "report.html"
    results = write_report(experiment, systems, page, resamples=bootstrap)
    rows = {result.name: result.rows for result in results}
    if as_json:
        table = {
            result.name: {
                "categories": [asdict(row) for row in result.rows],
                "calibrated": result.calibrated,
                **result.lineage.to_json(),
            }
            for result in results
        }
        typer.echo(json.dumps({"report": str(page), "systems": table}))
    else:
        calibrated = {result.name for result in results if result.calibrated}
        typer.echo(f"{format_systems(rows, calibrated)}\n\nreport: {page}")

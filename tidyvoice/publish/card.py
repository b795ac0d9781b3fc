"""The model card: ``card.md`` filled with facts, below the metadata that the Hub reads.

The fields are those of https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Its results
("model-index") are read by other sites too, so they hold neither in-sample nor confounded ones.
"""

import re
from pathlib import Path, PurePath
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from tidyvoice.data.manifest import terms_of
from tidyvoice.evaluation.bootstrap import LEVEL
from tidyvoice.evaluation.tables import categories_table
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.model_files import OTHERS
from tidyvoice.publish.facts import Facts, Result, Terms
from tidyvoice.publish.privacy import shown, without_folders
from tidyvoice.scoring.lineage import in_words
from tidyvoice.scoring.provenance import FLAWS, describe
from tidyvoice.settings import read_yaml
from tidyvoice.terms import IDENTIFICATION

TAGS = ["speaker-verification", "speaker-recognition", "speaker-embedding", "speech", "audio"]
# The Hub has no pipeline of its own for speaker verification.
PIPELINE = "audio-classification"
TASK = "speaker-verification"
ISO_639 = re.compile(r"([a-z]{2,3})(?:[-_][A-Za-z0-9]+)*")


def model_card(facts: Facts, terms: Terms) -> str:
    """Return the text of README.md."""
    environment = Environment(
        loader=PackageLoader("tidyvoice", "publish"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "described": lambda record: describe(record, lambda path: PurePath(path).name),
        "shown": shown,
        "without_folders": without_folders,
        "table": lambda evaluation: categories_table(evaluation, evaluation.calibrated),
    }
    name = terms.repository.rpartition("/")[2]
    speakers = facts.encoder.trained_on or []
    return environment.get_template("card.md").render(
        metadata=_metadata(facts, terms, name).to_yaml(),
        name=name,
        facts=facts,
        terms=terms,
        encoder=facts.encoder,
        sample_rate=SAMPLE_RATE,
        parameters=sum(p.numel() for p in facts.encoder.model.parameters()),
        verifier=facts.encoder.verifier,
        speakers=len(set(speakers) - {OTHERS}),
        others=OTHERS in speakers,
        system=in_words,
        flaws=FLAWS,
        settings=_settings,
        level=f"{100 * LEVEL:g}",
        identification=IDENTIFICATION,
        corpora=_corpus_terms(facts),
    )


def _metadata(facts: Facts, terms: Terms, name: str) -> ModelCardData:
    names = {language for training in facts.trainings for language in training.languages}
    languages = sorted({code[1] for name in names if (code := ISO_639.fullmatch(name))})
    results = [entry for result in facts.results if result.fair for entry in _entries(result)]
    return ModelCardData(
        language=languages or None,
        license=terms.licence,
        library_name="tidyvoice",
        pipeline_tag=PIPELINE,
        tags=TAGS,
        base_model=facts.source.source if facts.source and facts.source.commit else None,
        model_name=name,
        eval_results=results or None,
    )


def _entries(result: Result) -> list[EvalResult]:
    pooled = result.evaluation.pooled
    values = [("eer", f"EER in %, {result.name}", round(100 * pooled.eer, 3))]
    for point in pooled.points:
        label = f"minDCF at P(target) {point.costs.p_target:g}, {result.name}"
        values.append(("min_dcf", label, round(point.min_dcf, 4)))
    return [
        EvalResult(
            task_type=TASK,
            task_name="Speaker Verification",
            dataset_type=re.sub(r"[^\w.-]+", "-", result.trials),
            dataset_name=result.trials,
            metric_type=metric,
            metric_name=label,
            metric_value=value,
        )
        for metric, label, value in values
    ]


def _corpus_terms(facts: Facts) -> list[str]:
    """Return the terms of the trainings' corpora whose data folders still exist."""
    folders = []
    for training in facts.trainings:
        train = training.experiment.settings.get("data.train") or []
        folders += [train] if isinstance(train, str) else train
    return sorted({terms for folder in folders for terms in terms_of(folder)})


def _settings(folder: Path) -> str:
    """Return the settings of an experiment as YAML, paths shortened."""
    settings = read_yaml(folder / "config.yaml")
    settings.pop("experiment")
    return yaml.safe_dump(_published(settings), sort_keys=False, allow_unicode=True)


def _published(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _published(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_published(inner) for inner in value]
    return shown(value) if isinstance(value, str) and "/" in value else value

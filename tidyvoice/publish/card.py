"""The model card: ``card.md`` filled with facts, below the metadata that the Hub reads.

The fields are those of https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Its results
("model-index") are read by other sites too, so they hold neither in-sample nor confounded ones.
"""

import re
from pathlib import PurePath

import yaml
from huggingface_hub import EvalResult, ModelCardData

from tidyvoice.data.manifest import terms_of
from tidyvoice.evaluation.bootstrap import LEVEL
from tidyvoice.evaluation.tables import categories_table
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.model_files import OTHERS
from tidyvoice.publish.facts import Facts, Result, shorten
from tidyvoice.report.page import template
from tidyvoice.scoring.provenance import FLAWS, describe, title
from tidyvoice.verification import IDENTIFICATION

TAGS = ["speaker-verification", "speaker-recognition", "speaker-embedding", "speech", "audio"]
ISO_639 = re.compile(r"([a-z]{2,3})(?:[-_][A-Za-z0-9]+)*")


def model_card(facts: Facts, repository: str, licence: str, about: str) -> str:
    """Return the text of README.md; see ``write_folder``."""
    filters = {
        "count": "{:,}".format,
        "described": lambda record: describe(record, lambda path: PurePath(path).name),
        "shorten": shorten,
        "titled": title,
        "table": lambda evaluation: categories_table(evaluation, evaluation.lineage.calibrated),
    }
    speakers = facts.encoder.trained_on or []
    settings = facts.experiment.settings if facts.experiment else {}
    # No paths: those of the data and of the initial weights are shown above them.
    settings = {key: value for key, value in settings.items() if "/" not in str(value)}
    return template("publish", "card.md", **filters).render(
        metadata=_metadata(facts, repository, licence).to_yaml(),
        facts=facts,
        repository=repository,
        licence=licence,
        about=about,
        encoder=facts.encoder,
        verifier=facts.encoder.verifier,
        sample_rate=SAMPLE_RATE,
        parameters=sum(p.numel() for p in facts.encoder.model.parameters()),
        speakers=len(set(speakers) - {OTHERS}),
        others=OTHERS in speakers,
        settings=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
        flaws=FLAWS,
        level=f"{100 * LEVEL:g}",
        identification=IDENTIFICATION,
        corpora=sorted({text for folder in facts.data for text in terms_of(folder)}),
    )


def _metadata(facts: Facts, repository: str, licence: str) -> ModelCardData:
    languages = sorted({code[1] for name in facts.languages if (code := ISO_639.fullmatch(name))})
    results = [entry for result in facts.results if result.fair for entry in _entries(result)]
    return ModelCardData(
        language=languages or None,
        license=licence,
        library_name="tidyvoice",
        # The Hub has no pipeline of its own for speaker verification.
        pipeline_tag="audio-classification",
        tags=TAGS,
        base_model=facts.source.source if facts.source and facts.source.commit else None,
        model_name=repository.rpartition("/")[2],
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
            task_type="speaker-verification",
            task_name="Speaker Verification",
            dataset_type=re.sub(r"[^\w.-]+", "-", result.trials),
            dataset_name=result.trials,
            metric_type=metric,
            metric_name=label,
            metric_value=value,
        )
        for metric, label, value in values
    ]

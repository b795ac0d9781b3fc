"""The model card: metadata as the Hugging Face Hub reads it, and what a user must know.

The fields are those of https://github.com/huggingface/hub-docs/blob/main/modelcard.md; how a card
reports results, "model-index", is read by other sites too. Results in sample are left out of it.
"""

import re

from huggingface_hub import EvalResult, ModelCardData

from tidyvoice.config import ModelSettings
from tidyvoice.publish.facts import Evaluation, Facts, Terms
from tidyvoice.publish.markdown import bullets
from tidyvoice.publish.results import list_of, results_section
from tidyvoice.publish.training import describe_source
from tidyvoice.publish.training_section import training_section
from tidyvoice.terms import IDENTIFICATION, TERMS

TAGS = ["speaker-verification", "speaker-recognition", "speaker-embedding", "speech", "audio"]
# There is no task of its own for speaker verification among the Hub's.
PIPELINE = "audio-classification"
TASK = "speaker-verification"
ISO_639 = re.compile(r"([a-z]{2,3})(?:[-_][A-Za-z0-9]+)*")
SENTENCES = {
    "intended": (
        "Comparing voices in research: verification, retrieval, clustering, selection of data.",
        "As one of several signals in a product, after measuring its errors on recordings of the "
        "kind, the languages and the people that it will meet.",
    ),
    "limits": (
        "A score is evidence, not a proof of identity. It must not be what alone decides over a "
        "person's rights, money, or freedom.",
        IDENTIFICATION,
        "Voices are personal data, and in many countries biometric data: ask the people whose "
        "voices are embedded, and protect embeddings as you protect recordings.",
        "Recordings that are played back, synthesised, or converted from another voice are not "
        "recognised as such: nothing here detects spoofing.",
        "Error rates, thresholds and probabilities hold for data such as they were measured on. "
        "Other languages, microphones, codecs, noise, ages, states of health, and shorter "
        "recordings change them, mostly for the worse.",
        "Errors are not spread evenly: some speakers, languages, and groups meet many more than "
        "the average tells.",
    ),
}


def model_card(facts: Facts, terms: Terms) -> str:
    """The text of README.md."""
    sections = [
        f"---\n{_metadata(facts, terms)}\n---",
        f"# {terms.repository.rpartition('/')[2]}",
        *([terms.about] if terms.about else []),
        _lead(facts),
        f"## Use\n\n{_use(facts, terms)}",
        results_section(facts),
        training_section(facts, terms),
        f"## Intended use\n\n{bullets(SENTENCES['intended'])}",
        f"## Limits\n\n{bullets(SENTENCES['limits'])}",
        f"## Licence\n\n{_licence(facts, terms)}",
    ]
    return "\n\n".join(sections) + "\n"


def _metadata(facts: Facts, terms: Terms) -> str:
    results = [one for found in facts.evaluations if not found.flatters for one in _measured(found)]
    source = facts.source
    data = ModelCardData(
        language=languages_of(facts) or None,
        license=terms.licence,
        library_name="tidyvoice",
        pipeline_tag=PIPELINE,
        tags=TAGS,
        base_model=source.source if source and source.commit else None,
        model_name=terms.repository.rpartition("/")[2],
        eval_results=results or None,
    )
    return data.to_yaml()


def languages_of(facts: Facts) -> list[str]:
    """ISO 639 codes of the trainings' languages, as far as they are called by such."""
    spoken = {
        language
        for training in facts.trainings
        for language in (training.counts.languages if training.counts else ())
    }
    return sorted({found[1] for language in spoken if (found := ISO_639.fullmatch(language))})


def _measured(found: Evaluation) -> list[EvalResult]:
    pooled, name = found.result.pooled, list_of(found)
    kind = re.sub(r"[^\w.-]+", "-", name)
    values = [("eer", f"EER in %, {found.name}", round(100 * pooled.eer, 3))]
    values += [
        (
            "min_dcf",
            f"minDCF at P(target) {point.costs.p_target:g}, {found.name}",
            round(point.min_dcf, 4),
        )
        for point in pooled.points
    ]
    return [
        EvalResult(
            task_type=TASK, task_name="Speaker Verification", dataset_type=kind, dataset_name=name,
            metric_type=metric, metric_name=label, metric_value=value,
        )
        for metric, label, value in values
    ]  # fmt: skip


def _lead(facts: Facts) -> str:
    network, encoder = facts.network, facts.encoder
    return (
        f"Maps speech to an embedding of {network.embed_dim} dimensions; the cosine of two "
        "embeddings tells whether one person is speaking.\n\n"
        + bullets(
            [
                f"Network: {network.name} ({_arguments(network)}), {facts.parameters:,} parameters",
                f"Input: {encoder.settings.sample_rate:,} Hz, one channel; "
                f"{encoder.settings.num_mel_bins} mel bins",
                f"SHA-256 of the weights, whatever file they are in: `{encoder.weights}`",
            ]
        )
    )


def _arguments(network: ModelSettings) -> str:
    return ", ".join(f"{key} {value}" for key, value in network.args.items())


def _use(facts: Facts, terms: Terms) -> str:
    decision = "found.score                            # a cosine; the model carries no calibration"
    if facts.encoder.verifier is not None:
        decision = (
            "found.same_speaker                     # at a prior of one half\n"
            "found.llr                              # log-likelihood ratio, in nats"
        )
    return f"""With the Python package `tidyvoice`:

```python
from tidyvoice import SpeakerEncoder

encoder = SpeakerEncoder.from_pretrained("{terms.repository}")
encoder.embed("one.wav")               # float32 [{facts.network.embed_dim}]
found = encoder.verify("one.wav", "other.wav")
{decision}
```

Or `tidyvoice verify one.wav other.wav --model {terms.repository}`. Give
`revision=` a commit to have the very same model tomorrow."""


def _licence(facts: Facts, terms: Terms) -> str:
    said = f"The weights are published under `{terms.licence}`, as the publisher of this page says."
    if terms.licence == "other":
        said = "The weights are under no common licence: ask the publisher of this page for terms."
    if facts.source is not None:
        said += f" They come from {describe_source(facts.source)}, whose licence binds as well."
    said += (
        " The data that they, and the model that they began with, were trained on have terms of "
        "their own. Of the corpora that `tidyvoice` prepares:"
    )
    return f"{said}\n\n{bullets(list(TERMS.values()))}"

"""The folder of a published model, with its card: ``card.md`` filled with facts.

The card's metadata are those of https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Its
results ("model-index") are read by other sites too, so they hold neither in-sample nor confounded
ones.
"""

import re
from pathlib import Path, PurePath

import numpy as np
import safetensors.torch
import yaml
from huggingface_hub import EvalResult, ModelCardData

from tidyvoice.data.manifest import terms_of
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.bootstrap import LEVEL
from tidyvoice.evaluation.tables import categories_table
from tidyvoice.files import atomic_folder, write_text
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.model_files import OTHERS
from tidyvoice.modelhub.folder import save_model_config
from tidyvoice.publish.facts import Facts, Result, shorten
from tidyvoice.report.page import template
from tidyvoice.scoring.provenance import FLAWS, describe, title
from tidyvoice.verification import IDENTIFICATION

WEIGHTS, CARD = "model.safetensors", "README.md"
TEXTS = (".md", ".json", ".yaml", ".txt")
TAGS = ["speaker-verification", "speaker-recognition", "speaker-embedding", "speech", "audio"]
ISO_639 = re.compile(r"([a-z]{2,3})(?:[-_][A-Za-z0-9]+)*")


def write_folder(
    facts: Facts, out: Path, repository: str, licence: str, about: str = ""
) -> list[str]:
    """Write the folder ``out`` with the model and its card, whole or not at all.

    ``licence`` is that of the weights, as the Hub writes it, ``about`` the publisher's description.
    Return the names of the files. A text that names a folder of this machine is an error, as is a
    written model that differs from the one that was read.
    """
    encoder = facts.encoder
    state = {name: tensor.contiguous() for name, tensor in encoder.model.state_dict().items()}
    with atomic_folder(out) as partial:
        # Other programs read from the metadata that these are tensors of PyTorch.
        (partial / WEIGHTS).write_bytes(safetensors.torch.save(state, {"format": "pt"}))
        save_model_config(partial, facts.network, encoder.settings, [OTHERS])
        if encoder.verifier is not None:
            encoder.verifier.save(partial)
        write_text(partial / CARD, model_card(facts, repository, licence, about))
        _refuse_leaks(partial, facts.folder)
        _compare(encoder, partial)
    return sorted(path.name for path in out.iterdir())


def _refuse_leaks(folder: Path, model: Path) -> None:
    """Refuse texts that name the model's folder, the working directory or the home."""
    hidden = {str(path) for path in (model, model.parent, Path.cwd(), Path.home())} - {"/"}
    for file in sorted(path for path in folder.iterdir() if path.suffix in TEXTS):
        text = file.read_text(encoding="utf-8")
        for path in sorted(hidden, key=len, reverse=True):
            if re.search(rf"(?<!\w){re.escape(path)}(?!\w)", text):
                fix = "remove it from --about and from the names of files"
                raise TidyVoiceError(f"{file.name} would publish the path {path}: {fix}")


def _compare(encoder: SpeakerEncoder, folder: Path) -> None:
    """Check that a written model is equal to an encoder, bit for bit."""
    copy = SpeakerEncoder.from_pretrained(folder, "cpu")
    noise = np.random.default_rng(1).integers(-3000, 3000, (2, 24321), dtype=np.int16)
    before, after = (each.embed_samples(noise) for each in (encoder, copy))
    same = copy.weights == encoder.weights and copy.settings == encoder.settings
    if encoder.verifier is not None:
        units = [each.verifier.prepare(before).vectors.tobytes() for each in (encoder, copy)]
        decisions = [each.verifier.decide(0.3) for each in (encoder, copy)]
        same = same and units[0] == units[1] and decisions[0] == decisions[1]
    if not same or before.tobytes() != after.tobytes():
        raise TidyVoiceError(f"{folder}: the written model differs from the one that was read")


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

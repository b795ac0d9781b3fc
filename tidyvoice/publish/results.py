"""The results of a model card: metrics with their intervals, how they came about, decisions."""

from collections.abc import Iterable

from tidyvoice.evaluation.bootstrap import LEVEL
from tidyvoice.evaluation.tables import categories_table
from tidyvoice.publish.facts import INPUT, Evaluation, Facts
from tidyvoice.publish.markdown import bullets, numbered, table
from tidyvoice.publish.privacy import shown, without_folders
from tidyvoice.scoring.leaks import without_names
from tidyvoice.verifier import Verifier

FLAWS = {
    "in-sample": "**In sample.** Speakers of this list were learnt from; its results flatter:",
    "confounded": (
        "**Confounded.** Quality measures of the calibration alone separate targets from "
        "non-targets; the results do not hold for other lists:"
    ),
}
PRIORS = (0.5, 0.1, 0.01)
# What a step of the lineage is called where the name alone would not say it.
CALLED = {"asnorm": "AS-norm", "snorm": "S-norm", "language": "language-aware S-norm"}


def results_section(facts: Facts) -> str:
    """What was measured, list by list, and what the model's decisions rest on."""
    parts = [_evaluation(found) for found in facts.evaluations]
    text = "\n\n".join(parts) or "Nothing was measured with this model by its publisher."
    return f"## Results\n\n{text}\n\n## Decisions\n\n{_decisions(facts.encoder.verifier)}"


def list_of(found: Evaluation) -> str:
    """The name of the list that was evaluated, as far as it is known."""
    for step in found.result.lineage.steps:
        if "trials" in step.inputs:
            return shown(step.inputs["trials"]).removesuffix(".txt")
    return found.name


def _evaluation(found: Evaluation) -> str:
    result = found.result
    pooled = result.pooled
    of = [f"{pooled.targets + pooled.nontargets:,} trials of `{list_of(found)}`"]
    of += [f"{result.speakers:,} speakers"] if result.speakers else []
    of += [f"{len(result.languages):,} languages"] if result.languages else []
    done = [CALLED.get(step.step, step.step) for step in result.lineage.steps]
    parts = [f"### {found.name}", f"{', '.join(of)}. Scores: {', then '.join(done)}."]
    for mark, reasons in result.lineage.flaws.items():
        parts += [FLAWS[mark], bullets(_said(reasons, found))]
    parts.append(categories_table(result, result.calibrated).to_markdown())
    parts.append(_remarks(found))
    steps = [step.text for step in result.lineage.steps]
    parts += ["How the scores were made:", numbered(_said(steps, found))]
    if result.lineage.unchecked:
        parts += ["Not checked:", bullets(_said(result.lineage.unchecked, found))]
    return "\n\n".join(parts)


def _remarks(found: Evaluation) -> str:
    said = (
        "Detection costs are normalised, with costs of 1 for a miss and for a false alarm. A "
        "category sets target trials in the same or in different languages against non-target "
        "trials in the same or in different languages."
    )
    if found.result.draws:
        said += (
            f" Brackets: {100 * LEVEL:g} % confidence intervals, from "
            f"{found.result.resamples:,} resamples of the speakers."
        )
    if not found.sure:
        said += " That the scores were made with these very weights was not checked."
    return said


def _said(lines: Iterable[str], found: Evaluation) -> list[str]:
    """Sentences of the lineage without folders."""
    steps = found.result.lineage.steps
    given = [value for step in steps for value in step.inputs.values()]
    known = [named[1] if (named := INPUT.fullmatch(value)) else value for value in given]
    return [without_folders(line, [*known, found.path]) for line in lines]


def _decisions(verifier: Verifier | None) -> str:
    if verifier is None:
        return (
            "The model carries no calibration: its scores are cosines, and no threshold is known."
        )
    notes = verifier.notes
    rows = [(f"{prior:g}", f"{verifier.decide(0, prior).threshold:.3f}") for prior in PRIORS]
    said = "`verifier.json` turns the cosine of two embeddings into a log-likelihood ratio."
    # A verifier that was made by other means than the command may say less.
    if "trials" in notes:
        said += (
            f" It was fitted to {notes['targets']:,} target and {notes['nontargets']:,} non-target "
            f"trials of `{without_folders(notes['trials'])}`."
        )
    if notes.get("mean_of"):
        said += f" The mean of {notes['mean_of']:,} embeddings is subtracted first."
    parts = [said, table(["prior of one speaker", "threshold of the cosine"], rows)]
    for title, key in (("**In sample**", "in_sample"), ("Not checked", "unchecked")):
        said = [without_names(without_folders(line)) for line in notes.get(key, ())]
        parts += [bullets([f"{title}: {line}" for line in said])] if said else []
    parts.append(
        "The thresholds belong to recordings such as those of that list. What was done to the "
        "scores of the results above beside a cosine, such as a normalisation with a cohort, "
        "`verify` does not do."
    )
    return "\n\n".join(parts)

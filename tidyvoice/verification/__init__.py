"""Decisions on embeddings: verifier, enrolled voices, and how a verifier is fitted. No torch."""

# Help texts and model cards state it.
IDENTIFICATION = (
    "Identify only people who agreed to it. The terms of many speech corpora forbid determining "
    "who a speaker is, or commercial use. Keep to these terms with models that were trained on the "
    "corpora, too."
)

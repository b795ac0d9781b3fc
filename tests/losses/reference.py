"""The losses' equations, one class and one embedding at a time, in float64 without torch."""

import math

import numpy as np

SETTINGS = {
    "ArcMargin": [{}, {"easy_margin": True}, {"margin": 0.5}],
    "AMSoftmax": [{}, {"margin": 0.35, "scale": 20.0}],
    "SubCentreArcMargin": [
        {"top_k": 3},
        {"top_k": 2, "penalty": 0.3, "sub_centres": 2},
        {"top_k": 0, "margin": 0.4},
        {"top_k": 3, "penalty": 0.0, "sub_centres": 1, "easy_margin": True},
    ],
    "SphereFace2": [{}, {"margin_type": "A", "margin": 0.15}, {"t": 2.0, "balance": 0.6}],
}
CASES = [(name, options) for name, several in SETTINGS.items() for options in several]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))


def expected_loss(name: str, embeddings, weight, labels, options: dict) -> float:
    """The mean loss, by the definition of each paper; ``options`` hold SphereFace2's bias too."""
    o = {"scale": 32.0, "margin": 0.2, "sub_centres": 1, **options}
    if name == "SubCentreArcMargin":
        o |= {"sub_centres": 3, "top_k": 5, "penalty": 0.06, **options}
    centres = weight.reshape(-1, o["sub_centres"], weight.shape[1])
    losses = []
    for x, y in zip(embeddings, labels, strict=True):
        cosines = [max(cosine(x, centre) for centre in several) for several in centres]
        if name == "SphereFace2":
            losses.append(_binary(cosines, y, o))
        else:
            losses.append(_softmax(name, cosines, y, o))
    return float(np.mean(losses))


def _arc(cosine: float, margin: float, easy: bool) -> float:
    theta = math.acos(cosine)
    if easy:
        return math.cos(theta + margin) if theta < math.pi / 2 else cosine
    beyond = theta + margin > math.pi
    return cosine - 1 - math.cos(math.pi - margin) if beyond else math.cos(theta + margin)


def _softmax(name: str, cosines: list[float], label: int, o: dict) -> float:
    values = list(cosines)
    if name == "AMSoftmax":
        values[label] = cosines[label] - o["margin"]
    else:
        values[label] = _arc(cosines[label], o["margin"], o.get("easy_margin", False))
    others = sorted((j for j in range(len(cosines)) if j != label), key=lambda j: -cosines[j])
    for j in others[: o.get("top_k", 0)]:
        theta = math.acos(cosines[j])
        near = theta < o["penalty"]
        harder = cosines[j] + 1 - math.cos(o["penalty"])
        values[j] = harder if near else math.cos(theta - o["penalty"])
    exponents = [math.exp(o["scale"] * (value - values[label])) for value in values]
    return math.log(math.fsum(exponents))


def _binary(cosines: list[float], label: int, o: dict) -> float:
    balance, t, m = o.get("balance", 0.7), o.get("t", 3.0), o["margin"]

    def g(z: float) -> float:
        return 2 * ((z + 1) / 2) ** t - 1

    total = 0.0
    for j, value in enumerate(cosines):
        sign = -1 if j == label else 1
        if o.get("margin_type", "C") == "A":
            similarity = g(math.cos(math.acos(value) - sign * m))
        else:
            similarity = g(value) + sign * m
        z = o["scale"] * similarity + o["bias"]
        share = balance if j == label else 1 - balance
        total += share * math.log1p(math.exp(sign * z))
    return total

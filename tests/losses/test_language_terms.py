import numpy as np
import pytest
import torch
from conftest import seeded

from tidyvoice.losses.languages import CrossLanguageContrast, LanguageAdversary

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3])
LANGUAGES = torch.tensor([0, 1, 0, 0, 2, 1, 1, -1])


def embeddings(seed=1, size=8, dim=6, dtype=torch.float64):
    return torch.from_numpy(seeded(seed).standard_normal((size, dim))).to(dtype)


def reference(x, labels, languages, temperature, same_language):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    losses = []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        positives = [
            j for j in others
            if labels[j] == labels[i] and languages[j] != languages[i]
            and languages[j] >= 0 and languages[i] >= 0
        ]  # fmt: skip
        negatives = [j for j in others if labels[j] != labels[i]]
        if same_language:
            negatives = [j for j in negatives if languages[j] == languages[i]]
        if not positives:
            continue
        total = sum(np.exp(x[i] @ x[j] / temperature) for j in positives + negatives)
        terms = [-np.log(np.exp(x[i] @ x[p] / temperature) / total) for p in positives]
        losses.append(np.mean(terms))
    return np.mean(losses)


@pytest.mark.parametrize("negatives", ["all", "same_language"])
def test_the_contrast_is_its_equation(negatives):
    x = embeddings().requires_grad_()
    term = CrossLanguageContrast(0.2, negatives, weight=0.3)
    added, shown = term(x.float(), LABELS, LANGUAGES)
    data = x.detach().numpy(), LABELS.numpy(), LANGUAGES.numpy()
    expected = reference(*data, 0.2, negatives == "same_language")
    assert float(shown) == pytest.approx(expected, rel=1e-5)
    assert added.item() == pytest.approx(0.3 * expected, rel=1e-5)
    assert torch.autograd.gradcheck(lambda x: term(x, LABELS, LANGUAGES)[0], x)


@pytest.mark.parametrize("negatives", ["all", "same_language"])
def test_without_a_positive_the_contrast_is_zero_and_so_is_its_gradient(negatives):
    x = embeddings(dtype=torch.float32).requires_grad_()
    nobody = torch.zeros(8, dtype=torch.int64)
    for languages in (nobody, torch.full((8,), -1)):
        added, _ = CrossLanguageContrast(0.1, negatives)(x, LABELS, languages)
        added.backward()
        assert added.item() == 0.0
        assert not x.grad.any()


def test_the_adversary_reverses_the_gradient_of_the_embedding_only():
    torch.manual_seed(1)
    term = LanguageAdversary(6, 3, hidden=5, weight=0.25)
    gradients = []
    for weight in (0.25, -1.0):  # with -1 nothing is reversed
        term.weight = weight
        term.zero_grad()
        x = embeddings(dtype=torch.float32).requires_grad_()
        loss, _ = term(x, LABELS, LANGUAGES)
        loss.backward()
        gradients.append((x.grad, term.classifier[0].weight.grad))
    torch.testing.assert_close(gradients[0][0], -0.25 * gradients[1][0])
    torch.testing.assert_close(gradients[0][1], gradients[1][1])


def test_the_adversary_leaves_out_whose_language_is_unknown():
    term = LanguageAdversary(6, 3)
    x = embeddings(dtype=torch.float32)
    known = LANGUAGES >= 0
    whole, accuracy = term(x, LABELS, LANGUAGES)
    part, of_part = term(x[known], LABELS[known], LANGUAGES[known])
    assert whole.item() == pytest.approx(part.item(), rel=1e-6)
    assert float(accuracy) == pytest.approx(float(of_part))
    assert term(x, LABELS, torch.full((8,), -1))[0].item() == 0.0


def test_both_compute_in_float32_under_autocast():
    x = embeddings(dtype=torch.float32)
    for term in (CrossLanguageContrast(), LanguageAdversary(6, 3)):
        plain, _ = term(x, LABELS, LANGUAGES)
        with torch.autocast("cpu", torch.bfloat16):
            cast, _ = term(x, LABELS, LANGUAGES)
        assert cast.dtype == torch.float32
        assert float(cast) == pytest.approx(float(plain), rel=1e-6)

import numpy as np
import pytest
import torch
from conftest import seeded
from torch.nn.functional import cosine_similarity, normalize

from tidyvoice.losses.languages import CrossLanguageContrast, LanguageAdversary, Prototypes

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


def prototypes_reference(x, labels, temperature):
    unit, classes, losses = normalize(x), sorted(set(labels.tolist())), []
    for i, label in enumerate(labels.tolist()):
        members = [[j for j in range(len(x)) if labels[j] == c and j != i] for c in classes]
        if members[classes.index(label)]:
            kept = [place for place, several in enumerate(members) if several]
            means = [unit[members[place]].mean(dim=0) for place in kept]
            cosines = torch.stack([cosine_similarity(unit[i], mean, dim=0) for mean in means])
            target = kept.index(classes.index(label))
            losses.append(-(cosines / temperature).log_softmax(dim=0)[target])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("labels", [LABELS, torch.tensor([2, 1, 2, 0, 1, 2, 0, 1])])
def test_prototypes_are_their_equation(labels):
    x = embeddings().requires_grad_()
    term = Prototypes(0.07, weight=0.3)
    added, shown = term(x, labels, LANGUAGES)
    expected = prototypes_reference(x, labels, 0.07)
    torch.testing.assert_close(shown, expected.detach(), rtol=1e-6, atol=0)
    gradients = (torch.autograd.grad(value, x)[0] for value in (added, 0.3 * expected))
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)
    assert float(term(x.float(), labels, LANGUAGES)[1]) == pytest.approx(float(shown), rel=1e-5)


def test_prototypes_of_one_utterance_a_speaker_are_zero_and_so_is_the_gradient():
    x = embeddings(dtype=torch.float32).requires_grad_()
    added, _ = Prototypes()(x, torch.arange(8), LANGUAGES)
    added.backward()
    assert added.item() == 0.0
    assert not x.grad.any()


def test_all_compute_in_float32_under_autocast():
    x = embeddings(dtype=torch.float32)
    for term in (CrossLanguageContrast(), LanguageAdversary(6, 3), Prototypes()):
        plain, _ = term(x, LABELS, LANGUAGES)
        with torch.autocast("cpu", torch.bfloat16):
            cast, _ = term(x, LABELS, LANGUAGES)
        assert cast.dtype == torch.float32
        assert float(cast) == pytest.approx(float(plain), rel=1e-6)

"""Heads shared by two and three processes, against one process with the whole batch."""

import multiprocessing

import pytest
import torch

from tests.losses.ranks import CLASSES, ROWS, head_of, inputs, model, run, trained
from tests.losses.reference import CASES

SETTINGS = [(*case, mib) for case in CASES for mib in (None, 1e-4)]


@pytest.fixture(scope="module", params=[2, 3], ids=["two", "three"])
def found(request, tmp_path_factory):
    """What each rank found."""
    ranks, folder = request.param, tmp_path_factory.mktemp("ranks")
    # The processes of both numbers of ranks come from one that has imported torch.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([run.__module__])
    processes = [
        context.Process(target=run, args=(rank, ranks, folder, SETTINGS)) for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(timeout=120)
    finally:
        for process in processes:
            process.kill()
            process.join()
    trouble = [path.read_text() for path in sorted(folder.glob("*.txt"))]
    assert not trouble, trouble[0]
    assert [process.exitcode for process in processes] == [0] * ranks
    return [torch.load(folder / f"{rank}.pt") for rank in range(ranks)]


def whole_batch(name, options, ranks):
    """What one process finds."""
    head = head_of(name, options)
    features, labels = inputs(ranks)
    embeddings = model()(features).detach().requires_grad_()
    head(embeddings, labels)[0].backward()
    head.zero_grad()
    return embeddings.grad, trained(model(), head, slice(None), ranks)


@pytest.mark.parametrize(("name", "options", "mib"), SETTINGS)
def test_ranks_train_as_one_process_does(found, name, options, mib):
    ranks = len(found)
    embedding_gradient, wanted = whole_batch(name, options, ranks)
    for rank, ours in enumerate(each[str((name, options, mib))] for each in found):
        for key, value in wanted.items():
            torch.testing.assert_close(ours[key], value, rtol=1e-9, atol=1e-12, msg=key)
        # What averaging over the ranks divides by was multiplied before.
        own = embedding_gradient[rank * ROWS : (rank + 1) * ROWS]
        torch.testing.assert_close(ours["embedding gradient"], ranks * own, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "options", "mib"), SETTINGS)
def test_a_whole_weight_goes_in_and_out_of_uneven_shares(found, name, options, mib):
    several = [each[str((name, options, mib))] for each in found]
    rows = len(several[0]["weight"]) // CLASSES
    held = [len(ours["held"]) // rows for ours in several]
    assert held == {2: [6, 5], 3: [4, 4, 3]}[len(found)]
    for ours in several:
        assert torch.equal(ours["loaded"], ours["held"])
        assert torch.equal(ours["weight"], torch.cat([each["held"] for each in several]))


def test_every_rank_refuses_what_one_of_them_cannot_do(found):
    for each in found:
        said = each["mistakes"]
        sizes = ", ".join(str(2 + rank) for rank in range(len(found)))
        assert said["batches"] == f"the ranks' batches have {sizes} rows: give each as many"
        assert said["label"] == "labels are 0..11, but the loss has the classes 0..10"
        assert "logits of one rank are not all" in said["logits"]
        refused = len(found) > 2
        assert ("2 classes cannot be shared by 3 ranks" in said["classes"]) == refused

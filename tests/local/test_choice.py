"""The choice among score files: by EER, ties by minDCF."""

from tests.local.corpora import succeed


def written(path, targets, nontargets):
    lines = [f"a/en/{n} a/en/{n + 1} {score} target" for n, score in enumerate(targets)]
    lines += [f"a/en/{n} b/fr/1 {score} nontarget" for n, score in enumerate(nontargets)]
    path.write_text("\n".join(lines) + "\n")
    return path


def chosen(**scores):
    said = succeed("choice", *(f"{name}={path}" for name, path in scores.items()))
    for name in scores:
        assert f"\n{name} " in said
    return said.splitlines()[-1]


def test_the_lowest_eer_is_chosen_then_the_lowest_cost(tmp_path):
    # One of two trials of each kind is on the wrong side; only the first has a threshold without
    # false alarms that accepts a target.
    first = written(tmp_path / "1", targets=[4, 1], nontargets=[3, 0])
    second = written(tmp_path / "2", targets=[3, 1], nontargets=[4, 0])
    best = written(tmp_path / "3", targets=[4, 3], nontargets=[1, 0])
    assert chosen(second=second, first=first) == "lowest EER (ties by minDCF): first"
    assert chosen(first=first, second=second) == "lowest EER (ties by minDCF): first"
    assert chosen(first=first, best=best) == "lowest EER (ties by minDCF): best"

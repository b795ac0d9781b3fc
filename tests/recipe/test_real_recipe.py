"""The recipe for the real data, on a miniature of every corpus: real names, formats and layouts."""

import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from conftest import fill_weights, require, seeded, write_clear_voices, write_corpus, write_sounds

from tests.fake_hub import REPOSITORY, fake_hub, write_release
from tests.preloaded import environment, shell, succeed
from tests.recipe.support import copy_project
from tidyvoice.evaluation.categories import evaluate
from tidyvoice.models import build_model
from tidyvoice.scoring.lineage import read_lineage
from tidyvoice.scoring.metrics import eer
from tidyvoice.scoring.trials import read_scores

SMALL = (
    "--calib-speakers 4 --top-n 4 --calib-targets 20 --calib-nontargets 40 --mean-utterances 10 "
    "--counts any --tolerate 0.2 --set model.args.in_planes=2 model.args.embed_dim=16 epochs=1 "
    "average=1 epoch_iterations=2 data.batch_size=4 data.chunk_frames=30 data.min_seconds=0.1 "
    "precision=float32 device=cpu learning_rate.args.warmup_epochs=0 finetune.epochs=2"
)


RELEASED = "areffarhadi/Resnet34-tidyvoiceX-ASV"


def write_videos(root, speakers):
    """SPEAKER/VIDEO/UTTERANCE.m4a, one of them broken."""
    for speaker in range(speakers):
        folder = root / f"id{speaker:05d}" / "video"
        folder.mkdir(parents=True)
        for number in range(2):
            wav = folder / f"{number:05d}.wav"
            soundfile.write(wav, seeded(speaker, number, 3).standard_normal(9600) / 10, 16000)
            encode = ["ffmpeg", "-v", "error", "-i", wav, "-c:a", "aac", wav.with_suffix(".m4a")]
            subprocess.run(encode, check=True)
            wav.unlink()
    (root / "id00000" / "video" / "00009.m4a").write_bytes(b"broken")


def write_list(path, ids, targets, nontargets, labels=True):
    speakers = [i.partition("/")[0] for i in ids]
    pairs = [(a, b) for a in range(len(ids)) for b in range(len(ids)) if a < b]
    same = [p for p in pairs if speakers[p[0]] == speakers[p[1]]]
    other = [p for p in pairs if speakers[p[0]] != speakers[p[1]]]
    other = [other[n] for n in np.sort(seeded(6).permutation(len(other))[:nontargets])]
    lines = [("1", *p) for p in same[:targets]] + [("0", *p) for p in other]
    text = (([label] if labels else []) + [ids[a], ids[b]] for label, a, b in lines)
    path.write_text("".join(" ".join(words) + "\n" for words in text))


def write_voxceleb1(root):
    ids = []
    for number in range(6):
        ids.append(f"id1027{number // 2}/video/{number:05d}.wav")
        path = root / "wav" / ids[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, seeded(number, 8).standard_normal(8000) / 10, 16000)
    (root / "lists").mkdir()
    for name in ("veri_test2.txt", "list_test_all2.txt", "list_test_hard2.txt"):
        write_list(root / "lists" / name, ids, 3, 6)


def write_later_corpus(folder, corpus):
    """The same with the evaluation set as later users see it: speakers and labels are known."""
    folder.mkdir()
    for path in corpus.iterdir():
        if path.name != "TidyVoiceX2" and not path.name.startswith("tv26"):
            (folder / path.name).symlink_to(path)
    write_corpus(folder / "TidyVoiceX2", 4, utterances=4, seconds=0.5)
    for path in list((folder / "TidyVoiceX2").iterdir()):
        path.rename(path.with_name(f"id02{path.name[-4:]}"))
    ids = sorted(
        str(path.relative_to(folder / "TidyVoiceX2"))
        for path in (folder / "TidyVoiceX2").glob("*/*/*.wav")
    )
    write_list(folder / "tv26_eval-A.txt", ids, 24, 60)
    write_list(folder / "tv26_eval-U.txt", ids, 12, 30)


def write_released(folder):
    """A model with random weights as WeSpeaker leaves it, and a zip as WeSpeaker releases them."""
    planes, dimensions = 2, 16
    model = build_model("SimAM_ResNet34_ASP", in_planes=planes, embed_dim=dimensions)
    inside = write_release(folder / "released", fill_weights(model, seed=5), planes, dimensions)
    with zipfile.ZipFile(folder / "released.zip", "w") as archive:
        archive.write(inside / "models/avg_model.pt", "released/avg_model.pt")
        archive.write(inside / "config.yaml", "released/config.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project beside a miniature of every corpus."""
    require(bool(shutil.which("ffmpeg")), "ffmpeg is not installed")
    folder = tmp_path_factory.mktemp("real")
    copy_project(folder)
    corpus = folder / "corpus"
    for part, speakers in (("Train", 10), ("Dev", 12)):
        root = corpus / "TidyVoiceX_ASV" / f"TidyVoiceX_{part}"
        write_corpus(root, speakers, utterances=4, seconds=0.5)
        for path in list(root.iterdir()) if part == "Dev" else []:
            # Other names than those of train, as in the real corpus.
            path.rename(path.with_name(f"id014{path.name[-3:]}"))
        write_clear_voices(root, seconds=0.6)
    dev = corpus / "TidyVoiceX_ASV" / "TidyVoiceX_Dev"
    (next(dev.glob("*/en")) / "._en_0.wav").write_bytes(b"\0" * 10)
    ids = sorted(str(path.relative_to(dev)) for path in dev.glob("*/*/[!.]*.wav"))
    write_list(corpus / "TidyVocieX_Dev_trialPairs.txt", ids, 60, 240)
    write_sounds(corpus / "musan", ("noise", "music", "speech"), seconds=1)
    rooms = ("smallroom", "mediumroom", "largeroom")
    write_sounds(corpus / "RIRS_NOISES" / "simulated_rirs", rooms, seconds=0.2, decay=20)
    write_videos(corpus / "voxceleb2" / "dev" / "aac", 4)
    write_videos(corpus / "voxblink2", 17)
    evaluated = corpus / "TidyVoiceX2"
    evaluated.mkdir()
    flat = [f"j8pvmcu6{n:03d}" for n in range(6)]
    for number, utterance in enumerate(flat):
        samples = seeded(number, 9).standard_normal(8000) / 10
        soundfile.write(evaluated / f"{utterance}.wav", samples, 16000)
    write_voxceleb1(corpus / "voxceleb1")
    write_list(corpus / "tv26_eval-A.txt", flat, 0, 12, labels=False)
    write_list(corpus / "tv26_eval-U.txt", flat, 0, 5, labels=False)
    write_later_corpus(folder / "later", corpus)
    write_released(folder)
    released = folder / "conf/tidyvoice/released.yaml"
    text = released.read_text()
    assert RELEASED in text
    released.write_text(text.replace(RELEASED, REPOSITORY))
    return folder


@pytest.fixture(scope="module")
def hub(project):
    """A Hub that serves the released model."""
    with fake_hub() as server:
        server.serve_folder(project / "released")
        yield server


def tables(folder):
    """Every score file's scores."""
    return {
        str(path.relative_to(folder)): read_scores(path).scores
        for path in sorted(folder.glob("*/scores/*.score"))
    }


MEAN = "exp/whole/finetune/embeddings/mean.npz"
LINE = f"./run.sh --recipe tidyvoice --corpus corpus --data data/{{0}} --exp exp/{{0}} {SMALL}"
WHOLE = f"{LINE} large_margin.log_iterations=7"


@pytest.fixture(scope="module")
def whole(project):
    """Output of the whole recipe."""
    return succeed(WHOLE.format("whole"), project)


def test_everything_is_trained_scored_and_packed(project, whole):
    exp = project / "exp/whole"
    for system in ("pretrain", "large_margin", "finetune"):
        assert (exp / system / "models/avg_model.pt").exists()
        told = "log_iterations: 7" in (exp / system / "config.yaml").read_text()
        assert told == (system == "large_margin")
        assert (exp / system / "scores/dev.score").exists()
    # 17 + 4 speakers; those 4 keep their classes.
    log = (exp / "pretrain/log/train.log").read_text()
    assert "21 speakers at 1 speeds make 21 classes" in log
    log = (exp / "large_margin/log/train.log").read_text()
    assert "4 of 4 classes start from exp/whole/pretrain/models/head.pt" in log
    assert "1 unreadable files left out" in whole
    # Packed for the pretraining, and there for its second half.
    assert whole.count("+ tidyvoice shards data/whole/voxceleb2 ") == 1
    with zipfile.ZipFile(exp / "finetune/submission.zip") as archive:
        assert archive.namelist() == ["tv26_eval-A.txt", "tv26_eval-U.txt"]
        assert len(archive.read("tv26_eval-A.txt").split()) == 12
    assert (exp / "finetune/report.html").exists()
    for list_ in "OEH":
        assert len(read_scores(exp / f"large_margin/scores/voxceleb1-{list_}.score").scores) == 9


def packed(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pooled(path):
    row = evaluate(read_scores(path), None)[0]
    return row.eer, row.min_dcf


def test_the_submission_holds_the_system_of_stage_7(project, whole):
    """Made again by hand, with the normalisation that has the lower EER on dev."""
    exp = project / "exp/whole/finetune"
    words = {"blind": "blind language-aware norm", "asnorm": "AS-norm"}
    best = min(words, key=lambda name: pooled(exp / f"scores/dev-{name}.score"))
    method = {"blind": "language --blind", "asnorm": "asnorm"}[best]
    for name, count in (("A", 12), ("U", 5)):
        said = f"tv26_eval-{name}.txt: fine-tuned, centred cosine, {words[best]}, calibrated"
        assert f"{said}; {count} scores\n" in whole
    hand = project / "hand"
    hand.mkdir()
    lists = ("calib", "eval-A", "eval-U")
    for name in lists:
        succeed(
            f"tidyvoice normalize --scores exp/whole/finetune/scores/{name}.score --embeddings "
            f"exp/whole/finetune/embeddings/{name.partition('-')[0]}.npz --mean {MEAN} "
            f"--cohort {MEAN} --cohort-utt2spk data/whole/finetune/utt2spk --top-n 4 "
            f"--method {method} --out hand/{name}.score",
            project,
        )
    for name in lists[1:]:
        succeed(
            "tidyvoice calibrate --fit hand/calib.score "
            f"--apply hand/{name}.score --out hand/{name}-llr.score",
            project,
        )
    succeed(
        "tidyvoice submission --scores-a hand/eval-A-llr.score --scores-u hand/eval-U-llr.score "
        "--trials-a corpus/tv26_eval-A.txt --trials-u corpus/tv26_eval-U.txt --any-count "
        "--out hand/submission.zip",
        project,
    )
    assert (hand / "submission.zip").read_bytes() == (exp / "submission.zip").read_bytes()


@pytest.fixture
def announced(project, whole):
    """Labels of the evaluation lists beside them, in another order; the EERs in percent by list."""
    rates, keys = {}, []
    submitted = packed(project / "exp/whole/finetune/submission.zip")
    for number, name in enumerate("AU", 1):
        lines = (project / f"corpus/tv26_eval-{name}.txt").read_text().splitlines()
        labels = np.arange(len(lines)) % 3 == 0
        keys.append(project / f"corpus/task{number}_labels.txt")
        key = [f"{label:d} {line}\n" for label, line in zip(labels, lines, strict=True)]
        keys[-1].write_text("".join(key[::-1]))
        scores = np.array(submitted[f"tv26_eval-{name}.txt"].split(), float)
        rates[name] = 100 * eer(scores, labels)
    yield rates
    for key in keys:
        key.unlink()


def test_announced_labels_measure_the_submission(project, whole, announced):
    assert "no labels" in whole
    said = succeed(f"{WHOLE.format('whole')} --stage 8", project)
    page = (project / "exp/whole/finetune/report.html").read_text()
    for name, rate in announced.items():
        assert re.search(
            rf"^eval-{name} +{rate:.2f}( +[\d.]+){{3}}( +n/a){{4}}$", said, re.MULTILINE
        )
        assert f'<th scope="row">eval-{name}</th><td>{rate:.2f}</td>' in page
    # A finished recipe shows its tables and makes nothing.
    again = succeed(WHOLE.format("whole"), project)
    assert "\neval-U " in again
    assert not re.findall(r"^\+ (?:tidyvoice|python) .*", again, re.MULTILINE)
    table = re.search(r"system +EER.*?\n\n", whole.partition("== stage 7")[2], re.DOTALL)[0]
    assert table in again.partition("== stage 7")[2]


def test_stage_1_ends_with_the_doctor(project):
    """It compares the data with the real counts, here with those of the miniature."""
    path = project / "conf/tidyvoice/expected.yaml"
    real = path.read_text()
    expected = yaml.safe_load(real)
    corpora = expected["corpora"]
    corpora["TidyVoiceX train"] |= {"speakers": 10, "utterances": 40, "languages": 2}
    corpora["TidyVoiceX dev"] |= {"speakers": 12, "utterances": 48, "languages": 2}
    corpora["TidyVoiceX train"]["hours"] = [0.006, 0.0073]
    corpora["TidyVoiceX dev"]["hours"] = [0.0072, 0.0088]
    expected["trials"]["TidyVocieX_Dev_trialPairs.txt"] = 300
    line = (
        f"./run.sh --recipe tidyvoice --corpus corpus --init-from released.zip {SMALL} "
        "--counts official --data data/doctor --exp exp/doctor --stop-stage 1"
    )
    try:
        refused = shell(line, project)
        path.write_text(yaml.safe_dump(expected))
        passed = succeed(line, project)
    finally:
        path.write_text(real)
    assert refused.returncode == 1
    assert "expected 808" in refused.stdout + refused.stderr
    assert "OK    TidyVoiceX dev: 48 utterances, expected 48" in passed


def test_the_released_model_stands_beside_the_published_figures(project, hub):
    line = (
        "./run.sh --recipe tidyvoice --corpus later --from-released "
        "--exp exp/released --calib-speakers 4 --top-n 4 --counts any --tolerate 0.5"
    )
    said = succeed(line, project, hub.environment(project / "home"))
    assert "GET /someone/a-model/resolve/" in "\n".join(hub.asked)
    scores = project / "exp/released/released/scores"
    for name in ("none", "train", "voxceleb2", "own", "llr"):
        assert np.isfinite(read_scores(scores / f"dev-{name}.score").scores).all()
    for figure in ("3.07", "1.79", "5.19", "0.88", "2.97", "0.82"):
        assert figure in said
    compared = (scores.parent / "compared.txt").read_text()
    for name, made in (
        ("no mean", "cosine of the embeddings, not centred"),
        ("mean of TidyVoiceX train", "cosine of the embeddings, less the mean of 24 in "),
        ("mean of VoxCeleb2", "cosine of the embeddings, less the mean of 2 in "),
        ("mean of dev itself", "cosine of the embeddings, less the mean of 48 in "),
    ):
        assert f"\n{name}: {made}" in compared
    assert "IN-SAMPLE: mean of dev itself: " in compared
    assert "  mean of dev itself (in-sample)" in compared
    assert "OK    data/tidyvoice/voxceleb2-mean/part-001-of-010: 3 utterances, 1 speakers" in said
    assert re.search(r"^scheduler_args.epoch_iter +5463 +\d+ +differs$", said, re.MULTILINE)
    scored = packed(project / "exp/released/released/submission.zip")
    for name, count in (("A", 84), ("U", 42)):
        assert len(scored[f"tv26_eval-{name}.txt"].split()) == count
        assert re.search(
            rf"^tv26_eval-{name}.txt: released, .* norm, calibrated; {count} ", said, re.M
        )
        # The lists carry labels, and their ids languages.
        assert re.search(rf"^eval-{name}( +[\d.]+){{8}}$", said, re.MULTILINE)


PUBLISHED = (
    LINE.replace("--calib-speakers 4 ", "")
    + " finetune.gradient_accumulation=2 --init-from released.zip --variant published"
)


@pytest.fixture(scope="module")
def published(project):
    """Output of the fine-tuning with the published settings."""
    return succeed(PUBLISHED.format("published"), project)


def test_the_published_fine_tuning_takes_every_speaker(project, published):
    assert not (project / "data/published/calib").exists()
    exp = project / "exp/published/finetune"
    log = (exp / "log/train.log").read_text()
    assert "10 speakers at 1 speeds make 10 classes" in log
    assert "1 processes x 2 batches of 4 chunks" in log
    assert "fix_start_epoch: 3" in (exp / "config.yaml").read_text()
    assert len(read_scores(exp / "scores/dev-llr.score").scores) == 300
    assert re.search(r"^fine-tuned, language-aware norm, calibrated ", published, re.MULTILINE)
    # Dev alone is left to calibrate the submission.
    for name in ("A", "U"):
        calibration = read_lineage(exp / f"scores/eval-{name}-llr.score").steps[-1]
        (fit,) = (source for source in calibration.inputs if source.role == "fit")
        assert Path(fit.path).match("scores/dev-*.score")


def test_killed_in_most_stages_it_ends_with_the_same_scores(project, published):
    for stage in (1, 2, 4, 6, 8):
        process = subprocess.Popen(
            ["bash", "-c", PUBLISHED.format("killed")],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=project,
            start_new_session=True,
        )
        said = []
        for text in process.stdout:
            said.append(text)
            if text.startswith(f"== stage {stage} of 8:"):
                break
        else:
            pytest.fail("".join(said[-20:]))
        time.sleep(0.2 + 0.3 * (stage % 3))  # while a command of the stage runs
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()  # until every process that writes to it is gone
    succeed(PUBLISHED.format("killed"), project)
    expected, found = (tables(project / "exp" / name) for name in ("published", "killed"))
    assert len(expected) > 6
    assert list(found) == list(expected)
    for name, scores in expected.items():
        np.testing.assert_array_equal(found[name], scores, err_msg=name)


@pytest.fixture
def offline(project, hub):
    """The environment of somebody without a network, in whose cache the released model is."""
    environment = hub.environment(project / "home")
    succeed(f"tidyvoice fetch-model {REPOSITORY} --out exp/cached", project, environment)
    hub.asked.clear()
    yield {**environment, "HF_HUB_OFFLINE": "1"}
    assert hub.asked == []


def test_the_released_model_needs_nothing_but_dev(project, offline, tmp_path):
    alone = tmp_path / "corpus" / "TidyVoiceX_ASV"
    alone.mkdir(parents=True)
    (alone / "TidyVoiceX_Dev").symlink_to(project / "corpus/TidyVoiceX_ASV/TidyVoiceX_Dev")
    trials = "TidyVocieX_Dev_trialPairs.txt"
    (alone.parent / trials).symlink_to(project / "corpus" / trials)
    line = (
        f"./run.sh --recipe tidyvoice --corpus {alone.parent} --from-released "
        "--exp exp/alone --data data/alone --counts any"
    )
    for name in ("TidyVoiceX2", "tv26_eval-A.txt", "tv26_eval-U.txt"):
        (alone.parent / name).symlink_to(project / "corpus" / name)
    said = succeed(line, project, offline)
    assert "tv26_eval-A.txt: released, plain cosine; 12 scores" in said
    names = sorted(p.name for p in (project / "exp/alone/released/scores").glob("*.score"))
    assert names == ["dev-none.score", "dev-own.score", "eval-A.score", "eval-U.score"]


def test_a_repository_takes_the_place_of_the_pretraining(project, whole, offline):
    line = f"{LINE.format('whole').replace('exp/whole', 'exp/begun')} --stop-stage 6 --init-from "
    for options, message in (
        ("conf", "error: conf holds no avg_model.pt"),
        (
            f"{REPOSITORY} --set model.args.in_planes=4",
            "error: exp/begun/initial/avg_model.pt does not fit the model: ",
        ),
    ):
        refused = shell(line + options, project, offline)
        assert refused.stderr.splitlines()[-1].startswith(message)
        assert "stage 1" not in refused.stdout
    succeed(line + REPOSITORY, project, offline)
    state = torch.load(project / "exp/begun/initial/avg_model.pt", weights_only=True)
    assert "projection.weight" in state
    assert "init: exp/begun/initial" in (project / "exp/begun/finetune/config.yaml").read_text()
    assert (project / "exp/begun/finetune/results.txt").exists()

"""The recipe for the real data, on a miniature of every corpus: real names, formats and layouts."""

import os
import re
import shutil
import signal
import subprocess
import time
import zipfile

import numpy as np
import pytest
from conftest import fill_weights, require, seeded, write_clear_voices, write_corpus, write_sounds

from tests.fake_hub import write_release
from tests.preloaded import shell, start, succeed
from tests.recipe.support import copy_project
from tidyvoice.models import build_model
from tidyvoice.scoring.lineage import read_lineage
from tidyvoice.scoring.trials import read_scores

SMALL = (
    "--calib-speakers 4 --dimensions 4 --calib-targets 20 --calib-nontargets 40 --counts any "
    "--mean-utterances 10 --tolerate 0.2 --set model.args.in_planes=2 model.args.embed_dim=16 "
    "epochs=1 average=1 epoch_iterations=2 data.batch_size=4 data.chunk_frames=30 "
    "data.min_seconds=0.1 precision=float32 device=cpu learning_rate.args.warmup_epochs=0 "
    "finetune.epochs=2"
)


def write_speakers(root, begin, speakers, utterances):
    """A corpus whose speakers have names of their own, as in the real corpora."""
    write_corpus(root, speakers, utterances, seconds=0.5)
    for path in list(root.iterdir()):
        path.rename(path.with_name(f"{begin}{path.name[-2:]}"))


def write_videos(root, begin, speakers):
    """SPEAKER/VIDEO/UTTERANCE.m4a, one of them broken."""
    write_speakers(root, begin, speakers, 2)
    for wav in root.rglob("*.wav"):
        encode = ["ffmpeg", "-v", "error", "-i", wav, "-c:a", "aac", wav.with_suffix(".m4a")]
        subprocess.run(encode, check=True)
        wav.unlink()
    (root / f"{begin}00" / "en" / "broken.m4a").write_bytes(b"broken")


def write_list(path, ids, targets, nontargets, labels=True):
    pairs = [(a, b) for n, a in enumerate(ids) for b in ids[n + 1 :]]
    same = [p for p in pairs if p[0].partition("/")[0] == p[1].partition("/")[0]]
    other = sorted(set(pairs) - set(same))
    other = [other[n] for n in seeded(6).permutation(len(other))[:nontargets]]
    lines = [f"1 {a} {b}\n" for a, b in same[:targets]] + [f"0 {a} {b}\n" for a, b in other]
    path.write_text("".join(line if labels else line[2:] for line in lines))


def ids_of(root):
    return sorted(str(path.relative_to(root)) for path in root.glob("*/*/[!.]*.wav"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project beside a miniature of every corpus."""
    require(bool(shutil.which("ffmpeg")), "ffmpeg is not installed")
    folder = tmp_path_factory.mktemp("real")
    copy_project(folder)
    corpus = folder / "corpus"
    for part, begin, speakers in (("Train", "id0110", 10), ("Dev", "id0140", 12)):
        root = corpus / "TidyVoiceX_ASV" / f"TidyVoiceX_{part}"
        write_speakers(root, begin, speakers, 4)
        write_clear_voices(root, seconds=0.6)
    dev = corpus / "TidyVoiceX_ASV" / "TidyVoiceX_Dev"
    (next(dev.glob("*/en")) / "._en_0.wav").write_bytes(b"\0" * 10)
    write_list(corpus / "TidyVocieX_Dev_trialPairs.txt", ids_of(dev), 60, 240)
    write_sounds(corpus / "musan", ("noise", "music", "speech"), seconds=1)
    rooms = ("smallroom", "mediumroom", "largeroom")
    write_sounds(corpus / "RIRS_NOISES" / "simulated_rirs", rooms, seconds=0.2, decay=20)
    write_videos(corpus / "voxceleb2" / "dev" / "aac", "id000", 4)
    write_videos(corpus / "voxblink2", "id000", 17)
    wavs = sorted(dev.glob("*/*/[!.]*.wav"))[:6]
    flat = [f"j8pvmcu6{n:03d}" for n in range(6)]
    (corpus / "TidyVoiceX2").mkdir()
    for wav, utterance in zip(wavs, flat, strict=True):
        shutil.copy(wav, corpus / "TidyVoiceX2" / f"{utterance}.wav")
    write_list(corpus / "tv26_eval-A.txt", flat, 0, 12, labels=False)
    write_list(corpus / "tv26_eval-U.txt", flat, 0, 5, labels=False)
    write_speakers(corpus / "voxceleb1" / "wav", "id102", 3, 2)
    (corpus / "voxceleb1" / "lists").mkdir()
    for name in ("veri_test2.txt", "list_test_all2.txt", "list_test_hard2.txt"):
        write_list(corpus / "voxceleb1" / "lists" / name, ids_of(corpus / "voxceleb1/wav"), 3, 6)
    # A model with random weights as WeSpeaker leaves it, and a zip as WeSpeaker releases them.
    model = build_model("SimAM_ResNet34_ASP", in_planes=2, embed_dim=16)
    write_release(folder / "released", fill_weights(model, seed=5), 2, 16)
    with zipfile.ZipFile(folder / "released.zip", "w") as archive:
        archive.write(folder / "released/models/avg_model.pt", "released/avg_model.pt")
        archive.write(folder / "released/config.yaml", "released/config.yaml")
    return folder


LINE = f"./run.sh --recipe tidyvoice --corpus corpus --data data/{{0}} --exp exp/{{0}} {SMALL}"


@pytest.fixture(scope="module")
def whole(project):
    """Output of the whole recipe."""
    return succeed(f"{LINE.format('whole')} large_margin.log_iterations=7", project)


def test_everything_is_trained_scored_and_packed(project, whole):
    exp = project / "exp/whole"
    for system in ("pretrain", "large_margin", "finetune"):
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
    assert (exp / "finetune/report.html").exists()
    for list_ in "OEH":
        assert len(read_scores(exp / f"large_margin/scores/voxceleb1-{list_}.score").scores) == 9


def test_the_submission_needs_no_languages(project, whole):
    exp = project / "exp/whole/finetune"
    with zipfile.ZipFile(exp / "submission.zip") as archive:
        for name, count in (("A", 12), ("U", 5)):
            said = (
                f"tv26_eval-{name}.txt: fine-tuned, .*cohort offsets, calibrated; {count} scores\n"
            )
            assert re.search(said, whole)
            scores = read_scores(exp / f"scores/eval-{name}-llr.score").scores
            submitted = np.array(archive.read(f"tv26_eval-{name}.txt").split(), float)
            np.testing.assert_array_equal(submitted, scores)


def test_stage_1_ends_with_the_doctor(project):
    """It compares the data with the real counts."""
    refused = shell(
        f"./run.sh --recipe tidyvoice --corpus corpus --init-from released.zip {SMALL} "
        "--counts official --data data/doctor --exp exp/doctor --stop-stage 1",
        project,
    )
    assert refused.returncode == 1
    assert "expected 808" in refused.stdout + refused.stderr


def test_the_released_model_stands_beside_the_published_figures(project):
    said = succeed(
        "./run.sh --recipe tidyvoice --corpus corpus --from-released released "
        "--exp exp/released --calib-speakers 4 --counts any",
        project,
    )
    scores = project / "exp/released/released/scores"
    for name in ("dev", "dev-none", "dev-own", "dev-llr"):
        assert np.isfinite(read_scores(scores / f"{name}.score").scores).all()
    for text in (
        *("3.07", "1.79", "5.19", "0.88", "2.97", "0.82"),  # published figures
        "\nno mean: cosine of the embeddings, not centred",
        "\nmean of the fine-tuning's data: cosine of the embeddings, less the mean of 24 in ",
        "\nmean of dev itself: cosine of the embeddings, less the mean of 48 in ",
        "IN-SAMPLE: mean of dev itself: ",
    ):
        assert text in said
    system = "released, centred cosine, cohort offsets, calibrated"
    assert f"\ntv26_eval-A.txt: {system}; 12 " in said


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
    assert re.search(r"^fine-tuned, back end, calibrated ", published, re.MULTILINE)
    # Dev alone is left to calibrate the submission.
    assert "scores/dev-" in str(read_lineage(exp / "scores/eval-A-llr.score").steps[-1].inputs)


def test_killed_in_most_stages_it_ends_with_the_same_scores(project, published):
    for stage in (1, 2, 4, 6, 8):
        line = PUBLISHED.format("killed")
        process = start("bash", "-c", line, cwd=project, stderr=subprocess.STDOUT)
        said, heading = [], ""
        for text in process.stdout:
            said.append(text)
            heading = text if text.startswith("== stage ") else heading
            if text.startswith("+ ") and heading.startswith(f"== stage {stage} of 8:"):
                break
        else:
            pytest.fail("".join(said[-20:]))
        time.sleep(0.2)  # while the command runs
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()  # until every process that writes to it is gone
    succeed(PUBLISHED.format("killed"), project)
    files = sorted((project / "exp/published").glob("*/scores/*.score"))
    assert len(files) > 6
    for path in files:
        found = read_scores(str(path).replace("/published/", "/killed/")).scores
        np.testing.assert_array_equal(found, read_scores(path).scores, err_msg=str(path))


def test_the_released_model_needs_nothing_but_dev(project, tmp_path):
    for name in (
        "TidyVoiceX_ASV/TidyVoiceX_Dev", "TidyVocieX_Dev_trialPairs.txt", "TidyVoiceX2",
        "tv26_eval-A.txt", "tv26_eval-U.txt",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(project / "corpus" / name)
    said = succeed(
        f"./run.sh --recipe tidyvoice --corpus {tmp_path} --from-released released.zip "
        "--exp exp/alone --data data/alone --counts any",
        project,
    )
    assert "tv26_eval-A.txt: released, plain cosine; 12 scores" in said
    names = sorted(p.stem for p in (project / "exp/alone/released/scores").glob("*.score"))
    assert names == ["dev", "dev-none", "dev-own", "eval-A", "eval-U"]


def test_a_wrong_initial_model_is_refused_before_the_first_stage(project):
    line = LINE.format("whole").replace("exp/whole", "exp/begun")
    refused = shell(f"{line} --init-from released --set model.args.in_planes=4", project)
    message = "error: exp/begun/initial/avg_model.pt does not fit the model: "
    assert refused.stderr.splitlines()[-1].startswith(message)
    assert "stage 1" not in refused.stdout

import json
import re
import stat
from importlib import metadata

import pytest

from tidyvoice.doctor import program
from tidyvoice.doctor.expected import Credential
from tidyvoice.manifest import Manifest


def lines(findings):
    return "\n".join(map(str, findings))


def test_this_environment_satisfies_pyproject():
    found = program.versions()
    assert {"python", "torch", "torchaudio", "polars", "extra mini"} <= {f.subject for f in found}
    assert [str(f) for f in found if f.status != "OK"] == []
    torch = next(f for f in found if f.subject == "torch")
    assert torch.measured == metadata.version("torch")
    assert ">=" in torch.expected


def test_an_old_and_a_missing_package_are_named_with_the_command(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "polars":
            raise metadata.PackageNotFoundError(name)
        return {"torch": "2.8.0", "pytest": "1.0"}.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(program.platform, "python_version", lambda: "3.9.1")
    text = lines(program.versions())
    assert re.search(r"FAIL  torch: 2\.8\.0 \(expected .*>=.*\): pip install -e \. -c constr", text)
    assert "FAIL  polars: not installed (expected >=" in text
    assert "FAIL  python: 3.9.1 (expected >=3.10): make the environment with a newer" in text
    assert "OK    extra test: not installed (pytest)" in text


def test_a_package_that_does_not_load_is_a_failure(monkeypatch):
    def broken(name):
        raise OSError(f"lib{name}.so: undefined symbol\nand more")

    monkeypatch.setattr(program.importlib, "import_module", broken)
    text = lines(program.versions())
    assert "cannot be loaded (libtorchaudio.so: undefined symbol) (expected " in text
    assert text.count("FAIL") == 3


def test_without_an_installation_it_says_so(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", absent)
    (finding,) = program.versions()
    assert str(finding).startswith("FAIL  tidyvoice: not installed")


def videos(extension, folder):
    path = f"/corpus/id00012/VIDEO/00001{extension}"
    return {folder / "vox": Manifest.build(["a"], [path], ["id00012"])}


def test_ffmpeg_is_needed_only_where_soundfile_is_not_enough(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = program.ffmpeg(videos(".wav", tmp_path))
    assert str(finding) == "OK    ffmpeg: not on PATH; no data folder needs it"
    (finding,) = program.ffmpeg(videos(".m4a", tmp_path))
    assert f"FAIL  ffmpeg: not on PATH (expected for .m4a files in {tmp_path / 'vox'})" in str(
        finding
    )
    tool = tmp_path / "ffmpeg"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    (finding,) = program.ffmpeg(videos(".m4a", tmp_path))
    assert finding.status == "OK"
    assert finding.measured == str(tool)


@pytest.mark.parametrize("extension", [".WAV", ".flac", ".ogg", ".opus", ".mp3"])
def test_what_libsndfile_reads_needs_no_ffmpeg(tmp_path, monkeypatch, extension):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program.ffmpeg(videos(extension, tmp_path))[0].status == "OK"


def test_the_value_of_a_credential_is_never_shown(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "hunter2")
    monkeypatch.delenv("OTHER_KEY", raising=False)
    monkeypatch.setenv("EMPTY_KEY", "")
    wanted = {
        "SOME_KEY": Credential(purpose="downloading"),
        "OTHER_KEY": Credential(purpose="more", optional=True),
        "EMPTY_KEY": Credential(purpose="nothing"),
    }
    found = program.credentials(wanted)
    assert [f.status for f in found] == ["OK", "OK", "WARN"]
    assert [f.measured for f in found] == ["set", "not set", "not set"]
    assert "hunter2" not in json.dumps([vars(f) for f in found])

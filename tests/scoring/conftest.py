"""Scores of three lists, made by the commands once for all tests."""

import pytest

from tests.scoring.support import write_pipeline


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture
def folder(pipeline, monkeypatch):
    """The folder of the scores as the current one."""
    monkeypatch.chdir(pipeline)
    return pipeline

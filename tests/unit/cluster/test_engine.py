"""Without a Docker engine: what a person who cannot have one is told."""

import os
from pathlib import Path

import pytest

from tests.cluster import engine
from tests.cluster.exceptions import UnavailableError


@pytest.fixture
def _no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("_no_engine")
def test_no_engine_is_found() -> None:
    assert engine.find_engine() is None


@pytest.mark.usefixtures("_no_engine")
def test_somebody_who_may_not_start_one_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UnavailableError, match=r"no Docker engine answers .* start Docker, or run this as root"):
        engine.ensure_engine()


@pytest.mark.usefixtures("_no_engine")
def test_root_on_a_machine_without_apt_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UnavailableError, match=r"a Docker engine needs docker\.io, iptables, jq; install what is missing"):
        engine.ensure_engine()

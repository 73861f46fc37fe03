"""Pinned sources: found, checked, refused."""

import gzip
import hashlib

import pytest

from limbeck.data import sources
from limbeck.errors import LimbeckError

CONTENT = b"a,b\n1,2\n"


@pytest.fixture
def pinned(monkeypatch, tmp_path):
    """A source `toy` with one file, an empty local folder and an empty cache."""
    file = sources.SourceFile(name="toy/rows.csv", sha256=hashlib.sha256(CONTENT).hexdigest(), local=("old-name.csv",))
    toy = sources.DataSource(name="toy", title="toy", licence="CC0", origin="nowhere", files={file.name: file})
    monkeypatch.setattr(sources, "get_source", lambda name: toy)
    monkeypatch.setenv("LIMBECK_DATA", str(tmp_path / "local"))
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "local" / "toy").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("place", ["toy/rows.csv", "old-name.csv", "toy/rows.csv.gz"])
def test_a_file_is_found_under_its_names_zipped_or_not(pinned, place):
    (pinned / "local" / place).write_bytes(gzip.compress(CONTENT) if place.endswith(".gz") else CONTENT)
    assert sources.read_source("toy", "toy/rows.csv") == CONTENT


def test_another_content_is_refused_and_an_absent_file_said(pinned):
    with pytest.raises(LimbeckError, match="is not here"):
        sources.read_source("toy", "toy/rows.csv")
    (pinned / "local" / "old-name.csv").write_bytes(CONTENT + b"3,4\n")
    with pytest.raises(LimbeckError, match="has been changed"):
        sources.read_source("toy", "toy/rows.csv")
    with pytest.raises(LimbeckError, match="has been changed"):
        list(sources.fetch_source("toy"))


def test_what_has_no_address_cannot_be_fetched(pinned):
    with pytest.raises(LimbeckError, match="cannot be fetched"):
        list(sources.fetch_source("toy"))


def test_a_fetched_file_is_checked_and_kept(pinned, monkeypatch):
    (pinned / "served.csv").write_bytes(CONTENT)
    file = sources.SourceFile(name="toy/rows.csv", sha256=hashlib.sha256(CONTENT).hexdigest(), url=(pinned / "served.csv").as_uri())
    toy = sources.DataSource(name="toy", title="toy", licence="CC0", origin="nowhere", files={file.name: file})
    monkeypatch.setattr(sources, "get_source", lambda name: toy)
    [(name, where)] = sources.fetch_source("toy")
    assert name == "toy/rows.csv" and where.startswith(str(pinned / "cache")) and sources.read_source("toy", name) == CONTENT


def test_every_pinned_source_says_its_licence_and_checksums():
    for source in sources.list_sources():
        assert source.licence and source.origin and source.files
        assert all(len(f.sha256) == 64 for f in source.files.values())
    with pytest.raises(LimbeckError, match="did you mean 'medec'"):
        sources.get_source("medek")

"""Pinned sources: found, checked, refused."""

import contextlib
import gzip
import hashlib
import http.server
import threading

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


class Server:
    """Serves one file; breaks off after `most` bytes of each answer, and may not know ranges."""

    def __init__(self, content: bytes, most: int, knows_ranges: bool = True) -> None:
        self.asked: list[str] = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.asked.append(self.headers.get("Range", ""))
                start = int(self.headers["Range"].split("=")[1].split("-")[0]) if knows_ranges and self.headers.get("Range") else 0
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start : start + most])

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/rows.csv"


def serve(monkeypatch, content: bytes, most: int, expected: bytes = b"", knows_ranges: bool = True) -> Server:
    server = Server(content, most, knows_ranges)
    file = sources.SourceFile(name="toy/rows.csv", sha256=hashlib.sha256(expected or content).hexdigest(), url=server.url)
    toy = sources.DataSource(name="toy", title="toy", licence="CC0", origin="nowhere", files={file.name: file})
    monkeypatch.setattr(sources, "get_source", lambda name: toy)
    return server


LARGE = bytes(range(256)) * 4_000


def test_a_download_that_breaks_off_goes_on_where_it_stopped(pinned, monkeypatch):
    server = serve(monkeypatch, LARGE, 400_000)
    [(name, where)] = sources.fetch_source("toy")
    assert server.asked == ["", "bytes=400000-", "bytes=800000-"] and sources.read_source("toy", name) == LARGE
    assert sorted(p.name for p in (pinned / "cache").rglob("*") if p.is_file()) == ["rows.csv"] and where.endswith("rows.csv")


def test_it_goes_on_at_the_next_call_too(pinned, monkeypatch):
    server = serve(monkeypatch, LARGE, 100_000)
    with pytest.raises(LimbeckError, match="400,000 bytes are kept"):
        list(sources.fetch_source("toy"))
    for _ in range(3):
        with contextlib.suppress(LimbeckError):
            list(sources.fetch_source("toy"))
    assert sources.read_source("toy", "toy/rows.csv") == LARGE and server.asked[4] == "bytes=400000-"


def test_a_server_without_ranges_is_asked_from_the_beginning(pinned, monkeypatch):
    (pinned / "cache" / "data" / "toy" / "toy").mkdir(parents=True)
    (pinned / "cache" / "data" / "toy" / "toy" / "rows.csv.part").write_bytes(LARGE[:5_000])
    serve(monkeypatch, LARGE, len(LARGE), knows_ranges=False)
    list(sources.fetch_source("toy"))
    assert sources.read_source("toy", "toy/rows.csv") == LARGE


def test_a_part_that_is_whole_is_not_fetched_again(pinned, monkeypatch):
    (pinned / "cache" / "data" / "toy" / "toy").mkdir(parents=True)
    (pinned / "cache" / "data" / "toy" / "toy" / "rows.csv.part").write_bytes(LARGE)
    serve(monkeypatch, LARGE, len(LARGE))
    list(sources.fetch_source("toy"))
    assert sources.read_source("toy", "toy/rows.csv") == LARGE


def test_what_has_another_checksum_is_never_kept(pinned, monkeypatch):
    serve(monkeypatch, b"changed", 99, expected=CONTENT)
    with pytest.raises(LimbeckError, match="has been changed"):
        list(sources.fetch_source("toy"))
    assert not [p for p in (pinned / "cache").rglob("*") if p.is_file()]
    with pytest.raises(LimbeckError, match="is not here"):
        sources.read_source("toy", "toy/rows.csv")


@pytest.mark.parametrize(("url", "word"), [("http://no-such-name.invalid/rows.csv", "no network"), ("http://127.0.0.1:9/rows.csv", "no network")])
def test_without_a_network_a_clear_word_is_said(pinned, monkeypatch, url, word):
    file = sources.SourceFile(name="toy/rows.csv", sha256="0" * 64, url=url)
    monkeypatch.setattr(sources, "get_source", lambda name: sources.DataSource(name="toy", title="toy", licence="CC0", origin="nowhere", files={file.name: file}))
    with pytest.raises(LimbeckError, match=word) as told:
        list(sources.fetch_source("toy"))
    assert "LIMBECK_DATA" in str(told.value)


def test_a_file_that_has_moved_is_told(pinned, monkeypatch):
    class Gone(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gone)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    file = sources.SourceFile(name="toy/rows.csv", sha256="0" * 64, url=f"http://127.0.0.1:{server.server_address[1]}/rows.csv")
    monkeypatch.setattr(sources, "get_source", lambda name: sources.DataSource(name="toy", title="toy", licence="CC0", origin="nowhere", files={file.name: file}))
    with pytest.raises(LimbeckError, match="404"):
        list(sources.fetch_source("toy"))


def test_the_sources_of_english_and_code_are_all_pinned():
    known = {s.name: s for s in sources.list_sources()}
    for name in ("nl2bash", "conala", "codefusion-bash", "codefusion-python", "codefusion-snippets", "cf-official", "odex", "mbpp", "humaneval", "tldr", "cheatsheets"):
        assert known[name].revision and known[name].licence, name


def test_every_pinned_source_says_its_licence_and_checksums():
    for source in sources.list_sources():
        assert source.licence and source.origin and source.files
        assert all(len(f.sha256) == 64 for f in source.files.values())
    with pytest.raises(LimbeckError, match="did you mean 'medec'"):
        sources.get_source("medek")

"""Objections: what a list may say, what they meet, and that each is counted."""

import json
import time

import pytest

from limbeck.data.opt_out import OptOut, hash_text, normal_form
from limbeck.errors import LimbeckError


def listed(tmp_path, text, name="list.txt"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_text_is_met_however_it_is_spaced_or_composed(tmp_path):
    digest = hash_text("Caf\u00e9 au  lait")
    out = OptOut.load(listed(tmp_path, f"# one person\nsha256:{digest}   # by mail, 3 May\n"))
    assert out.objection("r1", ["something else", "  Cafe\u0301\n\tau lait "]) == "text"
    assert out.objection("r2", ["Cafe au lait", "Caf\u00e9 au lait!"]) == ""
    assert normal_form(" a\u00a0b\r\n c ") == "a b c"


def test_a_hash_is_of_the_normal_form_in_utf_8():
    import hashlib

    assert hash_text(" a \n b ") == hashlib.sha256(b"a b").hexdigest()


def test_ids_are_met_whole_and_in_their_repetitions(tmp_path):
    out = OptOut.load(listed(tmp_path, "id:note-12\nID: x:y \n"))
    assert [out.objection(i) for i in ("note-12", "note-12~2", "note-1", "note-123", "note-12~b", "note-12~2~3", "x:y")] == ["id", "id", "", "", "", "id", "id"]


@pytest.mark.parametrize(
    ("texts", "source", "met"),
    [
        ((), "https://example.org/a?b", True), ((), "http://blog.example.org:8080/a", True), ((), "example.org", True), ((), "Example.ORG.", True),
        ((), "https://notexample.org/", False), ((), "https://example.org.evil.net/", False), ((), "https://a.net/?u=example.org", False),
        (("see https://www.example.org/x, please",), "", True), (("the word example.org is no address",), "", False), ((), {"url": "https://example.org", "n": 3}, True),
        ((), {"n": 3}, False), (("http://[broken",), "http://[broken", False), ((), "https://user@example.org/", True),
    ],
)  # fmt: skip
def test_a_domain_covers_its_sub_domains_and_nothing_else(tmp_path, texts, source, met):
    out = OptOut.load(listed(tmp_path, "domain:example.org"))
    assert out.objection("r", texts, source) == ("domain example.org" if met else "")


def test_an_international_domain_is_met_in_both_its_forms(tmp_path):
    out = OptOut.load(listed(tmp_path, "domain:b\u00fccher.example"))
    assert out.objection("r", (), "https://xn--bcher-kva.example/a") and out.objection("r", (), "https://shop.b\u00fccher.example/")


def test_what_was_met_is_counted_by_kind(tmp_path):
    out = OptOut.load([listed(tmp_path, "id:a\nid:b\n"), listed(tmp_path, f"domain:x.org\nsha256:{hash_text('t')}\n", "more.txt")])
    for record in ("a", "b", "c"):
        out.objection(record, ["t" if record == "c" else "u"], "https://x.org/" if record == "a" else "")
    out.objection("d", (), "https://sub.x.org")
    assert dict(out.count) == {"id": 2, "text": 1, "domain": 1} and len(out) == 4


def test_a_json_list_says_the_same(tmp_path):
    rows = [{"id": "a", "note": "by letter"}, {"domain": "x.org"}, {"sha256": hash_text("t")}]
    out = OptOut.load(listed(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n", "list.jsonl"))
    assert (out.objection("a"), out.objection("z", ["t"]), out.objection("z", [], "http://a.x.org")) == ("id", "text", "domain x.org")


WRONG = [
    ("example.org", "no objection"), ("email:a@b.c", "no kind of objection"), ("sha256:abc", "no SHA-256"), ("sha256:" + "g" * 64, "no SHA-256"), ("id:", "empty"),
    ("domain:https://example.org", "no domain"), ("domain:*.example.org", "no domain"), ("domain:example.org/path", "no domain"), ("domain:localhost", "no domain"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "what"), WRONG, ids=[w[0][:24] for w in WRONG])
def test_a_line_that_is_no_entry_is_an_error_with_its_number(tmp_path, line, what):
    with pytest.raises(LimbeckError) as caught:
        OptOut.load(listed(tmp_path, f"# list\n\nid:a\n{line}\n"))
    assert what in caught.value.what and "line 4" in caught.value.where and caught.value.fix


@pytest.mark.parametrize("row", ["{", "[]", "{}", '{"id": "a", "domain": "b.org"}', '{"id": 3}', '{"id": "a", "why": "x"}'])
def test_a_json_line_that_is_no_entry_is_an_error_with_its_number(tmp_path, row):
    with pytest.raises(LimbeckError) as caught:
        OptOut.load(listed(tmp_path, f'{{"id": "a"}}\n{row}\n', "list.jsonl"))
    assert "line 2" in caught.value.where


def test_a_list_that_is_not_there_or_no_text_is_an_error(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"id:a\n\xff\xfe\n")
    with pytest.raises(LimbeckError, match="cannot be read"):
        OptOut.load([tmp_path / "none.txt"])
    with pytest.raises(LimbeckError, match="UTF-8"):
        OptOut.load([tmp_path / "bad.txt"])


def test_a_long_list_is_read_and_asked_in_no_time(tmp_path):
    hashes = [hash_text(str(i)) for i in range(50_000)]
    path = listed(tmp_path, "\n".join(f"sha256:{h}" for h in hashes))
    began = time.process_time()
    out = OptOut.load(path)
    assert sum(bool(out.objection("r", [str(i)])) for i in range(49_000, 51_000)) == 1_000 and len(out) == 50_000
    assert time.process_time() - began < 3  # a million entries and asks would stay under a minute

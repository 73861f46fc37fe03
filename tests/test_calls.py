"""Function calls read from text and compared after their defaults; nothing is run."""

import os
from pathlib import Path

import pytest

from limbeck.tasks.calls import bind, read_call, read_signature
from limbeck.tasks.nexus import NexusTask

SIGNATURE = read_signature("def report(ip: str, limit: int = 10, *, key='k', tags=None):")
DATA = Path(os.environ.get("LIMBECK_DATA", "/nowhere"))


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("report('1.2.3.4')", True), ('report(ip="1.2.3.4", limit=10)', True), ("report('1.2.3.4', 10, key='k')", True), ("r = lib.report(ip='1.2.3.4', tags=None)", True),
        ("```python\nreport(\n  ip = '1.2.3.4',\n)\n```", True), ("print(report('1.2.3.4'))", True), ("Call: report('1.2.3.4'), that is report('1.2.3.4')", True), ("report('1.2.3.4', limit=10.0)", True),
        ("report('1.2.3.4', 11)", False), ("report('1.2.3.5')", False), ("other('1.2.3.4')", False), ("report(ip)", False), ("report('1.2.3.4', extra=1)", False), ("report('1.2.3.4', limit=True)", False),
    ],
)  # fmt: skip
def test_calls_are_equal_after_defaults(said, same):
    call = read_call(said)
    assert not isinstance(call, str), call
    assert (bind(call, SIGNATURE) == bind(read_call("report(ip='1.2.3.4')"), SIGNATURE)) is same


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no function call"), ("I would ask for a report (of the ip)", "no function call"), ("report('a') or report('b')", "several calls"), ("report('a", "no function call"),
        ("report(**x)", "no function call"), ("f(" * 5000, "no function call"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_reason(text, reason):
    assert reason in read_call(text)


def test_nothing_is_run(tmp_path):
    path = tmp_path / "made"
    read_call(f"open({str(path)!r}, 'w').write('x')")
    read_call(f"report(open({str(path)!r}, 'w'))")
    assert not path.exists()
    with pytest.raises(ValueError, match="no signature"):
        read_signature("not a function")


@pytest.mark.skipif(not (DATA / "evals" / "nexus").exists(), reason="needs LIMBECK_DATA")
def test_the_references_are_right_by_their_own_rule():
    task = NexusTask()
    examples = task.examples("test")
    assert {e.meta["family"] for e in examples} == {"cve_cpe", "virustotal", "emailrep", "toolllm", "toolalpaca"} and len(examples) == 78 + 151 + 38 + 21 + 51
    read = [task.judge(e, e.gold[0]) for e in examples]
    assert sum(isinstance(r, dict) and r["correct"] == 1.0 for r in read) >= 0.97 * len(read), [(e.gold, r) for e, r in zip(examples, read, strict=True) if isinstance(r, str)][:5]
    assert all(e.prompt.text.count("def ") and not e.prompt.text.endswith("\n\n") for e in examples)

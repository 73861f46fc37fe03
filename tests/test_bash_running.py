"""Commands run beside gold ones: what counts as the same, what cannot be compared, and what means harm."""

import os
import shutil
import subprocess
import time

import pytest

from limbeck.evaluate.examine import examine, value_of
from limbeck.records import Answer, Candidate, Example, Prompt
from limbeck.resolve import get_task
from limbeck.tasks.bash import running
from limbeck.tasks.bash.furniture import concrete, furnish, top_folders
from limbeck.tasks.bash.running import CommandRunner, is_order_free
from limbeck.tasks.bash.tree import entries, pack

needs_bubblewrap = pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
GOLD = "ls dir1"


@pytest.fixture(scope="module")
def runner():
    """One for all: gold commands are run twice, a second apart."""
    made = CommandRunner()
    if shutil.which("bwrap"):
        made.see_golds([(gold,) for gold, *_ in SAME_EFFECTS] + [(GOLD,)])
    return made


SAME_EFFECTS = [
    ("find . -name '*.log' -size 0", "find . -empty -name '*.log'", "find . -name '*.log'"),
    ("find src -name '*.c' | sort", "ls src/*.c src/*/*.c", "find src -name '*.h' | sort"),
    ("wc -l < file1", "cat file1 | wc -l", "wc -l file1"),
    ("rm dir1/*.txt", "find dir1 -maxdepth 1 -name '*.txt' -delete", "find dir1 -name '*.txt' -delete"),
    ("mkdir -p a/b/c", "mkdir a a/b a/b/c", "mkdir -p a/b"),
    ("chmod 600 file1", "chmod u=rw,go= file1", "chmod 644 file1; chmod 640 file1"),
    ("ln -s file1 new", "ln -s file1 ./new", "ln -s ./file1 new"),
    ("touch -d '2012-01-01' file1", "touch -t 201201010000 file1", "touch file1"),
    ("cp file1 copy", "cat file1 > copy", "cp -p file1 copy"),
    ("mv file1 moved", "cp -p file1 moved && rm file1", "cp -p file1 moved"),
    ("grep -c foo foo.txt", "grep foo foo.txt | wc -l", "grep -c . foo.txt"),
    ("grep -q nothing-like-it file1; echo $?", "echo 1", "echo 0"),
    ("sudo rm file2", "rm file2", "rm file3"),
    ("sort numbers.txt | head -3", "sort numbers.txt | sed 3q", "sort -n numbers.txt | head -3"),
    ("cat /etc/passwd | cut -d: -f1 | head -2", "cut -d: -f1 /etc/passwd | head -n 2", "cut -d: -f1 /etc/passwd"),
    ("echo 'žluť' > new.txt", "printf 'žluť\\n' > new.txt", "printf 'zlut\\n' > new.txt"),
]


@needs_bubblewrap
@pytest.mark.parametrize(("gold", "like", "unlike"), SAME_EFFECTS)
def test_commands_are_the_same_that_do_the_same(runner, gold, like, unlike):
    judged = runner.judge_all([((gold,), gold), ((gold,), like), ((gold,), unlike)])
    assert [j.verdict for j in judged] == ["same", "same", "different"], judged


@needs_bubblewrap
def test_any_gold_will_do(runner):
    assert [j.verdict for j in runner.judge_all([(("ls nowhere", GOLD), "ls dir1"), (("ls nowhere", GOLD), "ls dir2")])] == ["same", "different"]


@needs_bubblewrap
@pytest.mark.parametrize(
    ("gold", "reason"),
    [
        ("curl http://example.org", "needs a network"), ("ls -l | ssh host cat", "needs a network"), ("date +%s%N", "something else on each run"), ("echo $RANDOM", "something else on each run"), ("ls -ld /tmp", "something else on each run"),
        ("true", "nothing that can be seen"), ("cat < $NOWHERE", "fails"), ("nosuchprogram -x", "not installed"), ("sleep 60", "did not end"), ("yes", "too much output"), ("echo 'a", "unbalanced"), ("cat <<EOF\na\nEOF", "here-document"),
        ("cat /dev/zero > x", "nothing"), ("read x", "fails"),
    ],
)  # fmt: skip
def test_a_gold_that_tells_nothing_is_not_comparable_and_says_why(runner, gold, reason):
    judged = runner.judge_all([((gold,), "ls")])[0]
    if gold == "cat /dev/zero > x":  # it ends at the limit on a file's size or the disk's, and leaves a file
        assert judged.verdict in ("different", "not comparable")
    else:
        assert judged.verdict == "not comparable" and reason in judged.reason, judged


@needs_bubblewrap
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs each command as another user")
def test_what_hangs_on_the_user_s_number_is_not_comparable(runner):
    judged = runner.judge_all([(("tar cf all.tar dir1",), "tar cf all.tar dir1"), (("ls -l dir1",), "ls -l dir1/")])
    assert [j.verdict for j in judged] == ["not comparable", "same"]


HARM = [
    ("echo 'a", "failed", "unbalanced"),
    ("cat <<EOF\na\nEOF", "failed", "here-document"),
    ("ls \0", "failed", "null byte"),
    ("echo " + "word " * 10_000, "failed", "longer"),
    ("список файлов", "failed", "not a command"),
    ("", "failed", "empty"),
    ("while true; do :; done", "failed", "did not end"),
    (":(){ :|:& };:", "failed", "too many processes"),
    ("for i in $(seq 99); do sleep 60 & done; wait", "failed", ""),
    ("dd if=/dev/zero of=x bs=1M count=10000", "different", "no output"),
    ("yes > x", "different", "no output"),
    ("yes", "failed", "too much output"),
    ("exec 3<>/dev/tcp/192.0.2.1/80; cat <&3", "different", "no output"),
    ("curl -m 3 http://192.0.2.1/", "different", "no output"),
    ("sleep 31.41593 & disown; ls dir1", "same", ""),
    ("(setsid sleep 31.41593 &) ; ls dir1", "same", ""),
    ("cat", "different", "no output"),
    ("read x; ls dir1", "same", ""),
    ("rm -rf /", "different", "no output"),
    ("rm -rf --no-preserve-root /home /tmp /var /etc; ls dir1", "different", "no output"),
    ("kill -9 -1", "failed", "killed what ran it"),
    ("kill -9 $PPID; ls dir1", "failed", "killed what ran it"),
    ("echo x > /dev/sda; ls dir1", "same", ""),
    ("dd if=/dev/zero of=/dev/mem; ls dir1", "same", ""),
    ("i=0; while true; do i=$((i + 1)); > /tmp/$i; done", "failed", "too many files"),
    ("tail -c 3000000000 /dev/zero", "failed", ""),
    ("exec 1>&- 2>&-; sleep 60", "failed", "did not end"),
    ("reboot; shutdown -h now; ls dir1", "same", ""),
    ("printf 'code 0\\n\\nnames\\n\\nend\\n' > /proc/$PPID/fd/2; ls dir1", "same", ""),
]


@needs_bubblewrap
@pytest.mark.parametrize(("command", "verdict", "says"), HARM)
def test_a_harmful_or_broken_command_gets_a_verdict(runner, command, verdict, says):
    began = time.monotonic()
    judged = runner.judge_all([((GOLD,), command)])[0]
    assert judged.verdict == verdict and says in judged.reason, judged
    assert judged.reason or verdict == "same"
    assert time.monotonic() - began < 20
    assert "31.41593" not in subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout


@needs_bubblewrap
def test_a_run_leaves_no_trace_for_the_next(runner):
    first, second = runner.run([(runner.plain, "touch /tmp/left here; ls /tmp here"), (runner.plain, "ls /tmp here")])
    assert b"left" in first.output and b"left" not in second.output and not second.succeeded and not second.changes


@needs_bubblewrap
def test_what_a_gold_names_is_made_for_it(runner):
    golds = ("find /myFolder -type f -name '*.qux' -exec rm {} +",)
    right, folder, case = runner.judge_all([(golds, "find /myFolder -name '*.qux' -delete"), (golds, "rm -r /myFolder/sub"), (golds, "find /myFolder -iname '*.qux' -delete")])
    assert (right.verdict, folder.verdict, case.verdict) == ("same", "different", "different"), (right, folder, case)
    assert runner.scene_of(golds) is not runner.plain


@pytest.mark.parametrize(
    ("gold", "paths"),
    [
        ("sort words.list", {"home/user/words.list"}),
        ("cp one.zzz two.zzz", {"home/user/one.zzz"}),
        ("mkdir newone", set()),
        ("ls /etc/passwd file1", set()),
        ("cat /usr/share/nothing", set()),
        ("rm -r oldstuff", {"home/user/oldstuff/a.txt", "home/user/oldstuff/sub/b.log"}),
        ("grep pattern some.thing", {"home/user/some.thing"}),
        ("echo text | tr a b", set()),
        ("cat \"$FILE\" '`x`'", set()),
        ("cd ../../../..", set()),
    ],
)
def test_furniture_is_what_a_command_reads_and_lacks(gold, paths):
    assert {e.path for e in furnish([gold])} == paths


def test_patterns_get_names_that_they_match():
    assert concrete("a*.[ch]") == "ax.c" and concrete("[!a]?.txt") == "xy.txt"
    made = {e.path for e in furnish(["find . -name '*.zip'"])}
    assert {"home/user/x.zip", "home/user/sub/zx.zip", "home/user/X.ZIP"} <= made and top_folders(furnish(["ls /mine/x.y"])) == ("/mine",)


@pytest.mark.parametrize(("gold", "free"), [("find . -name a", True), ("find . | sort", False), ("ls", False), ("grep -r foo .", True), ("grep foo a", False), ("find . -exec ls -l {} \\;", True), ("cat a", False), ("du -a | head", True)])
def test_order_is_free_where_a_command_leaves_it_to_chance(gold, free):
    assert is_order_free(gold) is free


def test_the_tree_is_the_same_bytes_for_the_same_moment():
    assert pack(1_700_000_000.0) == pack(1_700_000_000.0) and len(entries()) > 200 and len(pack(1_700_000_000.0)) < 1_000_000


def test_without_a_sandbox_dangerous_commands_are_not_run(monkeypatch):
    ran = []
    monkeypatch.setattr(running, "run_all", lambda programs, *a, **k: ran.extend(programs) or [])
    bold = CommandRunner(unsafe_local=True)
    bold.plain.bare = {"x": ("f",)}
    effect = bold.run([(bold.plain, "rm -rf /")])[0]
    assert effect.reason.startswith("not run without a sandbox") and not ran


def test_unsafe_commands_run_in_a_folder_of_their_own():
    if not all(shutil.which(name) for name in ("bash", "tar", "find", "md5sum")):
        pytest.skip("needs GNU tools")
    bold = CommandRunner(unsafe_local=True)
    same, other = bold.judge_all([(("ls dir1; rm file1",), "rm file1; ls dir1"), (("ls dir1; rm file1",), "ls dir1")])
    assert (same.verdict, other.verdict) == ("same", "different"), (same, other)


class Toy:
    """Says the same to everybody."""

    name, parameters = "toy", 0

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def answer(self, prompts, *, k=1):
        return [Answer(prompt_id=p.id, candidates=tuple(Candidate(text=t) for t in self.texts)) for p in prompts]


@needs_bubblewrap
def test_an_examination_counts_what_cannot_be_compared_apart():
    examples = [Example(id=gold, prompt=Prompt(id=gold, text=gold), gold=(gold,)) for gold in ("ls dir1", "ls dir2", "true", "curl http://a.b", "wc -l file1")]
    task = get_task("bash", run=True)
    assert task.version != get_task("bash").version and get_task("bash").score_all is None
    result = examine(task, Toy("ls dir2", "echo 'a", "ls dir1"), examples, split="toy", k=3)
    first, third = value_of(result, "functional-1"), value_of(result, "functional-3")
    assert (first["value"], first["n"], first["missing"]) == (pytest.approx(1 / 3), 3, 2) and third["value"] == pytest.approx(2 / 3)
    assert "functional" not in result["trials"][2] and "not comparable" in result["trials"][2]["reason"]
    assert {s["name"] for s in result["scores"] if s["name"].startswith("not run")} == {"not run: does nothing that can be seen", "not run: needs a network"}


needs_data = pytest.mark.skipif("LIMBECK_DATA" not in os.environ, reason="LIMBECK_DATA is not set")


@needs_data
@needs_bubblewrap
@pytest.mark.slow
def test_golds_do_what_they_do_and_others_do_not():
    examples = [e for e in get_task("bash").examples("dev") if e.gold[0].startswith(("find .", "ls", "wc", "sort"))][:16]
    fresh = CommandRunner()
    fresh.see_golds([e.gold for e in examples])
    usable = [e for e in examples if not fresh.why_not_comparable(e.gold)]
    again = fresh.run([(fresh.scene_of(e.gold), e.gold[0]) for e in usable])
    assert len(usable) > 6 and all(running.is_same(e.gold[0], fresh.scene_of(e.gold).effects[e.gold[0]], effect) for e, effect in zip(usable, again, strict=True) if not fresh.scene_of(e.gold).reasons[e.gold[0]])
    assert all(j.verdict == "different" for j in fresh.judge_all([(e.gold, "echo something else") for e in usable]))

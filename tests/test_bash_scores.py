"""Bash read and scored: traps of syntax, the conventions of the reference, and its published values where they are at hand."""

import gzip
import json
import os
import time
from pathlib import Path

import pytest

from limbeck.tasks.bash import metrics
from limbeck.tasks.bash.fitness import is_valid, unwrap, why_unfit
from limbeck.tasks.bash.metrics import template_of
from limbeck.tasks.bash.syntax import open_quote, parse, unquote
from limbeck.tasks.bash.tokens import tokenise

needs_data = pytest.mark.skipif("LIMBECK_DATA" not in os.environ, reason="LIMBECK_DATA is not set")


def content(command: str) -> str:
    return " ".join(t.text.split("::")[0] for t in tokenise(command) if t.role != "argument")


@pytest.mark.parametrize(
    ("command", "tokens"),
    [
        ("rm -rf a", "rm -r -f"),
        ("/bin/rm a", "rm"),
        ("sudo -u www rm a", "rm"),
        ("~/bin/rm a", "~/bin/rm"),
        ("fgrep a b", "grep -F"),
        ("cut -d' ' -f1 a", "cut -d -f"),
        ("tar xzf a.tgz", "tar -x -z -f"),
        ("head -5 a", "head -"),
        ("join -1 2 a b", "join -1"),
        ("a | b && c", "a | b && c"),
        ("x=$(date -u)", "date -u"),
        ("echo $(date) `pwd`", "echo $( date ) $( pwd )"),
        ("comm <(sort a) <(sort b)", "comm <( sort ) <( sort )"),
        ("find . -name a -exec rm -f {} \\;", "find -name -exec rm -f ;"),
        ("find . -exec rm {} +", "find -exec rm +"),
        ("find . \\( -name a \\)", "find -name"),
        ("find . \\( -name a -or -name b \\)", "find ( -name -o -name )"),
        ("find . -name a | xargs rm", "find -name | xargs -I rm"),
        ("sh -c 'rm -f a | b'", "sh -c rm -f | b"),
        ("echo 'a | b; rm -f c'", "echo"),
        ("$ ls -l;", "ls -l"),
        ("find . — name “a b” — print", "find -name -print"),
        ("$x | tee a", "| tee"),
        ("echo 'abc", "echo"),
        ("ls > a 2>&1", "ls > 2>&"),
        ("", ""),
    ],
)
def test_commands_are_cut_into_the_tokens_that_count(command, tokens):
    assert content(command) == tokens


@pytest.mark.parametrize(
    ("gold", "command", "template", "same"),
    [
        ("find -name a", "find . -name a", True, True),
        ("find . -name a", "find . -name b", True, False),
        ("find . -name 'a'", 'find . -name "a"', True, False),
        ("find . -type f", "find . -type d", False, False),
        ("find . -size +3k", "find . -size +9M", True, False),
        ("find . -size +3k", "find . -size 3k", False, False),
        ("find . -mtime -1 -name a", "find . -name a -mtime -1", False, False),
        ("date +%Y", "date +%d", False, False),
        ("a -r -f b", "a -rf b", True, True),
        ("a -r b", "a -r b c", False, False),
        ("ls | xargs rm", "ls | xargs -I {} rm {}", True, True),
        ("sudo rm a", "rm a", True, True),
        ("", "", False, False),
    ],
)
def test_templates_and_commands_are_equal_where_the_reference_says_so(gold, command, template, same):
    assert metrics.is_same_template([gold], command) is template
    assert metrics.is_same_command([gold], command) is same


def test_the_command_match_score_is_a_cosine_and_takes_the_best_gold():
    assert metrics.command_match_score(["a -x | b"], "a -x | b 'other words'") == pytest.approx(1)
    assert metrics.command_match_score(["ls | wc"], "ls") == pytest.approx(1 / 3**0.5)
    assert metrics.command_match_score(["pwd", "ls | wc"], "ls") == pytest.approx(1 / 3**0.5)
    assert metrics.command_match_score(["ls"], "") == metrics.command_match_score([], "ls") == 0
    assert metrics.command_match_score(["tar -c -f a"], "tar -cf a") == pytest.approx(2 / 3)  # -f of a cluster is another token
    assert metrics.command_match_score(["ls | xargs rm"], "ls | xargs -I {} rm {}") == pytest.approx(4 / 5)  # so is the -I that was not said


@pytest.mark.parametrize(
    ("gold", "command", "score"),
    [
        ("ls -l", "ls -l", 1),
        ("ls -l", "ls", 0),
        ("ls", "pwd", -1),
        ("ls | wc", "ls", 0),
        ("ls -l -a", "ls -l", 0.5),
        ("find . -exec rm -f {} \\;", "find . -exec rm {} \\;", 0.25),
        ("find . ! -name a -o -prune", "find . -name a", 1),
        ("rsync -a x y", "rsync -a -v x y", 0.5),
        ("ls", "", -1),
    ],
)
def test_nlc2cmd_pays_for_utilities_and_flags_and_fines_wrong_ones(gold, command, score):
    assert metrics.nlc2cmd_score([gold], command) == pytest.approx(score)


def test_char_bleu_is_that_of_characters():
    assert metrics.char_bleu(["ls -l"], "ls -l") == pytest.approx(1)
    assert metrics.char_bleu(["ls -l"], "abc") == metrics.char_bleu(["ls -l"], "") == metrics.char_bleu(["abc"], "ab") == 0
    assert metrics.char_bleu(["abcdef"], "abcde") == pytest.approx(2.718281828 ** (1 - 6 / 5))
    assert metrics.char_bleu(["abcdef", "abcde"], "abcde") == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("ls \0 a", "null byte"),
        ("echo 'a", "unbalanced '"),
        ('echo "a', 'unbalanced "'),
        ("echo `a", "unbalanced `"),
        ("cat <<EOF\na\nEOF", "here-document"),
        ("ls a " * 10_000, "longer than"),
        ("a " * 3_000, "more than"),
        ("# nothing", "no command"),
        ("список файлов", "not a command"),
        ("列出所有文件", "not a command"),
        ("( " * 500, "no command"),
        ("ls 'русский текст'", ""),
        ("ls -l", ""),
        ("cat <<< a", ""),
        ("find . ( -name a )", ""),  # no Bash, but its words can be compared
        ("echo \"it's\" \\'", ""),
    ],
)
def test_what_cannot_be_judged_says_why(text, reason):
    found = why_unfit(text)
    assert reason in found if reason else not found


@pytest.mark.parametrize("text", ["|" * 9_000, "$(" * 4_000, "'\"" * 4_000, "find -exec " * 900, "nohup " * 1_600, "((" * 4_000, "sh -c " * 1_600, "echo " + "$(echo " * 150 + ")" * 150, "${" * 4_000, "\\" * 9_000, "ls \ud800"])
def test_hostile_texts_are_read_in_bounded_time(text):
    began = time.perf_counter()
    assert 0 <= metrics.command_match_score([text], text) <= 1 + 1e-9
    assert -1 <= metrics.nlc2cmd_score([text], text) <= 1
    why_unfit(text)
    assert time.perf_counter() - began < 4


def test_validity_is_that_of_the_whole_text():
    assert is_valid("for i in *; do echo $i; done") and is_valid("[[ -f a ]] && ls | wc -l > b 2>&1")
    assert not is_valid("find . ( -name a )") and not is_valid("echo 'a") and not is_valid("ls |") and not is_valid("")


def test_markdown_is_taken_off_and_nothing_else():
    assert unwrap("Here:\n```bash\n$ ls -l\n```\nIt lists.") == "ls -l"
    assert unwrap("`ls -l`") == unwrap("$ ls -l ") == "ls -l"
    assert unwrap("```\nls") == "ls"
    assert unwrap("echo `a` `b`") == "echo `a` `b`"


def test_pieces_stand_where_they_say():
    text = "ls 'ä b' | cut -d\" \" $(a `b c`) > \"ü\" 2>&1"

    def check(pieces):
        for piece in pieces:
            assert text[piece.start : piece.end] == piece.text
            check(piece.inner)

    check(parse(text).pieces)
    assert [p.text for p in parse(text).pieces][:3] == ["ls", "'ä b'", "|"]


def test_quotes_are_taken_off_as_the_shell_does():
    assert unquote("'a\\b'\"c\\\"d\"\\ e$'f'") == 'a\\bc"d e$f'
    assert open_quote("a \"b'c\" \\' 'd'") == "" and open_quote("a 'b\\'") == ""


def test_a_loop_s_own_words_are_no_commands():
    assert "i" not in [t.text for t in tokenise("for i in rm; do ls; done") if t.role == "utility"]
    assert template_of(tokenise("ls -l a")) == ("ls", "-l", "text")


@needs_data
def test_the_reference_scorers_values_are_met():
    files = sorted((Path(os.environ["LIMBECK_DATA"]) / "scoring_fixtures").glob("nl2bash_*.jsonl.gz"))
    assert files
    for file in files:
        rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
        found = [metrics.command_match_score(r["golds"], r["pred"]) for r in rows]
        n = len(rows)
        assert abs(sum(found) - sum(r["cms"] for r in rows)) / n < 0.005
        assert sum(abs(a - r["cms"]) <= 0.02 for a, r in zip(found, rows)) / n >= 0.97
        assert sum(metrics.is_same_template(r["golds"], r["pred"]) == r["template_exact"] for r in rows) / n >= 0.97
        assert sum(metrics.is_same_command(r["golds"], r["pred"]) == r["command_match"] for r in rows) / n >= 0.97
        assert sum(abs(metrics.char_bleu(r["golds"], r["pred"]) - r["char_bleu"]) < 1e-6 for r in rows) / n >= 0.999
        pairs = [(metrics.nlc2cmd_score([g], r["pred"]), v) for r in rows for g, v in zip(r["golds"], r["nlc2cmd"], strict=True)]
        assert sum(abs(a - b) <= 0.02 for a, b in pairs) / len(pairs) >= 0.97

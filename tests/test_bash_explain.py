"""Bash explained and warned of: every word gets its part, nothing is run, quoted words raise no alarm."""

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from limbeck.tasks.bash import helptext
from limbeck.tasks.bash.danger import find_dangers
from limbeck.tasks.bash.explain import explain
from limbeck.tasks.bash.helptext import read_help

needs_data = pytest.mark.skipif("LIMBECK_DATA" not in os.environ, reason="LIMBECK_DATA is not set")


def rules(command: str) -> list[str]:
    return [d.rule for d in find_dangers(command) if d.level == "danger"]


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf /",
        "sudo rm -r -f -- /",
        "$ rm -rf a",
        "sudo -u root rm -fr a",
        "\\rm -rf a",
        "/bin/rm -rf a",
        "env A=1 rm -rf a",
        "busybox rm -rf a",
        "find . | xargs rm -rf",
        "find . -exec rm -rf {} +",
        "sh -c 'rm -rf a'",
        "bash -x -c \"ls; rm -rf a\"",
        "eval 'rm -rf a'",
        "echo $(rm -rf a)",
        "x=`rm -rf a`",
        "diff <(rm -rf a) b",
        "ls && rm --recursive --force a",
        "rm -r ~",
        'rm -r "$DIR/"',
        "rm -rf 'a",
        "if true; then rm -rf a; fi",
        "dd if=a of=/dev/sda",
        "mkfs.ext4 /dev/sdb1",
        "mkfs -t ext4 /dev/sdb1",
        "mkswap /dev/sdb1",
        "shred a",
        "cat a > /dev/sda",
        "echo > '/dev/nvme0n1'",
        "tee /dev/sda < a",
        "cp a /dev/mmcblk0",
        "> /etc/passwd",
        "echo a > /etc/passwd",
        ":(){ :|:& };:",
        ": () { : | : & } ; :",
        "bomb() { bomb | bomb & }; bomb",
        "f() { f & f; }; f",
        "while true; do ls & done",
        "mv a /dev/null",
        "mv / b",
        "chmod -R 777 /",
        "chown -R me /etc/",
        "chmod -R 000 /usr/lib",
        "curl http://a | sh",
        "wget -O - http://a | sudo bash",
        "echo a | base64 -d | sh",
        "kill -9 -1",
        "crontab -r",
        "userdel me",
    ],
)
def test_what_destroys_raises_an_alarm(command):
    assert rules(command), command


@pytest.mark.parametrize(
    "command",
    [
        "ls",
        "rm a",
        "rm -i a",
        "rm -f a",
        "echo 'rm -rf /'",
        'echo "rm -rf /"',
        "grep -r 'rm -rf' .",
        "man rm",
        "git commit -m 'dd of=/dev/sda'",
        "dd if=/dev/sda of=/dev/null",
        "ls > /dev/null 2>&1",
        "ls 2> /dev/stderr",
        "cat /etc/passwd",
        "cat < /dev/sda",
        "echo a >> /etc/hosts",
        "fdisk -l",
        "chmod 644 a",
        "chmod -R u+x a",
        "chown -R me /usr/local/lib/node_modules",
        "f() { ls; }; f",
        "f() { g | g & }; f",
        "echo ':(){ :|:& };:'",
        "curl http://a | grep sh",
        "for rm in a; do ls; done",
        "kill -1 123",
        "crontab -l",
        "find . -name 'rm -rf'",
        "",
        "\0",
    ],
)
def test_what_does_not_destroy_raises_none(command):
    assert not rules(command), command


@pytest.mark.parametrize("command", ["rm -r a", "rm *.txt", "find . -delete", "find . -exec rm {} \\;", "dd if=a of=b", "sort a > a", "git reset --hard", "git push -f", "rsync --delete a b", "shutdown now", "truncate -s 0 a", "chmod -R 777 a"])
def test_what_can_go_wrong_asks_for_care_only(command):
    assert [d.level for d in find_dangers(command)] == ["care"]


def test_every_word_has_its_part_and_its_place():
    command = "find /var -name '*.log' -exec gzip -9 {} \\; | sort -nrk2 > \"ü.txt\" 2>&1"
    parts = explain(command, ask_help=False).parts
    assert [p.text for p in parts] == ["find", "/var", "-name", "'*.log'", "-exec", "gzip", "-9", "{}", "\\;", "|", "sort", "-nrk2", '> "ü.txt"', "2>&1"]
    assert all(command[p.start : p.end] == p.text for p in parts)
    meaning = {p.text: p.meaning for p in parts}
    assert meaning["-nrk2"] == "by number; in reverse; by the field 2"
    assert "*.log" in meaning["-name"] and "errors" in meaning["2>&1"] and "replacing" in meaning['> "ü.txt"']
    assert [p.depth for p in parts if p.text in ("gzip", "-9", "find")] == [0, 1, 1]


def test_commands_inside_commands_are_explained():
    assert [(p.text, p.start) for p in explain("$ ls -l", ask_help=False).parts] == [("ls", 2), ("-l", 5)]
    inside = {p.text: p for p in explain("sudo sh -c 'rm -rf a' && echo \"$(wc -l b)\"", ask_help=False).parts}
    assert inside["rm"].depth == 2 and inside["rm"].meaning == "deletes files"
    assert inside["wc"].role == "utility" and inside["-l"].meaning == "lines" and "succeeds" in inside["&&"].meaning


def test_what_is_not_known_or_not_bash_is_said_so():
    assert "not known" in explain("frobnicate -x").parts[0].meaning
    broken = explain("echo 'abc")
    assert broken.error == "unbalanced '" and broken.parts[0].text == "echo" and "not valid" in broken.lines()[-1]
    assert explain("").parts == () and explain("ls \0").error == "a null byte"
    assert explain("nohup " * 1_600).parts


def test_an_explained_command_is_never_run(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(subprocess, "run", lambda command, **rest: ran.append(command) or subprocess.CompletedProcess(command, 0, "", ""))
    helptext._options.cache_clear()
    explain(f"touch {tmp_path}/a; ls --frob; evil --help; ./ls --frob")
    helptext._options.cache_clear()
    assert {tuple(c[1:]) for c in ran} <= {("--help",)} and all(Path(c[0]).parent in (Path("/bin"), Path("/usr/bin")) for c in ran)
    assert not list(tmp_path.iterdir()) and "evil" not in str(ran)


def test_a_help_text_is_read_option_by_option():
    text = "Usage: x [-a]\n\n  -a, --all              do not ignore\n                         anything\n  -k, --key=KEYDEF  sort by it\n      --only   that\nplain words\n"
    assert read_help(text) == {"-a": "do not ignore anything", "--all": "do not ignore anything", "-k": "sort by it", "--key": "sort by it", "--only": "that"}


@needs_data
def test_explanations_of_people_s_commands_stand_where_they_say():
    import json

    rows = [json.loads(line) for line in gzip.decompress((Path(os.environ["LIMBECK_DATA"]) / "nl2bash" / "dev.jsonl.gz").read_bytes()).splitlines()]
    for row in rows:
        found = explain(row["cmd"], ask_help=False)
        assert found.parts, row
        if not found.error and "-c" not in row["cmd"] and "eval" not in row["cmd"] and "<<" not in row["cmd"]:
            assert all(p.role == "redirection" or row["cmd"][p.start : p.end] == p.text for p in found.parts), row

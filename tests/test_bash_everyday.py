"""Everyday requests: every pattern gives Bash that says the values of its request, and training pairs keep their place beside them."""

import random
import re

import pytest

from limbeck.records import Prompt
from limbeck.tasks.bash import pool
from limbeck.tasks.bash.codec import BashCodec
from limbeck.tasks.bash.everyday import CHOICE, PLACE, VALUE, make_everyday, patterns
from limbeck.tasks.bash.fitness import is_valid, why_unfit
from limbeck.tasks.bash.paraphrase import blur, paraphrase


def test_every_pattern_shares_its_values():
    assert len(patterns()) > 150 and len(set(patterns())) == len(patterns())
    for request, command in patterns():
        said = {m[1] + m[2] for m in VALUE.finditer(request)}
        meant = {m[1] for m in PLACE.finditer(re.sub(r"\{print [^}]*\}+|\{s\+=[^}]*\}+", lambda m: " ".join(f"{{{x}}}" for x in re.findall(r"\{(\w+#?)\}", m[0][1:])), command))}
        assert meant <= said, (request, command)
        assert all("(" not in m[1] for m in CHOICE.finditer(request))


def test_what_is_made_is_bash_and_can_be_written_by_a_student():
    draw, codec = random.Random(4), BashCodec()
    for _ in range(600):
        request, command = make_everyday(draw)
        assert request == request.strip() and not why_unfit(command) and is_valid(command), command
        assert not re.search(r"\{(?:ext|dir|file|name|word|n|nth|unit|user|host|url|pid|port)\d?#?\}", request + command)
        symbols = codec.encode_answer(Prompt(id="x", text=request), command)
        assert symbols and codec.decode(Prompt(id="x", text=request), symbols) == command


def test_the_same_draw_makes_the_same_pair():
    assert make_everyday(random.Random("a")) == make_everyday(random.Random("a"))


def test_every_fifth_example_is_everyday_and_no_pair_is_passed_over():
    pairs = [(f"say {n}", f"echo {n}") for n in range(40)]
    picked = [pool.pick(pairs, 3, index) for index in range(50)]
    assert sorted(p for at, p in enumerate(picked) if at % 5 != 4) == sorted(pairs)


@pytest.mark.parametrize("text", ['Find all files named "all files" in /usr/the/a', "search for '*.txt' below ~/in the current directory.bak"])
def test_other_words_leave_values_alone(text):
    values = re.findall(r"\"[^\"]*\"|'[^']*'|\S*[/*~]\S*", text)
    for seed in range(30):
        said = blur(paraphrase(text, random.Random(seed)), random.Random(seed))
        assert all(value in said for value in values), said


def test_other_words_do_change_the_phrase():
    said = {paraphrase("Find all directories in the current directory recursively", random.Random(seed)) for seed in range(40)}
    assert len(said) > 15 and any("folder" in s for s in said)

"""The 25 checkers: followed, nearly followed, broken."""

import os
from pathlib import Path

import pytest

from limbeck.tasks.ifeval.checkers import CHECKERS, follows, follows_loosely, variants

TABLE = [
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "one two three", "one two"),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "one two", "one two three"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\na\n***\nb", "a *** *** b"),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Elm"}, "a\n\n'elm, b", "a\n\nb elm"),
    ("keywords:existence", {"keywords": ["river", "land"]}, "Riverland", "river"),
    ("keywords:frequency", {"keyword": "go", "relation": "at least", "frequency": 2}, "go, going", "gone"),
    ("keywords:forbidden_words", {"forbidden_words": ["rich"]}, "richer", "Rich!"),
    ("keywords:letter_frequency", {"letter": "E", "let_relation": "less than", "let_frequency": 2}, "Ebb", "eE"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "x\nP. S. y", "PS y"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "p.p.s y", "p.s. y"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n** b"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", "** **"),
    ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2}, "Day 1 x Day 2 y", "Day one, Day two"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{'a': 1}"),
    ("detectable_format:title", {}, "<<A>> b", "<< >>"),
    ("detectable_format:constrained_response", {}, "My answer is maybe. Or", "my answer is yes"),
    ("combination:two_responses", {}, "a\n******\nb", "a\n******\na"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, "say hi. Hi!", "Hi! say hi."),
    ("startend:end_checker", {"end_phrase": "Peace!"}, 'All right. peace!"', "Peace! Bye"),
    ("startend:quotation", {}, ' "a" ', '"a'),
    ("punctuation:no_comma", {}, "a b", "a, b"),
]
LIBRARIES = [
    ("length_constraints:number_sentences", {"relation": "at least", "num_sentences": 2}, "Dr. Smith left. He slept.", "Dr. Smith left"),
    ("change_case:capital_word_frequency", {"capital_relation": "at least", "capital_frequency": 2}, "BIG NEWS today", "Big NEWS"),
    ("change_case:english_capital", {}, "THIS IS ENGLISH, AND IT IS ALL LOUD", "This is English"),
    ("change_case:english_lowercase", {}, "this is english, and it is all quiet", "das ist ein deutscher satz und sonst nichts"),
    ("language:response_language", {"language": "de"}, "Das ist ein deutscher Satz über den Fluss.", "This is an English sentence about the river."),
]
DATA = Path(os.environ.get("LIMBECK_DATA", "/nowhere"))


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), TABLE)
def test_followed_and_broken(name, arguments, good, bad):
    assert follows(name, good, arguments) and not follows(name, bad, arguments) and not follows(name, "  ", arguments)


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), LIBRARIES)
def test_followed_and_broken_by_the_libraries(name, arguments, good, bad):
    for library in ("langdetect", "punkt", "nltk"):
        pytest.importorskip(library)
    assert follows(name, good, arguments) and not follows(name, bad, arguments)


def test_all_25_kinds_have_a_row():
    assert len(CHECKERS) == 25 and {row[0] for row in TABLE + LIBRARIES} == set(CHECKERS)


def test_the_loose_rule_forgives_a_first_line_a_last_one_and_asterisks():
    assert len(variants("a\nb")) == 8
    for text in ('Sure!\n"a"', '"a"\nHope it helps', '*"a"*', 'Sure!\n*"a"*\nBye'):
        assert follows_loosely("startend:quotation", text, {}) and not follows("startend:quotation", text, {})


@pytest.mark.skipif(not (DATA / "evals" / "ifeval").exists(), reason="needs LIMBECK_DATA")
def test_the_published_prompts():
    from limbeck.tasks.ifeval.task import IfevalTask

    examples = IfevalTask().examples("test")
    assert len(examples) == 541 and sum(len(e.meta["instructions"]) for e in examples) == 834

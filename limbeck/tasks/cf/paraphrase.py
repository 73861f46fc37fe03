"""What a lexicon's paraphrase is grammatically, and the wordings that fit it: "in sales", "engineers", "allow pets"."""

from __future__ import annotations

from random import Random

Shaped = tuple[str, str]  # shape, text
_PREPOSITIONS = frozenset(["in", "from", "by", "on", "via", "with", "without", "at", "for", "under", "ready", "past", "out", "over", "above", "below", "within", "up", "behind"])
_FINITE = frozenset(["allow", "take", "work", "contain", "have", "haven't", "don't", "didn't", "do", "did", "won't", "can't", "said", "owe", "has", "hasn't", "got", "grew", "shrank", "spend", "is", "are", "answered", "declined"])
_NOUNS = frozenset(["people", "staff", "women", "men", "female", "male", "folks", "ops", "no-shows", "everyone", "groceries", "furniture", "clothing", "clothes", "electronics", "gear", "stuff", "smalls", "mediums"])
_NOT_PLURAL = frozenset(["status", "overseas", "gas", "plus", "yes", "sales", "is", "progress", "mathematics"])
_NEGATIVE = ("not ", "no ", "un", "non", "don't", "didn't", "haven't", "has not", "have not", "won't", "can't", "in", "still ", "yet ", "already ", "that ", "who ")
PERSONS = frozenset(["employee", "student", "pupil", "kid", "guest", "patient", "player", "person", "worker", "member", "donor", "contact", "rep", "staff", "customer", "agent"])


def sort_of(phrase: str) -> str:
    """"relative", "finite", "noun", "place" (starts with a preposition) or "adjective"."""
    words = phrase.lower().split()
    if words[0] in ("who", "that"):
        return "relative"
    if words[0] in _FINITE:
        return "finite"
    if words[0] in _PREPOSITIONS:
        return "place"
    last = words[-1]
    if last in _NOUNS or (last.endswith("s") and not last.endswith("ss") and last not in _NOT_PLURAL):
        return "noun"
    return "noun" if words[0] in ("a", "an") else "adjective"


def say(random: Random, phrase: str, row: str, rows: str) -> list[Shaped]:
    """Wordings for rows of which the phrase is true."""
    who = "who" if row in PERSONS else "that"
    sort = sort_of(phrase)
    if phrase.startswith("no "):
        return [("mod", f"with {phrase}"), ("mod", f"{who} have {phrase}")]
    if sort == "relative":
        return [("mod", who + phrase[phrase.index(" ") :])]
    if sort == "finite":
        return [("mod", f"{who} {phrase}")]
    if sort == "noun":
        return [("np", phrase)] if not phrase.startswith(("a ", "an ")) else [("clause", f"the {row} is {phrase}")]
    if sort == "place":
        return [("mod", phrase), ("mod", phrase), ("mod", f"{who} are {phrase}"), ("clause", f"the {row} is {phrase}")]
    out = [("np", f"{phrase} {rows}"), ("mod", f"{who} are {phrase}"), ("mod", phrase), ("clause", f"the {row} is {phrase}")]
    return [*out, ("np", f"{phrase} ones" if random.random() < 0.5 else f"{phrase} {rows}")]


def deny(random: Random, phrase: str, row: str, rows: str) -> list[Shaped]:
    """Wordings for rows of which the phrase is false; none where the phrase denies something already."""
    who, sort = "who" if row in PERSONS else "that", sort_of(phrase)
    if sort in ("relative", "finite") or (sort == "adjective" and phrase.startswith(_NEGATIVE)) or phrase.startswith(("a ", "an ")):
        return []
    if sort == "noun":
        return [("np", f"{random.choice(['everything', 'everyone'] if who == 'who' else ['everything', 'all'])} except {phrase}"), ("np", f"all but {phrase}"), ("np", f"anything but {phrase}")]
    out = [("mod", f"not {phrase}"), ("mod", f"{who} {random.choice(['are not', 'aren’t', 'arent'])} {phrase}".replace("’", "'")), ("clause", f"the {row} is not {phrase}")]
    return [*out, ("np", f"{rows} not {phrase}")]

"""Other words for the same request: what people say of files and folders, said another way, so that a student learns the thing and not the phrase.

Every group holds phrases that may stand for each other in a request to a shell. Values (names, numbers, patterns, what is
quoted) are never touched. A draw decides which phrases change, so each varied pair reads differently.
"""

from __future__ import annotations

import random
import re

CHANGE = 0.35  # of the phrases that a group knows
BLURRED = 0.02  # of plain words of four letters and more

GROUPS = (
    ("find", "search for", "look for", "locate"),
    ("display", "show", "print", "list"),
    ("delete", "remove", "erase"),
    ("delete them", "remove them"),
    ("create", "make"),
    ("change", "set"),
    ("copy", "duplicate"),
    ("count", "count up"),
    ("directory", "folder"),
    ("directories", "folders"),
    ("subdirectories", "subfolders", "sub directories", "sub-directories"),
    ("in the current directory", "in current directory", "in this directory", "in the current folder", "in the working directory", "in this folder"),
    ("under the current directory", "under current directory", "below the current directory", "in the current directory tree", "under the current folder", "in the current directory and below", "in the current directory and its subdirectories"),
    ("all files", "all the files", "every file", "files"),
    ("all directories", "all the directories", "every directory", "directories"),
    ("regular files", "normal files", "regular/normal files", "ordinary files"),
    ("which have been", "that have been", "that were", "which were"),
    ("which are", "that are"),
    ("whose names", "whose name", "with names that"),
    ("named", "called", "with the name"),
    ("ending with", "that end with", "ending in", "that end in"),
    ("starting with", "that start with", "beginning with", "that begin with"),
    ("containing", "that contain", "which contain", "with"),
    ("bigger than", "larger than", "greater than", "over", "more than"),
    ("smaller than", "less than", "under"),
    ("in the last", "within the last", "in the past", "during the last", "less than"),
    ("modified", "changed"),
    ("recursively", "with all subdirectories"),
    ("in the entire file system", "in the whole file system", "on the whole system", "in the root directory and below", "in entire file system"),
    ("in the home directory", "in the home folder", "in home directory", "in my home directory"),
    ("belong to", "are owned by"),
    ("belonging to", "owned by"),
    ("case insensitive", "ignoring case", "case-insensitive", "regardless of case"),
    ("excluding", "except", "leaving out", "other than"),
    ("and all of its contents", "and its contents", "with everything in it"),
    ("standard input", "stdin"),
    ("standard output", "stdout"),
    ("the number of", "how many"),
    ("symbolic links", "symlinks", "soft links"),
    ("symbolic link", "symlink", "soft link"),
    ("one per line", "each on its own line", "one on each line"),
    ("separated by", "delimited by"),
    ("unique", "distinct"),
    ("text files", "txt files"),
    ("empty", "zero-size"),
)
# What one word may not be taken out of: "find" in "find command", "set" of a "set of files".
APART = {"set": r"(?! of)", "change": r"(?! director| folder| to )", "find": r"(?! command)", "list": r"(?! of)", "empty": r"(?! lines?| string)", "print": r"(?! name| ?0)", "under": r"(?! the| current)", "over": r"(?! the)", "with": r"(?!$)", "less than": r"(?= \d)", "files": r"(?!$)", "more than": r"(?= \d)"}
ONLY_AS_SOURCE = {"with", "under", "files", "directories", "over", "more than", "less than", "text files"}
DROPPED = re.compile(r"(?<=\s)(?:the|all|a|an)\s", re.IGNORECASE)
PLEASE = ("", "", "", "", "", "", "how do i ", "how to ", "i want to ", "please ", "can you ")

_KNOWN = {phrase: [other for other in group if other != phrase] for group in reversed(GROUPS) for phrase in group if phrase not in ONLY_AS_SOURCE}
_ANY = re.compile("|".join(rf"\b{re.escape(p)}\b{APART.get(p, '')}" for p in sorted(_KNOWN, key=len, reverse=True)), re.IGNORECASE)
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|\S*[/*.\\$]\S*")


def paraphrase(text: str, draw: random.Random) -> str:
    """The request in other words; what is quoted, paths and patterns stay letter by letter."""
    out, at = [], 0
    for kept in _QUOTED.finditer(text):
        out += [_said(text[at : kept.start()], draw), kept[0]]
        at = kept.end()
    said = "".join([*out, _said(text[at:], draw)])
    opening = draw.choice(PLEASE)
    if opening and re.match(r"[A-Za-z]+ ", said) and said.split()[0].lower() in _OPENERS:
        said = opening + said[:1].lower() + said[1:]
    return said


def blur(text: str, draw: random.Random) -> str:
    """The request with a plain word left out or mistyped here and there, as people write; values stay."""
    words = text.split(" ")
    for at, word in enumerate(words):
        if len(word) > 3 and word.isalpha() and word.islower() and draw.random() < BLURRED:
            cut = draw.randrange(1, len(word) - 1)
            words[at] = draw.choice(("", word[:cut] + word[cut + 1 :], word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]))
    return " ".join(w for w in words if w)


def _said(text: str, draw: random.Random) -> str:
    def other(match: re.Match[str]) -> str:
        phrase = match[0]
        if draw.random() > CHANGE:
            return phrase
        fresh = draw.choice(_KNOWN[phrase.lower()])
        return fresh[:1].upper() + fresh[1:] if phrase[:1].isupper() else fresh

    text = _ANY.sub(other, text)
    return DROPPED.sub(lambda m: "" if draw.random() < 0.1 else m[0], text)


_OPENERS = frozenset(["find", "search", "look", "locate", "display", "show", "print", "list", "delete", "remove", "erase", "create", "make", "change", "set", "copy", "count", "move", "rename", "sort", "replace", "extract", "compress", "archive", "get", "split", "run", "add", "unzip"])

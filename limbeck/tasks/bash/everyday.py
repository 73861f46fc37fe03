"""Everyday requests made from patterns of ours (everyday.txt): what people ask of a shell that NL2Bash's people did not.

A line is `request => command`; (a|b) is a choice that changes nothing, {name} a value that both sides share, {unit:GB=G,MB=M} a
word with what it is in the command, {nth} an ordinal whose number is {nth#}.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache
from importlib import resources

WORDS = (
    "report notes backup invoice photo sample draft result config server client module header footer table record archive summary project worker image video music "
    "letter budget orders users items access error debug build source target input output main index style script test data temp cache queue event session token"
).split()
ENDINGS = "txt log csv py sh c h cpp js html xml json md conf cfg jpg png gz tar zip mp3 java php rb css bak tmp pdf jpeg doc yaml sql".split()
FOLDERS = "/tmp /var/log /etc /home/user /usr/local /opt/app /srv/www ./src ./build ~/docs ~/work data logs src bin lib".split()
PEOPLE = "root anna bob www-data deploy admin jenkins maria".split()
HOSTS = "example.com server1 192.168.1.10 db.example.org web01 backup-host 10.0.0.5".split()
URLS = ("https://example.com/file.zip", "https://example.org/data.csv", "http://example.com/page.html", "https://example.com/a/b.tar.gz")
MESSAGES = ("fix typo", "add tests", "first version", "update docs", "remove old code")
VARIABLES = "HOME PATH EDITOR LANG USER SHELL MODE DEBUG".split()
ORDINALS = (("first", "1"), ("second", "2"), ("third", "3"), ("fourth", "4"), ("fifth", "5"), ("1st", "1"), ("2nd", "2"), ("3rd", "3"), ("4th", "4"))
CHOICE = re.compile(r"\(([^()]*)\)")
VALUE = re.compile(r"\{([a-z]+)(\d?)(?::([^}]*))?\}")
PLACE = re.compile(r"\{([a-z]+\d?)(#?)\}")


@lru_cache(maxsize=1)
def patterns() -> tuple[tuple[str, str], ...]:
    """Requests and commands as patterns."""
    text = (resources.files("limbeck.tasks.bash") / "everyday.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return tuple((request.strip(), command.strip()) for request, _, command in (line.partition(" => ") for line in lines))


def make_everyday(draw: random.Random) -> tuple[str, str]:
    """One request and its command."""
    request, command = draw.choice(patterns())
    request = CHOICE.sub(lambda m: draw.choice(m[1].split("|")), request)
    values: dict[str, str] = {}

    def put(match: re.Match[str]) -> str:
        name = match[1] + match[2]
        if name not in values:
            said, meant, number = _value(match[1], match[3], values, draw)
            values[name], values[f"{name}#"] = meant, number
            return said
        return values[name]

    said = " ".join(VALUE.sub(put, request).split())
    return said, PLACE.sub(lambda m: values.get(m[1] + m[2], m[0]), command)


def _value(kind: str, choices: str | None, taken: dict[str, str], draw: random.Random) -> tuple[str, str, str]:
    """What is said, what the command has, and the number of an ordinal."""
    if choices:
        said, meant = draw.choice(choices.split(",")).split("=")
        return said, meant, ""
    if kind == "nth":
        word, number = draw.choice(ORDINALS)
        return word, word, number
    fresh = next(v for v in iter(lambda: _draw(kind, draw), None) if v not in taken.values())
    if kind == "m":
        fresh = str(int(taken["n"]) + draw.randint(1, 30))
    quoted = kind == "message" or (kind in ("word", "file") and draw.random() < 0.25)
    sign = draw.choice("\"'")
    return f"{sign}{fresh}{sign}" if quoted else fresh, fresh, ""


def _draw(kind: str, draw: random.Random) -> str:
    word = draw.choice(WORDS) + (str(draw.randint(1, 99)) if draw.random() < 0.2 else "")
    made = {
        "ext": lambda: draw.choice(ENDINGS), "dir": lambda: draw.choice(FOLDERS) + (f"/{word}" if draw.random() < 0.3 else ""), "file": lambda: f"{word}.{draw.choice(ENDINGS)}",
        "name": lambda: word if draw.random() < 0.7 else f"{word}-{draw.choice(WORDS)}", "word": lambda: word if draw.random() < 0.8 else word.upper(), "n": lambda: str(draw.choice((1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 60, 90, 100, 200, 365, 500))),
        "m": lambda: "0", "user": lambda: draw.choice(PEOPLE), "host": lambda: draw.choice(HOSTS), "url": lambda: draw.choice(URLS) if draw.random() < 0.5 else f"https://{draw.choice(WORDS)}.org/{word}.{draw.choice(ENDINGS)}",
        "pid": lambda: str(draw.randint(2, 40_000)), "port": lambda: str(draw.choice((22, 80, 443, 3000, 3306, 5000, 5432, 8000, 8080, 9000))), "mode": lambda: draw.choice(("644", "755", "600", "700", "640", "775")),
        "message": lambda: draw.choice(MESSAGES), "var": lambda: draw.choice(VARIABLES),
    }  # fmt: skip
    return made[kind]()

"""What a text-to-Bash student learns from: pairs of NL2Bash (and pages of tldr and cheat sheets for the same utilities), varied.

A pair is varied by putting other names, numbers and patterns in the place of those that sentence and command share, so that a
student learns to copy rather than to remember.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from functools import lru_cache

from limbeck.data.groups import normalise, split_by_group
from limbeck.data.sources import read_source
from limbeck.errors import LimbeckError
from limbeck.tasks.bash.everyday import ENDINGS, FOLDERS, WORDS, make_everyday
from limbeck.tasks.bash.loading import load_pairs
from limbeck.tasks.bash.paraphrase import blur, paraphrase
from limbeck.tasks.pieces import Token, _stands, tokens_of

PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}")
CHOICE = re.compile(r"\{\{\[([^|\]]+)\|([^\]]+)\]\}\}")
# Tools that NL2Bash's people did not ask about and everybody else does: their pages are learnt too, with the tool named in the request.
ALSO = frozenset((
    "git docker systemctl journalctl service apt apt-get dpkg dnf yum pip npm jq tmux crontab useradd usermod userdel groupadd passwd ip ss netstat nmap lsof free vmstat uptime lsblk "
    "fdisk blkid swapon nc tcpdump iptables ufw openssl gpg sha256sum xz zstd 7z unrar parallel watch timeout nohup strace gcc make python node mysql psql sqlite3 ffmpeg convert "
    "wget curl scp sftp lscpu lsusb lspci dmesg sysctl modprobe hostnamectl timedatectl nmcli ping traceroute dig nslookup whois kill pkill killall pgrep nice renice jobs bg fg "
    "shred truncate fallocate stat file strings xxd hexdump base64 iconv column nl tac rev paste join fold fmt expand comm shuf"
).split())
SHARES = {"pool": 0.94, "dev": 0.03, "examination": 0.03}
CHANGE = 0.75  # of shared values changed in a varied pair
EVERYDAY = 5  # every fifth example is made from our own patterns
SAID_ANEW = 0.3  # of varied pairs put in other words


@lru_cache(maxsize=1)
def training_pairs() -> tuple[tuple[str, str], ...]:
    """NL2Bash's training pairs, white space as one blank."""
    return tuple((" ".join(p.utterance.split()), " ".join(p.command.split())) for p in load_pairs("train"))


@lru_cache(maxsize=1)
def page_pairs() -> tuple[tuple[str, str], ...]:
    """Pairs of tldr (common and Linux pages) and of cheat sheets for the utilities of NL2Bash's training commands and of ALSO; none where these sources are absent."""
    known = {cmd.split()[0] for _, cmd in training_pairs() if cmd.split()}
    out = []
    for source, name in (("tldr", "tldr/tldr_pairs.jsonl"), ("cheatsheets", "cheatsheets/cheat_pairs.jsonl")):
        try:
            rows = [json.loads(line) for line in read_source(source, name).decode("utf-8").splitlines()]
        except LimbeckError:
            continue
        for row in rows:
            tool = _tool(row)
            if row.get("platform", "common") in ("common", "linux") and tool in known | ALSO:
                out.append((row["nl"] if tool in known or tool in row["nl"].lower() else f"{row['nl'].rstrip('.')} with {tool}", plain_page(row["cmd"])))
    return tuple((nl, cmd) for nl, cmd in out if cmd and "\n" not in cmd)


def _tool(row: dict[str, str]) -> str:
    """The utility a page's command is about: its own page's where the command has it, else its first word that is not sudo."""
    words = row["cmd"].split()
    page = row.get("page", "")
    named = [name for name in (page, re.split("[- ]", page)[0]) if name in words[:2]]
    return (named or [w for w in words if w != "sudo"] or [""])[0] if not page or named else ""


@lru_cache(maxsize=8)
def split_pairs(part: str) -> tuple[tuple[str, str], ...]:
    """What is learnt from ("pool": with the pages) and what is kept apart of NL2Bash's training pairs ("dev", "examination"), by groups of like ones."""
    pairs = training_pairs()
    keys = [(("nl", normalise(nl)), ("cmd", cmd)) for nl, cmd in pairs]
    places = split_by_group(keys, [f"{nl} {cmd}" for nl, cmd in pairs], SHARES, "bash")
    own = tuple(pair for pair, place in zip(pairs, places, strict=True) if place == part)
    return own + page_pairs() if part == "pool" else own


def plain_page(command: str) -> str:
    """A page's command without its markup: {{[-a|--all]}} is the short option, {{path/to/file}} its last part, <file> is file."""
    command = CHOICE.sub(r"\1", command)
    command = PLACEHOLDER.sub(lambda m: m[1].split("/")[-1].split("|")[0].replace(" ", "_").rstrip(".") or "x", command)
    return " ".join(re.sub(r"<(\w+)>", r"\1", command).split())


def varied(nl: str, command: str, draw: random.Random) -> tuple[str, str]:
    """The pair with other values where both share one; unchanged where they share none."""
    shared = [t for t in dict.fromkeys(tokens_of(nl)) if t.is_value and len(t.text) > (1 if t.kind == "quoted" else 0) and any(_stands(command, at, t.text) for at in _places(command, t.text))]
    shared.sort(key=lambda t: -len(t.text))
    for number, token in enumerate(shared):
        if draw.random() > CHANGE or any(token.text in other.text for other in shared[:number]):
            continue
        fresh = _another(token, draw)
        nl, command = _replace(nl, token.text, fresh), _replace(command, token.text, fresh)
    if draw.random() < SAID_ANEW:
        nl = blur(paraphrase(nl, draw), draw)
    if draw.random() < 0.3:
        nl = nl[:1].lower() + nl[1:]
    return (nl.rstrip(" .") if draw.random() < 0.3 else nl), command


def _places(text: str, word: str) -> list[int]:
    return [m.start() for m in re.finditer(re.escape(word), text)]


def _replace(text: str, old: str, new: str) -> str:
    """Every place where `old` stands whole, from the end."""
    for at in reversed(_places(text, old)):
        if _stands(text, at, old):
            text = text[:at] + new + text[at + len(old) :]
    return text


def _another(token: Token, draw: random.Random) -> str:
    """A value of the same sort."""
    text = token.text
    if token.kind == "number" or text.lstrip("+-").isdigit():
        digits = text.lstrip("+-")
        octal = len(digits) in (3, 4) and set(digits) <= set("01234567")
        fresh = "".join(draw.choice("0124567") for _ in digits) if octal else str(draw.randint(1, 10 ** min(len(digits), 5)))
        return text[: len(text) - len(digits)] + fresh
    pattern = re.fullmatch(r"(\*?\.?)([\w-]*)(\.\w{1,5})?(\*?)", text)
    if pattern and ("." in text or "*" in text):
        name = draw.choice(WORDS) if pattern[2] else ""
        ending = f".{draw.choice(ENDINGS)}" if pattern[3] else ""
        if pattern[1].endswith("."):
            return pattern[1] + (draw.choice(ENDINGS) if not ending else name + ending) + pattern[4]
        return pattern[1] + name + ending + pattern[4]
    if "/" in text and " " not in text:
        return draw.choice(FOLDERS) + ("/" + draw.choice(WORDS) if draw.random() < 0.4 else "") + ("/" if text.endswith("/") else "")
    if re.fullmatch(r"[\w-]+", text):
        fresh = draw.choice(WORDS) + (str(draw.randint(1, 99)) if any(c.isdigit() for c in text) else "")
        return fresh.upper() if text.isupper() else fresh.capitalize() if text[:1].isupper() else fresh
    return text


def pick(pool: Sequence[tuple[str, str]], seed: int, index: int) -> tuple[str, str]:
    """The index-th pair: the pool in one drawn order after another, as it is in the first, varied in the next ones; everyday requests between."""
    draw = random.Random(f"{seed}-{index}")
    if index % EVERYDAY == EVERYDAY - 1:
        nl, command = make_everyday(draw)
        return blur(nl, draw) if draw.random() < SAID_ANEW else nl, command
    turn, place = divmod(index - index // EVERYDAY, len(pool))
    nl, command = pool[_order(len(pool), seed * 1000 + turn)[place]]
    return varied(nl, command, draw) if turn else (nl, command)


@lru_cache(maxsize=64)
def _order(size: int, seed: int) -> list[int]:
    return random.Random(seed).sample(range(size), size)

"""Makes limbeck/tasks/bash/pieces.txt: pieces of commands that are frequent in NL2Bash's training part, by byte-pair merges.

    LIMBECK_DATA=... python lab/bash_vocabulary.py [PIECES]      needs tokenizers (a development tool)

What a prompt can copy is cut out first, so that the vocabulary is not spent on names.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from limbeck.tasks.bash.pool import _places, page_pairs, training_pairs
from limbeck.tasks.pieces import _stands, tokens_of

SPLIT = r" ?-{1,2}[A-Za-z][\w-]*| ?[A-Za-z_]+| ?\d| ?[^\sA-Za-z_\d]+| "


def without_values(nl: str, command: str) -> list[str]:
    """What is left of a command between the values that its sentence has."""
    for token in sorted({t for t in tokens_of(nl) if t.is_value}, key=lambda t: -len(t.text)):
        for at in reversed(_places(command, token.text)):
            if _stands(command, at, token.text):
                command = command[:at] + "\n" + command[at + len(token.text) :]
    return [part for part in command.split("\n") if part]


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    parts = [p for nl, cmd in [*training_pairs() * 3, *page_pairs()] for p in without_values(nl, cmd)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    tokenizer.train_from_iterator(parts, trainers.BpeTrainer(vocab_size=size, min_frequency=6, limit_alphabet=100, show_progress=False))
    used = Counter(t for part in parts for t in tokenizer.encode(part).tokens)
    pieces = sorted(p for p, n in used.items() if len(p) > 1 and p.isascii() and n >= 6)
    target = Path(__file__).parents[1] / "limbeck" / "tasks" / "bash" / "pieces.txt"
    target.write_text("".join(json.dumps(p) + "\n" for p in pieces), encoding="utf-8")
    print(f"{len(pieces)} pieces, {sum(used.values()) / len(parts):.1f} a part, written to {target.name}")


main()

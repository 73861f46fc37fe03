"""Makes limbeck/tasks/python/pieces.txt: pieces of lines that are frequent in CoNaLa's training pairs and the standard library, by byte-pair merges.

    LIMBECK_DATA=... python lab/python_vocabulary.py [PIECES]      needs tokenizers (a development tool)

What a request can copy is cut out first, so that the vocabulary is not spent on names. CoNaLa's pairs count as often as the
library's statements together, so that the calls that people ask for get pieces of their own.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from limbeck.tasks.python.pool import _stands_in, _whole, code_pairs, people_pairs
from limbeck.tasks.python.reading import tokens_of_request

SPLIT = r" ?\.?[A-Za-z_]+\(?| ?\d|\n *| ?[^\sA-Za-z_\d]+| "


def without_values(nl: str, code: str) -> list[str]:
    """What is left of a line between the values that its request has."""
    for token in sorted({t for t in tokens_of_request(nl) if t.is_value}, key=lambda t: -len(t.text)):
        if _stands_in(code, token.text):
            code = re.sub(_whole(token.text), "\0", code)
    return [part for part in code.split("\0") if part]


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 2600
    people = [part for nl, code in people_pairs("pool") for part in without_values(nl, code)]
    library = [code for pairs in code_pairs(("stdlib",)) for _, code in pairs]
    times = max(1, len(library) // len(people))
    parts = people * times + library
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    tokenizer.train_from_iterator(parts, trainers.BpeTrainer(vocab_size=size, min_frequency=12, limit_alphabet=100, show_progress=False))
    used = Counter(t for part in parts for t in tokenizer.encode(part).tokens)
    line_ends = ["\n", "\n    ", "\n        "]
    pieces = sorted({p for p, n in used.items() if len(p) > 1 and p.isascii() and n >= 12} | set(line_ends))
    target = Path(__file__).parents[1] / "limbeck" / "tasks" / "python" / "pieces.txt"
    target.write_text("".join(json.dumps(p) + "\n" for p in pieces), encoding="utf-8")
    print(f"{len(pieces)} pieces from {len(people)} parts of people's lines ({times} times) and {len(library)} of the library, {sum(used.values()) / len(parts):.1f} a part, written to {target.name}")


main()

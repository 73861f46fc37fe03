"""Whether a system message is followed: tone, format and language, each checked by one of IFEval's rules on the answer.

Own system messages and requests. The split `unasked` puts the same requests without the system message and checks the same rules: what
a model meets by chance. A model that is steered does much better on `asked`.
"""

from __future__ import annotations

from typing import Any

from limbeck.records import Example, Prompt, content_id
from limbeck.tasks.ifeval.checkers import follows, follows_loosely
from limbeck.tasks.text_task import TextTask

LONGEST = 200  # tokens of an answer: an answer that is cut cannot end as it was told to
# name: (what it sets, the system message, the checkers with their arguments; all of them must hold)
SYSTEMS: dict[str, tuple[str, str, tuple[tuple[str, dict[str, Any]], ...]]] = {
    "sailor": ("tone", "You talk like an old sailor. The words aye and matey stand in everything you say.", (("keywords:existence", {"keywords": ["aye", "matey"]}),)),
    "calm": ("tone", "You are calm and write in small letters only: no capital letter ever.", (("change_case:english_lowercase", {}),)),
    "loud": ("tone", "You are excited about everything and write in capital letters only.", (("change_case:english_capital", {}),)),
    "courteous": ("tone", 'You are a courteous assistant. Finish every answer with exactly this sentence: "It was a pleasure to help."', (("startend:end_checker", {"end_phrase": "It was a pleasure to help."}),)),
    "bullets": ("format", "Answer with exactly three bullet points, each on a line of its own that begins with an asterisk, like this: * a point", (("detectable_format:number_bullet_lists", {"num_bullets": 3}),)),
    "json": ("format", "Your answers are read by a program: answer with one JSON object and nothing else.", (("detectable_format:json_format", {}),)),
    "title": ("format", "Begin every answer with a title in double angular brackets, like <<this>>.", (("detectable_format:title", {}),)),
    "no-comma": ("format", "Never use a comma in your answers.", (("punctuation:no_comma", {}),)),
    "quoted": ("format", "Put the whole of every answer in double quotation marks.", (("startend:quotation", {}),)),
    "german": ("language", "Antworte immer auf Deutsch, auch wenn die Frage in einer anderen Sprache gestellt ist.", (("language:response_language", {"language": "de"}),)),
    "spanish": ("language", "Answer in Spanish only, whatever language you are asked in.", (("language:response_language", {"language": "es"}),)),
    "french": ("language", "You speak French and no other language. Answer in French.", (("language:response_language", {"language": "fr"}),)),
}
REQUESTS = ("How do I keep tomato plants healthy?", "Why is the sky blue?", "Tell me about the city of Lisbon.", "What should I pack for a weekend in the mountains?", "How does a bicycle pump work?", "Give me advice for my first job interview.")


class SteeringTask(TextTask):
    """Every system message with every request; `followed` strictly as the answer stands, `loosely` as IFEval's loose rule has it."""

    name, measures, known_splits, limit_spreads = "steering", ("followed", "loosely"), ("asked", "unasked"), True

    def __init__(self) -> None:
        self.version = f"1-{content_id([SYSTEMS, REQUESTS], 6)}"

    def _load(self, split: str) -> list[Example]:
        found = []
        for request in REQUESTS:
            for name, (sets, system, rules) in SYSTEMS.items():
                ask = {"role": "user", "content": request}
                turns = [{"role": "system", "content": system}, ask] if split == "asked" else [ask]
                key = f"steering-{name}-{content_id(request, 6)}"
                found.append(Example(id=key, prompt=Prompt(id=key, text=request, context={"messages": turns, "sampling": {"temperature": 0.0, "max_tokens": LONGEST}}), source="steering", meta={"family": f"{sets}: {name}", "kind": name, "rules": rules, "cluster": request}))
        return found

    def judge(self, example: Example, text: str) -> dict[str, float] | str:
        """Whether every rule of the system message holds."""
        if not text.strip():
            return "empty"
        strict = all(follows(name, text, arguments) for name, arguments in example.meta["rules"])
        return {"followed": float(strict), "loosely": float(strict or all(follows_loosely(name, text, arguments) for name, arguments in example.meta["rules"]))}

"""What a model is asked. The two prompts say what the paper's two say (arXiv:2412.19260, its section on the models), in our words.

Differs: the paper calls the sign after the sentence number a pipe while its data have a space, and the one answer that its
example shows ("10 1 Prednisone ...") is not in the form it asks for. Ours name the space, and the example keeps the form.
"""

from __future__ import annotations

from limbeck.errors import LimbeckError
from limbeck.records import content_id

SLOT = "{sentences}"
EXAMPLE_SLOT = "{example}"
EXAMPLE_ID = "ms-train-1768"  # a short pharmacotherapy note of the training part
READER_VERSION = "1"  # raise it when the parser or a measure changes

_TASK = (
    "You are an experienced physician who checks clinical notes. Below is a medical narrative about one patient. It is either "
    "entirely correct or contains exactly one error.\n"
    "The narrative is given one sentence to a line; a line begins with the number of its sentence, then a space, then the sentence. "
    "Go through all sentences one by one.\n"
    "- If nothing is wrong, answer with the single word CORRECT.\n"
    "- If there is a medical error, one that concerns the treatment, the management, the cause or the diagnosis, answer with the number "
    "of the sentence that holds it, then a space, then that sentence rewritten so that it is right.\n"
    "You will need medical knowledge and reasoning to find the error and to put it right. Answer with nothing else.\n"
)
PROMPTS = {
    "p1": f"{_TASK}\n{SLOT}",
    "p2": f"{_TASK}\nAn example.\n{EXAMPLE_SLOT}\nEnd of the example. Now the narrative to check:\n\n{SLOT}",
}


def choose_prompt(prompt: str) -> tuple[str, str]:
    """(name, template) of a prompt: p1, p2, or a text of one's own with {sentences} where the note goes."""
    if prompt in PROMPTS:
        return prompt, PROMPTS[prompt]
    if SLOT not in prompt:
        raise LimbeckError(f"the prompt {prompt[:40]!r} has no place for the note", "prompt", f"name p1 or p2, or give a text with {SLOT} in it")
    return "custom", prompt


def prompt_version(name: str, template: str, layout: str) -> str:
    """Changes with every word of the prompt, with its example and with what reads the answers."""
    shown = EXAMPLE_ID if EXAMPLE_SLOT in template else ""
    return f"{READER_VERSION}.{name}.{content_id([template, shown, layout], 8)}"


def write_example(sentences: tuple[str, ...], sentence_id: int, correction: str) -> str:
    """A solved note, as p2 shows it."""
    lines = "\n".join(f"{at} {s}" for at, s in enumerate(sentences))
    return f"{lines}\nHere sentence {sentence_id} is wrong: {sentences[sentence_id]} It should read: {correction} So the answer is:\n{sentence_id} {correction}"


def fill(template: str, numbered: str, example: str = "") -> str:
    """The prompt for one note. Braces in the note or elsewhere in the template mean nothing."""
    before, _, after = template.partition(SLOT)
    return before.replace(EXAMPLE_SLOT, example) + numbered + after.replace(EXAMPLE_SLOT, example)

"""How a note is shown. Two prompts of the content of the paper's P1 and P2, in our own words; a user may bring another.

P1 asks; P2 adds one worked example from the training notes, which the caller hands in (no note is shipped).
"""

from __future__ import annotations

from limbeck.errors import LimbeckError
from limbeck.tasks.medec.loading import Note

P1 = """You are an experienced physician who reviews clinical notes. Below is a note about one patient, a sentence a line; every \
line begins with the number of its sentence. The note is either free of errors or holds exactly one medical error, about \
diagnosis, management, treatment, drug therapy or the causal organism. Check each sentence against what medicine knows.

If nothing is wrong, reply with the single word CORRECT.
If a sentence is wrong, reply with one line: its number, a space, and the whole sentence put right. Write nothing else.
{example}
{sentences}"""
EXAMPLE = """
An example. In the note
{sentences}
sentence {number} is wrong. The reply is:
{number} {correction}
End of the example.
"""


def render(note: Note, prompt: str = "p1", example: Note | None = None) -> str:
    """The text shown for a note. `prompt` is p1, p2 or a template with {sentences} in it."""
    sentences = "\n".join(f"{number} {text}" for number, text in note.sentences.items())
    if prompt in ("p1", "p2"):
        shown = ""
        if prompt == "p2":
            if example is None:
                raise LimbeckError("prompt p2 needs a worked example", "medec", "set LIMBECK_MEDEC_EXAMPLE to a CSV of training notes, or use p1")
            shown = EXAMPLE.format(sentences="\n".join(f"{n} {t}" for n, t in example.sentences.items()), number=example.error_id, correction=example.correction)
        return P1.replace("{example}", shown).replace("{sentences}", sentences)
    if "{sentences}" not in prompt:
        raise LimbeckError("the prompt has no place for the note", "--prompt-file", "write {sentences} where the numbered sentences belong")
    return prompt.replace("{sentences}", sentences)

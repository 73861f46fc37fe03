"""How a task puts its requests to those who read text, and what it takes from a talkative answer."""

from limbeck.answerer import Posed
from limbeck.records import Answer, Candidate
from limbeck.resolve import get_pose, get_task
from limbeck.testing import EchoTeacher


def test_a_rule_is_asked_with_its_table_and_its_language():
    task = get_task("cf")
    example = task.examples("people-dev", 3)[2]
    posed = get_pose(task)(example.prompt)
    (message,) = posed.context["messages"]
    assert posed.text == example.prompt.text and example.prompt.text in message["content"]
    assert all(header in message["content"] for header in example.prompt.context["table"]["headers"]) and "DateBetween" in message["content"]


def test_a_rule_is_found_in_talk():
    tidy = get_task("cf").tidy
    assert tidy("Here you are:\n```\nGreaterThan( c[1],500 )\n```\nAnything else?") == "GreaterThan(c[1], 500)"
    assert tidy("I cannot do that.") == "I cannot do that."


def test_a_command_is_asked_once_however_often_it_is_posed():
    task = get_task("bash")
    pose = get_pose(task)
    prompt = task.prompt_for("list all files")
    assert pose(pose(prompt)).context == pose(prompt).context and "list all files" in pose(prompt).context["messages"][0]["content"]


def test_who_is_posed_keeps_what_is_its_own():
    class Talker(EchoTeacher):
        def settings(self):
            return {"temperature": 0}

        def answer(self, prompts, *, k=1):
            return [Answer(prompt_id=p.id, candidates=(Candidate(text=f"```{p.context['messages'][0]['content']}```"),)) for p in prompts]

    task = get_task("bash")
    posed = Posed(Talker({}), lambda p: task.prompt_for(p.text), lambda text: text.strip("`"))
    (answer,) = posed.answer([task.prompt_for("count lines")])
    assert posed.settings() == {"temperature": 0} and not hasattr(posed, "answer_each")
    assert answer.candidates[0].text.startswith("Write one Bash command")

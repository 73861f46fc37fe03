"""OpenAI Evals files: what is registered, in which order it is asked, what counts as right. The registry here is a toy of our own."""

import asyncio
import gzip
import json
import random

import pytest

from limbeck.errors import LimbeckError
from limbeck.evaluate.examine import examine
from limbeck.records import Answer, Candidate
from limbeck.tasks.openai_evals import verdicts
from limbeck.tasks.openai_evals.modelgraded import INVALID, find_choice, read_grading
from limbeck.tasks.openai_evals.registry import Registry, find_registry
from limbeck.tasks.openai_evals.samples import as_text, asked_order, read_samples, sample_random
from limbeck.tasks.openai_evals.task import ask_with, load_openai_eval, load_openai_evals
from limbeck.tasks.openai_evals.wording import OURS, Wording, find_wording, read_wording

EVALS = """
capitals:
  id: capitals.dev.v0
  metrics: [accuracy]
capitals.dev.v0: {class: "evals.elsuite.basic.match:Match", args: {samples_jsonl: capitals.jsonl, max_tokens: 7}}
capitals-shots.dev.v0: {class: "evals.elsuite.basic.match:Match", args: {samples_jsonl: chats.jsonl, num_few_shot: 1, few_shot_jsonl: shots.jsonl}}
rivers.dev.v0: {class: "evals.elsuite.basic.includes:Includes", args: {samples_jsonl: capitals.jsonl, ignore_case: true}}
hills.dev.v0: {class: "evals.elsuite.basic.fuzzy_match:FuzzyMatch", args: {samples_jsonl: capitals.jsonl, max_tokens: 3}}
records.dev.v0: {class: "evals.elsuite.basic.json_match:JsonMatch", args: {samples_jsonl: records.jsonl}}
jokes: jokes-alias
jokes-alias: {id: jokes.dev.v0}
jokes.dev.v0: {class: "evals.elsuite.modelgraded.classify:ModelBasedClassify", args: {samples_jsonl: jokes.jsonl, modelgraded_spec: funny, eval_type: cot_classify, modelgraded_spec_args: {who: cats}}}
jokes-meta.dev.v0: {class: "evals.elsuite.modelgraded.classify:ModelBasedClassify", args: {samples_jsonl: labelled.jsonl, modelgraded_spec: funny, eval_type: classify, metaeval: true}}
jokes-many.dev.v0: {class: "evals.elsuite.modelgraded.classify:ModelBasedClassify", args: {samples_jsonl: jokes.jsonl, modelgraded_spec: many, eval_type: classify, multicomp_n: 3, sample_kwargs: {temperature: 0.4}}}
duel.dev.v0: {class: "evals.elsuite.modelgraded.classify:ModelBasedClassify", args: {samples_jsonl: duel.jsonl, modelgraded_spec: duel}}
models.dev.v0: {class: "evals.elsuite.modelgraded.classify:ModelBasedClassify", args: {samples_jsonl: jokes.jsonl, modelgraded_spec: many, multicomp_n: from_models}}
far.dev.v0: {class: "evals.elsuite.basic.match:Match", args: {samples_jsonl: "hf://somewhere"}}
odd.dev.v0: {class: "evals.elsuite.basic.match:Match", args: {samples_jsonl: capitals.jsonl, sampels: 3}}
bargain.dev.v0: {class: "evals.elsuite.bargain:Bargain"}
"""
GRADED = """
funny:
  prompt: "Is this about {who} funny? Asked: {input} Said: {completion} {{as is}}"
  choice_strings: ["Yes", "No", "Unsure"]
  choice_scores: {"Yes": 1.0, "No": 0.0, "Unsure": 0.5}
  input_outputs: {input: completion}
many:
  prompt: "Which of these {n} is best?\\n{completion}"
  choice_strings: from_n_ABC
  input_outputs: {input: completion}
  output_template: "{i_ABC}{i}. {output}\\n"
duel:
  prompt: "{completion1} or {completion2}?"
  eval_type: classify
  choice_strings: "12"
  choice_scores: from_strings
  input_outputs: {input1: completion1, input2: completion2}
"""
ROWS = {
    "capitals.jsonl": [{"input": f"Capital {i}?", "ideal": [f"City{i}", f"Town {i}"]} for i in range(9)],
    "chats.jsonl": [{"input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital?"}], "ideal": "City"}],
    "shots.jsonl": [{"sample": [{"role": "system", "name": "example_user", "content": f"Q{i}"}, {"role": "system", "name": "example_assistant", "content": f"A{i}"}]} for i in range(3)],
    "records.jsonl": [{"input": "As JSON.", "ideal": '{"a": [1, 2]}'}],
    "jokes.jsonl": [{"input": [{"role": "system", "content": "You joke."}, {"role": "user", "content": "On {cats}!"}]}, {"input": "Another."}],
    "labelled.jsonl": [{"input": "A joke", "completion": "{ha}", "choice": "Yes", "who": "dogs"}],
    "duel.jsonl": [{"input1": "First?", "input2": "Second?"}],
}


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # ~/.evals is read as well
    root = tmp_path / "checkout" / "evals" / "registry"
    for folder in ("evals", "modelgraded", "eval_sets", "data"):
        (root / folder).mkdir(parents=True)
    (root / "evals" / "toy.yaml").write_text(EVALS)
    (root / "modelgraded" / "toy.yaml").write_text(GRADED)
    (root / "eval_sets" / "toy.yaml").write_text("earth:\n  evals: [capitals, 'r*.dev.v0', bargain.dev.v0]\n")
    for name, rows in ROWS.items():
        (root / "data" / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
    return root


def load(registry, name, **more):
    return load_openai_eval(name, [registry], **more)


def said(text):
    return Answer(prompt_id="", candidates=(Candidate(text=text),))


@pytest.mark.parametrize(("text", "ideals", "right"), [
    ("Paris.", ["Paris"], True), (" Paris", ["Paris"], False), ("paris", ["Paris"], False), ("The Paris", ["Paris"], False),
    ("Parish", ["Paris"], True), ("B", ["A", "B"], True), ("", [""], True), ("x", [""], True), ("x", [], False), ("", ["x"], False),
])  # fmt: skip
def test_match_means_begins_with(text, ideals, right):
    assert verdicts.is_match(text, ideals) is right


@pytest.mark.parametrize(("text", "ideals", "ignore_case", "right"), [
    ("It is Paris!", ["Paris"], False, True), ("it is paris", ["Paris"], False, False), ("it is paris", ["Paris"], True, True),
    ("", ["x"], False, False), ("x", [""], False, True), ("x", [], True, False), ("1200", ["12"], False, True),
])  # fmt: skip
def test_includes_means_anywhere(text, ideals, ignore_case, right):
    assert verdicts.is_included(text, ideals, ignore_case) is right


@pytest.mark.parametrize(("text", "ideals", "right", "f1"), [
    ("The Eiffel-Tower!", ["eiffeltower"], True, 1.0), ("Eiffel Tower", ["the tower"], True, 2 / 3), ("a", ["the"], True, 0.0),
    ("", ["x"], False, 0.0), ("the", ["x"], False, 0.0), ("x", ["..."], False, 0.0), ("there", ["the re"], True, 0.0), ("on", ["London"], True, 0.0),
    ("big red dog", ["red cat", "big dog"], False, 0.8), ("x", [], False, 0.0), ("«quoted»", ["quoted"], True, 0.0),
])  # fmt: skip
def test_fuzzy_match_contains_either_way_once_normalised(text, ideals, right, f1):
    assert verdicts.is_fuzzy_match(text, ideals) is right and verdicts.token_f1(text, ideals) == pytest.approx(f1)


@pytest.mark.parametrize(("text", "ideals", "right"), [
    ('{"b": 2, "a": 1}', ['{"a": 1, "b": 2}'], True), ('{"a": 1}', ['{"a": 1, "b": null}'], False), ('{"a": null}', ['{"a": null}'], False),
    ("null", ["null"], False), ("[1, 2]", ["[2, 1]"], False), ("[1]", ["[1, 1]"], False), ("1", ["1.0"], True), ('"1"', ["1"], False),
    ('```json\n{"a": 1}\n```', ['{"a": 1}'], False), ("not json", ["{}"], False), ("{}", ["{}"], True), ("[]", ["{}"], False), ("true", ["1"], True), ("3", ["2", "3"], True),
])  # fmt: skip
def test_json_match_is_equal_part_by_part(text, ideals, right):
    assert verdicts.is_json_match(text, ideals) is right


@pytest.mark.parametrize(("text", "eval_type", "match", "choice"), [
    ("Yes", "classify", "starts_or_endswith", "Yes"), ("**Yes.**", "classify", "exact", "Yes"), ("yes", "classify", "starts_or_endswith", INVALID),
    ("No\nbecause\nYes", "classify_cot", "starts_or_endswith", "No"), ("No\nbecause\nYes", "cot_classify", "starts_or_endswith", "Yes"),
    ("so: Yes\n\n---\n", "cot_classify", "starts_or_endswith", "Yes"), ("I think\nit is", "cot_classify_jp", "starts_or_endswith", INVALID),
    ("It is Yes or so", "classify", "starts_or_endswith", INVALID), ("It is Yes", "classify", "endswith", "Yes"), ("Yes it is", "classify", "endswith", INVALID),
    ("Y", "classify", "include", "Yes"), ("It is Yes or so", "classify", "include", INVALID), ("Yes, not No", "classify", "starts_or_endswith", "Yes"),
    ("", "classify", "starts_or_endswith", INVALID), ("Nothing", "classify", "starts_or_endswith", "No"),
])  # fmt: skip
def test_a_choice_is_read_from_the_first_line_that_has_one(text, eval_type, match, choice):
    assert find_choice(text, eval_type, match, ["Yes", "No"]) == choice


def test_order_is_that_of_random_123_and_a_limit_cuts_afterwards(registry):
    order = list(range(9))
    random.Random(123).shuffle(order)
    task = load(registry, "capitals")
    assert asked_order(9) == order and [e.id for e in task.examples("dev")] == [f"capitals.dev.{i}" for i in order]
    assert [e.id for e in task.examples("dev", 2)] == [f"capitals.dev.{i}" for i in order[:2]]
    assert sample_random("capitals.dev.3").random() == random.Random(b"capitals.dev.3:20220722").random()
    with pytest.raises(LimbeckError, match="no split 'test'"):
        task.examples("test")


def test_a_text_becomes_one_system_message_and_sampling_is_upstream_s(registry):
    example = load(registry, "capitals").examples("dev", 1)[0]
    assert [m["role"] for m in example.prompt.context["messages"]] == ["system"]
    sent = {name: load(registry, name).examples("dev", 1)[0].prompt.context["sampling"] for name in ("capitals", "rivers.dev.v0", "hills.dev.v0", "records.dev.v0", "jokes-many.dev.v0")}
    assert sent["capitals"] == {"temperature": 0.0} and sent["rivers.dev.v0"] == {} and sent["hills.dev.v0"] == {"temperature": 0.0, "max_tokens": 3}
    assert sent["records.dev.v0"] == {"temperature": 0.0, "max_tokens": 512} and sent["jokes-many.dev.v0"]["temperature"] == 0.4 and sent["jokes-many.dev.v0"]["max_tokens"] == 1024


def test_few_shot_examples_stand_before_the_last_message(registry):
    shown = [m["content"] for m in load(registry, "capitals-shots.dev.v0").examples("dev")[0].prompt.context["messages"]]
    assert shown == ["Be brief.", "Q0", "A0", "Capital?"]


def test_aliases_sets_and_patterns_are_followed(registry):
    found = Registry([registry])
    assert found.get("jokes").name == "jokes.dev.v0" and found.get("capitals").kind == "Match" and found.get("capitals").split == "dev"
    assert [s.name for s in found.expand("earth")] == ["capitals.dev.v0", "rivers.dev.v0", "records.dev.v0", "bargain.dev.v0"]
    assert {s.name for s in found.expand("jokes*")} == {"jokes.dev.v0", "jokes-meta.dev.v0", "jokes-many.dev.v0"}
    tasks, skipped = load_openai_evals("earth", [registry])
    assert len(tasks) == 3 and "Bargain" in skipped["bargain.dev.v0"]
    assert find_registry(registry.parents[1]) == find_registry(registry.parent) == registry


def test_the_user_s_own_registry_is_read_after_those_named(registry, tmp_path):
    own = tmp_path / ".evals" / "evals"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("mine.dev.v0: {class: 'evals.elsuite.basic.match:Match', args: {samples_jsonl: x.jsonl}}")
    assert Registry([registry]).get("mine.dev.v0").registry == tmp_path / ".evals" and len(Registry().runnable()) == 1


def test_what_is_not_run_is_named_with_its_reason(registry):
    reasons = Registry([registry]).not_run()
    assert set(reasons) == {"bargain.dev.v0", "far.dev.v0", "models.dev.v0", "odd.dev.v0"}
    assert "sampels" in reasons["odd.dev.v0"] and "hf" in reasons["far.dev.v0"] and "several models" in reasons["models.dev.v0"]
    with pytest.raises(LimbeckError, match="not run here: class Bargain"):
        load(registry, "bargain.dev.v0")


@pytest.mark.parametrize(("folder", "text", "name", "message"), [
    ("evals", "capitals.dev.v0: {class: 'x:Y'}", "capitals", "registered twice"), ("evals", "a: {id: b}\nb: {id: a}", "a", "alias of itself"),
    ("evals", "a: {id: nowhere.dev.v0}", "a", r"no eval called 'nowhere.dev.v0' \(reached from 'a'\)"), ("evals", "a: {key: 3}", "a", "reserved key 'key'"),
    ("evals", "a: [1, 2", "a", "no YAML"), ("evals", "a: 3", "a", "neither a table nor"), ("evals", "a.b.c: {metrics: [x]}", "a.b.c", "has no class"),
])  # fmt: skip
def test_a_bad_registry_is_told_of(registry, folder, text, name, message):
    (registry / folder / "more.yaml").write_text(text)
    with pytest.raises(LimbeckError, match=message):
        load(registry, name)


def test_a_wrong_name_gets_the_nearest(registry):
    with pytest.raises(LimbeckError) as caught:
        load(registry, "captials")
    assert "capitals" in caught.value.fix


@pytest.mark.parametrize(("content", "message"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git LFS pointer"), (b"", "no samples"), (b'{"input": "a"}\n', "no 'ideal'"),
    (b'{"input": "a", "ideal": 3}\n', "ideal is no text"), (b'{"input": 3, "ideal": "a"}\n', "neither a text nor"), (b"{oops}\n", "no JSON"), (b"[1]\n", "no JSON object"),
    (b'{"input": "\xff", "ideal": "a"}\n', "not UTF-8"), (b'{"input": [{"role": "user"}], "ideal": "a"}\n', "neither a text nor"),
])  # fmt: skip
def test_bad_samples_are_told_of_with_their_line(registry, content, message):
    (registry / "data" / "capitals.jsonl").write_bytes(content)
    with pytest.raises(LimbeckError, match=message):
        load(registry, "capitals").examples("dev")


def test_samples_may_be_gzipped_or_a_folder_and_absent_ones_are_told_of(registry):
    data = registry / "data"
    with gzip.open(data / "a.jsonl.gz", "wt") as file:
        file.write('{"a": 1}\n')
    (data / "folder").mkdir()
    (data / "folder" / "2.jsonl").write_text('{"a": 2}\n\n')
    (data / "folder" / "1.jsonl").write_text('{"a": 1}\n')
    (data / "folder" / "notes.txt").write_text("no")
    assert read_samples(data / "a.jsonl.gz").rows == [{"a": 1}] and read_samples(data / "folder").rows == [{"a": 1}, {"a": 2}]
    (data / "b.jsonl.gz").write_bytes(b"not zipped")
    for name in ("b.jsonl.gz", "c.jsonl.zst"):
        with pytest.raises(LimbeckError):
            read_samples(data / name)
    (data / "capitals.jsonl").unlink()
    with pytest.raises(LimbeckError, match="not here"):
        load(registry, "capitals")


def test_the_version_follows_arguments_samples_and_wording(registry):
    before = {load(registry, "capitals").version, load(registry, "jokes").version}
    theirs = Wording({k: v + "!" for k, v in OURS.items()}, "upstream")
    assert load(registry, "jokes", wording=theirs).version not in before and load(registry, "capitals").version in before
    (registry / "data" / "capitals.jsonl").write_text(json.dumps({"input": "?", "ideal": "a"}) + "\n")
    assert load(registry, "capitals").version not in before


def test_wording_is_upstream_s_where_a_checkout_has_it_else_ours(registry):
    task = load(registry, "jokes")
    assert task.settings["wording"] == "ours" and load(registry, "duel.dev.v0").settings["wording"] == "none" and task.examples("dev")[0].meta["wording"] == "ours"
    file = registry.parent / "elsuite" / "modelgraded" / "classify_utils.py"
    file.parent.mkdir(parents=True)
    file.write_text("import nothing_there\nANSWER_PROMPTS = {\n" + "".join(f"    {k!r}: ' say {{choices}} '.strip(),\n" for k in OURS) + "}\n")
    found = find_wording(registry)
    assert found.whose == "upstream" and found.instruction("classify", ["A", "B"]) == 'say "A" or "B"' and load(registry, "jokes").settings["wording"] == "upstream"
    file.write_text("ANSWER_PROMPTS = {'classify': open('x').read()}\n")
    with pytest.raises(LimbeckError, match="not a plain text"):
        read_wording(file)
    file.write_text("x = 1\n")
    with pytest.raises(LimbeckError, match="answer prompts"):
        read_wording(file)


def test_the_judge_sees_question_and_answer_with_upstream_s_quirks(registry):
    seen = []

    def judge(prompts):
        seen.extend(prompts)
        return ["Funny.\nYes"] * len(prompts)

    task = load(registry, "jokes", judge=judge)
    example = next(e for e in task.examples("dev") if e.meta["sample"] == 0)
    verdict = task.score(example, said("A {cat} walks in"))
    shown = seen[0].context["messages"]
    assert len(shown) == 1 and shown[0]["role"] == "user" and shown[0]["content"].count('"Yes" or "No" or "Unsure"') == 1
    assert "about cats funny? Asked: You joke.\nUser: On {{cats}}!\n Said: A {cat} walks in {as is}\n\n" in shown[0]["content"]
    assert verdict.measures["score"] == (1.0,) and verdict.measures["counts/Yes"] == (1.0,) and seen[0].context["sampling"]["max_tokens"] == 1024
    assert example.prompt.context["messages"][1]["content"] == "On {cats}!"
    with pytest.raises(LimbeckError, match="graded by a model and none is given"):
        load(registry, "jokes").score(example, said("x"))


def test_an_unreadable_judge_is_invalid_and_worth_least_and_a_silent_one_has_failed(registry):
    task = load(registry, "jokes", judge=lambda prompts: ["who knows", None])
    verdict = task.score_all(task.examples("dev"), [said("a"), said("b")])
    assert verdict[0].measures["score"] == (0.0,) and verdict[0].measures[f"counts/{INVALID}"] == (1.0,) and verdict[1].status == "failed"
    assert task.score(task.examples("dev")[0], Answer(prompt_id="", status="refused")).status == "refused"


def test_several_completions_are_drawn_and_joined(registry):
    seen = []
    task = load(registry, "jokes-many.dev.v0", judge=lambda ps: [seen.append(p.text) or "B" for p in ps], complete=lambda ps: [f"text {i}" for i in range(len(ps))])
    assert task.score(task.examples("dev")[0], said("mine")).measures["counts/B"] == (1.0,)
    assert seen[0].startswith("Which of these 3 is best?\nA1. mine\nB2. text 0\nC3. text 1\n\n")
    duel = load(registry, "duel.dev.v0", judge=lambda ps: [seen.append(p.text) or "2" for p in ps], complete=lambda ps: [p.text.upper() for p in ps])
    assert duel.score(duel.examples("dev")[0], said("one")).measures["score"] == (2.0,) and seen[1] == "one or SECOND??"
    with pytest.raises(LimbeckError, match="needs several completions"):
        load(registry, "duel.dev.v0", judge=lambda ps: ["1"]).score(duel.examples("dev")[0], said("one"))


def test_a_metaeval_examines_the_judge_itself(registry):
    task = load(registry, "jokes-meta.dev.v0")
    example = task.examples("dev")[0]
    assert "about dogs funny? Asked: A joke Said: {ha} {as is}" in example.prompt.text and task.measures[0] == "metascore"
    assert task.score(example, said("Yes")).measures["metascore"] == (1.0,) and task.score(example, said("No")).measures["metascore"] == (0.0,)


@pytest.mark.parametrize(("change", "args", "message"), [
    ({"choice_strings": [True, False]}, {}, 'write "Yes"'), ({"choice_strings": ["A.", "B"]}, {}, "punctuation"), ({"choice_scores": {"Yes": 1}}, {}, "'No' has no score"),
    ({"choice_scores": "from_strings"}, {}, "no numbers"), ({"prompt": None}, {}, "no 'prompt'"), ({}, {"eval_type": None}, "has an eval_type"),
    ({}, {"eval_type": "clasify"}, "no eval_type 'clasify'"), ({}, {"match_fn": "near"}, "no match_fn"), ({}, {"multicomp_n": 2}, "output_template"), ({}, {"multicomp_n": "2"}, "multicomp_n '2'"),
])  # fmt: skip
def test_a_bad_grading_is_told_of_before_anything_is_asked(tmp_path, change, args, message):
    spec = {"prompt": "{input} {completion}", "choice_strings": ["Yes", "No"], "input_outputs": {"input": "completion"}} | change
    spec = {k: v for k, v in spec.items() if v is not None}
    with pytest.raises(LimbeckError, match=message):
        read_grading(spec, tmp_path, {"eval_type": "classify"} | args, Wording(dict(OURS), "ours"))


def test_a_prompt_that_asks_for_what_the_sample_lacks_is_told_of(registry):
    (registry / "data" / "labelled.jsonl").write_text('{"input": "a", "completion": "b", "choice": "Yes"}\n')
    with pytest.raises(LimbeckError, match="asks for 'who'"):
        load(registry, "jokes-meta.dev.v0").examples("dev")


def test_an_instruction_is_added_once_to_a_prompt_in_chat_form(tmp_path):
    spec = {"prompt": [{"role": "user", "content": "{input} {completion}"}], "choice_strings": "AB", "input_outputs": {"input": "completion"}}
    grading = read_grading(spec, tmp_path, {"eval_type": "classify"}, Wording({"classify": "Say {choices}."}, "ours"))
    for _ in range(2):
        assert grading.question({"input": "i"}, {"completion": "c"}, "")[0]["content"] == 'i c\n\nSay "A" or "B".'
    assert spec["prompt"][0]["content"] == "{input} {completion}"


def test_chats_are_rendered_for_a_judge():
    assert as_text([{"role": "user", "content": "alone"}]) == "alone"
    chat = [{"role": "system", "content": "Be"}, {"role": "system", "name": "example_user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert as_text(chat) == "Be\nUser: q\nAssistant: a\n"


def test_boostrap_std_is_the_standard_error():
    values = [1.0] * 80 + [0.0] * 120
    assert verdicts.boostrap_std(values) == pytest.approx((0.4 * 0.6 / 200) ** 0.5, rel=0.08) and verdicts.boostrap_std([1.0]) != verdicts.boostrap_std([1.0])


class Fixed:
    name, parameters = "fixed", None

    def __init__(self, text):
        self.text = text

    def answer(self, prompts, *, k=1):
        return [said(self.text) for _ in prompts]


def test_a_judge_may_be_asked_inside_a_running_loop_and_nested_loops_do_not_clash():
    class Looping(Fixed):
        def answer(self, prompts, *, k=1):
            return asyncio.run(self._later(prompts))

        async def _later(self, prompts):
            return [said(self.text), Answer(prompt_id="", status="failed")]

    async def outer():
        return ask_with(Looping("B"))([None, None])

    assert asyncio.run(outer()) == ask_with(Looping("B"))([None, None]) == ["B", None]


def test_an_examination_gives_upstream_s_own_metrics(registry):
    task = load(registry, "capitals")
    scores = {s["name"]: s for s in examine(task, Fixed("City3 of course"), task.examples("dev"), split="dev", k=1)["scores"]}
    assert scores["upstream: accuracy"]["value"] == pytest.approx(1 / 9) == scores["accuracy"]["value"] and scores["upstream: boostrap_std"]["value"] > 0
    hills = load(registry, "hills.dev.v0")
    assert {"upstream: f1_score", "f1_score"} <= {s["name"] for s in examine(hills, Fixed("Town 2"), hills.examples("dev"), split="dev", k=1)["scores"]}
    jokes = load(registry, "jokes", judge=ask_with(Fixed("Unsure")))
    scores = {s["name"]: s["value"] for s in examine(jokes, Fixed("ha"), jokes.examples("dev"), split="dev", k=1)["scores"]}
    assert scores["upstream: counts/Unsure"] == 2 and scores["upstream: score"] == 0.5 and "upstream: counts/Yes" not in scores

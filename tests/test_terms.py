"""Terms: the registry, whose terms a name is under, what joins, what the gates stop and which record they name."""

import gzip
import json
import re
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from limbeck import terming
from limbeck.catalog import families, terms
from limbeck.catalog.terms import Binding, Student, gate, join, origin, read_binding
from limbeck.errors import LimbeckError
from limbeck.records import Origin

QWEN, LLAMA3, LLAMA31 = origin("generator", "hf:Qwen/Qwen2.5-7B-Instruct"), origin("generator", "hf:meta-llama/Meta-Llama-3-8B-Instruct"), origin("generator", "hf:meta-llama/Llama-3.1-8B-Instruct")
JUDGE, OWN = origin("judge", "openai:gpt-4o"), origin("generator", "generator")
DOCS = Path(__file__).resolve().parents[1] / "docs" / "terms.md"


def dataset(folder, records, origins):
    """A dataset's folder as the distill step leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "origins.json").write_text(json.dumps([asdict(o) for o in origins]))
    (folder / "data.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in records).encode()))
    return folder


# --- whose terms ---

NAMES = [
    ("openai:gpt-4o", "openai"), ("openai:gpt-4o-mini-2024-07-18", "openai"), ("openai:o3-mini", "openai"), ("ft:gpt-4o-mini:org::x", "openai"), ("anthropic/claude-sonnet-4", "anthropic"), ("gemini-2.5-pro", "gemini-api"), ("grok-3-mini", "xai"),
    ("hf:meta-llama/Llama-2-7b-chat-hf", "llama-2"), ("hf:meta-llama/Meta-Llama-3-8B", "llama-3"), ("meta-llama/llama-3-8b-instruct", "llama-3"), ("hf:meta-llama/Llama-3.1-8B-Instruct", "llama-3.1"), ("llama3.1:8b", "llama-3.1"),
    ("/models/Meta-Llama-3.1-405B-Instruct-FP8/", "llama-3.1"), ("Llama-3.2-1B", "llama-3.2"), ("llama-3.3-70b-versatile", "llama-3.3"), ("Llama-4-Scout-17B-16E-Instruct", "llama-4"), ("bartowski/Meta-Llama-3-8B-Instruct-Q4_K_M.gguf", "llama-3"),
    ("hf:deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "llama-3.1+mit"), ("hf:deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "llama-3.3+mit"), ("deepseek-ai/DeepSeek-R1", "mit"), ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "apache-2.0+mit"),
    ("deepseek-ai/DeepSeek-V3", "deepseek"), ("deepseek-ai/DeepSeek-V3-0324", "mit"), ("google/gemma-2-9b-it", "gemma"), ("google/gemma-4-31b-it", "apache-2.0"), ("Qwen/Qwen2.5-72B-Instruct", "qwen"), ("Qwen/Qwen2.5-7B-Instruct-AWQ", "apache-2.0"),
    ("Qwen/Qwen2.5-3B", "qwen-research"), ("Qwen/Qwen2-72B", "tongyi-qianwen"), ("Qwen/Qwen3-8B", "apache-2.0"), ("builtin:smollm2-135m", "apache-2.0"), ("hf:HuggingFaceTB/SmolLM2-1.7B-Instruct", "apache-2.0"), ("mistralai/Mistral-7B-Instruct-v0.3", "apache-2.0"),
    ("Mistral-Large-Instruct-2411", "mistral-research"), ("microsoft/Phi-3-mini-4k-instruct", "mit"), ("allenai/OLMo-2-1124-7B-Instruct", "apache-2.0"), ("CohereForAI/c4ai-command-r-plus", "cohere-nc"), ("openai/gpt-oss-120b", "apache-2.0"), ("xai-org/grok-1", "apache-2.0"),
    ("generator", "own"), ("builtin:cf", "own"), ("baseline:nearest", "own"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "ids"), NAMES, ids=[n[0] for n in NAMES])
def test_a_model_that_is_known_by_name_is_under_its_terms(model, ids):
    assert origin("generator", model).terms == ids


UNKNOWN = ["tiny-model", "deepseek-chat", "mistral-large-latest", "hf:someone/my-llama", "qwen-max", "gpt4all-j", "hf:a/mistral-7b-openorca", "hf:someone/cf", "generator-7b", "hf:x/generator", "file:rows.jsonl", "runs/none/expert", "", "gpt-", "llama-9", "mygpt-4o"]


@pytest.mark.parametrize("model", UNKNOWN)
def test_a_name_that_shows_nothing_is_unknown_and_never_guessed(model):
    assert origin("generator", model).terms == "unknown"


@pytest.mark.parametrize(("model", "family"), [("NousResearch/Hermes-3-Llama-3.1-8B", "llama-3.1"), ("cognitivecomputations/dolphin-2.9-llama3-8b", "llama-3"), ("nvidia/Llama-3.1-Nemotron-70B-Instruct", "llama-3.1"), ("x/gemma-2-9b-it-SimPO", "gemma")])
def test_a_model_made_from_a_family_owes_that_family_and_is_unknown_beside(model, family):
    assert set(origin("generator", model).terms.split("+")) == {family, "unknown"}
    assert origin("generator", model, "apache-2.0").terms.split("+") == ["apache-2.0", family]  # said: the rest is no longer unknown, the family's terms stay


def test_a_statement_adds_to_what_a_name_shows_and_never_lightens_it():
    assert origin("generator", "openai:gpt-4o", "mit").terms == "mit+openai"
    assert origin("generator", "openai:secret-model", "mit").terms == "mit"
    with pytest.raises(LimbeckError, match="no terms called 'apache-3'") as caught:
        origin("generator", "openai:secret-model", "apache-3")
    assert "apache-2.0" in caught.value.fix


def test_people_without_a_licence_are_unstated_and_with_one_are_under_it():
    assert origin("prompt", "people:medec").terms == "unstated"
    assert origin("prompt", "people:medec", "CC BY 4.0").terms == "cc-by-4.0"


def test_every_licence_of_our_sources_is_catalogued():
    from limbeck.data.sources import list_sources

    found = {s.licence: families.match_licence(s.licence) for s in list_sources()}
    assert len(found) > 5 and all(found.values()), found
    assert found["CC BY-NC 4.0: private use only"] == ("cc-by-nc-4.0",) and found["not stated: measure, do not ship"] == ("unstated",)


@pytest.mark.parametrize(("host", "ids"), [("", ""), ("localhost", ""), ("127.0.0.1", ""), ("10.1.2.3", ""), ("gpu-7", ""), ("[::1]", ""), ("api.x.ai", "+xai"), ("my.openai.azure.com", "+openai"), ("api.together.xyz", "+hosted"), ("8.8.8.8", "+hosted"), ("notapi.openai.com.evil.net", "+hosted")])
def test_an_open_model_behind_a_server_is_under_the_hosts_terms_too(host, ids):
    assert origin("generator", "openai:qwen3-8b", host=host).terms == "apache-2.0" + ids


def test_an_origin_carries_the_date_and_hash_of_its_terms():
    found = origin("logits", "hf:deepseek-ai/DeepSeek-R1-Distill-Llama-8B", revision="abc")
    assert found.revision == "abc" and found.terms_date.startswith("2024-07-23") and [len(h) for h in found.terms_sha256.split("+")] == [64, 64]


# --- the registry ---


def test_every_entry_is_whole_and_says_where_it_was_read():
    for t in terms.list_terms():
        assert t.title and (not t.source or t.source.startswith("https://"))
        assert bool(t.text_sha256) == bool(t.copy) and (t.text_sha256 == "" or re.fullmatch("[0-9a-f]{64}", t.text_sha256))
        assert t.id in ("own", "unknown", "unstated", "hosted") or (t.verified and t.text_sha256) or (not t.verified and t.quoted_from and not t.text_sha256)
        assert not t.source or re.fullmatch(r"\d{4}-\d\d-\d\d", t.read_on)
        assert all(re.compile(p) for p in (*t.models, *t.derived))


WRONG = [("titel = 'x'", "unknown key 'titel'"), ("title = 'x'", "train cannot be None"), ("title = 'x'\n[effects]\ntrain = 'maybe'", "train cannot be 'maybe'"), ("title = 'x'\n[effects]\ntrain = 'any'\nprefix = 'L'", "unknown effect 'prefix'"), ("title = 'x'\n[effects]\ntrain = 'same_family'", "needs 'family'"), ("title = ", "no TOML")]


@pytest.mark.parametrize(("text", "what"), WRONG, ids=[w[1] for w in WRONG])
def test_a_wrong_file_of_terms_is_an_error_that_names_the_key(text, what):
    with pytest.raises(LimbeckError, match=what):
        families.parse_terms("x", text, "x.toml")


def test_a_users_own_terms_are_known_beside_ours(tmp_path, monkeypatch):
    (tmp_path / "acme.toml").write_text('title = "ACME model licence"\nmodels = ["acme-.*"]\n[effects]\ntrain = "any"\nname_prefix = "Acme"\n')
    found = families.load_terms(str(tmp_path))
    assert found["acme"].effects.name_prefix == "Acme" and "mit" in found
    with pytest.raises(LimbeckError, match="no terms here"):
        families.load_terms(str(tmp_path / "none"))


# --- the join and the gates ---


def ten_thousand(odd: Origin, at: int = 7_123) -> Binding:
    return join((f"r{i}", (QWEN, odd) if i == at else (QWEN,)) for i in range(10_000))


def test_one_llama_3_record_in_ten_thousand_stops_another_student_and_is_named():
    binding = ten_thousand(LLAMA3)
    with pytest.raises(LimbeckError) as caught:
        gate(binding, "train", Student(name="expert"))
    text = str(caught.value)
    assert "llama-3 (Meta Llama 3 Community License Agreement)" in text and "record r7123" in text and "hf:meta-llama/Meta-Llama-3-8B-Instruct" in text and "1 of 10,000 records" in text
    assert "drop this record" in text and "--accept-terms llama-3" in text and len(text.splitlines()) == 3
    assert gate(binding, "train", Student(family="llama-3", name="expert")).prefixes == ("Llama 3",)
    for other in ("llama-3.1", "llama-2", "own"):
        with pytest.raises(LimbeckError, match="stop this training"):
            gate(binding, "train", Student(family=other))


def test_one_llama_31_record_passes_training_and_demands_the_name_at_export():
    binding = ten_thousand(LLAMA31)
    assert gate(binding, "train", Student(name="expert")).displays == ("Built with Llama",)
    for name in ("expert", "llama-expert", "My-Llama", ""):
        with pytest.raises(LimbeckError, match='begins with "Llama"') as caught:
            gate(binding, "export", Student(name=name))
        assert "record r7123" in caught.value.where and 'terms.name = "Llama-' in caught.value.fix
    found = gate(binding, "export", Student(name="Llama-expert"))
    assert "Llama 3.1 is licensed under" in found.notices[0] and any("700,000,000" in line for line in found.lines())


def test_the_longer_of_two_prefixes_serves_both():
    binding = join([("a", (LLAMA3,)), ("b", (LLAMA31,))])
    with pytest.raises(LimbeckError, match='begins with "Llama 3"'):
        gate(binding, "export", Student(family="llama-3", name="Llama-expert"))
    assert gate(binding, "export", Student(family="llama-3", name="Llama-3-expert"))


def test_judges_and_labellers_bind_like_generators():
    with pytest.raises(LimbeckError, match="compete with OpenAI") as caught:
        gate(join([("r1", (QWEN,)), ("r2", (QWEN, JUDGE))]), "train", Student())
    assert "record r2: judge openai:gpt-4o" in caught.value.where
    with pytest.raises(LimbeckError, match="compete with Anthropic"):
        gate(join([("r1", (QWEN, origin("labeller", "openai:claude-3-haiku")))]), "train", Student())


@pytest.mark.parametrize("odd", [origin("generator", "openai:some-model"), origin("prompt", "people:forum"), origin("generator", "openai:qwen3-8b", host="api.somewhere.com")], ids=["unknown", "unstated", "hosted"])
def test_what_no_terms_say_is_refused_until_accepted(odd):
    binding, name = ten_thousand(odd), odd.terms.split("+")[-1]
    with pytest.raises(LimbeckError) as caught:
        gate(binding, "train", Student())
    assert "record r7123" in caught.value.where and f"--accept-terms {name}" in caught.value.fix
    assert gate(binding, "train", Student(), [name]).accepted[0].startswith(f"{name} on 2")


def test_a_record_that_names_nobody_is_unknown():
    with pytest.raises(LimbeckError, match="unknown") as caught:
        gate(join([("r1", (QWEN,)), ("r2", ())]), "train", Student())
    assert "record r2" in caught.value.where


def test_accepting_lifts_the_refusal_that_is_named_and_no_other_and_no_name():
    binding = join([("a", (LLAMA3, JUDGE))])
    with pytest.raises(LimbeckError, match="llama-3") as caught:
        gate(binding, "train", Student(), ["openai"])
    assert "Also refused" not in caught.value.fix
    with pytest.raises(LimbeckError) as caught:
        gate(binding, "train", Student())
    assert "Also refused: openai" in caught.value.fix
    gate(binding, "train", Student(), ["openai", "llama-3"])
    with pytest.raises(LimbeckError, match="begins with"):
        gate(binding, "export", Student(name="x"), ["openai", "llama-3"])
    with pytest.raises(LimbeckError, match="no terms called 'opnai'") as caught:
        gate(binding, "train", Student(), ["opnai"])
    assert "openai" in caught.value.fix


def test_no_commercial_use_passes_training_and_is_refused_at_export_until_accepted():
    binding = join([("a", (origin("generator", "CohereForAI/c4ai-command-r-v01"),)), ("b", (QWEN,))])
    gate(binding, "train", Student())
    gate(binding, "serve", Student())
    with pytest.raises(LimbeckError, match="no commercial use"):
        gate(binding, "export", Student(name="x"))
    assert gate(binding, "export", Student(name="x"), ["cohere-nc"]).noncommercial == ("cohere-nc",)


def test_terms_that_forbid_training_are_refused():
    with pytest.raises(LimbeckError, match="may not train other models"):
        gate(join([("a", (origin("generator", "LGAI-EXAONE/EXAONE-3.5-7.8B-Instruct"),))]), "train", Student())


def test_weights_a_student_starts_from_bind_though_they_are_no_record():
    binding = join([("a", (OWN,))]).join_origin("weights hf:meta-llama/Llama-3.2-1B", origin("base", "hf:meta-llama/Llama-3.2-1B"))
    assert binding.records == 1
    with pytest.raises(LimbeckError, match='begins with "Llama"') as caught:
        gate(binding, "export", Student(family=terms.family_of("hf:meta-llama/Llama-3.2-1B"), name="x"))
    assert caught.value.where.startswith("weights hf:meta-llama/Llama-3.2-1B: base")


def test_the_join_counts_each_record_once_and_remembers_the_first():
    binding = join([("a", (QWEN,)), ("b", (LLAMA31, origin("rewriter", "llama3.1:70b"))), ("c", (LLAMA31,)), ("d", ())])
    found = {b.terms.id: (b.records, b.first) for b in binding.bound()}
    assert found == {"unknown": (1, "d"), "llama-3.1": (2, "b"), "apache-2.0": (1, "a")} and binding.records == 4
    effects = {(e.kind, e.terms): (e.value, e.first) for e in binding.effects()}
    assert effects["train", "unknown"] == ("unknown", "d") and effects["name_prefix", "llama-3.1"] == ("Llama", "b") and effects["users_limit", "llama-3.1"] == (700_000_000, "b")


def test_the_order_of_joining_does_not_change_what_binds():
    first, second = join([("a", (QWEN,)), ("b", (LLAMA31,))]), join([("c", (JUDGE, QWEN)), ("d", (LLAMA31,))])
    left, right = first.join(second), second.join(first)
    assert {b.terms.id: b.records for b in left.bound()} == {b.terms.id: b.records for b in right.bound()} == {"llama-3.1": 2, "apache-2.0": 2, "openai": 1}
    assert left.records == right.records == 4


def test_a_million_records_are_joined_in_seconds():
    began = time.process_time()
    binding = join((str(i), (QWEN, JUDGE)) for i in range(200_000))
    assert binding.bound()[0].records == 200_000 and time.process_time() - began < 2


# --- on disk, and down the generations ---


def test_a_binding_survives_its_file_and_a_broken_file_is_an_error(tmp_path):
    binding = ten_thousand(LLAMA3).accept(["llama-3"], "2026-01-02")
    binding.save(tmp_path / "terms.json")
    again = Binding.load(tmp_path / "terms.json")
    assert (again.seen, again.groups, again.records, again.accepted, again.effects()) == (binding.seen, binding.groups, binding.records, binding.accepted, binding.effects())
    assert again.to_dict() == binding.to_dict()
    found = json.loads((tmp_path / "terms.json").read_text())
    assert found["accepted"] == [{"id": "llama-3", "date": "2026-01-02"}] and "no legal advice" in found["mind"]
    for broken in ("{", "[]", "{}", json.dumps({**found, "format": 9}), json.dumps({**found, "groups": [{"by": [7], "records": 1, "first": "a"}]})):
        (tmp_path / "terms.json").write_text(broken)
        with pytest.raises(LimbeckError):
            Binding.load(tmp_path / "terms.json")


def test_terms_that_changed_since_bind_as_they_were_read():
    binding = ten_thousand(LLAMA31)
    old = replace(binding.terms("llama-3.1"), version="3.0-old", effects=families.Effects(train="forbidden"))
    with pytest.raises(LimbeckError, match="may not train other models"):
        gate(replace(binding, snapshots={**binding.snapshots, "llama-3.1": old}), "train", Student())
    gone = replace(old, id="gone")
    lost = Binding.from_dict(replace(join([("a", (OWN,))]), seen=(replace(OWN, terms="gone"),), snapshots={"gone": gone}).to_dict())
    assert lost.bound()[0].terms.effects.train == "forbidden"  # an id that the catalogue no longer has


def test_a_third_generation_still_owes_the_first_ones_name(tmp_path):
    data = dataset(tmp_path / "one" / "distill", [{"id": "a", "by": [0]}, {"id": "b", "by": [1]}], [QWEN, LLAMA31])
    for number, generation in enumerate(("one", "two", "three")):
        expert = tmp_path / generation / "expert"
        terms.write_terms(expert, read_binding(data), date="2026-01-02")
        with pytest.raises(LimbeckError, match='begins with "Llama"'):
            gate(Binding.load(expert / "terms.json"), "export", Student(name="tiny"))
        assert "Built with Llama" in (expert / "NOTICE").read_text()
        teacher = origin("generator", str(expert))
        assert teacher.terms == "own"
        origins = [teacher, *terms.inherited(expert)]
        assert len(origins) == 3 + number and {"llama-3.1", "apache-2.0", "own"} <= {o.terms for o in origins}
        data = dataset(tmp_path / f"after-{generation}" / "distill", [{"id": f"{generation}-1", "by": list(range(len(origins)))}], origins)
    with pytest.raises(LimbeckError) as caught:
        gate(read_binding(data), "export", Student(name="tiny"))
    assert "record three-1" in caught.value.where and "Llama-3.1" in caught.value.where


def test_an_expert_is_known_under_every_name_it_goes_by(tmp_path, monkeypatch):
    binding = join([("a", (LLAMA31,))]).join_origin("weights", origin("base", "hf:meta-llama/Meta-Llama-3-8B"))
    terms.write_terms(tmp_path / "run" / "expert", binding)
    for model in (tmp_path / "run", tmp_path / "run" / "expert", f"hf:{tmp_path / 'run' / 'expert'}"):
        assert [o.terms for o in terms.lineage("generator", str(model))] == ["own", "llama-3.1", "llama-3"]
        assert terms.family_of(str(model)) == "llama-3"  # that of the weights it started from
    monkeypatch.chdir(tmp_path)
    assert terms.lineage("base", "run")[0].terms == "own"
    assert [o.terms for o in terms.lineage("generator", "openai:gpt-4o")] == ["openai"]


def test_weights_of_an_expert_bring_all_that_it_owes(tmp_path):
    terms.write_terms(tmp_path, join([("a", (LLAMA31,))]))
    binding = join([("b", (OWN,))]).join_origin("weights", *terms.lineage("base", str(tmp_path)))
    with pytest.raises(LimbeckError, match='begins with "Llama"'):
        gate(binding, "export", Student(name="x"))


def test_an_acceptance_keeps_the_day_it_was_made(tmp_path):
    binding = join([("a", (JUDGE,))])
    terms.write_terms(tmp_path, binding, ["openai"], "2026-01-02")
    terms.write_terms(tmp_path, binding, ["openai", "mit"], "2026-03-04")
    assert [(a.id, a.date) for a in Binding.load(tmp_path / "terms.json").accepted] == [("openai", "2026-01-02"), ("mit", "2026-03-04")]


def test_records_that_do_not_say_who_are_under_all_origins_of_their_set(tmp_path):
    binding = read_binding(dataset(tmp_path, [{"id": "a"}, {"id": "b", "by": [1]}, {"id": "c", "by": []}], [QWEN, JUDGE]))
    assert {b.terms.id: (b.records, b.first) for b in binding.bound()} == {"apache-2.0": (1, "a"), "openai": (2, "a"), "unknown": (1, "c")}


def test_a_dataset_that_cannot_be_read_is_an_error_that_names_the_line(tmp_path):
    dataset(tmp_path, [{"id": "a", "by": [0]}, {"id": "b", "by": [2]}], [QWEN])
    with pytest.raises(LimbeckError, match="an origin that is not in the list") as caught:
        read_binding(tmp_path)
    assert "line 2" in caught.value.where
    (tmp_path / "data.jsonl.gz").write_bytes(gzip.compress(b'{"id": "a", "by": [0]}\n{"id"'))
    with pytest.raises(LimbeckError, match="no JSON"):
        read_binding(tmp_path)
    (tmp_path / "data.jsonl.gz").write_bytes(gzip.compress(b'{"id": "a"}\n' * 1000)[:-9])
    with pytest.raises(LimbeckError, match="cannot be read"):
        read_binding(tmp_path)
    (tmp_path / "origins.json").unlink()
    with pytest.raises(LimbeckError, match="nothing says who made this set"):
        read_binding(tmp_path)


def test_what_is_owed_is_written_beside_the_weights(tmp_path):
    binding = join([("a", (LLAMA31, origin("prompt", "people:medec", "CC BY 4.0"))), ("b", (origin("generator", "google/gemma-2-9b-it"),))])
    owed = terms.write_terms(tmp_path, binding, ["openai"], "2026-01-02")
    notice, pointer = (tmp_path / "NOTICE").read_text(), (tmp_path / "LICENSES" / "llama-3.1.txt").read_text()
    assert "Built with Llama" in notice and "Gemma is provided under" in notice and "people:medec" in notice and "openai on 2026-01-02" in notice and "not legal advice" in notice
    assert terms.get_terms("llama-3.1").text_sha256 in pointer and "https://" in pointer and len(pointer) < 1000  # a pointer, not the text
    assert {p.name for p in (tmp_path / "LICENSES").iterdir()} == {"llama-3.1.txt", "gemma.txt", "cc-by-4.0.txt"}
    assert owed.passed_on == ("gemma", "llama-3.1") and Binding.load(tmp_path / "terms.json").accepted[0].id == "openai"


def test_a_card_says_who_had_a_hand_and_what_follows():
    text = terms.paragraph([LLAMA31, JUDGE])
    assert "judge openai:gpt-4o (openai, 2025-05-31)" in text and "gated by openai" in text and 'begins with "Llama"' in text and "not legal advice" in text
    assert terms.paragraph([]) == ""


# --- the verb ---


def limbeck(*arguments, **kwargs):
    return subprocess.run([sys.executable, "-m", "limbeck", "terms", *map(str, arguments)], capture_output=True, text=True, **kwargs)


def a_run(folder):
    data = dataset(folder / "distill", [{"id": f"r{i}", "by": [0, 1] if i == 3 else [0]} for i in range(20)], [QWEN, LLAMA3])
    (folder / "recipe.toml").write_text('[recipe]\nname = "tiny"\n')
    terms.write_terms(folder / "expert", read_binding(data), ["llama-3"], "2026-01-02")
    return folder


def test_the_verb_names_the_record_that_binds(tmp_path, capsys):
    terming.show_terms(str(a_run(tmp_path)))
    out = capsys.readouterr().out
    assert "record r3: generator hf:meta-llama/Meta-Llama-3-8B-Instruct, 1 of 20 records" in out.replace("\n         ", " ") and "llama-3 on 2026-01-02" in out and "not legal advice" in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_verb_writes_json_and_nothing_else(tmp_path, capsys):
    terming.show_terms(str(a_run(tmp_path)), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["acts"]["train"]["passes"] is False and found["expert"]["acts"]["train"]["passes"] is True and found["expert"]["student"]["name"] == "tiny"
    assert found["data"]["terms"]["llama-3"]["first_record"] == "r3" and found["data"]["acts"]["train"]["where"].startswith("record r3")


def test_accepting_on_an_expert_is_recorded_in_its_folder(tmp_path, capsys):
    terming.show_terms(str(a_run(tmp_path)), accepted=["openai"])
    assert [a.id for a in Binding.load(tmp_path / "expert" / "terms.json").accepted] == ["llama-3", "openai"]
    capsys.readouterr()


def test_the_records_under_terms_are_a_list_for_opting_out(tmp_path):
    from limbeck.data.opt_out import OptOut

    lines = list(terming.list_records(str(a_run(tmp_path / "run")), "llama-3"))
    (tmp_path / "drop.txt").write_text("\n".join(lines))
    dataset(tmp_path / "two" / "distill", [{"id": i, "by": [0]} for i in ("a", "a~2", "b")], [LLAMA3])
    assert list(terming.list_records(str(tmp_path / "two"), "llama-3")) == ["id:a", "id:b"]  # a request with all its answers
    assert lines == ["id:r3"] and OptOut.load(tmp_path / "drop.txt").objection("r3") == "id"
    with pytest.raises(LimbeckError, match="no record here is under 'gemma'"):
        list(terming.list_records(str(tmp_path / "run"), "gemma"))
    with pytest.raises(LimbeckError, match="no records here"):
        list(terming.list_records("openai:gpt-4o", "openai"))


@pytest.mark.parametrize(("model", "word"), [("openai:gpt-4o", "no competing"), ("hf:meta-llama/Llama-3.1-8B-Instruct", "Built with Llama"), ("builtin:smollm2-135m", "allowed"), ("builtin:cf", "own"), ("generator", "own"), ("hf:who/knows", "unknown")])
def test_the_verb_says_what_a_models_outputs_may_be_used_for(model, word, capsys):
    terming.show_terms(model)
    out = capsys.readouterr().out
    assert word in " ".join(out.split()) and max(map(len, out.splitlines())) <= 100


def test_the_list_fits_the_screen_and_names_all(capsys):
    terming.show_list()
    out = capsys.readouterr().out
    assert all(t.id in out for t in terms.list_terms()) and max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [(), ("./none",), ("--bill", "xml", "openai:gpt-4o"), ("--hash-text", "none.txt"), ("--accept-terms", "nope", "generator"), (".",)])
def test_wrong_usage_of_the_verb_is_three_lines_and_exit_code_2(arguments, tmp_path):
    out = limbeck(*arguments, cwd=tmp_path)
    lines = out.stderr.rstrip().splitlines()
    assert out.returncode == 2 and out.stdout == "" and len(lines) == 3 and lines[0].startswith("error: ") and "fix:" in lines[2]


def test_a_text_is_hashed_for_an_opt_out_list():
    from limbeck.data.opt_out import hash_text

    out = limbeck("--hash-text", "-", input=" my  words\n")
    assert out.returncode == 0 and out.stdout == f"sha256:{hash_text('my words')}\n"


def test_the_page_shows_the_registry_as_it_is():
    text = DOCS.read_text(encoding="utf-8")
    assert text.split("<!-- table -->\n")[1].rstrip("\n") == terming.terms_table()

"""Bills of materials: what SPDX 3.0.1 and CycloneDX 1.6 require of a document's structure, and that equal bindings give equal documents."""

import json
import re
import uuid

import pytest

from limbeck import terming
from limbeck.catalog.bill import CONTEXT, NO_ASSERTION, cyclonedx, spdx, write_bill
from limbeck.catalog.terms import Binding, join, origin
from limbeck.errors import LimbeckError

TIME = "2026-01-02T03:04:05Z"
LLAMA, JUDGE, PEOPLE = origin("generator", "hf:meta-llama/Llama-3.1-8B-Instruct", revision="abc"), origin("judge", "openai:gpt-4o", host="api.openai.com"), origin("prompt", "people:medec", "CC BY 4.0")
QWEN = origin("generator", "hf:Qwen/Qwen2.5-7B-Instruct")


def a_binding() -> Binding:
    binding = join([("a", (QWEN,)), ("b", (LLAMA, JUDGE, PEOPLE)), ("c", (QWEN,))])
    return binding.join_origin("weights builtin:smollm2-135m", origin("base", "builtin:smollm2-135m")).accept(["openai"], "2026-01-02")


def test_an_spdx_document_has_what_the_standard_requires():
    document = spdx(a_binding(), "Llama-tiny", TIME)
    graph = document["@graph"]
    creation = [e for e in graph if e["type"] == "CreationInfo"]
    elements = {e["spdxId"]: e for e in graph if e["type"] != "CreationInfo"}
    assert document["@context"] == CONTEXT and len(creation) == 1 and len(elements) == len(graph) - 1  # ids are unique
    assert creation[0]["specVersion"] == "3.0.1" and creation[0]["created"] == TIME and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", TIME)
    assert all(elements[agent]["type"] == "SoftwareAgent" for agent in creation[0]["createdBy"])
    assert all(e["creationInfo"] == creation[0]["@id"] for e in elements.values())
    described = next(e for e in elements.values() if e["type"] == "SpdxDocument")
    assert set(described["element"]) == set(elements) - {described["spdxId"]} and described["rootElement"][0] in elements
    for e in elements.values():
        if e["type"] == "Relationship":
            assert e["from"] in elements and e["to"] and all(t in elements or t == NO_ASSERTION for t in e["to"]) and e["relationshipType"]
        if e["type"] in ("ai_AIPackage", "dataset_DatasetPackage", "SoftwareAgent", "SpdxDocument"):
            assert e["name"]
        assert not [k for k, v in e.items() if v in ("", None, [])]


def test_every_package_of_an_spdx_document_has_one_declared_and_one_concluded_licence():
    graph = spdx(a_binding(), "Llama-tiny", TIME)["@graph"]
    packages = [e["spdxId"] for e in graph if e["type"] in ("ai_AIPackage", "dataset_DatasetPackage")]
    for how in ("hasDeclaredLicense", "hasConcludedLicense"):
        assert sorted(e["from"] for e in graph if e.get("relationshipType") == how) == sorted(packages)
    assert len(packages) == 2 + 5


def test_an_spdx_document_says_who_trained_on_what_and_under_which_terms():
    graph = spdx(a_binding(), "Llama-tiny", TIME)["@graph"]
    by_id = {e["spdxId"]: e for e in graph if "spdxId" in e}
    told = {(by_id[e["from"]]["name"], e["relationshipType"], by_id[e["to"][0]]["name"]) for e in graph if e["type"] == "Relationship" and e["relationshipType"] not in ("hasDeclaredLicense", "hasConcludedLicense")}
    data = "Llama-tiny training data"
    assert told == {
        ("Llama-tiny", "trainedOn", data), ("Llama-tiny", "descendantOf", "builtin:smollm2-135m"), ("hf:meta-llama/Llama-3.1-8B-Instruct", "generates", data), ("hf:Qwen/Qwen2.5-7B-Instruct", "generates", data),
        ("openai:gpt-4o", "other", data), (data, "descendantOf", "people:medec"),
    }  # fmt: skip
    joined = next(e for e in graph if e.get("spdxId", "").endswith("#licence-joined"))
    parts = joined["simplelicensing_licenseExpression"].split(" AND ")
    assert set(parts) == {"Apache-2.0", "CC-BY-4.0", "LicenseRef-limbeck-llama-3.1", "LicenseRef-limbeck-openai"}
    assert {e["key"] for e in joined["simplelicensing_customIdToUri"]} == {p for p in parts if p.startswith("LicenseRef-")}


def test_a_cyclonedx_document_has_what_the_standard_requires():
    document = cyclonedx(a_binding(), "Llama-tiny", TIME)
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", document["serialNumber"]) and uuid.UUID(document["serialNumber"][9:]).version == 5
    components = [document["metadata"]["component"], *document["components"]]
    refs = [c["bom-ref"] for c in components]
    assert len(refs) == len(set(refs)) and all(c["type"] in ("machine-learning-model", "data") and c["name"] for c in components)
    assert all(set(p) == {"name", "value"} and isinstance(p["value"], str) for c in components for p in c.get("properties", ()))
    for c in components:
        assert c["type"] == "data" or "data" not in c
        for licence in c.get("licenses", ()):
            assert ("id" in licence["license"]) != ("name" in licence["license"])
    assert {d["ref"] for d in document["dependencies"]} | {r for d in document["dependencies"] for r in d["dependsOn"]} == set(refs)
    assert components[0]["modelCard"]["modelParameters"]["datasets"] == [{"ref": "dataset"}]
    assert any('begins with "Llama"' in line for line in components[0]["modelCard"]["considerations"]["technicalLimitations"])


def test_a_cyclonedx_document_says_roles_hosts_and_licences():
    found = {c["name"]: c for c in cyclonedx(a_binding(), "x")["components"]}
    assert {"name": "limbeck:role", "value": "judge"} in found["openai:gpt-4o"]["properties"] and {"name": "limbeck:host", "value": "api.openai.com"} in found["openai:gpt-4o"]["properties"]
    assert found["people:medec"]["licenses"][0]["license"]["id"] == "CC-BY-4.0" and found["people:medec"]["type"] == "data"
    assert found["hf:meta-llama/Llama-3.1-8B-Instruct"]["version"] == "abc" and found["hf:meta-llama/Llama-3.1-8B-Instruct"]["externalReferences"][0]["url"].startswith("https://huggingface.co/")
    assert {"name": "limbeck:records", "value": "2"} in found["hf:Qwen/Qwen2.5-7B-Instruct"]["properties"]


@pytest.mark.parametrize("form", ["spdx", "cyclonedx"])
def test_equal_bindings_give_equal_documents_and_others_another_number(form):
    first, second = (json.dumps(write_bill(form, a_binding(), "x", TIME), sort_keys=True) for _ in range(2))
    assert first == second
    other = json.dumps(write_bill(form, a_binding().join(join([("d", (QWEN,))])), "x", TIME))
    numbers = [set(re.findall(r"urn:uuid:[0-9a-f-]{36}", text)) for text in (first, other)]
    assert len(numbers[0]) == len(numbers[1]) == 1 and numbers[0] != numbers[1]


def test_a_set_with_no_origin_still_gives_a_document():
    assert cyclonedx(Binding(), "x")["dependencies"][1] == {"ref": "dataset", "dependsOn": []}
    assert spdx(Binding(), "x", TIME)["@graph"][-1]["type"] == "SpdxDocument"


def test_another_form_is_an_error():
    with pytest.raises(LimbeckError, match="no bill of the form 'xml'"):
        write_bill("xml", a_binding(), "x", TIME)


def test_the_verb_writes_the_bill_of_an_expert_alone(tmp_path, capsys):
    a_binding().save(tmp_path / "expert" / "terms.json")
    terming.show_terms(str(tmp_path), bill="cyclonedx")
    document = json.loads(capsys.readouterr().out)
    assert document["metadata"]["component"]["name"] == tmp_path.name and document["metadata"]["timestamp"].endswith("Z")

"""A bill of materials of an expert and its data, from what binds them: SPDX 3.0.1 (JSON-LD) and CycloneDX 1.6 (ML-BOM).

Equal bindings give equal documents: identifiers are derived from content, and the time is the caller's. What is not known (who released
a teacher, and when) is left out rather than made up, so conformance is claimed for SPDX's core, software and licensing profiles only.
SPDX: https://spdx.github.io/spdx-spec/v3.0.1/ ; CycloneDX: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

from limbeck import __version__
from limbeck.catalog.binding import Binding
from limbeck.catalog.families import Terms, split_ids
from limbeck.catalog.terms import NOT_ADVICE, obligations_of
from limbeck.errors import LimbeckError
from limbeck.records import Origin, content_id

Form = Literal["spdx", "cyclonedx"]
CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
NO_ASSERTION = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"


def write_bill(form: str, binding: Binding, name: str, created: str) -> dict[str, Any]:
    """The document in one of the two forms; `created` is an ISO time in UTC, to the second, ending in Z. Raises LimbeckError for another form."""
    if form not in ("spdx", "cyclonedx"):
        raise LimbeckError(f"there is no bill of the form {form!r}", "--bill", "spdx or cyclonedx")
    return spdx(binding, name, created) if form == "spdx" else cyclonedx(binding, name, created)


def serial(binding: Binding, name: str) -> uuid.UUID:
    """The document's number: equal content, equal number."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"limbeck:{name}:{content_id([binding.to_dict(), __version__], 64)}")


def _is_data(origin: Origin) -> bool:
    return origin.model == "generator" or origin.model.startswith(("people:", "file:"))


def _roles(binding: Binding) -> dict[str, tuple[Origin, list[str], int]]:
    """By model and terms: one of its origins, all its roles, and in how many records it had a hand."""
    found: dict[str, tuple[Origin, list[str], int]] = {}
    for place, origin in enumerate(binding.seen):
        key = content_id([origin.model, origin.revision, origin.host, origin.terms])
        records = sum(g.records for g in binding.groups if place in g.by)
        old = found.get(key)
        found[key] = (origin, sorted({*(old[1] if old else ()), origin.role}), max(records, old[2] if old else 0))
    return found


def _download(origin: Origin) -> str:
    """Where a model is got, where its name says so."""
    bare = origin.model.removeprefix("hf:")
    return f"https://huggingface.co/{bare}" if origin.model.startswith("hf:") and bare.count("/") == 1 and not bare.startswith(("/", ".", "~")) else ""


def spdx(binding: Binding, name: str, created: str) -> dict[str, Any]:
    """An SPDX 3.0.1 document: the expert, trainedOn the dataset, which each model and source had a hand in, each with its licence."""
    space = f"urn:uuid:{serial(binding, name)}"
    graph: list[dict[str, Any]] = [{"type": "CreationInfo", "@id": "_:creation", "specVersion": "3.0.1", "created": created, "createdBy": [f"{space}#limbeck"]}]

    def add(kind: str, local: str, **facts: Any) -> str:
        graph.append({"type": kind, "spdxId": f"{space}#{local}", "creationInfo": "_:creation", **{k: v for k, v in facts.items() if v not in ("", None, [])}})
        return f"{space}#{local}"

    def relate(source: str, how: str, target: str, **facts: Any) -> str:
        return add("Relationship", f"relation-{content_id([source, how, target])}", **{"from": source, "relationshipType": how, "to": [target]}, **facts)

    add("SoftwareAgent", "limbeck", name=f"limbeck {__version__}")
    expert = add("ai_AIPackage", "expert", name=name, software_primaryPurpose="model", ai_informationAboutTraining=f"{binding.records} records", software_attributionText=[*obligations_of(binding).notices, *obligations_of(binding).displays], comment="\n".join(obligations_of(binding).lines()))
    dataset = add("dataset_DatasetPackage", "dataset", name=f"{name} training data", software_primaryPurpose="data", dataset_datasetType=["text"], dataset_datasetSize=binding.records)
    relate(expert, "trainedOn", dataset)
    for package in (expert, dataset):  # whoever publishes them decides on a licence
        relate(package, "hasDeclaredLicense", NO_ASSERTION)
    licence = add("simplelicensing_LicenseExpression", "licence-joined", **_expression(binding, [b.terms.id for b in binding.bound()])) if binding.bound() else NO_ASSERTION
    for package in (expert, dataset):
        relate(package, "hasConcludedLicense", licence, comment=f"all terms that bind its origins. {NOT_ADVICE}")
    for key, (origin, roles, records) in _roles(binding).items():
        kind, facts = ("dataset_DatasetPackage", {"dataset_datasetType": ["text"]}) if _is_data(origin) else ("ai_AIPackage", {})
        part = add(kind, f"origin-{key}", name=origin.model, software_packageVersion=origin.revision, software_downloadLocation=_download(origin), software_primaryPurpose="data" if _is_data(origin) else "model", comment=f"{', '.join(roles)} of {records} records{f'; asked at {origin.host}' if origin.host else ''}", **facts)
        under = add("simplelicensing_LicenseExpression", f"licence-{key}", **_expression(binding, split_ids(origin.terms)))
        relate(part, "hasDeclaredLicense", under)
        relate(part, "hasConcludedLicense", under)
        if "base" in roles:
            relate(expert, "descendantOf", part)
        if _is_data(origin):
            relate(dataset, "descendantOf", part)
        elif made := [r for r in roles if r not in ("base", "judge")]:
            relate(part, "generates", dataset, comment=", ".join(made))
        if "judge" in roles:
            relate(part, "other", dataset, comment="judged its records")
    ids = [e["spdxId"] for e in graph[1:]]
    graph.append({"type": "SpdxDocument", "spdxId": f"{space}#document", "creationInfo": "_:creation", "name": f"{name}: what binds it", "profileConformance": ["core", "software", "simpleLicensing"], "rootElement": [expert], "element": ids, "comment": NOT_ADVICE})
    return {"@context": CONTEXT, "@graph": graph}


def _expression(binding: Binding, ids: Any) -> dict[str, Any]:
    """SPDX's own ids where there are some, LicenseRef- with the text's address where not."""
    found: list[Terms] = [binding.terms(i) for i in ids]
    custom = [t for t in found if not t.spdx]
    uris = [{"type": "DictionaryEntry", "key": f"LicenseRef-limbeck-{t.id}", "value": t.source} for t in custom if t.source]
    hashes = "; ".join(f"{t.id}: version {t.version or 'not dated'}, text sha256 {t.text_sha256 or 'not taken'}" for t in found)
    return {"simplelicensing_licenseExpression": " AND ".join(t.spdx or f"LicenseRef-limbeck-{t.id}" for t in found), "simplelicensing_customIdToUri": uris, "comment": hashes}


def cyclonedx(binding: Binding, name: str, created: str = "") -> dict[str, Any]:
    """A CycloneDX 1.6 ML-BOM: the expert with its model card, its dataset, and every model and source behind that."""
    owed = obligations_of(binding)
    parts = [_component(binding, key, origin, roles, records) for key, (origin, roles, records) in _roles(binding).items()]
    card = {"modelParameters": {"approach": {"type": "supervised"}, "datasets": [{"ref": "dataset"}]}}
    if owed.lines():
        card["considerations"] = {"technicalLimitations": owed.lines()}
    expert = {"type": "machine-learning-model", "bom-ref": "expert", "name": name, "modelCard": card, "properties": [_property("mind", NOT_ADVICE), *(_property("accepted", a) for a in owed.accepted)]}
    dataset = {"type": "data", "bom-ref": "dataset", "name": f"{name} training data", "licenses": _licences(binding, [b.terms.id for b in binding.bound()]), "properties": [_property("records", binding.records)], "data": [{"type": "dataset", "name": f"{name} training data"}]}
    base = [p["bom-ref"] for p, (_, roles, _) in zip(parts, _roles(binding).values(), strict=True) if "base" in roles]
    others = [p["bom-ref"] for p, (_, roles, _) in zip(parts, _roles(binding).values(), strict=True) if set(roles) - {"base"}]
    depends = [{"ref": "expert", "dependsOn": ["dataset", *base]}, {"ref": "dataset", "dependsOn": others}]
    metadata: dict[str, Any] = {"tools": {"components": [{"type": "application", "name": "limbeck", "version": __version__}]}, "component": expert}
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial(binding, name)}", "version": 1, "metadata": {**({"timestamp": created} if created else {}), **metadata}, "components": [dataset, *parts], "dependencies": depends}


def _property(name: str, value: object) -> dict[str, str]:
    return {"name": f"limbeck:{name}", "value": str(value)}


def _component(binding: Binding, key: str, origin: Origin, roles: list[str], records: int) -> dict[str, Any]:
    told = [_property("role", role) for role in roles] + [_property("records", records)] + ([_property("host", origin.host)] if origin.host else [])
    found: dict[str, Any] = {"type": "data" if _is_data(origin) else "machine-learning-model", "bom-ref": f"origin-{key}", "name": origin.model, "licenses": _licences(binding, split_ids(origin.terms)), "properties": told}
    if _is_data(origin):
        found["data"] = [{"type": "dataset", "name": origin.model}]
    return found | ({"version": origin.revision} if origin.revision else {}) | ({"externalReferences": [{"type": "distribution", "url": _download(origin)}]} if _download(origin) else {})


def _licences(binding: Binding, ids: Any) -> list[dict[str, Any]]:
    found = []
    for terms in (binding.terms(i) for i in ids):
        told = [_property("terms", terms.id)] + [_property(k, v) for k, v in (("version", terms.version), ("text_sha256", terms.text_sha256), ("read_on", terms.read_on)) if v]
        found.append({"license": {**({"id": terms.spdx} if terms.spdx else {"name": terms.title}), **({"url": terms.source} if terms.source else {}), "properties": told}})
    return found

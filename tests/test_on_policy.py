"""The end of a decoder's training through TRL: refused before it starts, resumed where it was, never half written."""

import gzip
import json
import shutil

import pytest

from limbeck.errors import LimbeckError
from limbeck.models.decoder import FACTS, read_facts
from limbeck.recipe.schema import TrainSection
from limbeck.run import Step
from limbeck.testing import make_tiny_model
from limbeck.train.on_policy import check_on_policy, train_on_policy

TEXTS = ["what is two plus two", "four is the answer that you seek", "name the capital of France", "Paris is the capital"]


def section(**keys):
    return TrainSection(**{"steps": 4, "batch": 2, "on_policy_steps": 3, "checkpoint_every": 1, "divergence": "reverse_kl", **keys})  # type: ignore[arg-type]


def make_expert(folder, texts=TEXTS, **shape):
    make_tiny_model(folder, texts, **shape)
    (folder / FACTS).write_text(json.dumps({"kind": "decoder", "longest_answer": 8}))
    return folder


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "distill"
    folder.mkdir()
    with gzip.open(folder / "data.jsonl.gz", "wt") as lines:
        lines.writelines(json.dumps({"id": str(at), "text": text, "context": {}, "answer": "four"}) + "\n" for at, text in enumerate(TEXTS * 2))
    return folder


def make_step(tmp_path):
    (tmp_path / "train").mkdir(exist_ok=True)
    return Step(tmp_path / "train", "train", 0, {})


def test_what_trl_cannot_do_is_refused_before_anything_is_loaded():
    with pytest.raises(LimbeckError, match="no teacher with weights"):
        check_on_policy(section(), "")
    with pytest.raises(LimbeckError, match="skew_kl cannot be had on-policy"):
        check_on_policy(section(divergence="skew_kl"), "somewhere")
    for kind in ("forward_kl", "reverse_kl", "jsd"):
        check_on_policy(section(divergence=kind), "somewhere")


def test_a_teacher_of_another_vocabulary_is_refused_and_the_expert_stays(tmp_path, dataset):
    expert, step = make_expert(tmp_path / "train" / "expert"), make_step(tmp_path)
    other = make_tiny_model(tmp_path / "other", ["zebra zebra quick brown fox"] * 3)
    before = (expert / "model.safetensors").read_bytes()
    with pytest.raises(LimbeckError, match="different vocabularies"):
        train_on_policy(expert, other, dataset, section(), step, 8)
    assert (expert / "model.safetensors").read_bytes() == before


def test_documents_ask_nothing(tmp_path):
    expert, step, folder = make_expert(tmp_path / "train" / "expert"), make_step(tmp_path), tmp_path / "distill"
    folder.mkdir()
    with gzip.open(folder / "data.jsonl.gz", "wt") as lines:
        lines.write(json.dumps({"id": "0", "text": "", "context": {}, "answer": "a document"}) + "\n")
    with pytest.raises(LimbeckError, match="no requests"):
        train_on_policy(expert, str(expert), folder, section(), step, 8)


def test_a_run_killed_between_old_weights_and_new_ones_finds_the_new(tmp_path, dataset):
    expert, step = make_expert(tmp_path / "train" / "expert"), make_step(tmp_path)
    (expert / FACTS).write_text(json.dumps({"kind": "decoder", "on_policy_steps": 3}))
    weights = (expert / "model.safetensors").read_bytes()
    expert.rename(expert.with_name(".expert.new"))
    (tmp_path / "train" / "on-policy").mkdir()
    assert train_on_policy(expert, "a teacher that is not loaded", dataset, section(), step, 8) == expert
    assert (expert / "model.safetensors").read_bytes() == weights and not (tmp_path / "train" / "on-policy").exists()


@pytest.mark.slow
def test_spare_rows_of_the_teacher_are_cut_off_and_a_killed_run_goes_on(tmp_path, dataset):
    pytest.importorskip("trl", reason="trl is an extra")
    from transformers import AutoModelForCausalLM

    expert, step = make_expert(tmp_path / "train" / "expert"), make_step(tmp_path)
    teacher = tmp_path / "teacher"
    make_tiny_model(teacher, TEXTS, seed=5, width=48)
    model = AutoModelForCausalLM.from_pretrained(teacher)
    model.resize_token_embeddings(model.config.vocab_size + 24)
    model.save_pretrained(teacher)
    before = (expert / "model.safetensors").read_bytes()

    def stop(record):
        if record["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_on_policy(expert, str(teacher), dataset, section(), step, 8, stop)
    assert (expert / "model.safetensors").read_bytes() == before and list((tmp_path / "train" / "on-policy").glob("checkpoint-*"))
    seen = []
    train_on_policy(expert, str(teacher), dataset, section(), step, 8, lambda record: seen.append(record["step"]))
    assert seen[-1] == 3 and 1 not in seen  # went on, did not start anew
    assert (expert / "model.safetensors").read_bytes() != before and (read_facts(expert) or {})["on_policy_steps"] == 3
    assert not list(expert.glob("*.bin"))
    shutil.rmtree(teacher)
    assert train_on_policy(expert, str(teacher), dataset, section(), step, 8) == expert  # done already

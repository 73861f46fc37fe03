"""Exact resume: stopping after a checkpoint and going on gives the same weights as never stopping."""

import gzip
import json

import pytest
import torch

from limbeck.recipe.schema import StudentSection, TrainSection
from limbeck.run import Step, hash_file
from limbeck.tasks.cf.codec import CFCodec
from limbeck.tasks.cf.generator import generate_one
from limbeck.train.fit import train


def write_dataset(folder):
    folder.mkdir()
    for name, seed, count in (("data", 1, 80), ("dev", 2, 16)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            for index in range(count):
                e = generate_one(seed, index)
                file.write(json.dumps({"id": e.id, "text": e.prompt.text, "context": dict(e.prompt.context), "answer": e.gold[0]}) + "\n")


class Stopped(Exception):
    pass


LEARNT_TIMES = {"denoiser_layers": 1, "times": "loss_aware", "phase1_first": 0.3, "predicts_length": True}  # state beside the weights, phases, a second head


@pytest.mark.parametrize(("kind", "extra"), [("autoregressive", {}), ("codefusion", LEARNT_TIMES)])
def test_a_run_stopped_after_a_checkpoint_ends_with_the_same_weights(tmp_path, kind, extra):
    torch.set_num_threads(1)
    write_dataset(tmp_path / "data")
    student = StudentSection(kind=kind, extra=extra, width=32, encoder_layers=1, decoder_layers=1, buckets=128, dropout=0.1)
    section = TrainSection(steps=60, batch=8, warmup=5, checkpoint_every=25, evaluate_every=20)

    def run(name, progress=None):
        return train(tmp_path / "data", student, section, CFCodec(), Step(tmp_path / name, "train", 3, {}), progress)

    whole = run("whole")

    def stop(record):
        if record["step"] >= 40:
            raise Stopped

    try:
        run("broken", stop)
        raise AssertionError("it should have stopped")
    except Stopped:
        pass
    assert (tmp_path / "broken" / "checkpoint.safetensors").exists()
    resumed = run("broken")
    assert hash_file(resumed / "model.safetensors") == hash_file(whole / "model.safetensors")

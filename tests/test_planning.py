"""Plans: the arithmetic against PyTorch itself, and what is printed before anything starts."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limbeck import planning
from limbeck.catalog.accelerators import core_rent, load_accelerators, share_of_peak
from limbeck.errors import LimbeckError
from limbeck.models.sizing import (
    Training,
    activation_bytes,
    count_parameters,
    find_shape,
    flops_per_token,
    known_shapes,
    memory_bytes,
    read_shape,
    shape_of,
)
from limbeck.recipe.load import load_recipe

ROWS, LENGTH, VOCABULARY = 2, 64, 512


def build(family, layers=2, tied=True, kv=2):
    import transformers

    kinds = {"llama": ("LlamaConfig", "LlamaForCausalLM"), "qwen2": ("Qwen2Config", "Qwen2ForCausalLM"), "qwen3": ("Qwen3Config", "Qwen3ForCausalLM")}
    config, model = (getattr(transformers, name) for name in kinds[family])
    return model(config(vocab_size=VOCABULARY, hidden_size=64, intermediate_size=160, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=kv, head_dim=16, tie_word_embeddings=tied))


def with_lora(model, rank, bf16=False):
    from peft import LoraConfig, get_peft_model

    found = get_peft_model(model.bfloat16() if bf16 else model, LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    for p in found.parameters():
        if p.requires_grad:
            p.data = p.data.float()
    return found


def shape(model):
    return shape_of(model.config.to_dict(), "test")


def test_every_known_shape_has_as_many_parameters_as_its_maker_published():
    assert len(known_shapes()) == 14
    for known in known_shapes():
        assert count_parameters(known).total == known.parameters, known.name


@pytest.mark.parametrize(("family", "tied"), [("llama", True), ("llama", False), ("qwen2", True), ("qwen3", False)])
def test_parameters_are_those_of_the_built_network(family, tied):
    model = build(family, tied=tied)
    assert count_parameters(shape(model)).total == sum(p.numel() for p in model.parameters())
    adapted = with_lora(model, 4)
    count = count_parameters(shape(build(family, tied=tied)), 4)
    assert count.trained == sum(p.numel() for p in adapted.parameters() if p.requires_grad) and count.total == sum(p.numel() for p in adapted.parameters())


def kept_bytes(family, layers, bf16, lora, checkpointing):
    """What PyTorch keeps for the backward pass, but for the weights and their bfloat16 copies."""
    model = build(family, layers)
    whole = with_lora(model, lora, bf16) if lora else model
    plain = whole.get_base_model() if lora else whole
    if checkpointing:
        plain.gradient_checkpointing_enable({"use_reentrant": False})
    plain.train()
    weights = {p.untyped_storage().data_ptr() for p in whole.parameters()}
    seen, held = {}, []

    def pack(tensor):
        held.append(tensor)  # else its address is used again
        if tensor.untyped_storage().data_ptr() not in weights and not (tensor.ndim == 2 and tensor.shape[0] != ROWS * LENGTH and tensor.dtype == torch.bfloat16):
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    positions = (torch.arange(LENGTH) % (LENGTH // 2)).expand(ROWS, -1)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        plain.get_decoder()(input_ids=torch.randint(0, VOCABULARY, (ROWS, LENGTH)), position_ids=positions, use_cache=False)
    return sum(seen.values())


@pytest.mark.parametrize("family", ["llama", "qwen3"])
@pytest.mark.parametrize(("bf16", "lora"), [(False, 0), (True, 0), (False, 4), (True, 4)])
def test_activations_are_to_the_byte_what_pytorch_keeps(family, bf16, lora):
    training = Training(rows=ROWS, length=LENGTH, lora_rank=lora, bf16=bf16)
    one_layer = kept_bytes(family, 3, bf16, lora, False) - kept_bytes(family, 2, bf16, lora, False)
    assert activation_bytes(shape(build(family)), training)["layer"] == one_layer


@pytest.mark.parametrize(("bf16", "lora"), [(False, 0), (True, 0), (True, 4)])
def test_checkpointing_keeps_a_layers_input_alone(bf16, lora):
    training = Training(rows=ROWS, length=LENGTH, lora_rank=lora, bf16=bf16, checkpointing=True)
    assert activation_bytes(shape(build("llama")), training)["kept"] == kept_bytes("llama", 3, bf16, lora, True) - kept_bytes("llama", 2, bf16, lora, True)


@pytest.mark.parametrize("lora", [0, 4])
def test_operations_are_what_pytorch_counts(lora):
    from torch.utils.flop_counter import FlopCounterMode

    model = build("llama", tied=False)
    whole = with_lora(model, lora) if lora else model
    plain = whole.get_base_model() if lora else whole
    positions = (torch.arange(LENGTH) % (LENGTH // 2)).expand(ROWS, -1)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        plain(input_ids=torch.randint(0, VOCABULARY, (ROWS, LENGTH)), position_ids=positions, use_cache=False).logits.sum().backward()
    planned = flops_per_token(shape(build("llama", tied=False)), Training(rows=ROWS, length=LENGTH, lora_rank=lora)) * ROWS * LENGTH
    assert planned == pytest.approx(counter.get_total_flops(), rel=0.05 if lora else 0.001)  # of LoRA, the first layer's inputs need no gradient


def test_memory_counts_what_the_loop_keeps():
    known = find_shape("HuggingFaceTB/SmolLM2-360M")
    count = count_parameters(known)
    parts = memory_bytes(known, Training(rows=1, length=128, bf16=False))
    assert parts["weights"] == parts["gradients"] == 4 * count.total and parts["moments"] == 8 * count.total
    assert memory_bytes(known, Training(rows=1, length=128, muon=True))["moments"] == 8 * count.total - 4 * count.matrices
    lora = memory_bytes(known, Training(rows=1, length=128, lora_rank=8))
    assert lora["weights"] == 2 * (count_parameters(known, 8).total - count_parameters(known, 8).trained) + 4 * count_parameters(known, 8).trained
    assert lora["peak"] < parts["peak"] / 3


def test_sharing_the_weights_divides_what_is_kept_and_buckets_cost_ddp():
    known = find_shape("Qwen/Qwen3-8B")
    one = memory_bytes(known, Training(rows=1, length=512))
    shared = memory_bytes(known, Training(rows=1, length=512, devices=8, strategy="fsdp"))
    assert shared["moments"] == one["moments"] // 8 and shared["peak"] < one["peak"] / 3
    assert memory_bytes(known, Training(rows=1, length=512, devices=8, strategy="ddp"))["buckets"] == one["gradients"]


def test_names_with_an_ending_mean_the_same_shape():
    assert find_shape("unsloth/llama-3.2-1b-INSTRUCT") is find_shape("meta-llama/Llama-3.2-1B")
    assert find_shape("nobody/knows") is None


def test_a_family_with_other_blocks_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(LimbeckError, match="no plan can be made for 'mamba'"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(LimbeckError, match="no configuration of a decoder"):
        read_shape(tmp_path)


def test_every_fact_has_a_source_and_every_rent_a_host():
    assert {a.name.split()[0] for a in load_accelerators()} >= {"A100", "H100", "H200", "L4", "A10G", "RTX", "MI300X"}
    for a in load_accelerators():
        assert a.source and a.memory_GB > 0 and all(r.source and r.host and r.usd > 0 for r in a.rent)
    assert core_rent().source and 0 < share_of_peak().low < share_of_peak().high < 1


def plan(*settings, recipe="expert-8b"):
    return planning.make_plan(load_recipe(recipe, settings), probe=False)


def test_the_recipe_of_8b_fits_one_of_80_gb_with_lora_and_not_with_all_weights():
    lora = {row["accelerator"]: row for row in plan()["students"][0]["devices"]}
    assert lora["H100 80GB SXM"]["fits_one"] and lora["H100 80GB SXM"]["command"] == "limbeck make expert-8b" and not lora["L4"]["fits_one"]
    full = {row["accelerator"]: row for row in plan("student.lora_rank=0")["students"][0]["devices"]}
    assert not full["H100 80GB SXM"]["fits_one"] and full["H100 80GB SXM"]["strategy"] == "fsdp" and not full["H100 80GB SXM"]["runs"] and full["RTX 4090"]["devices"] is None and full["RTX 4090"]["usd"] is None


def test_time_and_dollars_are_ranges_from_share_of_peak_and_rents():
    student = plan()["students"][0]
    row = next(r for r in student["devices"] if r["accelerator"].startswith("A100"))
    device, share = next(a for a in load_accelerators() if a.name.startswith("A100")), share_of_peak()
    assert row["hours"] == pytest.approx([student["flops"] / (device.bf16_flops * s) / 3600 for s in (share.high, share.low)])
    assert row["usd"] == pytest.approx([row["hours"][0] * device.rent_range[0], row["hours"][1] * device.rent_range[2]])
    assert student["tokens"] == 400 * 2 * 8 * 1024


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_the_command_line_is_one_that_accelerate_reads(strategy):
    from accelerate.commands.launch import launch_command_parser

    recipe = load_recipe("expert-8b")
    line = planning.launch_command("expert-8b", 4, strategy, recipe.train, find_shape("Qwen/Qwen3-8B"), True)
    found, rest = launch_command_parser().parse_known_args(shlex.split(line)[2:])
    assert found.num_processes == 4 and found.module and found.training_script == "limbeck" and not rest
    assert found.use_fsdp == (strategy == "fsdp") and found.training_script_args[-1] == "train.steps=100"
    if strategy == "fsdp":
        import transformers

        assert hasattr(transformers.models.qwen3.modeling_qwen3, found.fsdp_transformer_layer_cls_to_wrap)


def test_a_folder_with_a_config_and_a_random_shape_are_planned(tmp_path):
    build("qwen2").config.save_pretrained(tmp_path)
    student = plan(f"student.source=hf:{tmp_path}")["students"][0]
    assert student["shape_from"] == "config.json" and student["parameters"]["total"] == count_parameters(shape(build("qwen2")), 16).total
    smoke = plan(recipe="expert-8b-smoke")["students"][0]
    assert smoke["shape_from"] == "the recipe" and smoke["settings"]["checkpointing"]


def test_native_students_are_planned_and_equal_arms_are_shown_once():
    students = plan(recipe="cf-smoke")["students"]
    assert [s["arm"] for s in students] == ["student, hard-labels"] and students[0]["parameters"]["total"] > students[0]["parameters"]["embeddings"] > 0


def test_weights_that_nobody_knows_are_an_error():
    with pytest.raises(LimbeckError, match="configuration of these weights is not here"):
        plan("student.source=hf:nobody/knows-1b")
    with pytest.raises(LimbeckError, match="how many tokens"):
        plan("student.source=", "student.lora_rank=0")


def test_the_teacher_is_priced_at_most_or_unknown_with_the_reason():
    served = ("teacher.model=openai:nobody-knows", "teacher.base_url=https://api.example.com/v1", "distill.answers=teacher", "distill.split=", "distill.prompts=1000", "recipe.task=cf", "teacher.max_tokens=100")
    unknown = plan(*served)["teacher"]
    assert unknown["usd_at_most"] is None and "price" in unknown["why_unknown"] and unknown["tokens_out_at_most"] == 100_000 and unknown["tokens_in_about"] > 1000
    known = plan(*served, "teacher.price_in_usd=1.0", "teacher.price_out_usd=10.0")["teacher"]
    assert known["usd_at_most"] == pytest.approx(known["tokens_in_at_most"] / 1e6 + 1.0, abs=0.01)
    assert plan()["teacher"]["usd_at_most"] == 0.0 and plan()["teacher"]["draws"] == 0


def test_what_would_need_less_really_needs_less():
    student = plan("student.lora_rank=0", "student.extra={}")["students"][0]
    peaks = [r["peak_bytes"] for r in student["would_fit"]]
    assert peaks == sorted(peaks, reverse=True) and peaks[0] < student["memory_bytes"]["peak"] and student["would_fit"][-1]["set"] == "all of these"


def test_a_plan_is_printed_and_is_one_json_document(capsys, monkeypatch):
    monkeypatch.setattr(planning, "measure_speed", lambda *_, **__: 5e10)
    recipe = load_recipe("expert-8b")
    planning.show_plan(recipe, True)
    assert json.loads(capsys.readouterr().out)["students"][0]["here"]["flops_per_s"] == 5e10
    planning.show_plan(recipe, False)
    text = capsys.readouterr().out
    assert all(word in text for word in ("H100", "this machine", "limbeck make expert-8b", "accelerate launch", "teacher: generator", "Assumed"))


def test_this_machine_is_measured():
    assert planning.measure_speed(shape(build("llama")), "cpu", torch.float32, seconds=0.05, tokens=16) > 1e7


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is reset through /proc")
def test_planned_memory_is_near_what_training_takes():
    script = Path(__file__).resolve().parents[1] / "benchmarks" / "plan_memory.py"
    out = subprocess.run([sys.executable, script, "LoRA 16"], capture_output=True, text=True, check=True, env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}).stdout
    found = json.loads(out.splitlines()[-1])
    assert found["planned"] / found["measured"] == pytest.approx(1.0, abs=0.15)

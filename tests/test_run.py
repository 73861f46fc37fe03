"""A run folder: seeds, whole files, steps that are done, half done or made differently, and one process at a time."""

import errno
import json
import multiprocessing

import pytest

from limbeck.errors import LimbeckError
from limbeck.run import FORMAT, Step, code_version, derive_seed, disk_error, open_run, write_atomically


def step(folder, **fingerprint):
    return Step(folder / "s", "s", 7, fingerprint)


def finished(folder, **fingerprint):
    made = step(folder, **fingerprint)
    made.begin()
    made.write_text("data", "precious")
    made.finish(records=3)
    return made


def test_a_seed_depends_on_recipe_step_and_purpose_and_never_changes():
    # A golden value: if it moves, no published run can be repeated.
    assert derive_seed(0, "distill", "prompts") == 585309860047725111
    seeds = {derive_seed(a, b, c) for a in (0, 1) for b in ("distill", "train") for c in ("prompts", "held_out")}
    assert len(seeds) == 8 and all(0 <= s < 2**63 for s in seeds)


def test_seeds_used_are_noted_in_the_manifest(tmp_path):
    made = step(tmp_path)
    made.begin()
    assert made.seed("weights") == made.seed("weights") == derive_seed(7, "s", "weights")
    made.finish()
    manifest = made.manifest()
    assert manifest["seeds"] == {"weights": derive_seed(7, "s", "weights")}
    assert {"seconds", "hardware", "limbeck", "finished", "fingerprint"} <= manifest.keys()


def test_a_step_is_done_only_when_its_manifest_says_so(tmp_path):
    assert step(tmp_path, x=1).state == (False, "not done yet")
    made = step(tmp_path, x=1)
    made.begin()
    assert step(tmp_path, x=1).state == (False, "was interrupted")
    made.finish()
    assert step(tmp_path, x=1).state == (True, "up to date")
    assert step(tmp_path, x=2).state == (False, "x changed")


def test_an_interrupted_step_keeps_its_work_and_one_made_differently_does_not(tmp_path):
    first = step(tmp_path, x=1)
    first.begin()
    first.write_text("part", "half")
    step(tmp_path, x=1).begin()
    assert (tmp_path / "s" / "part").exists()
    step(tmp_path, x=2).begin()
    assert not (tmp_path / "s" / "part").exists()


def test_a_kill_while_old_work_is_cleared_away_never_leaves_a_step_that_says_done(tmp_path, monkeypatch):
    finished(tmp_path, x=1)
    gone = []
    kind = type(tmp_path)
    unlink = kind.unlink

    def killed(self, missing_ok=False):
        if gone:
            raise KeyboardInterrupt
        gone.append(self.name)
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(kind, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        step(tmp_path, x=2).begin()
    monkeypatch.undo()
    assert gone == ["manifest.json"] and not step(tmp_path, x=1).state[0]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null", '{"fingerprint": 3}'])
def test_a_damaged_manifest_means_the_step_is_not_done(tmp_path, text):
    made = finished(tmp_path, x=1)
    (made.path / "manifest.json").write_text(text)
    assert step(tmp_path, x=1).state == (False, "was interrupted")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LimbeckError, match="disk is full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_only_a_full_disk_is_called_one(tmp_path):
    assert "disk is full" in str(disk_error(OSError(errno.EDQUOT, "quota"), tmp_path))
    assert "Permission denied" in str(disk_error(PermissionError(errno.EACCES, "Permission denied"), tmp_path))


def test_metrics_are_lines_of_json(tmp_path):
    made = step(tmp_path)
    made.log(step=1, loss=2.5)
    made.log(step=2, loss=2.25)
    assert [json.loads(line)["loss"] for line in (made.path / "metrics.jsonl").read_text().splitlines()] == [2.5, 2.25]


def hold(path, ready, leave):
    with open_run(path, "", 0):
        ready.set()
        leave.wait(20)


def test_a_run_is_held_by_one_process_and_free_when_that_one_dies(tmp_path):
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    ready, leave = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "run", ready, leave))
    other.start()
    try:
        assert ready.wait(20)
        with pytest.raises(LimbeckError, match="another process"), open_run(tmp_path / "run", "changed", 0):
            pass
        assert (tmp_path / "run" / "recipe.toml").read_text() == ""
    finally:
        other.kill()
        other.join()
    with open_run(tmp_path / "run", "", 0) as run:
        assert run.step("a/b", {}, {}).path == tmp_path / "run" / "a" / "b"


@pytest.mark.parametrize("marker", ['{"format": 99}', "{", "[1]", ""])
def test_a_run_of_another_format_is_refused_and_left_as_it_is(tmp_path, marker):
    (tmp_path / "run.json").write_text(marker)
    with pytest.raises(LimbeckError, match="another version"), open_run(tmp_path, "", 0):
        pass
    assert (tmp_path / "run.json").read_text() == marker and not (tmp_path / "recipe.toml").exists()


def test_a_folder_that_is_no_run_is_not_written_to(tmp_path):
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(LimbeckError, match="not a run"), open_run(tmp_path, "", 0):
        pass
    with pytest.raises(LimbeckError, match="not a run folder"), open_run(tmp_path / "thesis.doc", "", 0):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_new_run_says_its_format(tmp_path):
    with open_run(tmp_path / "run", "[recipe]\n", 3):
        assert json.loads((tmp_path / "run" / "run.json").read_text())["format"] == FORMAT


def test_the_code_version_follows_what_code_does_and_not_what_it_says(tmp_path, monkeypatch):
    import limbeck.run as run_module

    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr(run_module, "__file__", str(tmp_path / "run.py"))

    def version(text):
        (room / "a.py").write_text(text)
        code_version.cache_clear()
        return code_version("room")

    first = version('"""One."""\ndef f():\n    """Says."""\n    return 1\n')
    assert version('"""Two."""\ndef f():\n    # why\n    return 1\n') == first
    assert version("def f():\n    return 2\n") != first
    code_version.cache_clear()

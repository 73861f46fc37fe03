"""What the README shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_outputs_shown_are_the_outputs_given():
    done = subprocess.run([sys.executable, "lab/readme_output.py", "README.md", "--check"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_every_command_and_option_shown_exists():
    text = "\n".join(p.read_text() for p in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))))
    for verb, rest in set(re.findall(r"(?:`|\$ )limbeck ([a-z]+)([^`\n|]*)", text)):
        shown = subprocess.run([sys.executable, "-m", "limbeck", verb, "--help"], capture_output=True, text=True, check=True).stdout
        below = re.match(r" ([a-z-]+)", rest)
        if below and verb in ("predict", "panel", "data"):  # groups
            shown = subprocess.run([sys.executable, "-m", "limbeck", verb, below[1], "--help"], capture_output=True, text=True, check=True).stdout
        for option in re.findall(r"(--[a-z]+)", rest):
            assert option in shown or option == "--debug", f"limbeck {verb} has no {option}"


def test_every_recipe_named_is_packaged():
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"limbeck make ([a-z][a-z-]+)", text):
        assert (ROOT / "recipes" / f"{name}.toml").exists()

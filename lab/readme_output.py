"""Run the commands that a Markdown file shows and put their real output below them: python lab/readme_output.py README.md.

A command stands in `<!-- output ARGUMENTS -->`; what lies between it and `<!-- end -->` is replaced. With --check nothing is
written and the exit code is 1 when a command fails or gives other rules than those shown.
"""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

BLOCK = re.compile(r"<!-- output (.*?) -->\n(.*?)<!-- end -->", re.DOTALL)
RULE = re.compile(r"[A-Z][A-Za-z]+\(.*\)|│ \d+ +│ .*? +│|^\$ .*|^[a-z]+ [^│]*$", re.MULTILINE)


def run(arguments: str, setup: list[str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for line in setup:
            subprocess.run(line, shell=True, check=True, cwd=folder)
        done = subprocess.run([sys.executable, "-m", "limbeck", *shlex.split(arguments)], capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise SystemExit(f"limbeck {arguments}\n{done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines())


def main(file: Path, check: bool) -> None:
    text = file.read_text()
    setup = re.findall(r"^printf .*", text, re.MULTILINE)
    shown = {arguments: body for arguments, body in BLOCK.findall(text)}
    made = {arguments: f"```\n$ limbeck {arguments}\n{run(arguments, setup)}\n```\n" for arguments in shown}
    if check:
        other = [a for a in shown if RULE.findall(shown[a]) != RULE.findall(made[a])]
        raise SystemExit(f"other output now: {other}" if other else 0)
    file.write_text(BLOCK.sub(lambda found: f"<!-- output {found.group(1)} -->\n{made[found.group(1)]}<!-- end -->", text))


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--check" in sys.argv)

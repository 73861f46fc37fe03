"""Makes limbeck/tasks/bash/nl2bash_split.txt: which pairs of NL2Bash belong to which part of its own split.

    python lab/bash_split.py FOLDER      a folder with train_ids.txt, dev_ids.txt and test_ids.txt (see docs/bash.md)

A pair is known by the first 32 bits of the SHA-256 of utterance, tab, command: 9,305 pairs, no two alike.
"""

import base64
import sys
from pathlib import Path


def main() -> None:
    folder, lines, seen = Path(sys.argv[1]), [], set()
    for part in ("train", "dev", "test"):
        marks = sorted(name[:8] for name in (folder / f"{part}_ids.txt").read_text().split())
        assert len(set(marks)) == len(marks) and not seen & set(marks), "two pairs share their first 32 bits"
        seen |= set(marks)
        lines.append(f"{part} {base64.b64encode(bytes.fromhex(''.join(marks))).decode()}\n")
    target = Path(__file__).parents[1] / "limbeck" / "tasks" / "bash" / "nl2bash_split.txt"
    target.write_text("".join(lines), encoding="ascii")
    print(f"{len(seen)} pairs, {target.stat().st_size:,} bytes")


main()

"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Setting = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change one key of the recipe; may be repeated")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="the run folder; runs/NAME unless said")]
Accept = Annotated[list[str] | None, typer.Option("--accept-terms", metavar="ID", help="terms that you accept, or have permission under; recorded in the run; may be repeated")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output, nothing else there")]

"""What went wrong, where, and how to fix it: the one error a user may see."""

from __future__ import annotations


class LimbeckError(Exception):
    """An error the user can mend. Printed as three lines (what, where, fix); exit code 2, no traceback."""

    def __init__(self, what: str, where: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\n  where: {self.where}\n  fix:   {self.fix}"

    def __reduce__(self) -> tuple[type[LimbeckError], tuple[str, str, str]]:
        return type(self), (self.what, self.where, self.fix)

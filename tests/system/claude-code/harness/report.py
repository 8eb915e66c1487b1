"""Prints a line for each check and a count at the end, and gives the exit status."""

from __future__ import annotations

EVIDENCE_LIMIT = 4000


class Abandoned(Exception):
    """A check failed on which the rest of its scenario depends."""


class Report:
    """Prints as it goes. With `strict`, a skipped scenario is a failure."""

    def __init__(self, strict: bool):
        self.strict = strict
        self.passed = 0
        self.failed = 0
        self.skipped = 0

    def scenario(self, name: str, doc: str | None) -> None:
        print("\n%s: %s" % (name, (doc or "").strip().splitlines()[0]), flush=True)

    def check(self, what: str, holds: object, evidence: object = "") -> bool:
        """Records whether `what` holds. Prints the evidence only if it does not."""
        if holds:
            self.passed += 1
            print("ok    " + what, flush=True)
        else:
            self.failed += 1
            print("FAIL  " + what, flush=True)
            for line in str(evidence)[:EVIDENCE_LIMIT].splitlines():
                print("      | " + line, flush=True)
        return bool(holds)

    def require(self, what: str, holds: object, evidence: object = "") -> None:
        """A check whose failure ends the scenario."""
        if not self.check(what, holds, evidence):
            raise Abandoned(what)

    def skip(self, what: str, reason: str) -> None:
        if self.strict:
            self.check(what, False, reason + "; with CI=true nothing is skipped")
        else:
            self.skipped += 1
            print("skip  %s: %s" % (what, reason), flush=True)

    def close(self) -> int:
        print("\n%d passed, %d failed" % (self.passed, self.failed), flush=True)
        return 1 if self.failed or not (self.passed or self.skipped) else 0

"""From DHP19 to a table: python tools/train_dhp19.py ROOT [OUT [OPTIONS OF `eventhpe train cnn`]]. Frames,
weights and
scores go to OUT (ROOT/eventhpe)."""

import sys
from pathlib import Path

from eventhpe.cli.main import guarded, main
from eventhpe.data.dhp19 import require_complete

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    root, out = Path(sys.argv[1]), Path(*(sys.argv[2:3] or [sys.argv[1], "eventhpe"]))
    data, run, table = str(out / "prepared"), str(out / "cnn"), str(out / "scores.md")
    weights = f"{run}/dhp19_cnn.safetensors"
    train = ["train", "cnn", "--data", f"dhp19:{data}", "-o", run, *sys.argv[3:]]
    score = ["evaluate", "dhp19", "--data", data, "--weights", weights, "-o", table]
    steps = (["prepare", "dhp19", str(root), "-o", data], train, score)
    sys.exit(guarded(require_complete, root) or next((code for s in steps if (code := main(s))), 0))

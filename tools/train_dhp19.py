"""From DHP19 to a table: python tools/train_dhp19.py [--system SYSTEM] ROOT [OUT [OPTIONS OF train]].

SYSTEM is cnn (default), shapenet, flownet, simdr, hemlets or heatmap. Prepared data, weights and scores go to
OUT (ROOT/eventhpe); what is there already is kept.
"""

import sys

from eventhpe.cli.dhp19_walk import walk
from eventhpe.cli.main import guarded, main

if __name__ == "__main__":
    code = guarded(walk, sys.argv[1:], main)
    sys.exit(__doc__ if code == 1 else code)

"""Train on DHP19: python tools/train_dhp19.py ROOT, where ROOT holds DVS_movies/ and Vicon_data/."""

import sys

from eventhpe.cli.main import guarded
from eventhpe.data.dhp19 import train

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    sys.exit(guarded(train, sys.argv[1]))

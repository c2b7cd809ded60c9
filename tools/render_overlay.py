"""Door to `eventhpe render`: draw a motion over its recording."""

import sys

from eventhpe.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["render", *sys.argv[1:]]))

"""Door to `eventhpe convert`: python tools/convert_events.py FILE -o OUT.h5 [options]."""

import sys

from eventhpe.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))

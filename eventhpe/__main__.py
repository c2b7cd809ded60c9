"""`python -m eventhpe` is the same as the command `eventhpe`."""

from __future__ import annotations

from eventhpe.cli.main import main

raise SystemExit(main())

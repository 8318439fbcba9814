"""python -m tests.torture: see table.py, which is a module of its own so that its processes can import it."""

import sys

from tests.torture.table import main

sys.exit(main())

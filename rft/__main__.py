"""`python -m rft`."""

import sys

from rft.commands.cli import main

sys.exit(main())

"""Makes `python -m filterd` the command line."""

import sys

from filterd.cli import main

sys.exit(main())

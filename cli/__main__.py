"""Let ``python -m skyfill.cli`` be the same command."""

import sys

from .main import main

sys.exit(main())

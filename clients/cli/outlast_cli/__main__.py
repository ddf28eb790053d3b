"""`python -m outlast_cli`: the same as `outlast`."""

from __future__ import annotations

import sys

from . import main

sys.exit(main())

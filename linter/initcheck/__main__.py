"""``python -m initcheck``, for an environment whose scripts are not on the path."""

from __future__ import annotations

import sys

from initcheck.cli import main

sys.exit(main())

"""Every worker of the test run computes on one thread, or the workers would take the cores from each other."""

from __future__ import annotations

import os

# Before anything imports numpy or torch; tests that start processes hand it on.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

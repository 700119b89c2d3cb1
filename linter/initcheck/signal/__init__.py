"""The signal and the laws it is folded through.

``THEORY 2.9`` in a docstring is section 2.9 of ``docs/theory.md``, which gives formulas, assumptions and sources.
"""

from __future__ import annotations

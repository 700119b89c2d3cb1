"""The ONNX front end; nothing outside this package imports ``onnx``."""

from __future__ import annotations

from initcheck.sources.onnx.lower import load as load

__all__ = ["load"]

"""How to judge, and within which bounds foreign code may run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from initcheck.analysis import Optimizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.rule import Severity

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to judge, and within which bounds the code of a PyTorch model may run.

    Attributes:
        select: Codes, prefixes or names of rules to run; empty for all.
        ignore: The same, to leave out.
        severity: Code or name -> severity instead of the rule's own.
        optimizer: Trainer whose bounds apply.
        assume_init: Scheme to judge the architecture by instead of its own weights, empty for its own.
        dtype: Element type that the model is trained in, float16 or bfloat16; empty for what it declares.
        strict: Whether a layer that could not be analysed is an error.
        shapes: Input name -> shape.
        dtypes: Input name -> numpy's name of its element type; PyTorch models only, an ONNX file states its own.
        dims: Symbolic dimension -> size; ONNX files only.
        app_dir: Folder that is first on ``sys.path`` for import strings, empty for the current one.
        jobs: Worker processes at a time; 0 for one per processor, four at most since each may take ``max_memory``.
        timeout: Seconds that one PyTorch model may take.
        max_memory: Bytes that the weights of one PyTorch model may take where it must be built for real.
        show_warnings: Whether warnings of the models' code are shown.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    severity: Mapping[str, Severity] = field(default_factory=dict)
    optimizer: Optimizer = Optimizer.SGD
    assume_init: str = ""
    dtype: str = ""
    strict: bool = False
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    app_dir: str = ""
    jobs: int = 0
    timeout: float = 300.0
    max_memory: int = 2 << 30
    show_warnings: bool = False

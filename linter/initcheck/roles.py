"""The role of a layer: its path with the number of its block left open."""

from __future__ import annotations

__all__ = ["role_of"]


def role_of(path: str) -> str:
    """Path with the numbers of blocks replaced by ``*``: ``h.3.mlp.c_proj`` -> ``h.*.mlp.c_proj``.

    A number that ends a path with more than one of them stays: in ``blocks.3.net.2`` it names the layer within its
    block (an ``nn.Sequential``), which other layers of the block differ from by design.
    """
    parts = path.split(".")
    numbers = [at for at, part in enumerate(parts) if part.isdecimal()]
    if len(numbers) > 1 and numbers[-1] == len(parts) - 1:
        numbers.pop()
    return ".".join("*" if at in numbers else part for at, part in enumerate(parts))

"""Roles of paths."""

from __future__ import annotations

import pytest

from initcheck import role_of


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("h.3.mlp.c_proj", "h.*.mlp.c_proj"),
        ("encoder.layers.11.self_attn.in_proj", "encoder.layers.*.self_attn.in_proj"),
        ("layers.4", "layers.*"),
        ("0", "*"),
        ("blocks.3.net.2", "blocks.*.net.2"),
        ("layer1.0.downsample.0", "layer1.*.downsample.0"),
        ("layer1.0.conv2", "layer1.*.conv2"),
        ("stages.1.blocks.2.fc", "stages.*.blocks.*.fc"),
        ("head", "head"),
        ("", ""),
    ],
)
def test_numbers_of_blocks_are_left_open(path: str, role: str) -> None:
    assert role_of(path) == role

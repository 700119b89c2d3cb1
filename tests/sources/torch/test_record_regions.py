"""Regions of a storage against an array of marks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from initcheck.sources.torch.record_law import constant, orthogonal
from initcheck.sources.torch.record_regions import Regions, Runs, view_runs

SHAPE = (6, 4, 5)
MARKS = [constant(float(value)) for value in range(5)]


@st.composite
def views(draw: st.DrawFn) -> torch.Tensor:
    """A view of a (6, 4, 5) tensor as people take them."""
    view = torch.arange(120).view(SHAPE)
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["narrow", "step", "select", "transpose", "flatten", "diagonal"]))
        axis = draw(st.integers(0, max(view.dim() - 1, 0)))
        if view.dim() == 0:
            break
        if kind == "narrow":
            start = draw(st.integers(0, view.shape[axis] - 1))
            view = view.narrow(axis, start, draw(st.integers(1, view.shape[axis] - start)))
        elif kind == "step":
            view = view[(slice(None),) * axis + (slice(draw(st.integers(0, view.shape[axis] - 1)), None, 2),)]
        elif kind == "select":
            view = view.select(axis, draw(st.integers(0, view.shape[axis] - 1)))
        elif kind == "transpose":
            view = view.transpose(0, axis)
        elif kind == "flatten" and view.is_contiguous():
            view = view.view(-1)
        elif kind == "diagonal" and view.dim() >= 2:
            view = view.diagonal()
    return view


def runs_of(view: torch.Tensor) -> Runs:
    runs = view_runs(view.storage_offset(), view.shape, view.stride())
    assert runs is not None
    return runs


@given(views())
def test_runs_are_the_elements_of_a_view(view: torch.Tensor) -> None:
    runs = runs_of(view)
    elements = (runs.starts[:, None] + np.arange(runs.length)).reshape(-1)
    assert sorted(elements.tolist()) == sorted(view.reshape(-1).tolist())


@given(st.lists(st.tuples(views(), st.integers(0, 4)), max_size=5), views())
@settings(deadline=None)
def test_painting_and_reading_agree_with_an_array(writes: list[tuple[torch.Tensor, int]], read: torch.Tensor) -> None:
    regions, array = Regions(120, MARKS[0]), np.zeros(120, int)
    for view, mark in writes:
        regions.paint(runs_of(view), MARKS[mark])
        array[view.reshape(-1).numpy()] = mark
    found = {mark.value: count for mark, count in regions.read(runs_of(read))}
    values, counts = np.unique(array[read.reshape(-1).numpy()], return_counts=True)
    assert found == dict(zip(values.astype(float), counts, strict=True))


@given(views(), views())
def test_an_update_changes_each_part_by_itself(first: torch.Tensor, second: torch.Tensor) -> None:
    regions, array = Regions(120, MARKS[1]), np.ones(120)
    regions.paint(runs_of(first), MARKS[3])
    array[first.reshape(-1).numpy()] = 3
    regions.update(runs_of(second), lambda mark: mark.affine(2.0))
    array[second.reshape(-1).numpy()] *= 2
    found = {mark.value: count for mark, count in regions.read()}
    values, counts = np.unique(array, return_counts=True)
    assert found == dict(zip(values, counts, strict=True))


def test_a_repeated_element_counts_once() -> None:
    view = torch.zeros(1, 4).expand(3, 4)
    assert runs_of(view).count == 4


def test_views_that_overlap_themselves_are_refused() -> None:
    assert view_runs(0, (3, 4), (2, 1)) is None


def test_too_many_runs_are_refused() -> None:
    assert view_runs(0, (1 << 11, 1 << 11), (1 << 13, 2)) is None


@pytest.mark.parametrize("rows", [1, 5])
def test_what_depends_on_the_part_is_unknown_of_a_part(rows: int) -> None:
    law = orthogonal((10, 12), 1.0, 1)
    regions = Regions(120, law)
    ((part, _),) = regions.read(Runs(np.zeros(1, np.int64), rows * 12))
    assert part.family == "unknown"
    assert part.second == law.second
    ((whole, _),) = regions.read()
    assert whole is law

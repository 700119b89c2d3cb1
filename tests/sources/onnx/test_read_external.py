"""External data: read from the model's folder only, and only what is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from initcheck.errors import ModelLoadError
from initcheck.sources.onnx.read import read_model

if TYPE_CHECKING:
    from pathlib import Path

VALUES = np.arange(6, dtype="<f4")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize 1\n" % (b"0" * 64)


def save(folder: Path, **entries: str) -> Path:
    """A model in ``folder`` whose float32[6] initialiser has these entries of ``external_data``."""
    tensor = TensorProto(name="w", dims=[6], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [output], [tensor])
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def fail(path: Path) -> ModelLoadError:
    with pytest.raises(ModelLoadError) as caught:
        read_model(path)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with good data in it, beside a file that is nobody's business."""
    inside = tmp_path / "model"
    (inside / "sub").mkdir(parents=True)
    for place in (inside / "w.bin", inside / "sub" / "w.bin", tmp_path / "secret.bin"):
        place.write_bytes(VALUES.tobytes())
    return inside


@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/w.bin"])
def test_data_in_the_folder_is_read(folder: Path, location: str) -> None:
    ref = read_model(save(folder, location=location, offset="0", length="24", checksum="ignored")).tensors["w"]
    np.testing.assert_array_equal(ref.load(), VALUES)


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    save(folder, location="w.bin")
    link = folder.parent / "link"
    link.symlink_to(folder)
    np.testing.assert_array_equal(read_model(link / "m.onnx").tensors["w"].load(), VALUES)


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    (folder / "link.bin").symlink_to("sub/w.bin")
    np.testing.assert_array_equal(read_model(save(folder, location="link.bin")).tensors["w"].load(), VALUES)


@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "sub/../../secret.bin",
        "sub/../w.bin",
        "..\\secret.bin",
        "C:\\secret.bin",
        "\\secret.bin",
        "/dev/zero",
    ],
)
def test_paths_out_of_the_folder_are_refused(folder: Path, location: str) -> None:
    error = fail(save(folder, location=location))
    assert error.kind == "external-outside"
    assert repr(location) in error.message


def test_an_absolute_path_is_refused_even_into_the_folder(folder: Path) -> None:
    assert fail(save(folder, location=str(folder / "w.bin"))).kind == "external-outside"


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "link.bin").symlink_to(folder.parent / "secret.bin")
    assert fail(save(folder, location="link.bin")).kind == "external-outside"


def test_a_linked_parent_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "data").symlink_to(folder.parent)
    assert fail(save(folder, location="data/secret.bin")).kind == "external-outside"


def test_a_neighbour_whose_name_begins_like_the_folder_is_outside(folder: Path) -> None:
    neighbour = folder.with_name(folder.name + "-other")
    neighbour.mkdir()
    (neighbour / "w.bin").write_bytes(VALUES.tobytes())
    (folder / "link.bin").symlink_to(neighbour / "w.bin")
    assert fail(save(folder, location="link.bin")).kind == "external-outside"


@pytest.mark.parametrize("location", ["absent.bin", "absent/w.bin", "w.bin/below", "", "w\0.bin", "sub"])
def test_missing_data(folder: Path, location: str) -> None:
    assert fail(save(folder, location=location)).kind == "external-missing"


def test_no_location_at_all(folder: Path) -> None:
    assert fail(save(folder)).kind == "external-missing"


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX file types")
def test_a_pipe_is_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert fail(save(folder, location="pipe", length="24")).kind == "external-missing"


def test_a_link_to_itself(folder: Path) -> None:
    (folder / "link.bin").symlink_to("link.bin")
    assert fail(save(folder, location="link.bin")).kind == "unreadable"


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "1"},
        {"offset": "24"},
        {"offset": "4", "length": "24"},
        {"offset": "999999999999999999", "length": "24"},
        {"offset": "-1"},
        {"length": "-24"},
        {"offset": "0x10"},
        {"offset": "1.0"},
        {"offset": " 0"},
        {"offset": "1_0"},
        {"offset": "٠"},
        {"offset": ""},
        {"length": "9" * 5000},
    ],
    ids=lambda entries: ",".join(f"{key}={value:.20}" for key, value in entries.items()),
)
def test_places_that_are_not_in_the_file(folder: Path, entries: dict[str, str]) -> None:
    assert fail(save(folder, location="w.bin", **entries)).kind == "external-range"


@pytest.mark.parametrize("length", ["0", "20", "23"])
def test_a_length_that_is_not_the_shapes(folder: Path, length: str) -> None:
    error = fail(save(folder, location="w.bin", length=length))
    assert error.kind == "shape"
    assert f"{length} bytes" in error.message


def test_data_that_is_a_git_lfs_pointer(folder: Path) -> None:
    (folder / "w.bin").write_bytes(POINTER)
    error = fail(save(folder, location="w.bin", offset="4096"))
    assert error.kind == "lfs-pointer"
    assert "w.bin" in error.message


def test_entries_of_the_skeleton_in_a_foreign_file_gain_nothing(folder: Path) -> None:
    assert fail(save(folder, embedded_offset="10000", length="24")).kind == "external-range"
    assert fail(save(folder, embedded_offset="-4", length="24")).kind == "external-range"
    assert fail(save(folder, embedded_offset="0", length="4")).kind == "shape"

from __future__ import annotations

from pathlib import Path

import pytest

from initcheck import Severity, UsageError
from initcheck.commands.parse import Output, dims, outputs, severities, shapes, words


def test_words_are_comma_separated_and_repeatable() -> None:
    assert words(["INI1, INI2", "", "a,"]) == ("INI1", "INI2", "a")


def test_outputs() -> None:
    assert outputs([], "concise") == (Output("concise", None),)
    assert outputs(["rich", "json=out.json"], "concise") == (Output("rich", None), Output("json", Path("out.json")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["xml"], "'xml' is not one of rich, concise, json"),
        (["jsn"], "did you mean json?"),
        (["json="], "names no file"),
        (["json", "concise"], "two formats go to standard output"),
        (["json=a", "concise=a"], "two formats go to a"),
    ],
)
def test_outputs_that_make_no_sense(values: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        outputs(values, "concise")
    assert message in str(caught.value)


def test_severities() -> None:
    assert severities(["INI101=off,a=note"]) == {"INI101": Severity.OFF, "a": Severity.NOTE}
    for wrong in ("INI101", "=note", "INI101=fatal", "INI101="):
        with pytest.raises(UsageError):
            severities([wrong])


def test_shapes() -> None:
    assert shapes(["x=1,3,224,224", "a=b=5"]) == {"x": (1, 3, 224, 224), "a=b": (5,)}
    for wrong in ("x", "=1", "x=", "x=1,-3", "x=0", "x=1,a", "x=1,3:int64"):
        with pytest.raises(UsageError):
            shapes([wrong])


def test_dims() -> None:
    assert dims(["batch=8,seq=128", "n=1"]) == {"batch": 8, "seq": 128, "n": 1}
    for wrong in ("batch", "batch=", "=3", "batch=x", "batch=0"):
        with pytest.raises(UsageError):
            dims([wrong])

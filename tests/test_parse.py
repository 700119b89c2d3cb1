from __future__ import annotations

from pathlib import Path

import pytest

from initcheck import Severity, UsageError
from initcheck.commands.parse import Output, count, dims, duration, outputs, severities, shapes, size, words


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
    assert shapes(["x=1,3,224,224", "a=b=5"]) == ({"x": (1, 3, 224, 224), "a=b": (5,)}, {})
    assert shapes(["ids=2,128:int64"]) == ({"ids": (2, 128)}, {"ids": "int64"})
    for wrong in ("x", "=1", "x=", "x=1,-3", "x=0", "x=1,a", "x=1,3:int65", "x=1,3:"):
        with pytest.raises(UsageError):
            shapes([wrong])


def test_sizes_are_powers_of_1024() -> None:
    assert [size("--max-memory", text) for text in ("7", "7B", "2GB", "1.5 KiB", "3m")] == [
        7,
        7,
        2 << 30,
        1536,
        3 << 20,
    ]
    for wrong in ("", "-1", "GB", "2XB", "nan", "2GB or so"):
        with pytest.raises(UsageError):
            size("--max-memory", wrong)


def test_durations_and_counts() -> None:
    assert (duration("--timeout", "1.5"), count("--jobs", "3")) == (1.5, 3)
    for wrong in ("0", "-1", "inf", "nan", "soon", ""):
        with pytest.raises(UsageError):
            duration("--timeout", wrong)
    for wrong in ("-1", "1.5", "all", ""):
        with pytest.raises(UsageError):
            count("--jobs", wrong)


def test_dims() -> None:
    assert dims(["batch=8,seq=128", "n=1"]) == {"batch": 8, "seq": 128, "n": 1}
    for wrong in ("batch", "batch=", "=3", "batch=x", "batch=0"):
        with pytest.raises(UsageError):
            dims([wrong])

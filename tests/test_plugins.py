from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from initcheck import FailureMode, Need, PluginError, Severity
from initcheck.plugins import GROUP, load_rules

if TYPE_CHECKING:
    from collections.abc import Iterator


def _rule(code: str, name: str, **changes: Any) -> type:
    members = {
        "code": code,
        "name": name,
        "failure_mode": FailureMode.DEAD,
        "severity": Severity.ERROR,
        "needs": frozenset({Need.GRAPH}),
        "subsumes": frozenset(),
        "check": lambda self, analysis: iter(()),
        "bad": staticmethod(lambda: None),
        "good": staticmethod(lambda: None),
        **changes,
    }
    return type("SomeRule", (), {key: value for key, value in members.items() if value is not ...})


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType("plugin_under_test")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def _bundle(attribute: str) -> EntryPoint:
    return EntryPoint(attribute, f"plugin_under_test:{attribute}", GROUP)


def test_rules_come_in_the_order_of_their_codes(module: ModuleType) -> None:
    module.first = (_rule("BBB002", "b"), _rule("BBB001", "a"))
    module.second = (_rule("AAA001", "c"),)
    assert [rule.code for rule in load_rules([_bundle("first"), _bundle("second")])] == ["AAA001", "BBB001", "BBB002"]


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ((_rule("AAA001", "a"), _rule("AAA001", "b")), ["AAA001", "and so has"]),
        ((_rule("AAA001", "a"), _rule("AAA002", "a")), ["a rule a", "and so has"]),
        ((_rule("AAA001", "a", check=...),), ["SomeRule", "is not a rule", "lacks check"]),
        ((int,), ["int", "is not a rule", "lacks code"]),
        ((_rule("aaa1", "a"),), ["code 'aaa1'"]),
        ((_rule("AAA001", "Not Kebab"),), ["name 'Not Kebab'"]),
        ((_rule("AAA001", "a", __init__=lambda self, option: None),), ["do not load", "TypeError"]),
        (3, ["do not load", "TypeError"]),
        ((), ["no rule is installed"]),
    ],
)
def test_a_bundle_that_is_not_right_stops_the_run(module: ModuleType, classes: Any, words: list[str]) -> None:
    module.rules = classes
    with pytest.raises(PluginError) as caught:
        load_rules([_bundle("rules")])
    assert all(word in caught.value.message for word in words), caught.value.message
    assert caught.value.hint


def test_an_entry_point_that_does_not_load_is_named() -> None:
    with pytest.raises(PluginError, match=r"gone \(absent_module:RULES\)|gone = absent_module:RULES"):
        load_rules([EntryPoint("gone", "absent_module:RULES", GROUP)])

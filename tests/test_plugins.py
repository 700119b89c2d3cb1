from __future__ import annotations

import importlib
import json
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from initcheck import Bounds, Builder, FailureMode, Need, PluginError, Severity
from initcheck.cli import main
from initcheck.plugins import GROUP, load_rules
from initcheck.testing import rule_cases, run_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]


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
        ((_rule("INI999", "a"),), ["code INI999 has the letters of the built-in rules"]),
        ((_rule("AAA001", "a", failure_mode="dead"),), ["failure_mode 'dead'"]),
        ((_rule("AAA001", "a", severity=Severity.OFF),), ["severity"]),
        ((_rule("AAA001", "a", needs=["graph"]),), ["needs ['graph']"]),
        ((_rule("AAA001", "a", subsumes={1}),), ["subsumes {1}"]),
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


TEMPLATE = ROOT / "examples" / "plugin"
MLP = ROOT / "examples" / "mlp_repaired.onnx"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a distribution with one bundle of rules on the path, as pip would."""

    def call(distribution: str, value: str, code: str = "", source: Path | None = None) -> None:
        folder = tmp_path / distribution
        information = folder / f"{distribution}-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[{GROUP}]\nbundle = {value}\n")
        module = value.partition(":")[0]
        if code:
            (folder / f"{module}.py").write_text(code)
        for entry in filter(None, (source, folder)):
            monkeypatch.syspath_prepend(str(entry))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return call


def _team_rule(name: str) -> str:
    """A module with the rule of the template under another name."""
    return (
        "from team_rules import DeepWithoutShortcut\n"
        f"class Other(DeepWithoutShortcut):\n    __doc__ = DeepWithoutShortcut.__doc__\n    name = {name!r}\n"
        "RULES = (Other,)\n"
    )


COMMANDS = [["rule"], ["rule", "INI101"], [str(MLP)]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('not\\ntoday')", "RuntimeError: not today"),
        ("import absent_module", "ModuleNotFoundError: No module named 'absent_module'"),
        ("rules = ()", "AttributeError"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("RULES = (print,)", "NoneType"),
    ],
)
def test_a_bundle_that_does_not_load_ends_every_run_with_one_line(
    command: list[str], code: str, reason: str, install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install("someones-rules", "someones:RULES", code)
    assert main(command) == 2
    shown = capsys.readouterr()
    assert shown.out.strip() == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("error: ")
    assert "someones-rules (bundle = someones:RULES)" in shown.err
    assert reason in shown.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(("name", "shared"), [("another", "TEAM101"), ("deep-without-shortcut", "TEAM101")])
def test_two_rules_with_one_code_end_every_run_with_one_line(
    command: list[str], name: str, shared: str, install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install("team-rules", "team_rules:RULES", source=TEMPLATE / "src")
    install("others-rules", "others:RULES", _team_rule(name))
    assert main(command) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"a rule {shared}, and so has" in line
    assert "team-rules" in line
    assert "others-rules" in line


def test_the_template_is_found_listed_and_run(install: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (value,) = project["entry-points"][GROUP].values()
    install(project["name"], value, source=TEMPLATE / "src")
    assert main(["rule"]) == 0
    assert "\nTEAM101  deep-without-shortcut " in capsys.readouterr().out
    assert main(["rule", "team101", "-f", "json"]) == 0
    (rule,) = json.loads(capsys.readouterr().out)["rules"]
    assert rule["bounds"]["bounds"]["optimizers"] == {"any": {"warning": 20, "error": 34}}
    assert main([str(MLP), "--select", "TEAM", "--fail-on", "warning"]) == 1
    assert "warning TEAM101 the shortest way to the output leads through 21 layers" in capsys.readouterr().out
    assert main([str(MLP), "--ignore", "TEAM", "--fail-on", "note"]) == 0


def _template_rules() -> Any:
    sys.path.insert(0, str(TEMPLATE / "src"))
    try:
        return importlib.import_module("team_rules").RULES
    finally:
        sys.path.remove(str(TEMPLATE / "src"))


@pytest.mark.parametrize("case", rule_cases(_template_rules()))
def test_the_rule_of_the_template(case: Callable[[], None]) -> None:
    case()


def test_a_shortcut_of_any_kind_is_a_shorter_way() -> None:
    (rule,) = _template_rules()

    def layers(shortcut: Callable[[Builder, str, str], str]) -> int:
        b = Builder()
        x = b.x
        for _ in range(24):
            x = shortcut(b, x, b.activation(b.linear(x, 64)))
        found = run_rule(rule(bounds=Bounds(1, 99)), b.graph(b.linear(x, 10)))
        return found[0].evidence["layers"]

    assert layers(lambda b, x, y: y) == 25
    assert layers(lambda b, x, y: b.add(x, y)) == 1
    assert layers(lambda b, x, y: b.concatenate([x, y])) == 1
    assert layers(lambda b, x, y: b.add(b.linear(x, 64), y)) == 25


@pytest.mark.slow
def test_a_worker_process_finds_the_rules_of_a_plugin(
    tmp_path: Path, install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install("team-rules", "team_rules:RULES", source=TEMPLATE / "src")
    (tmp_path / "plain.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(*[m for _ in range(40) for m in (nn.Linear(64, 64), nn.ReLU())])\n"
    )
    assert main([f"{tmp_path / 'plain.py'}:build", "--select", "TEAM"]) == 1
    shown = capsys.readouterr().out
    assert "error TEAM101" in shown
    assert "the shortest way to the output leads through 40 layers (bound 34), starting at 0 " in shown

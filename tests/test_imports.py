"""The arrow of imports, and what a run may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import initcheck

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
LINTER = ROOT / "linter" / "initcheck"
RULES = ROOT / "rules" / "initcheck_rules"

LAYERS = {
    "commands": {"cli"},
    "pipeline": {"cli", "commands"},
    "workers": {"cli", "commands", "pipeline"},
    "worker": {"cli", "commands", "pipeline", "workers"},
    "examine": {"cli", "commands", "pipeline", "workers", "worker"},
    "measure": {"cli", "commands", "pipeline", "workers", "worker", "examine", "reports"},
    "load": {"cli", "commands", "pipeline", "workers", "worker", "examine", "measure", "reports", "analysis"},
    "sources": {"cli", "commands", "pipeline", "reports", "analysis", "signal", "plugins", "selection"},
    "signal": {"cli", "commands", "pipeline", "reports", "analysis", "plugins", "selection", "sources"},
    "structure": {"cli", "commands", "pipeline", "reports", "analysis", "plugins", "selection", "sources", "signal"},
    "analysis": {"cli", "commands", "pipeline", "reports", "plugins", "selection", "sources"},
    "pages": {"cli", "commands", "pipeline", "analysis", "plugins", "selection", "sources", "signal", "structure"},
    "reports": {"cli", "commands", "pipeline", "analysis", "plugins", "selection", "sources", "signal", "structure"},
}
"""Part of the engine -> parts that stand above it (or beside it), which it must not import."""

VOCABULARY = "initcheck.signal.functions."
"""Names of elementwise functions: part of the vocabulary of the graph, which sources speak."""

VALUE_TYPES = ("graph", "distribution", "rule", "report", "errors", "measurement", "runs")


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Dotted names a file imports (with the imported name appended), and whether for type checking only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in guarded) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((f"{node.module}.{alias.name}", node in guarded) for alias in node.names)


def _files(*folders: Path) -> list[Path]:
    found = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    assert found
    return found


def _part(path: Path) -> str:
    return path.relative_to(LINTER).with_suffix("").parts[0]


@pytest.mark.parametrize("path", _files(LINTER), ids=lambda path: str(path.relative_to(LINTER)))
def test_the_engine_imports_along_the_arrow(path: Path) -> None:
    names = [name for name, typing_only in _imports(path) if not typing_only]
    assert not [name for name in names if name.startswith("initcheck_rules")]
    forbidden = LAYERS.get(_part(path), set())
    engine = [name for name in names if name.startswith("initcheck.") and not name.startswith(VOCABULARY)]
    assert not [name for name in engine if name.split(".")[1] in forbidden]


@pytest.mark.parametrize("part", VALUE_TYPES)
def test_value_types_stand_below_everything(part: str) -> None:
    imported = {
        name.split(".")[1]
        for name, typing_only in _imports(LINTER / f"{part}.py")
        if name.startswith("initcheck.") and not typing_only
    }
    assert imported <= set(VALUE_TYPES)


@pytest.mark.parametrize("path", _files(LINTER, RULES), ids=lambda path: str(path.relative_to(ROOT)))
def test_frameworks_stay_behind_their_source(path: Path) -> None:
    roots = {name.split(".")[0] for name, _ in _imports(path)}
    if (LINTER / "sources" / "onnx") not in path.parents:
        assert not roots & {"onnx", "onnxruntime"}
    if (LINTER / "sources" / "torch") not in path.parents:
        assert "torch" not in roots
    assert not roots & {"onnxscript", "onnx_ir", "ml_dtypes", "scipy", "transformers"}


@pytest.mark.parametrize("path", _files(RULES), ids=lambda path: path.name)
def test_rules_import_public_names_only(path: Path) -> None:
    for name, _ in _imports(path):
        root, _, rest = name.partition(".")
        assert root != "initcheck" or rest in initcheck.__all__, name


def test_every_public_name_loads_and_is_what_its_module_says() -> None:
    for name in initcheck.__all__:
        assert getattr(initcheck, name) is not None
    assert set(initcheck.__all__) <= set(dir(initcheck))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = initcheck.no_such_name


def _loaded_by(*arguments: str) -> set[str]:
    """Top-level modules loaded by a run of the command line in a fresh interpreter."""
    code = (
        "import sys\n"
        "from initcheck.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    exit_code, *modules = run.stderr.splitlines()[-1].split()
    assert exit_code in {"0", "1"}, run.stderr
    return set(modules)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["check", "--help"], ["measure", "--help"], ["--version"], ["rule", "--help"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert not _loaded_by(*arguments) & {"numpy", "onnx", "torch", "rich", "initcheck_rules"}


def test_telling_of_rules_loads_neither_onnx_nor_torch_and_rich_only_to_draw() -> None:
    assert not _loaded_by("rule", "INI301") & {"onnx", "torch", "rich"}
    assert not _loaded_by("rule", "INI301", "-f", "rich") & {"onnx", "torch"}


def test_checking_an_onnx_file_never_loads_torch_and_rich_only_for_its_report() -> None:
    model = str(ROOT / "examples" / "mlp_repaired.onnx")
    heavy = {"torch", "onnxscript", "onnx_ir", "onnxruntime", "scipy", "pydantic"}
    concise = _loaded_by(model, "-f", "concise")
    assert "onnx" in concise
    assert not concise & {*heavy, "rich"}
    assert not _loaded_by(model, "-f", "rich") & heavy


def test_measuring_an_onnx_file_never_loads_torch() -> None:
    code = (
        "import sys\n"
        "from initcheck.measure import Measure\n"
        "from initcheck.measurement import Measurement, Plan\n"
        "from initcheck.settings import Settings\n"
        "from initcheck.targets import find_targets\n"
        "(target,) = find_targets(sys.argv[1:])\n"
        "found = Measure(Plan(repeats=1))(target, Settings(), lambda done, total: None)\n"
        "assert isinstance(found, Measurement), found\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", code, str(ROOT / "examples" / "mlp_repaired.onnx")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "onnxruntime" in run.stdout.split()
    assert not {"torch", "rich"} & set(run.stdout.split())

"""The hook in a real pre-commit, with this checkout as the hook repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git history of the checkout"),
]


def _environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") and key != "PYTHONPATH"}
    identity = {
        f"GIT_{role}_{what}": "test@example.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    return {**kept, **identity, "PRE_COMMIT_HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull}


def test_the_hook_blocks_a_bad_model_and_lets_a_good_one_pass(tmp_path: Path) -> None:
    environment = _environment(tmp_path / "home")
    hooks, project = tmp_path / "hooks", tmp_path / "project"

    def call(*command: str, folder: Path = project) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    call("git", "clone", "--quiet", str(ROOT), str(hooks), folder=tmp_path).check_returncode()
    revision = call("git", "rev-parse", "HEAD", folder=hooks).stdout.strip()
    project.mkdir()
    call("git", "init", "--quiet").check_returncode()
    config = f"repos:\n- repo: {hooks}\n  rev: {revision}\n  hooks:\n  - id: initcheck\n"
    (project / ".pre-commit-config.yaml").write_text(config, encoding="utf-8")
    (project / "README").write_text("no model\n", encoding="utf-8")
    shutil.copy(ROOT / "examples" / "mlp_pytorch_default.onnx", project / "net.onnx")
    call("git", "add", "-A").check_returncode()

    run = (sys.executable, "-m", "pre_commit", "run", "--all-files", "--color", "never", "--verbose")
    blocked = call(*run)
    assert blocked.returncode == 1, blocked.stdout + blocked.stderr
    assert "net.onnx: error INI101" in blocked.stdout
    assert "- exit code: 1" in blocked.stdout

    shutil.copy(ROOT / "examples" / "mlp_repaired.onnx", project / "net.onnx")
    call("git", "add", "-A").check_returncode()
    passed = call(*run)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "1 model, 0 errors" in passed.stdout

    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    (project / "net.onnx").write_text(pointer, encoding="utf-8")
    call("git", "add", "-A").check_returncode()
    pointed = call(*run)
    assert "- exit code: 2" in pointed.stdout
    assert "git lfs pull" in pointed.stdout

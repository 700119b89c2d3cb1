from __future__ import annotations

import sys

from terminals import in_terminal

SCRIPT = """
import sys, time
from initcheck.commands import progress
progress.PATIENCE = {patience}
with progress.ProgressBar(visible={visible}) as bar:
    for index, target in enumerate(("first.onnx", "second.onnx")):
        bar.started(target, index, 2)
        deadline = time.monotonic() + {wait}
        while bar._bar is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
print("rich" in sys.modules, file=sys.stderr)
"""


def _drawn(*, patience: float, visible: bool, wait: float = 0.0) -> str:
    script = SCRIPT.format(patience=patience, visible=visible, wait=wait)
    code, text = in_terminal([sys.executable, "-c", script], stream="stderr")
    assert code == 0
    return text


def test_a_long_run_shows_the_target_it_is_at() -> None:
    text = _drawn(patience=0.05, visible=True, wait=60.0)
    assert "first.onnx" in text
    assert "second.onnx" in text
    assert "1/2" in text


def test_a_short_run_and_a_hidden_bar_draw_nothing_and_load_nothing() -> None:
    assert _drawn(patience=30.0, visible=True).split() == ["False"]
    assert _drawn(patience=0.05, visible=False).split() == ["False"]

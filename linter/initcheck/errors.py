"""The errors initcheck raises on purpose.

    InitcheckError
    ├── UsageError        the command line asks for something that does not exist
    ├── ConfigError       a configuration value is not valid
    ├── PluginError       a rule bundle does not load, or two rules share a code
    └── ModelLoadError    a target gives no graph (missing, damaged, not a model)

Every message says what is wrong, where, and what to do. Only ``initcheck.cli.main`` catches them (exit code 2),
except ``ModelLoadError``, which the pipeline turns into an entry of the report so that other targets go on.
"""

from __future__ import annotations

__all__ = ["ConfigError", "InitcheckError", "ModelLoadError", "PluginError", "UsageError"]


class InitcheckError(Exception):
    """Base of all errors that are the user's to mend.

    Args:
        message: What is wrong and where, one line.
        hint: What to do about it, one line, may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(InitcheckError):
    """The command line asks for something that does not exist."""


class ConfigError(InitcheckError):
    """A configuration value is not valid."""


class PluginError(InitcheckError):
    """A rule bundle does not load, or its rules clash."""


class ModelLoadError(InitcheckError):
    """A target gives no graph.

    Args:
        message: What is wrong and where, one line.
        hint: What to do about it, one line, may be empty.
        kind: Short machine-readable class of the failure (``missing``, ``damaged``, ``lfs-pointer``, ...).
    """

    def __init__(self, message: str, hint: str = "", *, kind: str = "load") -> None:
        super().__init__(message, hint)
        self.kind = kind

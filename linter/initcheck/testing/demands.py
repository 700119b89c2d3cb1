"""What every rule owes: one function per demand."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from initcheck.analysis import Analysis, Optimizer
from initcheck.errors import UsageError
from initcheck.pages.page import option_fields, page_of
from initcheck.plugins import flaw_of
from initcheck.testing.findings import flaw_of_finding
from initcheck.testing.initializers import run_initializers
from initcheck.testing.onnx import through_onnx
from initcheck.testing.strangers import strangers
from initcheck.testing.trial import run_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from initcheck.rule import Rule
    from initcheck.testing.trial import Trial

__all__ = ["DEMANDS", "HEADINGS", "from_onnx"]

HEADINGS = ("What it checks", "Why it fails", "Example", "Instead", "Limits", "References")
"""Headings that the docstring of a rule has, in this order, with a colon or without."""


def is_a_rule(trial: Trial) -> None:
    """It can be made without arguments, has all attributes, and its code and name are well formed."""
    flaw = flaw_of(trial.rule, built_in=trial.built_in)
    if flaw:
        trial.fail(f"is not a rule: {flaw}", "initcheck.Rule describes every attribute")


def page_is_complete(trial: Trial) -> None:
    """The docstring begins with a sentence and has all headings, with text below each."""
    if not trial.rule_class.__doc__:
        trial.fail("has no docstring", f"it is the page of the rule, with the headings {', '.join(HEADINGS)}")
    page = page_of(trial.rule)
    if not page.summary.endswith("."):
        trial.fail("the docstring does not begin with a sentence on one line", f"end {page.summary!r} with a full stop")
    if tuple(page.sections) != HEADINGS:
        remedy = "write each at the margin, with indented text below"
        trial.fail(f"the docstring has the headings {list(page.sections)}, not {list(HEADINGS)}", remedy)


def bad_fires(trial: Trial) -> None:
    """The rule has a finding in its bad example."""
    missing = Analysis(trial.bad).missing_needs()
    for need in trial.rule.needs & missing.keys():
        trial.fail(f"needs {need}, which bad() has not: {missing[need]}", "change the weights of the example")
    if not trial.found:
        trial.fail("bad() gives no finding", "make the example worse, or the rule stricter")


def good_is_silent(trial: Trial) -> None:
    """The rule has no finding in its good example, whichever the optimizer, and has what it needs to say so."""
    missing = Analysis(trial.good).missing_needs()
    for need in trial.rule.needs & missing.keys():
        trial.fail(f"needs {need}, which good() has not: {missing[need]}", "change the weights of the example")
    for optimizer in Optimizer:
        left = run_rule(trial.rule, trial.good, optimizer=optimizer)
        if left:
            remedy = "repair the example, or the rule"
            trial.fail(f"good() gives a finding with --optimizer {optimizer}: {left[0].message}", remedy)


def findings_are_well_formed(trial: Trial) -> None:
    """Findings in the bad example say what, where and what to do in terms that every report can show."""
    for optimizer in Optimizer:
        analysis = Analysis(trial.bad, optimizer=optimizer)
        for finding in run_rule(trial.rule, trial.bad, optimizer=optimizer):
            flaw = flaw_of_finding(trial.rule, finding, analysis)
            if flaw:
                trial.fail(f"a finding in bad() {flaw[0]}", flaw[1])
            if not finding.layers or not finding.help:
                lacking = "layers" if not finding.layers else "help"
                trial.fail(
                    f"a finding in bad() has no {lacking}", "name where it starts, and the code to write instead"
                )


def help_silences(trial: Trial) -> None:
    """Doing what the help lines say silences the bad example.

    Lines that are calls of ``nn.init`` are run on the layers that the finding names. For other lines the rule may say
    so itself: ``helped(finding)``, a static method, gives the bad example as it is once the line is followed. A rule
    with lines of words and no such method is let off.
    """
    graph, helped = trial.bad, getattr(trial.rule_class, "helped", None)
    followed = 0
    for finding in trial.found:
        changed = helped(finding) if helped else run_initializers(finding.help, graph, finding.layers)
        if changed is not None:
            graph, followed = changed, followed + 1
    left = run_rule(trial.rule, graph) if followed == len(trial.found) else ()
    if left:
        trial.fail(f"its own help leaves a finding in bad(): {left[0].message}", f"the line was: {left[0].help}")


def is_pure(trial: Trial) -> None:
    """Two runs give equal findings, and leave no trace on the rule or its class."""
    analysis = Analysis(trial.bad)
    before = _state(trial.rule)
    first, second = (tuple(map(repr, trial.rule.check(analysis))) for _ in range(2))
    fresh = tuple(map(repr, run_rule(trial.rule_class(), trial.rule_class.bad())))
    remedy = "check must be a pure function of the analysis; seed what bad() draws"
    if not first == second == fresh:
        trial.fail("two runs on bad() give different findings", remedy)
    after = _state(trial.rule)
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    if changed:
        trial.fail(f"check changes the attribute {changed[0]}", "keep what it needs in local variables")


def can_be_pickled(trial: Trial) -> None:
    """The rule and its findings can be sent to a worker process and back."""
    try:
        copy = pickle.loads(pickle.dumps(trial.rule))
        found = pickle.loads(pickle.dumps(trial.found))
    except Exception as error:  # noqa: BLE001 - any type of attribute may refuse in its own way
        remedy = "define the class at the top of a module, and keep plain values in options and evidence"
        trial.fail(f"cannot be pickled ({type(error).__name__}: {error})", remedy)
    if found != trial.found or tuple(map(repr, run_rule(copy, trial.bad))) != tuple(map(repr, trial.found)):
        trial.fail("a pickled copy finds something else", "keep plain values in options and evidence")


def strangers_do_not_break_it(trial: Trial) -> None:
    """It runs on graphs of other kinds without an exception, and what it finds there is well formed."""
    for label, graph in strangers().items():
        try:
            found = run_rule(trial.rule, graph)
        except Exception as error:
            error.add_note(f"{trial.where} on {label}; a rule must run on every model, or be silent")
            raise
        for finding in found:
            flaw = flaw_of_finding(trial.rule, finding, Analysis(graph))
            if flaw:
                trial.fail(f"a finding in {label} {flaw[0]}", flaw[1])


def from_onnx(trial: Trial) -> None:
    """The examples hold when they are read from an ONNX file, with sampled weights."""
    off = f"or leave this out with rule_cases(..., without_onnx={{{trial.rule.code!r}}})"
    try:
        bad, good = through_onnx(trial.bad), through_onnx(trial.good)
    except UsageError as error:
        trial.fail(f"an example cannot be written as an ONNX file: {error}", f"use other layers, {off}")
    if not run_rule(trial.rule, bad):
        trial.fail("bad() gives no finding once it is an ONNX file", f"allow for the error of estimated moments, {off}")
    left = run_rule(trial.rule, good)
    if left:
        trial.fail(f"good() gives a finding as an ONNX file: {left[0].message}", f"allow for sampled weights, {off}")


DEMANDS: Mapping[str, Callable[[Trial], None]] = {
    "is-a-rule": is_a_rule,
    "page-is-complete": page_is_complete,
    "bad-example-fires": bad_fires,
    "good-example-is-silent": good_is_silent,
    "findings-are-well-formed": findings_are_well_formed,
    "help-silences": help_silences,
    "is-pure": is_pure,
    "can-be-pickled": can_be_pickled,
    "runs-on-any-model": strangers_do_not_break_it,
}
"""Title -> demand, in the order in which failures are best mended."""


def _state(rule: Rule) -> dict[str, str]:
    """Attributes of the instance and of its classes but methods, as text that changes with them."""
    own: dict[str, Any] = dict(getattr(rule, "__dict__", {}))
    own |= {item.name: getattr(rule, item.name) for item in option_fields(rule)}
    shared = {
        name: value
        for kind in reversed(type(rule).__mro__[:-1])
        for name, value in vars(kind).items()
        if not callable(value) and not name.startswith("__")
    }
    return {name: repr(value) for name, value in (shared | own).items()}

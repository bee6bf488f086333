from __future__ import annotations

from dataclasses import replace

from archcheck.core.finding import Finding, Location, Related, Severity
from archcheck.engine.merge import Found, merged


def finding(code: str = "AC201", line: int = 10, **fields) -> Finding:
    defaults = {"severity": Severity.ERROR, "message": code}
    return Finding(location=Location("a.py", line, 9, line, 20), code=code, **(defaults | fields))


def test_the_traced_finding_stands_for_the_same_one_from_source() -> None:
    source = finding(line=3)
    traced = finding(line=10, defect=source.location, message="with shapes")
    found = [Found(source, None), Found(traced, "a.py:Net")]
    assert merged(found) == [traced]


def test_two_defects_of_one_rule_stay_two() -> None:
    first, second = finding(line=3), finding(line=4)
    assert merged([Found(first, None), Found(second, None)]) == [first, second]


def test_one_defect_in_many_submodules_is_one_finding_that_names_them() -> None:
    found = [
        Found(finding(module=f"layer1.{index}.bn", message=f"bn {index}"), "a.py:Net")
        for index in range(6)
    ]
    (only,) = merged(found)
    assert only.message == "bn 0"
    assert only.notes == ("the same at `layer1.1.bn`, `layer1.2.bn`, `layer1.3.bn` and 2 more",)


def test_the_same_model_traced_twice_reports_once() -> None:
    found = [Found(finding(module="fc"), "a.py:Net"), Found(finding(module="fc"), "a.py:make")]
    assert merged(found) == [found[0].finding]


def test_a_failure_that_an_error_explains_is_not_reported_again() -> None:
    init = Location("a.py", 5, 1, 9, 40)
    missing_super = finding("AC101", line=5, explains=init)
    failed = finding("AC003", line=7)
    assert merged([Found(missing_super, None), Found(failed, "a.py:Net", fallback=True)]) == [
        missing_super
    ]


def test_a_failure_is_explained_through_any_of_its_frames() -> None:
    cause = finding("AC201", line=7)
    failed = finding(
        "AC004", line=30, related=(Related(Location("a.py", 7, 12, 7, 14), "called here"),)
    )
    assert merged([Found(cause, "t"), Found(failed, "t", fallback=True)]) == [cause]


def test_a_failure_that_nothing_explains_stays() -> None:
    failed = Found(finding("AC004", line=30), "t", fallback=True)
    warning = finding("AC108", line=30, severity=Severity.WARNING)
    elsewhere = replace(finding(line=30), location=Location("b.py", 30, 1, 30, 50))
    kept = merged([failed, Found(warning, "t"), Found(elsewhere, "t")])
    assert failed.finding in kept


def test_what_a_finding_covers_is_not_reported() -> None:
    block = Location("a.py", 5, 1, 30, 1)
    residual = finding("AC301", line=20, covers=(("AC108", block),))
    inside, outside = finding("AC108", line=8), finding("AC108", line=40)
    other = finding("AC106", line=8)
    found = [Found(one, None) for one in (residual, inside, outside, other)]
    assert merged(found) == [residual, outside, other]


def test_a_finding_covers_those_whose_defect_lies_in_its_span() -> None:
    cause = finding("AC301", line=20, covers=(("AC302", Location("a.py", 5, 1, 9, 1)),))
    effect = finding("AC302", line=22, defect=Location("a.py", 6, 9, 6, 20))
    assert merged([Found(cause, None), Found(effect, "t")]) == [cause]


def test_the_more_severe_of_two_readings_stands() -> None:
    certain = finding("AC401", line=3)
    likely = finding("AC401", line=3, severity=Severity.WARNING)
    assert merged([Found(certain, None), Found(likely, "t")]) == [certain]
    assert merged([Found(likely, None), Found(certain, None)]) == [certain]
    assert merged([Found(likely, None), Found(certain, "t")]) == [certain]

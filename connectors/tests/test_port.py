"""The port's own behaviour: steps as they ran, and verbs refused that were not promised."""

import pytest

from connectors.codes import CATALOGUE, Code, describe
from connectors.exceptions import AuthenticationFailed, ConnectorError, TemporaryError, UnsupportedFeature
from connectors.port import OPTIONAL_VERBS, Context, StepRecorder
from connectors.results import StepStatus
from connectors.testing.fakes import UNRESTRICTED, FakeClock
from connectors.tests.test_registry import Acme


def test_steps_are_timed_and_told_as_they_end():
    clock, told = FakeClock(), []
    steps = StepRecorder(clock, told.append)

    with steps.step("connect") as note:
        clock.advance(0.25)
        note.detail = "connected"
    with steps.step("space") as note:
        note.warn(Code.NO_SPACE, path="/in")

    assert [(step.name, step.status, step.latency_ms) for step in told] == [
        ("connect", StepStatus.PASSED, 250),
        ("space", StepStatus.WARNING, 0),
    ]
    assert told[1].detail == "There is no space left for /in."
    assert steps.result().success


def test_a_failed_step_stops_the_plan_and_skips_the_rest():
    steps = StepRecorder(FakeClock())

    with steps.plan("resolve", "connect", "authenticate", "write"):
        with steps.step("resolve"):
            pass
        with steps.step("connect"):
            raise TemporaryError(Code.CONNECTION_REFUSED, host="erp.example", port=22)

    result = steps.result()
    assert not result.success
    assert [(step.name, step.status) for step in result.steps] == [
        ("resolve", "passed"),
        ("connect", "failed"),
        ("authenticate", "skipped"),
        ("write", "skipped"),
    ]
    assert result.failed_step.code == Code.CONNECTION_REFUSED
    assert result.failed_step.detail == "erp.example:22 refused the connection."
    assert result.steps[2].detail == "Skipped because connect failed."


def test_an_unforeseen_error_is_a_step_without_its_text():
    steps = StepRecorder(FakeClock())

    with pytest.raises(ValueError, match="c4n4ry"), steps.step("connect"):
        raise ValueError("c4n4ry")

    assert "c4n4ry" not in str(steps.result().as_json())
    assert steps.result().failed_step.code == Code.INTERNAL_ERROR


def test_an_error_outside_any_step_is_not_swallowed():
    steps = StepRecorder(FakeClock())

    with pytest.raises(AuthenticationFailed), steps.plan("connect"):
        raise AuthenticationFailed


def test_no_steps_are_no_success():
    assert not StepRecorder().result().success


def test_the_deadline_runs_down_to_zero():
    clock = FakeClock()
    context = Context(dialer=UNRESTRICTED, deadline=10, clock=clock)

    assert context.remaining_s == 10
    clock.advance(30)
    assert context.remaining_s == 0


@pytest.mark.parametrize("verb", OPTIONAL_VERBS)
def test_a_verb_without_its_flag_is_refused(verb):
    arguments = {"render": 3, "find_export": 3, "poll_acknowledgements": 3, "identify": 2, "open_session": 2}
    arguments |= {"receive": 4}

    assert Acme.capabilities()[verb] is False
    with pytest.raises(UnsupportedFeature):
        getattr(Acme(), verb)(*[None] * arguments[verb])


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_text_even_without_parameters(code):
    text = describe(code)

    assert code in CATALOGUE
    assert text.message
    assert text.hint
    assert "{" not in text.message + text.hint


def test_an_error_shows_its_code_and_no_parameter_in_repr():
    error = ConnectorError(Code.PATH_NOT_FOUND, path="/in")

    assert repr(error) == "ConnectorError(PATH_NOT_FOUND)"
    assert str(error) == "/in does not exist."

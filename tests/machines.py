"""Runs state machines of hypothesis against a real server: any transitions in any order."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def run_machine(machine: type[RuleBasedStateMachine]) -> None:
    """Run 40 examples of 50 steps each, with no limit on the time of a step."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )

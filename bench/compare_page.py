"""The measured part of the page on performance, from the results of all scenarios."""

from __future__ import annotations

from collections.abc import Sequence

from bench import compare_report
from bench.results import Outcome


def part(outcomes: Sequence[Outcome], picture_name: str) -> str:
    """What stands between the marks of the page.

    Args:
        outcomes: one or more, in the order in which they are shown.
        picture_name: file of the picture, beside the page.
    """
    sections = [f"![Processor time and rate of each contestant in each scenario]({picture_name})"]
    for outcome in outcomes:
        scenario = outcome.scenario
        sections += [
            f"### {scenario.title[0].upper()}{scenario.title[1:]} (`{scenario.name}`)",
            compare_report.setting(scenario),
            compare_report.figures(outcome),
        ]
    sections.append(_made(outcomes))
    return "\n\n".join(sections)


def _made(outcomes: Sequence[Outcome]) -> str:
    made = dict.fromkeys(f"`{one.command}`, {one.made_on}, {one.machine}" for one in outcomes)
    return f"Made with {'; '.join(made)}; Azurite, the simulator and fakesnow on the same machine."

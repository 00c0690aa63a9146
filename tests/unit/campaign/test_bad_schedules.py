"""What only the zone's history tells is refused by the stages, with the field's path."""

import pytest
from tests.bad_campaigns.table import BadCampaign, bad_campaigns

from flywheel.api.load import load_campaign
from flywheel.api.problem import Problem
from flywheel.campaign.stages import resolve


@pytest.mark.parametrize("bad", [bad for bad in bad_campaigns() if bad.refused == "operator"], ids=lambda bad: bad.name)
def test_a_schedule_that_the_zone_refuses(bad: BadCampaign) -> None:
    problems = resolve(load_campaign(bad.manifest).spec.schedule)
    assert [problem.path for problem in problems if isinstance(problem, Problem)] == [bad.path]

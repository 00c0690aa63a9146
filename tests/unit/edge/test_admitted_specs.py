"""Whatever the API server takes as an edge, HAProxy takes as a configuration: examples, pages, and odd texts."""

import random
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.bad_campaigns.table import good_campaign, read_yaml
from tests.patience import PATIENCE
from tests.unit.docs.pages import PAGES, ROOT, campaigns

from flywheel.api import analytics, edge_events, route, web
from flywheel.api.load import load_campaign
from flywheel.edge.compose import compose
from flywheel.edge.files import write_structure
from flywheel.edge.render import Layout, render

SEEDS = range(6)
ODD = [*"'\"\\%#${}(),;|&`~^*?!@=+-_./:<>[] aZ9é优\u2028\u00a0", "%%", "%[src]", "${HOME}", "%0a", "-f", "--", "deny"]
EXAMPLES = [read_yaml(path.read_text("utf-8")) for path in sorted((ROOT / "examples").glob("*/campaign.yaml"))]
SHOWN = [shown for page in PAGES for shown in campaigns(page)]
WITH_EDGE = [each for each in (*EXAMPLES, *SHOWN, good_campaign("edge")) if "edge" in each["spec"]]


def what_haproxy_says(manifest: dict[str, Any], folder: Path) -> str:
    """Load, compose and render a Campaign; give HAProxy's complaints."""
    campaign = load_campaign(manifest)
    assert campaign.spec.edge
    rendered = render(compose(campaign, campaign.spec.edge), {}, layout=Layout(run_directory=str(folder)))
    path = write_structure(rendered)
    done = subprocess.run(
        ["haproxy", "-c", "-f", str(path)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("manifest", WITH_EDGE, ids=lambda each: each["metadata"]["name"])
def test_haproxy_takes_what_is_shown(manifest: dict[str, Any], tmp_path: Path) -> None:
    assert what_haproxy_says(manifest, tmp_path) == ""


@pytest.mark.parametrize("seed", SEEDS)
def test_haproxy_takes_every_text_that_a_spec_may_hold(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)

    def odd(form: Any, before: str = "", after: str = "", most: int = 8) -> str:
        while True:
            text = before + "".join(chance.choices(ODD, k=chance.randint(1, most))) + after
            if get_args(form)[1].matches(text):
                return text

    def several(form: Any, count: int, **how: Any) -> list[str]:
        return sorted({odd(form, **how) for _ in range(count)})

    manifest = good_campaign("edge")
    spec, measured = manifest["spec"]["edge"], manifest["spec"]["analytics"]
    spec["routes"][0]["path"] = "/%E4%BC%98" + odd(route.PathPrefix, "/").rstrip("/").replace("//", "/").replace(
        ".", ""
    )
    spec["responseHeaders"] = {odd(web.HeaderName, "X-", most=2): odd(web.HeaderValue, most=14)}
    spec["visitor"]["domain"] = odd(web.Domain, after=".example", most=2)
    spec["visitor"]["consent"] = {
        "cookie": odd(web.CookieName, "c", most=2),
        "granted": several(web.CookieValue, 12),
    }
    spec["events"]["writeKeys"] = [odd(edge_events.WriteKey, most=3)]
    measured["channels"][0] |= {
        "utmSource": several(analytics.MarkValue, 32),
        "utmMedium": several(analytics.MarkValue, 32),
        "parameters": several(analytics.ParameterName, 3, most=2),
    }
    measured["channels"][1]["referrers"] = several(web.ReferrerHost, 3, after=".example", most=2)
    assert what_haproxy_says(manifest, tmp_path) == ""

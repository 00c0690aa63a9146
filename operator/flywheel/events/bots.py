"""Programs among the visitors, known by the user agent they give themselves.

The words are those that recur in the public list monperrus/crawler-user-agents (MIT) and in the documentation of the
crawlers themselves; together they find what names itself. Who pretends to be a browser is not found here.
"""

import re
from functools import lru_cache

CRAWLERS = (
    r"(?<!cu)bots?\b", r"(?<!cu)bot[/;) _-]", r"crawl", r"spider", r"slurp", r"archiver", r"scrap[ey]", r"fetcher",
    r"facebookexternalhit", r"meta-external", r"whatsapp/", r"skypeuripreview", r"vkshare", r"embedly", r"bitlybot",
    r"mediapartners-google", r"adsbot", r"google-(?:extended|read-aloud|inspectiontool|safety)", r"feedfetcher",
    r"apis-google", r"lighthouse", r"pagespeed", r"gtmetrix", r"ptst/", r"pingdom", r"uptime", r"site24x7",
    r"statuscake", r"newrelicpinger", r"datadog", r"zabbix", r"nagios", r"blackbox[ _-]exporter", r"kube-probe",
    r"googlehc", r"elb-healthchecker", r"healthcheck", r"headlesschrome", r"phantomjs", r"slimerjs", r"puppeteer",
    r"playwright", r"selenium", r"webdriver", r"cypress", r"yahoo! ", r"baiduspider",
    r"bytespider", r"yisouspider", r"petalbot", r"semrush", r"ahrefs", r"mj12", r"dotbot", r"dataforseo",
    r"gptbot", r"chatgpt-user", r"claude-web", r"perplexity", r"ccbot", r"cohere-ai", r"amazonbot", r"applebot",
    r"yandex(?:bot|images|metrika|mobilebot)", r"nutch", r"heritrix", r"nikto", r"sqlmap", r"masscan", r"zgrab",
    r"nuclei", r"nessus", r"acunetix", r"wpscan", r"validator", r"w3c_", r"preview", r"prerender",
)  # fmt: skip
"""Never a person."""
TOOLS = (
    r"^curl/", r"^wget", r"^python", r"aiohttp/", r"^httpx?/", r"^go-http-client", r"^java/", r"^okhttp", r"^axios",
    r"^node", r"^undici", r"^ruby", r"^perl", r"libwww", r"^php/", r"guzzlehttp", r"^apache-httpclient", r"^postman",
    r"^insomnia", r"^dart:", r"^k6/", r"^hey/", r"^vegeta", r"^apachebench", r"^wrk", r"^jmeter", r"^locust", r"^$",
)  # fmt: skip
"""No person where a browser is expected; as good as any where a server's library sends events."""

# Looking for plain words is ten times faster than one pattern of them all, and anybody may send user agents.
_plain = re.compile(r"[a-z0-9!/_ -]+")
_crawler_words = tuple(each for each in CRAWLERS if _plain.fullmatch(each))
_crawlers = re.compile("|".join(each for each in CRAWLERS if not _plain.fullmatch(each)))
_tool_beginnings = tuple(each[1:] for each in TOOLS if each[0] == "^" and _plain.fullmatch(each[1:]))
_tool_words = tuple(each for each in TOOLS if _plain.fullmatch(each))
_tools = re.compile("|".join(each for each in TOOLS if each[0] == "^" and not _plain.fullmatch(each[1:])))
LONGEST = 512


@lru_cache(maxsize=4_096)
def is_bot(user_agent: str, *, browser: bool) -> bool:
    """Tell whether a program calls itself so.

    Args:
        user_agent: What it says of itself.
        browser: Whether only browsers are expected there.
    """
    lowered = user_agent[:LONGEST].lower()
    if any(word in lowered for word in _crawler_words) or _crawlers.search(lowered):
        return True
    if not browser:
        return False
    return (
        lowered.startswith(_tool_beginnings)
        or any(word in lowered for word in _tool_words)
        or _tools.match(lowered) is not None
    )

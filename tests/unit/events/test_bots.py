"""Programs are found by what they call themselves, and as one pattern of all words would find them."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.events.world import BROWSER

from flywheel.events.bots import CRAWLERS, TOOLS, is_bot

ALL = [re.sub(r"[\\^$?|()<!\[\]]", "", each) for each in (*CRAWLERS, *TOOLS)]
words = st.sampled_from([*ALL, "bot", "bots", "cubot", "scrape", "yandexbot", "google-safety", "httpx/", "http/", "x"])


@given(st.lists(words | st.text(alphabet="a/ -;_)B", max_size=4), max_size=5).map("".join), st.booleans())
@example("", True)
@example("\n", True)
@example("cubot x", True)
def test_words_are_found_as_the_patterns_find_them(agent: str, browser: bool) -> None:
    patterns = (*CRAWLERS, *TOOLS) if browser else CRAWLERS
    assert is_bot(agent, browser=browser) is bool(re.search("|".join(patterns), agent.lower()))


@pytest.mark.parametrize(
    ("agent", "browser", "bot"),
    [
        (BROWSER, True, False),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", True, True),
        ("Mozilla/5.0 (Linux; Android 9; CUBOT X19)", True, False),
        ("curl/8.5.0", True, True),
        ("curl/8.5.0", False, False),
        ("python-httpx/0.27", True, True),
        ("analytics-python/2.3", False, False),
        ("", True, True),
        ("", False, False),
    ],
)
def test_who_is_a_program(agent: str, browser: bool, bot: bool) -> None:
    assert is_bot(agent, browser=browser) is bot

"""Who belongs to which arm of an A/B test: what the store keeps of it, and how that is asked for.

An *exposure* is a visitor's first request that the edge sent to an arm of the test and that was not refused. Bots, and
visitors without identity, take no part. The store keeps the first such request for each arm (table `exposures`), so
that half a million visitors are found without reading the millions of requests that they made.
"""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is a parameter

from flywheel.insight.kpi import VISITOR_KEY

MOST_NAMES = 1_000
"""Variants of all times of a test whose name was used again and again."""
TAKES_PART = "refused = '' AND NOT startsWith(termination, 'L') AND NOT bot"
"""What a request must be to count for a test: with its name, and with a visitor."""
KEPT = {
    "campaign": "campaign",
    "test": "test",
    "visitor_key": "cityHash64(visitor)",
    "variant": "variant",
    "time": "min(time)",
    "first": "min((time, toString(channel), toString(browser), toString(device), toString(pod), fallback))",
    "expires_at": "min(expires_at)",
}
"""What is kept of requests, by column. Twice the same makes no difference, so that it may be done again."""
KEPT_WHERE = f"test != '' AND visitor != '' AND {TAKES_PART}"

OF_TEST = "campaign = {campaign:String} AND test = unhex({test:String})"
SERVED = f"{OF_TEST} AND time >= {{start:Int64}} AND time < {{end:Int64}} AND {TAKES_PART} AND {VISITOR_KEY} != 0"
"""Requests that count."""
_RANKS = 1_024
WITH_EXPOSED = (
    f"(SELECT (arraySort(groupUniqArray({MOST_NAMES})(variant)), countIf(time < {{start:Int64}}) > 0) FROM exposures "
    f"WHERE {OF_TEST}) AS known, known.1 AS names, known.2 AS repeated, "
    # Moment and name in one number: the least of them is what counts, and several times as fast to find as a pair. Of
    # two requests in one millisecond it is that of the arm that comes first in the alphabet.
    f"exposed AS (SELECT {VISITOR_KEY} AS who, min(time * {_RANKS} + rank) AS least, min(rank) != max(rank) AS crossed "
    f"FROM (SELECT {VISITOR_KEY}, time, indexOf(names, variant) AS rank FROM exposures "
    f"WHERE {OF_TEST} AND time < {{end:Int64}}) GROUP BY who HAVING least >= {{start:Int64}} * {_RANKS} "
    # Whoever was in an earlier test of this name has come into this one with a request that is no first one.
    f"UNION ALL SELECT {VISITOR_KEY} AS who, min(time * {_RANKS} + rank) AS least, min(rank) != max(rank) AS crossed "
    f"FROM (SELECT {VISITOR_KEY}, time, indexOf(names, variant) AS rank FROM requests WHERE repeated AND {SERVED} "
    f"AND {VISITOR_KEY} IN (SELECT {VISITOR_KEY} FROM exposures WHERE {OF_TEST} AND time < {{start:Int64}})) "
    "GROUP BY who)"
)
"""For the WITH of a question: `exposed` has `who`, `least` (of which `SINCE` and `ARM` tell more) and `crossed`."""
SINCE = f"intDiv(least, {_RANKS})"
RANK = f"least % {_RANKS}"
ARM = f"names[{RANK}]"

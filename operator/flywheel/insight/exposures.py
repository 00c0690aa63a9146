"""Who belongs to which arm of an A/B test: what the store keeps of it, and how that is asked for.

An *exposure* is a visitor's first request that the edge sent to an arm of the test and that was not refused. Bots, and
visitors without identity, take no part. The store keeps the first such request for each arm (table `exposures`), so
that half a million visitors are found without reading the millions of requests that they made.
"""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is a parameter

from collections.abc import Mapping

from flywheel.insight.kpi import VISITOR_KEY, Parameters, Rows, Statement

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


DIMENSIONS = ("channel", "browser", "device", "pod", "fallback")
"""What is known of a first request, as it stands in `first`."""
MOST_VALUES = 20
_UNKNOWN = "unknown"
_MOST_ROWS = len(DIMENSIONS) * MOST_VALUES
Causes = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Visitors by dimension, value and arm."""


def causes_statement(parameters: Parameters) -> Statement:
    """Ask for exposures by what was known of the first request: which value has arms that do not fit their weights?

    Whoever was in an earlier test of this name is left out: of their first request in this one nothing is kept.

    Args:
        parameters: Those of a scope; see `flywheel.insight.arms.parameters_of`.
    """
    names = ", ".join(f"'{name}'" for name in DIMENSIONS)
    values = ", ".join(f"toString(tupleElement(pair.2, '{name}'))" for name in DIMENSIONS)
    firsts = (
        f"SELECT min((time * {_RANKS} + indexOf(names, variant), first)) AS pair FROM exposures "
        f"WHERE {OF_TEST} AND time < {{end:Int64}} GROUP BY {VISITOR_KEY}"
    )
    sql = (
        f"WITH {WITH_EXPOSED} SELECT dimension, value, groupArray((names[rank], visitors)) AS arms FROM ("
        f"SELECT dimension, value, {RANK} AS rank, count() AS visitors FROM ("
        f"SELECT pair.1 AS least, [{names}] AS dimensions, [{values}] AS its FROM ({firsts}) "
        f"WHERE least >= {{start:Int64}} * {_RANKS}"
        ") ARRAY JOIN dimensions AS dimension, its AS value GROUP BY dimension, value, rank"
        f") GROUP BY dimension, value ORDER BY dimension, sum(visitors) DESC, value LIMIT {MOST_VALUES} BY dimension "
        f"LIMIT {_MOST_ROWS}"
    )
    return Statement(sql, parameters)


def shape_causes(rows: Rows) -> Causes:
    """Put the answer together."""
    found: dict[str, dict[str, dict[str, int]]] = {name: {} for name in DIMENSIONS}
    for row in rows:
        arms = {str(arm): int(visitors) for arm, visitors in row["arms"]}
        found[str(row["dimension"])][str(row["value"]) or _UNKNOWN] = dict(sorted(arms.items()))
    return found

"""The label selector of a request for a metric: the few forms that name one value of each label."""

import re

_EQUALITY = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9_./-]*)\s*={1,2}\s*([A-Za-z0-9][A-Za-z0-9_.-]*)\s*")
_ONE_OF = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9_./-]*)\s+in\s+\(\s*([A-Za-z0-9][A-Za-z0-9_.-]*)\s*\)\s*")
LONGEST = 1024


def read_selector(text: str, labels: tuple[str, ...]) -> dict[str, str]:
    """Read `campaign=sale,event=Paid` into a mapping that has exactly `labels`.

    Raises:
        ValueError: It says something else; the message is for people.
    """
    example = ",".join(f"{label}=..." for label in labels)
    if len(text) > LONGEST:
        raise ValueError(f"The label selector is longer than {LONGEST} characters; give {example}.")
    found: dict[str, str] = {}
    for part in text.split(",") if text.strip() else ():
        match = _EQUALITY.fullmatch(part) or _ONE_OF.fullmatch(part)
        if match is None or match[1] in found:
            raise ValueError(f"This part of the label selector cannot be served: {part.strip()!r}; give {example}.")
        found[match[1]] = match[2]
    if set(found) != set(labels):
        raise ValueError(f"The label selector {text!r} must name one value of each of {', '.join(labels)}: {example}.")
    return found

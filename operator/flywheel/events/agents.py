"""Which browser and which kind of device a user agent names: enough to tell where visitors went missing. Pure.

The words are as in MDN's "Browser detection using the user agent": whoever pretends to be another one as well comes
before it.
"""

from functools import lru_cache
from typing import Literal

Device = Literal["Phone", "Tablet", "Desktop"]
LONGEST = 512
_BROWSERS = (
    ("micromessenger", "WeChat"),
    ("alipay", "Alipay"),
    ("fban/", "Facebook"),
    ("fbav/", "Facebook"),
    ("instagram", "Instagram"),
    ("ucbrowser", "UC Browser"),
    ("mqqbrowser", "QQ Browser"),
    ("qqbrowser", "QQ Browser"),
    ("miuibrowser", "Mi Browser"),
    ("huaweibrowser", "Huawei Browser"),
    ("samsungbrowser", "Samsung Internet"),
    ("yabrowser", "Yandex"),
    ("edg/", "Edge"),
    ("edga/", "Edge"),
    ("edgios/", "Edge"),
    ("opr/", "Opera"),
    ("opios/", "Opera"),
    ("opera", "Opera"),
    ("firefox/", "Firefox"),
    ("fxios/", "Firefox"),
    ("crios/", "Chrome"),
    ("headlesschrome/", "Chrome"),
    ("chrome/", "Chrome"),
    ("safari/", "Safari"),
    ("trident/", "Internet Explorer"),
    ("msie ", "Internet Explorer"),
)
OTHER = "Other"


@lru_cache(maxsize=4_096)
def browser_of(user_agent: str) -> str:
    """Give the family of a browser."""
    lowered = user_agent[:LONGEST].lower()
    return next((name for word, name in _BROWSERS if word in lowered), OTHER)


@lru_cache(maxsize=4_096)
def device_of(user_agent: str) -> Device:
    """Give the kind of device; what says nothing of it counts as a desktop."""
    lowered = user_agent[:LONGEST].lower()
    # Tablets with Android leave out the word that its phones have; newer iPads pretend to be a desktop.
    if "ipad" in lowered or "tablet" in lowered or ("android" in lowered and "mobile" not in lowered):
        return "Tablet"
    return "Phone" if any(word in lowered for word in ("mobi", "iphone", "ipod")) else "Desktop"

"""Events of a shop's server, sent with Segment's own library: send.py <origin> <write key>."""

import sys

import segment.analytics as analytics

analytics.host, analytics.write_key = sys.argv[1:]
analytics.gzip = True
analytics.on_error = lambda error, _items: print("not sent:", error)

analytics.identify("u-1", {"tier": "gold"})
analytics.page("u-1", "Shop", "Sale", {"floor": 2})
analytics.screen("u-1", "App", "Home")
analytics.group("u-1", "club", {"since": 2027})
analytics.alias("a-1", "u-1")
analytics.track(anonymous_id="a-1", event="Product Viewed", properties={"sku": "手机"})
for number in range(250):
    analytics.track("u-1", "Order Completed", {"order_id": f"o-{number}", "revenue": 12.5}, message_id=f"py-{number}")
analytics.shutdown()

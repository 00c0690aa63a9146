// Events of a shop's server, sent with Segment's own library: send.mjs <directory of packages> <origin> <write key>.
import { createRequire } from "node:module";

const [packages, host, writeKey] = process.argv.slice(2);
const { Analytics } = createRequire(`${packages}/`)("@segment/analytics-node");

const analytics = new Analytics({ writeKey, host, flushAt: 50, maxRetries: 5 });
analytics.on("error", (error) => {
  console.error("not sent:", error);
  process.exitCode = 1;
});

analytics.identify({ userId: "u-1", traits: { tier: "gold" } });
analytics.page({ userId: "u-1", category: "Shop", name: "Sale", properties: { floor: 2 } });
analytics.screen({ userId: "u-1", name: "Home" });
analytics.group({ userId: "u-1", groupId: "club", traits: { since: 2027 } });
analytics.alias({ previousId: "a-1", userId: "u-1" });
analytics.track({ anonymousId: "a-1", event: "Product Viewed", properties: { sku: "手机" } });
for (let number = 0; number < 250; number++) {
  const properties = { order_id: `o-${number}`, revenue: 12.5 };
  analytics.track({ userId: "u-1", event: "Order Completed", properties, messageId: `node-${number}` });
}
await analytics.closeAndFlush();

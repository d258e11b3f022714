// A sale with Node's own fetch, and a webhook received and verified with node:crypto.
import assert from "node:assert";
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const { API, CONTROL, KEY, SECRET } = process.env;

async function call(method, url, body) {
  const headers = { "x-api-key": KEY, "Content-Type": "application/json" };
  const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${url}: ${response.status} ${text}`);
  return JSON.parse(text);
}

function isSigned(headers, body) {
  const key = Buffer.from(SECRET.replace("whsec_", ""), "base64");
  const signed = `${headers["svix-id"]}.${headers["svix-timestamp"]}.${body}`;
  const expected = createHmac("sha256", key).update(signed).digest();
  return headers["svix-signature"].split(" ").some((one) => {
    const given = Buffer.from(one.replace("v1,", ""), "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

const types = [];
const server = createServer((request, response) => {
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    if (isSigned(request.headers, body)) types.push(JSON.parse(body).event_type);
    response.writeHead(204).end();
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));

await call("PUT", `${CONTROL}/store`, { webhook_url: `http://127.0.0.1:${server.address().port}/` });
await call("PUT", `${CONTROL}/plans/pro`, { name: "Pro", prices: [{ currency: "inr", amount: "499" }] });
await call("POST", `${API}/customers`, { external_id: "u1", name: "Asha" });
const plan = await call("GET", `${API}/plans/lookup/pro`);
const session = await call("POST", `${API}/checkout/sessions`, {
  customer_external_id: "u1",
  action: "create_subscription",
  payment_provider: "razorpay",
  configuration: {
    create_subscription_params: { plan_id: plan.id, currency: "INR", billing_period: "MONTHLY" },
  },
  success_url: "https://shop.example/return",
});
await call("POST", `${CONTROL}/provider`, { action: "pay", link: session.payment_action.url });
await call("POST", `${CONTROL}/deliver`, {});
const read = await call("GET", `${API}/checkout/sessions/${session.id}`);

assert.equal(read.checkout_status, "completed");
assert.ok(types.includes("checkout.session.completed"), types.join());
console.log(`sold ${session.id}, ${types.length} messages verified`);
server.closeAllConnections();
server.close();

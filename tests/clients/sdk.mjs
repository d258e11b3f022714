// npm's @flexprice/sdk 2.0.1 knows no checkout: plans, customers and subscriptions.
import assert from "node:assert";
import { Flexprice } from "@flexprice/sdk";

const { API, CONTROL, KEY } = process.env;
await fetch(`${CONTROL}/plans/pro`, {
  method: "PUT",
  headers: { "x-api-key": KEY },
  body: JSON.stringify({ name: "Pro", prices: [{ currency: "inr", amount: "499" }] }),
});

const client = new Flexprice({ serverURL: API, apiKeyAuth: KEY });
const customer = await client.customers.createCustomer({ externalId: "u1", name: "Asha" });
assert.match(customer.id, /^cust_/);
assert.equal((await client.customers.getCustomer(customer.id)).externalId, "u1");
const plans = await client.plans.queryPlan({ limit: 10 });
assert.equal(plans.items[0].name, "Pro");
const bought = await client.subscriptions.createSubscription({
  externalCustomerId: "u1",
  planId: plans.items[0].id,
  currency: "INR",
  billingPeriod: "MONTHLY",
  billingPeriodCount: 1,
  billingCadence: "RECURRING",
});
const read = await client.subscriptions.getSubscription(bought.id);
assert.equal(read.planId, plans.items[0].id);
console.log(`customer ${customer.id}, subscription ${read.id} is ${read.subscriptionStatus}`);

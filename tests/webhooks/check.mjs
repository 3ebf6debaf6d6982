// Reads one JSON request a line and answers each with one line: signs or checks as the provider's own library does.
import { createInterface } from "node:readline";
import { createHmac } from "node:crypto";
import Stripe from "stripe";
import Razorpay from "razorpay";
import { Webhook } from "standardwebhooks";

const stripe = new Stripe("sk_test_unused");

const schemes = {
  stripe: {
    sign: ({ body, secret, now }) => ({
      "stripe-signature": stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: now }),
    }),
    check: ({ body, secret, headers, now }) =>
      stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret, 300, undefined, now * 1000),
  },
  razorpay: {
    // The library checks and does not sign; this is the provider's documented formula.
    sign: ({ body, secret }) => ({
      "x-razorpay-signature": createHmac("sha256", secret).update(body).digest("hex"),
    }),
    check: ({ body, secret, headers }) => {
      if (!Razorpay.validateWebhookSignature(body, headers["x-razorpay-signature"], secret)) throw new Error("refused");
    },
  },
  standard: {
    sign: ({ body, secret, now }) => ({
      "webhook-id": "msg_1",
      "webhook-timestamp": String(now),
      "webhook-signature": new Webhook(secret).sign("msg_1", new Date(now * 1000), body),
    }),
    check: ({ body, secret, headers }) => new Webhook(secret).verify(body, headers),
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let answer;
  try {
    answer = { ok: schemes[asked.scheme][asked.does](asked) ?? true };
  } catch (error) {
    answer = { error: String(error.message) };
  }
  console.log(JSON.stringify(answer));
}

// send.ts AGENT JSON: sends one intent and prints how it ended.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const api = process.env.PANNIER ?? "http://127.0.0.1:7400";
const [agent = "", payload = "{}"] = process.argv.slice(2);

interface Intent {
  intent_id: string;
  status: string;
  result?: unknown;
  error?: unknown;
}

/** One request, tried again while no answer comes or the answer asks for it. */
async function call<T>(path: string, init?: RequestInit): Promise<T> {
  for (;;) {
    try {
      const answer = await fetch(api + path, init);
      if (answer.ok) return (await answer.json()) as T;
      if (answer.status < 500 && answer.status !== 429) {
        console.error(await answer.text());
        process.exit(1);
      }
    } catch {
      // no answer, or half of one
    }
    await sleep(1000);
  }
}

// The key makes one intent of all tries, also of one whose answer was lost.
const sent = await call<Intent>(`/v1/agents/${agent.replace("agent://", "")}/intents/order.process.v1`, {
  method: "POST",
  headers: { "Content-Type": "application/json", "Idempotency-Key": randomUUID() },
  body: payload,
});
for (;;) {
  const { intent } = await call<{ intent: Intent }>(`/v1/intents/${sent.intent_id}?wait_for=terminal&wait_seconds=20`);
  if (["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"].includes(intent.status)) {
    const { intent_id, status, result, error } = intent;
    console.log(JSON.stringify({ intent_id, status, result, error }));
    break;
  }
}

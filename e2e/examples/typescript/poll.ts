// poll.ts AGENT: takes intents, ten at most at a time, and answers under their leases.
import { setTimeout as sleep } from "node:timers/promises";

const api = process.env.PANNIER ?? "http://127.0.0.1:7400";
const agent = (process.argv[2] ?? "").replace("agent://", "");

interface Item {
  intent_id: string;
  lease_id: string;
  payload: { total?: number };
}

function work(order: Item["payload"]): object {
  if (order.total === undefined) throw new Error("no total");
  return { paid: order.total, by: "typescript/poll" };
}

async function answer({ intent_id, lease_id, payload }: Item): Promise<void> {
  let verb = "ack";
  let body: object;
  try {
    body = { lease_id, result: work(payload) };
  } catch (e) {
    [verb, body] = ["nack", { lease_id, reason: String(e) }]; // it comes again after a pause
  }
  const answered = await fetch(`${api}/v1/intents/${intent_id}/${verb}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  console.log(intent_id, verb, answered.status, await answered.text());
}

for (;;) {
  try {
    const polled = await fetch(`${api}/v1/agents/${agent}/intents?limit=10&wait_seconds=20`);
    if (!polled.ok) throw new Error(await polled.text());
    const { intents } = (await polled.json()) as { intents: Item[] };
    for (const item of intents) await answer(item);
  } catch (e) {
    console.error(String(e)); // unanswered, they come again when their leases are over
    await sleep(1000);
  }
}

// stream.ts AGENT: reads the stream of hand-overs and answers each.
import { setTimeout as sleep } from "node:timers/promises";

const api = process.env.PANNIER ?? "http://127.0.0.1:7400";
const agent = (process.argv[2] ?? "").replace("agent://", "");

interface Item {
  intent_id: string;
  seq: number;
  lease_id: string;
  payload: { total?: number };
}

async function* handovers(since: number): AsyncGenerator<Item> {
  const stream = await fetch(`${api}/v1/agents/${agent}/intents/stream?since=${since}`);
  if (!stream.ok || !stream.body) throw new Error(await stream.text());
  let text = "";
  for await (const chunk of stream.body.pipeThrough(new TextDecoderStream())) {
    const lines = (text + chunk).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("data: ") && line.includes("intent_id")) yield JSON.parse(line.slice(6)) as Item;
    }
  }
}

async function answer({ intent_id, lease_id, payload }: Item): Promise<void> {
  const [verb, body] =
    payload.total === undefined
      ? ["nack", { lease_id, reason: "no total" }]
      : ["ack", { lease_id, result: { paid: payload.total, by: "typescript/stream" } }];
  const answered = await fetch(`${api}/v1/intents/${intent_id}/${verb}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  console.log(intent_id, verb, answered.status, await answered.text());
}

for (let since = 0; ; await sleep(1000)) {
  try {
    for await (const item of handovers(since)) {
      await answer(item); // unanswered, it comes again when its lease is over
      since = item.seq;
    }
  } catch (e) {
    console.error(String(e)); // the sidecar restarts
  }
}

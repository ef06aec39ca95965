// webhook.ts PORT SECRETS: receives intents by http; SECRETS is the file that `pannier secret list` names.
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Webhook } from "standardwebhooks";

const [port = "3000", secretsFile = ""] = process.argv.slice(2);

/** Throws unless one of the signatures is of one of the secrets: while a secret is rotated there are several of both. */
function verify(body: Buffer, headers: IncomingMessage["headers"]): void {
  const { secrets } = JSON.parse(readFileSync(secretsFile, "utf8")) as { secrets: { secret: string }[] };
  let why: unknown = new Error("no secret");
  for (const { secret } of secrets) {
    try {
      new Webhook(secret).verify(body, headers as Record<string, string>);
      return;
    } catch (e) {
      why = e;
    }
  }
  throw why;
}

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks); // the bytes as they came
  const respond = (status: number, answer: object) =>
    response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
  try {
    verify(body, request.headers);
  } catch (e) {
    respond(401, { error: String(e) });
    return;
  }
  // Work once: keep webhook-id beside what the work changes, and answer 200 at once when it is there.
  const { payload } = JSON.parse(body.toString()) as { payload: { total?: number } };
  if (payload.total === undefined) respond(422, { error: "no total" });
  else respond(200, { paid: payload.total, by: "typescript/webhook" });
}

createServer((request, response) => void receive(request, response)).listen(Number(port), "127.0.0.1");

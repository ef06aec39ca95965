// gRPC for Node, with its own xDS client. It calls the health service of what TARGET resolves to,
// as often as asked on stdin, and prints who answered, one line for each number read.
import grpc from "@grpc/grpc-js";
import * as xds from "@grpc/grpc-js-xds";
import readline from "node:readline";

xds.register();
const client = new grpc.Client(process.env.TARGET, grpc.credentials.createInsecure());

// The messages of grpc.health.v1 are empty or one small number: written by hand.
const check = () =>
  new Promise((resolve) => {
    const deadline = new Date(Date.now() + 10_000);
    const call = client.makeUnaryRequest(
      "/grpc.health.v1.Health/Check", () => Buffer.alloc(0), (bytes) => bytes,
      Buffer.alloc(0), new grpc.Metadata({ waitForReady: true }), { deadline },
      (error) => error && resolve(`error:${error.code}`));
    call.on("status", (status) => resolve(String(status.metadata.get("from")[0] ?? "nobody")));
  });

for await (const line of readline.createInterface({ input: process.stdin })) {
  const answers = [];
  for (let i = 0; i < Number(line) && !answers.at(-1)?.startsWith("error"); i++) answers.push(await check());
  console.log(answers.join(" "));
}
client.close();

// Package webhook sends intents to apps that receive by http, and signs what it
// sends.
//
//	inbound.Push ──Next──▶ pump ──▶ request ──sign──▶ POST ──▶ app (loopback)
//	      ▲                 │         Keyring            │
//	      │                 └ at most HTTPConcurrency    ▼
//	      └──Answer, TurnedAway, Unsent──── judge ◀── its answer
//
// [Pusher] has one pump per agent: it asks the mailbox for as many intents as it
// has requests free. A request is free again when its app has answered: answers go to
// the journal together, as many as have come since the last commit (at most four times
// HTTPConcurrency wait). What an answer makes of an intent is one table (judge). An
// app that could not be connected to, asks for a pause, or says that it is gone
// has taken nothing: its door shuts, and no attempt is counted. Anything else that
// is no success is a failed attempt, also a connection that breaks once the
// request was written: the app may have done the work. For the same reason the
// transport repeats nothing by itself.
//
// Targets can be replaced while it runs. The new one gets what is ready at once;
// what the old one was sent is its own to answer.
//
// A [Subscriber] is sent events in the same way: each is an intent to an address
// of the sidecar's own. Its payload alone is the body, the subscription's secret
// alone signs, and any 2xx is a success; all else is as above.
//
// A [Courier] takes intents to an address of the sidecar's own by other means, and says
// what came of each as if it had judged an answer: messages about tasks are such
// ([pannier/proxy/notify]).
//
// A reader that polls and sends on to an app (`pannier listen --forward`) does so as a
// Pusher: [Describe] makes the headers, and [Judge] says what to settle with. What a
// door is to a Pusher, it must be to itself.
//
// # Signatures
//
// Every request has the headers of Standard Webhooks 1.0.0 and AXP's
// X-Axme-Signature, which has room for one signature: the primary's, keyed with
// the text of the secret as it is written, whsec_ included, since that is what
// AXP's receivers have. webhook-id and Idempotency-Key are the intent's id, or
// that of the first one it repeats: the same at every attempt.
//
// [Keyring] makes a secret when it is first needed, in a file of the agent that
// only its owner can read. A secret is next (known, and signing nothing), current
// (signs first) or retiring (signs too, until its overlap is over): a receiver
// that takes any of them refuses nothing over a rotation. Secrets leave only by
// their file; everything else shows fingerprints.
//
// # Invariants
//
//   - Only loopback is dialed, unless the host of the URL is among HTTPRemote: the
//     check is made on the address, after any name. No proxy, no redirects.
//   - Each intent taken is answered for once: by what came, or as never sent.
//   - A request has one span, whose context its app is told; events have none.
//   - A request is bounded by HTTPTimeout, its answer by MaxAnswer.
//
// # Crashes
//
// Nothing is written before a request: killed while it is under way, or its answer is
// on the way to the disk, the intent is ready at the next start, marked as redelivered, and no attempt is counted. The
// same holds for a request that a stop cut off.
package webhook

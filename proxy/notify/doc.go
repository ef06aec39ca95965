// Package notify tells people of their tasks elsewhere than in their inbox, and what a
// step of a workflow says: by a request to a URL, by a line in a chat, by mail.
//
//	journal: a turn of a task ──Tell──▶ Rules ──▶ one intent for each whom it concerns
//	                                                    │ notify:NAME, same commit
//	                                                    ▼
//	        webhook.Pusher ──── Courier of the target: post │ mail ──▶ server
//	              ▲                                                      │
//	              └────────── done, attempt, dead letter, door ◀─────────┘
//
// [Rules] decide who is told, on the committer, from the configuration alone. What is
// written in the intent is what a webhook gets; a chat's line and a mail are made of it
// when they are sent. A [Target]'s courier sends, and says what came of it:
//
//	               taken       failed attempt      dead letter           door
//	webhook, chat  any 2xx     as for an app's webhook (pannier/proxy/webhook)
//	mail           250         4xx to this mail,   5xx to this mail      no connection, TLS, login,
//	                           answer lost                               421, a sender that is refused
//
// So what is wrong with a message ends that message, with the server's words, and what is
// wrong with the server, or with our login there, keeps all of them waiting.
//
// # Invariants
//
//   - A message says that there is something to decide, and who asks. A link opens a page:
//     there is none that decides.
//   - A step names its target, and no address: whom a mail goes to is the configuration's
//     word alone.
//   - Nothing that a sender has written is more than text in a message: no control
//     character, no mark that turns the direction of text, no markup of a chat, no header.
//     What is longer than a title or a paragraph is cut.
//   - Secrets are in files that nobody else may read, and read anew for each message: a
//     rotation needs no restart. They are in no option, no log and no error.
//   - A task can name an address for mail (notify_email) only within domains that the
//     configuration names: else whoever may post could have mail sent to anybody.
//   - Certificates are verified. Without TLS no password is sent but to loopback.
//
// # Crashes
//
// Nothing is kept here. Killed between a server's answer and the commit of it, a message
// goes out a second time, under the same webhook-id or Message-ID.
//
// # Why not a library
//
// Mail is net/smtp, which is frozen and complete enough, and eighty lines of header and
// body. wneessen/go-mail does more than is wanted and makes the sidecar 0.45 MB larger
// (0.7.2: 30.22 MB stripped against 29.77), which is past what it may have; from 0.8 on
// it asks for a newer Go, too.
//
// # What it does not do
//
// No HTML, no attachments, no DKIM (the relay signs), no LOGIN or OAuth at the mail
// server, no reading of answers or bounces, no digest: a turn is a message.
package notify

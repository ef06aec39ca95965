// Package identity is who this sidecar is to others, and what it makes of who
// they are: the credentials of its gRPC channels, the agents that the other end
// of one may speak for, and the policy of who may send to whom.
//
//	certificate files ─┐ read again                  ┌─▶ ServerOptions ─▶ listeners
//	Workload API ──────┼──────────────▶ material ────┼─▶ Dial ──────────▶ other sidecars
//	keyring ───────────┘ SetKeys        ▲    │       └─▶ DialNamed ─────▶ control plane
//	                      SetBundle ────┘    │ judge
//	                                         ▼
//	                  a stream's context ─▶ Of ─▶ Peer: SpeaksFor, MaySend, MayTell
//
// A [Trust] has one source of identity. What it makes of it at one moment, the
// material, is never changed but replaced: a handshake sees one or the other. All
// channels are TLS 1.3 with certificates on both sides and no resumption. The name
// of the host that was dialed proves nothing here and is not looked at; whom a
// directory says to live there is asked of the [Peer].
//
// # Names
//
// A certificate's names are its URIs and DNS names. With mappings (`identities:`)
// each that fits gives the agents of its mapping. Without any, a certificate
// names its agents itself:
//
//	spiffe://TRUST-DOMAIN/agent/org/env/name   agent://org/env/name
//	spiffe://TRUST-DOMAIN/agent/name           name
//	agent://org/env/name                       itself
//
// A SPIFFE ID must be of the trust domain of our own, or of one that a mapping
// names, whoever has signed it; certificates from the Workload API are verified
// with the bundle of their own trust domain only.
//
// # The keyring
//
// For those without certificates. crypto/tls has no external pre-shared keys, and
// a signature scheme of our own over frames would have to be invented, with its
// nonces and clocks. So a key makes certificates: HKDF-SHA256 (RFC 5869) of it is
// the seed of an Ed25519 key, that of a root which all holders of the key make
// alike and nobody else can sign with; each process issues itself a leaf for a
// P-256 key that never leaves it. From there on it is the same TLS as above, with
// its forward secrecy and its answer to replay: nothing recorded is worth
// anything in another handshake. A root is known by its public key, so a key may
// have another id elsewhere. Certificates of keys do not expire; a key that is
// taken out of the ring is what ends. Since the public key can be seen by whoever
// dials, a key must be too long to guess: 32 random bytes.
//
// Who has a key may speak for all its agents (every agent, unless it lists some).
// One key for all sidecars keeps strangers out, and trusts every sidecar with
// every agent; keys that list agents, each shown by those who serve them and known
// to all, tell them apart.
//
// # Authorities of the mesh
//
// A control plane can name authorities (SDS: the validation context of one secret,
// over the same stream as everything else), and a sidecar with certificate files
// can be told to trust them (xds_trust). So an authority takes the place of another
// by one file, that of the control plane: it gets the new one beside the old, the
// certificates are issued anew, the old one is taken out. What is named adds to
// tls_ca and never takes from it: the file is what a control plane is known by, and
// what is left if it names nonsense. Whoever holds the control plane then says whom
// sidecars believe, which is why it is asked for. An empty bundle is refused, and a
// bundle that is deleted stays: trust ends by another bundle without it, and is
// then gone from open channels too. Keys are never sent. With the Workload API the
// bundles are its own; with a keyring there are none.
//
// # Refusals
//
// A client judges the server in the handshake; the error is that of the dial. A
// server must hear the client's whole handshake before it can judge, and an alert
// says nothing to whoever reads a log: so the handshake succeeds, every call is
// answered with a status that says what is wrong and what to do, before its
// handler or any message is looked at, and the connection is cut after 5 s. Both
// texts end up as the last error of `pannier peers` at home.
//
// # Invariants
//
//   - No handler of a server with these options runs for a peer that is not
//     trusted, and no channel of Dial comes up with one.
//   - A channel ends when its peer would not get another: its certificate has
//     expired (within a second), its key or its authority was taken out.
//   - A source that gives something bad changes nothing: half of a pair, a bundle
//     cut off, an expired certificate or one that is not valid yet, or is not issued
//     for what it is needed for, a keyring without one current key. The last
//     good one stays in force until its own end, and the log says so, once.
//   - So does one that would no longer be for an agent of this sidecar, as it judges
//     itself: peers would refuse for good what it sends in that agent's name.
//   - Of several channels each is judged by its own certificate; no header, hello
//     or field makes anybody somebody.
//   - At each step of a rotation (add, change over, take out), in whatever order
//     sidecars take it, both sides know what the other shows. What a channel was
//     made with may end with it: it is dialed anew, and no intent fails for it.
//
// # Crashes
//
// Nothing here is written. A start reads the files; one that cannot be used is an
// error then. With the Workload API nothing waits for the agent: until it has
// answered, handshakes fail and say so, and intents wait.
//
// # What it does not do
//
// It issues nothing but leaves of keys, asks no revocation list and no OCSP
// (short certificates, and taking out what is not trusted, stand for those), and
// knows no JWT-SVIDs. A journal is its peer's while anything of it is held, while its
// stream lives and some time after that: a peer that has no agent in common with it
// may say its id neither as a home (for ten minutes) nor as a holder (a day). For
// longer it is not bound; nor at the restart of a holder, which remembers of homes
// only what it holds. A completion is its home's word: nobody can check to whom the
// intent had been sent.
package identity

package kubernetes

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	authentication "k8s.io/api/authentication/v1"

	"pannier/proxy/controlplane"
)

// DefaultAudience is what tokens of sidecars are for.
const DefaultAudience = "pannier"

const (
	// believedFor is how long a token is who it was found to be; refusedFor, how long
	// a bad one is not asked about again.
	believedFor = time.Minute
	refusedFor  = 10 * time.Second
	// believedWithout is how long a token that was good once stays so while the API
	// server does not answer: sidecars that come back are then as they were.
	believedWithout = 10 * time.Minute
	// maxReviewed bounds the tokens that are remembered; maxToken, one of them.
	maxReviewed = 20_000
	maxToken    = 16 << 10
	// reviewTimeout is for one question.
	reviewTimeout = 10 * time.Second
)

// Reviewer knows sidecars by the tokens of their service accounts, of which it asks
// the API server.
type Reviewer struct {
	source   *Source
	audience string
	asking   singleflight.Group
	mu       struct {
		sync.Mutex
		known map[[sha256.Size]byte]reviewed // by the token
	}
}

// reviewed is what a token was found to be.
type reviewed struct {
	account account
	err     error // why it is nobody's
	at      time.Time
}

// Reviewer returns what tells who the bearers of tokens are, by what the source says
// of their namespaces.
func (s *Source) Reviewer(audience string) *Reviewer {
	r := &Reviewer{source: s, audience: audience}
	r.mu.known = map[[sha256.Size]byte]reviewed{}
	return r
}

// account is a service account, and the pod that its token is bound to.
type account struct {
	namespace, name string
	pod             string // NAMESPACE/NAME; empty: its token is bound to none
}

// Identify is controlplane.Registration's: who is at the other end of a stream, by
// its token. A token that came in the clear from afar is looked at no further: it is
// no secret.
func (r *Reviewer) Identify(ctx context.Context) (controlplane.Announcer, error) {
	if err := private(ctx); err != nil {
		return nil, err
	}
	given := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(given) != 1 {
		return nil, errors.New("it has shown no token of its service account: set xds_token")
	}
	token, ok := strings.CutPrefix(given[0], "Bearer ")
	if !ok || token == "" || len(token) > maxToken {
		return nil, errors.New("what it has shown is no bearer token")
	}
	a, err := r.review(ctx, token, time.Now())
	if err != nil {
		return nil, err
	}
	return bearer{a, r.source}, nil
}

// private reports whether nobody else could read what came by a stream.
func private(ctx context.Context) error {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return errors.New("nothing is known of its channel")
	}
	if p.AuthInfo != nil && p.AuthInfo.AuthType() != "insecure" && credentials.CheckSecurityLevel(p.AuthInfo, credentials.PrivacyAndIntegrity) == nil {
		return nil
	}
	if tcp, ok := p.Addr.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return nil
	}
	return errors.New("tokens are taken over TLS or on loopback only")
}

// review asks who a token belongs to, or remembers.
func (r *Reviewer) review(ctx context.Context, token string, now time.Time) (account, error) {
	key := sha256.Sum256([]byte(token))
	r.mu.Lock()
	was, known := r.mu.known[key]
	r.mu.Unlock()
	if known && now.Sub(was.at) < was.fresh() {
		return was.account, was.err
	}
	answer, err, _ := r.asking.Do(string(key[:]), func() (any, error) {
		// One answer is for all who wait for it: it does not end with one of them.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewTimeout)
		defer cancel()
		is, err := r.ask(ctx, token)
		if err == nil {
			is.at = now
			r.remember(key, is, now)
		}
		return is, err
	})
	if err != nil {
		if known && was.err == nil && now.Sub(was.at) < believedWithout {
			return was.account, nil
		}
		return account{}, fmt.Errorf("its token cannot be reviewed: %w", err)
	}
	is := answer.(reviewed)
	return is.account, is.err
}

func (r reviewed) fresh() time.Duration {
	if r.err != nil {
		return refusedFor
	}
	return believedFor
}

// remember makes room first of what is of no use any more.
func (r *Reviewer) remember(key [sha256.Size]byte, is reviewed, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.known) >= maxReviewed {
		for other, old := range r.mu.known {
			if old.err != nil || now.Sub(old.at) >= believedWithout {
				delete(r.mu.known, other)
			}
		}
	}
	for other := range r.mu.known {
		if len(r.mu.known) < maxReviewed {
			break
		}
		delete(r.mu.known, other) // whichever: it is asked about again
	}
	r.mu.known[key] = is
}

// userPrefix begins the names of service accounts, and the keys of what else is
// known of a token.
const (
	userPrefix = "system:serviceaccount:"
	extraPod   = "authentication.kubernetes.io/pod-name"
)

// ask asks the API server. The error is that it does not answer; a token it refuses
// is an answer.
func (r *Reviewer) ask(ctx context.Context, token string) (is reviewed, err error) {
	review := authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: token, Audiences: []string{r.audience}}}
	if err := r.source.client.authentication.Post().Resource("tokenreviews").Body(&review).Do(ctx).Into(&review); err != nil {
		return is, err
	}
	s := review.Status
	namespace, name, ok := strings.Cut(strings.TrimPrefix(s.User.Username, userPrefix), ":")
	switch {
	case !s.Authenticated && s.Error != "":
		is.err = fmt.Errorf("its token is refused: %s", brief(s.Error))
	case !s.Authenticated:
		is.err = errors.New("its token is refused: it has expired, or is none of this cluster")
	case !slices.Contains(s.Audiences, r.audience):
		// A server that knows no audiences takes a token for anything.
		is.err = fmt.Errorf("its token is refused: it is not for the audience %q", r.audience)
	case !ok || !strings.HasPrefix(s.User.Username, userPrefix):
		is.err = fmt.Errorf("its token is refused: %s is no service account", brief(s.User.Username))
	default:
		is.account = account{namespace: namespace, name: name}
		if pod := s.User.Extra[extraPod]; len(pod) == 1 {
			is.account.pod = podName(namespace, pod[0])
		}
	}
	return is, nil
}

// bearer is a service account as the source of its cluster knows it.
type bearer struct {
	account
	source *Source
}

// String implements controlplane.Announcer, in the words of the API server.
func (b bearer) String() string { return userPrefix + b.namespace + ":" + b.name }

// SpeaksFor implements controlplane.Announcer: addresses of its namespace, those of a
// Service only where that is of the namespace, and says no other account.
func (b bearer) SpeaksFor(agent string) error {
	b.source.mu.Lock()
	defer b.source.mu.Unlock()
	in, ok := b.source.mu.known.scopes[b.namespace]
	c, claimed := b.source.mu.known.claims[agent]
	switch {
	case !ok:
		return fmt.Errorf("%s may register nothing: namespace %s has no annotations %s and %s, or is not watched", b, b.namespace, AnnotationOrg, AnnotationEnv)
	case !strings.HasPrefix(agent, in.prefix()):
		return fmt.Errorf("%s may not register %s, only addresses that begin with %s", b, agent, in.prefix())
	case claimed && c.service.Namespace != b.namespace:
		return fmt.Errorf("%s may not register %s, which belongs to the Service %s/%s", b, agent, c.service.Namespace, c.service.Name)
	case claimed && c.account != "" && c.account != b.name:
		return fmt.Errorf("%s may not register %s: its Service says the service account %s", b, agent, c.account)
	}
	return nil
}

// At implements controlplane.Resident: nobody registers at the address of another
// pod, and so lets it drain.
func (b bearer) At(address string) error {
	b.source.mu.Lock()
	defer b.source.mu.Unlock()
	pod := b.source.mu.known.pods[address]
	namespace, _, _ := strings.Cut(pod, "/")
	switch {
	case pod == "":
		return nil
	case b.pod == "" && namespace == b.namespace, b.pod == pod:
		return nil
	case b.pod == "":
		return fmt.Errorf("%s is the pod %s, which is not of namespace %s", address, pod, b.namespace)
	}
	return fmt.Errorf("%s is the pod %s, and the token is of %s", address, pod, b.pod)
}

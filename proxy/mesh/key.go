package mesh

import (
	"crypto/sha256"
	"encoding/base32"
	"regexp"
	"strings"
)

// segments is an address that can be read off its key: agent://org/env/name of
// three DNS labels.
var segments = regexp.MustCompile(`^agent://([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$`)

// hashed is how many characters of an address' hash are in its key: 130 bits.
const hashed = 26

// Key is the name of an agent's resources: name.env.org, so that
// xds:///name.env.org works as it is; x-HASH.pannier for an address of another
// form. Two labels are never three, so the forms do not meet. The address in the
// metadata decides whose resource it is.
func Key(agent string) string {
	if m := segments.FindStringSubmatch(agent); m != nil {
		return m[3] + "." + m[2] + "." + m[1]
	}
	sum := sha256.Sum256([]byte(agent))
	text := strings.ToLower(base32.HexEncoding.EncodeToString(sum[:]))
	return "x-" + text[:hashed] + ".pannier"
}

// Cluster is the name of the cluster that holds one subset of an agent's
// endpoints; the empty subset's is the key itself.
func Cluster(key, subset string) string {
	if subset == "" {
		return key
	}
	return subset + "|" + key
}

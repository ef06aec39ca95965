package notify

import (
	"fmt"
	"io"
	"strings"

	"pannier/proxy/regular"
)

const maxSecret = 4 << 10

// secretOf reads a file of a secret, which nobody else may. What is in it is in no error.
func secretOf(key, path string) (string, error) {
	if err := regular.Private(path); err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	f, err := regular.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	if len(text) > maxSecret {
		return "", fmt.Errorf("%s: %s has more than %d bytes, which no secret has", key, path, maxSecret)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" || strings.ContainsAny(secret, "\r\n\x00") {
		return "", fmt.Errorf("%s: %s has no secret, which is one line of text", key, path)
	}
	return secret, nil
}

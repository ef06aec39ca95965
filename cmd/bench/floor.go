package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// canarySyncs of one writer take some 10 ms where a sync takes 0.1 ms.
const canarySyncs = 64

// canary appends to a file and syncs it, again and again, and returns the median of
// one: what the disk does for us just now.
func canary(dir string, size int) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "canary"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, size)
	took := make([]time.Duration, canarySyncs)
	for i := range took {
		begin := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, fmt.Errorf("fdatasync: %w", err)
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	return quantile(took, 0.5), nil
}

// Echo serves an HTTP echo on a free port of loopback until ctx ends, and says where
// as a sidecar would.
func Echo(ctx context.Context, stdout io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // it fails only where the client is gone
	})}
	if err := json.NewEncoder(stdout).Encode(ready{API: l.Addr().String()}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

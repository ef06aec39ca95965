package admin

import (
	"context"
	"net/http"
	"runtime/pprof"
	"strconv"
	"time"
)

const (
	usualProfile = 30 * time.Second
	maxProfile   = 5 * time.Minute
)

// profiles serves what `go tool pprof` asks for. It is behind an option because a
// profile costs the process while it is taken, and shows what its memory holds.
// The standard library's net/http/pprof is the same with diffs, traces and an index,
// and makes the binary 0.2 MB larger still.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/profile", cpuProfile)
	mux.HandleFunc("GET /debug/pprof/{name}", profile)
}

// cpuProfile answers when ?seconds= are over; whoever hangs up ends it.
func cpuProfile(w http.ResponseWriter, r *http.Request) {
	span := usualProfile
	if text := r.URL.Query().Get("seconds"); text != "" {
		n, err := strconv.Atoi(text)
		if span = time.Duration(n) * time.Second; err != nil || span <= 0 || span > maxProfile {
			refuse(w, http.StatusUnprocessableEntity, "invalid_seconds", "seconds is a whole number from 1 to "+strconv.Itoa(int(maxProfile/time.Second)))
			return
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := pprof.StartCPUProfile(w); err != nil {
		refuse(w, http.StatusConflict, "profile_under_way", "one CPU profile at a time: another is being taken")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), span)
	defer cancel()
	<-ctx.Done()
	pprof.StopCPUProfile()
}

// profile answers with what the runtime keeps: heap, allocs, goroutine and the like.
func profile(w http.ResponseWriter, r *http.Request) {
	p := pprof.Lookup(r.PathValue("name"))
	if p == nil {
		refuse(w, http.StatusNotFound, "profile_not_found", "no such profile: see profile, heap, allocs, goroutine, threadcreate")
		return
	}
	debug, _ := strconv.Atoi(r.URL.Query().Get("debug")) // 0: as go tool pprof reads it; 1, 2: text
	w.Header().Set("Content-Type", "application/octet-stream")
	_ = p.WriteTo(w, debug) // it fails only where whoever asked is gone
}

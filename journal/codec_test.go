package journal_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/wire"
)

// TestGoldenRecord pins version 1 on disk: a journal written today must be
// read by every later version.
func TestGoldenRecord(t *testing.T) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(&wire.Head{Status: 2, OfferNo: 1, Dest: 7, DueMs: 1774785600000})
	if err != nil {
		t.Fatal(err)
	}
	got := journal.Seal([]byte("i0123456789abcdef"), 42, body)
	want := []byte{1, 0xd6, 0x8c, 0xfa, 0xfe, 0, 0, 0, 0, 0, 0, 0, 42, 0x8, 0x2, 0x20, 0x1, 0x30, 0x7, 0x38, 0x80, 0xb4, 0xdc, 0xcb, 0xd3, 0x33}
	if !bytes.Equal(got, want) {
		t.Fatalf("record of version 1:\n got %#v\nwant %#v", got, want)
	}
}

func TestGoldenKey(t *testing.T) {
	id, err := journal.ParseID("0193a7f2-5b0e-7c3a-9d6e-0f1a2b3c4d5e")
	if err != nil {
		t.Fatal(err)
	}
	got := journal.KeyOfDue(7, 1774785600000, id)
	want := "o\x00\x00\x00\x07\x00\x00\x01\x9d\x39\x77\x1a\x00\x01\x93\xa7\xf2\x5b\x0e\x7c\x3a\x9d\x6e\x0f\x1a\x2b\x3c\x4d\x5e"
	if string(got) != want {
		t.Fatalf("due key: got %q, want %q", got, want)
	}
}

// FuzzRecord: what was sealed is read back; a changed byte of key or record is
// always found out.
func FuzzRecord(f *testing.F) {
	f.Add([]byte("i0123456789abcdef"), uint64(1), []byte("body"), uint16(3), byte(1))
	f.Add([]byte{}, uint64(0), []byte{}, uint16(0), byte(0x80))
	f.Fuzz(func(t *testing.T, key []byte, seq uint64, body []byte, pos uint16, flip byte) {
		rec := journal.Seal(key, seq, body)
		gotSeq, got, err := journal.Unseal(key, rec)
		if err != nil || gotSeq != seq || !bytes.Equal(got, body) {
			t.Fatalf("read back %d %q: %v", gotSeq, got, err)
		}
		if flip == 0 {
			return
		}
		other := append(bytes.Clone(key), flip)
		if _, _, err := journal.Unseal(other, rec); !errors.As(err, new(*journal.CorruptError)) {
			t.Fatalf("it was read under another key: %v", err)
		}
		bad := bytes.Clone(rec)
		bad[int(pos)%len(bad)] ^= flip
		var corrupt *journal.CorruptError
		if _, _, err := journal.Unseal(key, bad); !errors.As(err, &corrupt) {
			t.Fatalf("a flipped byte was not noticed: %v", err)
		}
	})
}

// FuzzUnseal: bytes off a disk never panic.
func FuzzUnseal(f *testing.F) {
	f.Add([]byte("k"), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, key, rec []byte) {
		if _, body, err := journal.Unseal(key, rec); err == nil && len(body) > len(rec) {
			t.Fatalf("%d bytes of body out of a record of %d", len(body), len(rec))
		}
	})
}

// FuzzDueKey: due keys sort by agent, then time, and are read back.
func FuzzDueKey(f *testing.F) {
	f.Add(uint32(1), int64(5), uint32(1), int64(6), []byte("0123456789abcdef"))
	f.Fuzz(func(t *testing.T, a1 uint32, t1 int64, a2 uint32, t2 int64, raw []byte) {
		if len(raw) != 16 || t1 < 0 || t2 < 0 {
			return
		}
		id := journal.ID(raw)
		k1, k2 := journal.KeyOfDue(journal.Agent(a1), t1, id), journal.KeyOfDue(journal.Agent(a2), t2, id)
		due, got := journal.SplitDue(k1)
		if got != id || !due.Equal(time.UnixMilli(t1)) {
			t.Fatalf("read back %s %s, want %s %d", got, due, id, t1)
		}
		less := a1 < a2 || a1 == a2 && t1 < t2
		if (bytes.Compare(k1, k2) < 0) != less {
			t.Fatalf("order of (%d,%d) and (%d,%d) is not that of the keys", a1, t1, a2, t2)
		}
	})
}

// FuzzMark: a high-water mark off a disk never panics; one that is taken is
// written and read back as it is.
func FuzzMark(f *testing.F) {
	f.Add([]byte(`{"version":1,"journal":"0193a7f2-5b0e-7c3a-9d6e-0f1a2b3c4d5e","epoch":1,"seq":7,"clean":true}`))
	f.Add([]byte(`{"version":2}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		same, ok, err := journal.ReadBackMark(b, dir)
		if ok && (err != nil || !same) {
			t.Fatalf("taken, but not read back as written: %v", err)
		}
	})
}

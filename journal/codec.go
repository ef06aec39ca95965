package journal

import (
	"encoding/binary"
	"hash/crc32"

	"google.golang.org/protobuf/proto"
)

// A record is a header of 13 bytes and a protobuf body:
//
//	format  u8   recordV1
//	crc     u32  CRC-32C over key, seq and body
//	seq     u64  the batch that wrote it
//
// Badger checks blocks only when a table is opened, and its own damage is
// quiet: a record that is wrong must be found out here, never taken as absent.
const (
	recordV1   = 1
	headerSize = 13
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(key []byte, seq uint64, body []byte) []byte {
	rec := append(make([]byte, headerSize, headerSize+len(body)), body...)
	finish(key, seq, rec)
	return rec
}

// finish fills the header of a record that has its body.
func finish(key []byte, seq uint64, rec []byte) {
	rec[0] = recordV1
	binary.BigEndian.PutUint64(rec[5:], seq)
	binary.BigEndian.PutUint32(rec[1:5], checksum(key, rec[5:]))
}

func unseal(key, rec []byte) (seq uint64, body []byte, err error) {
	switch {
	case len(rec) < headerSize:
		return 0, nil, &CorruptError{Key: key, Why: "shorter than its header"}
	case rec[0] != recordV1:
		return 0, nil, &CorruptError{Key: key, Why: "unknown format"}
	case binary.BigEndian.Uint32(rec[1:5]) != checksum(key, rec[5:]):
		return 0, nil, &CorruptError{Key: key, Why: "checksum mismatch"}
	}
	return binary.BigEndian.Uint64(rec[5:13]), rec[headerSize:], nil
}

func checksum(key, rest []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, rest)
}

// sealMessage is seal for a message, encoded in its place.
func sealMessage(key []byte, seq uint64, m proto.Message) ([]byte, error) {
	rec := make([]byte, headerSize, headerSize+proto.Size(m))
	rec, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(rec, m)
	if err != nil {
		return nil, err
	}
	finish(key, seq, rec)
	return rec, nil
}

func unsealMessage(key, rec []byte, m proto.Message) error {
	_, body, err := unseal(key, rec)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return &CorruptError{Key: key, Why: err.Error()}
	}
	return nil
}

package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"google.golang.org/protobuf/proto"
)

// SpoilBlock makes the first of several blocks of a table say that it has more entries than it
// can, under a checksum that is right.
func SpoilBlock(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	index, err := readIndex(f, int64(len(b)))
	if err != nil {
		return err
	}
	root, at := fb.GetRootAsTableIndex(index.data, 0), fb.BlockOffset{}
	if root.OffsetsLength() < 2 || !root.Offsets(&at, 0) {
		return fmt.Errorf("it has %d blocks", root.OffsetsLength())
	}
	block := b[at.Offset():][:at.Len()]
	of, _, err := cutSum(block)
	if err != nil {
		return err
	}
	for n := uint32(math.MaxUint32); ; n-- { // until the checksum is as long as it was
		binary.BigEndian.PutUint32(of[len(of)-4:], n)
		sum, err := proto.Marshal(&pb.Checksum{Sum: uint64(crc32.Checksum(of, castagnoli))})
		if err != nil {
			return err
		}
		if len(of)+len(sum)+4 == len(block) {
			copy(block[len(of):], sum)
			return os.WriteFile(path, b, 0o600)
		}
	}
}

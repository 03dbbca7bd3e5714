package broker

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// FuzzBatches: a damaged segment of the broker's data is read up to the damage.
func FuzzBatches(f *testing.F) {
	whole := make([]byte, batchHeader+10)
	binary.BigEndian.PutUint32(whole[8:], uint32(len(whole)-12))
	binary.BigEndian.PutUint32(whole[17:], crc32.Checksum(whole[21:], crc32.MakeTable(crc32.Castagnoli)))
	f.Add(whole)
	f.Add(append(bytes.Clone(whole), whole...))
	f.Add(whole[:len(whole)-1])
	f.Add(bytes.Repeat([]byte{0xff}, batchHeader))
	f.Fuzz(func(t *testing.T, raw []byte) {
		w, read := &window{}, 0
		for batch := range batches(raw) {
			w.add(batch)
			read += len(batch)
		}
		if read > len(raw) {
			t.Errorf("%d bytes were read of %d", read, len(raw))
		}
	})
}

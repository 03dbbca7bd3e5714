package broker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// An idempotent producer repeats a batch whose acknowledgement it missed, and a
// broker tells the repetition by the producer's sequence numbers. kfake writes
// those down only when it stops in order: after a SIGKILL it would take the
// batch twice, or compare with numbers of an earlier life. They are in the
// batches themselves, so they are taken from there before every start.

// windowSize is how many batches back a repetition is recognised: a producer
// has at most five on their way.
const windowSize = 5

// batchHeader is the length of a record batch without its records.
const batchHeader = 61

// producerEntry is one batch in a window. The names are those of kfake's file.
type producerEntry struct {
	FirstSeq int32 `json:"first_seq"`
	NextSeq  int32 `json:"next_seq"`
	Offset   int64 `json:"offset"`
}

// window holds the last batches of one producer in one partition.
type window struct {
	Producer  int64                     `json:"pid"`
	Topic     string                    `json:"topic"`
	Partition int32                     `json:"partition"`
	Entries   [windowSize]producerEntry `json:"entries"`
	Count     uint8                     `json:"count"`
	At        uint8                     `json:"at"`
	Epoch     int16                     `json:"epoch"`
	Seen      bool                      `json:"seen"`
	NextSeq   int32                     `json:"next_seq"`
}

type windowsFile struct {
	Version int       `json:"version"`
	Windows []*window `json:"windows"`
}

const windowsVersion = 1

// restoreSequences writes the sequence numbers of every producer, as the
// batches in dir have them, where kfake reads them at its start.
func restoreSequences(dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("broker: reading partitions: %w", err)
	}
	file := windowsFile{Version: windowsVersion, Windows: []*window{}}
	for _, e := range entries {
		topic, partition, ok := partitionOf(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		windows, err := partitionWindows(filepath.Join(dir, "partitions", e.Name()), topic, partition)
		if err != nil {
			return fmt.Errorf("broker: reading batches of %s: %w", e.Name(), err)
		}
		file.Windows = append(file.Windows, windows...)
	}
	text, err := json.Marshal(file)
	if err != nil {
		return fmt.Errorf("broker: sequence numbers: %w", err)
	}
	path := filepath.Join(dir, "seq_windows.json")
	if err := os.WriteFile(path+".tmp", text, 0o644); err != nil {
		return fmt.Errorf("broker: sequence numbers: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("broker: sequence numbers: %w", err)
	}
	return nil
}

// partitionOf reads a directory's name: topic, escaped, a dash and the number.
func partitionOf(name string) (topic string, partition int32, ok bool) {
	dash := strings.LastIndexByte(name, '-')
	if dash < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(name[dash+1:], 10, 32)
	if err != nil {
		return "", 0, false
	}
	if topic, err = url.PathUnescape(name[:dash]); err != nil {
		return "", 0, false
	}
	return topic, int32(n), true
}

func partitionWindows(dir, topic string, partition int32) ([]*window, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.dat"))
	if err != nil {
		return nil, err
	}
	sort.Slice(names, func(i, j int) bool { return segmentBase(names[i]) < segmentBase(names[j]) })
	byProducer := map[int64]*window{}
	var list []*window
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for batch := range batches(raw) {
			id := int64(binary.BigEndian.Uint64(batch[43:]))
			if id < 0 { // not idempotent
				continue
			}
			w := byProducer[id]
			if w == nil {
				w = &window{Producer: id, Topic: topic, Partition: partition}
				byProducer[id] = w
				list = append(list, w)
			}
			w.add(batch)
		}
	}
	return list, nil
}

func segmentBase(path string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(path), ".dat"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// batches yields the whole and undamaged batches of a segment. It stops where
// kfake truncates: a batch behind that point was never acknowledged and must
// not count as seen.
func batches(raw []byte) func(yield func([]byte) bool) {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	return func(yield func([]byte) bool) {
		for len(raw) >= batchHeader {
			size := 12 + int64(binary.BigEndian.Uint32(raw[8:]))
			if size < batchHeader || size > int64(len(raw)) {
				return
			}
			batch := raw[:size]
			if crc32.Checksum(batch[21:], castagnoli) != binary.BigEndian.Uint32(batch[17:]) || !yield(batch) {
				return
			}
			raw = raw[size:]
		}
	}
}

// add puts a batch behind those before it.
func (w *window) add(batch []byte) {
	const control = 0x20
	if batch[22]&control != 0 {
		return
	}
	epoch := int16(binary.BigEndian.Uint16(batch[51:]))
	first := int32(binary.BigEndian.Uint32(batch[53:]))
	count := int32(binary.BigEndian.Uint32(batch[57:]))
	// Sequence numbers wrap at 2^31-1, as kfake counts them.
	next := int32((int64(first) + int64(count)) % (1<<31 - 1))
	if !w.Seen || epoch != w.Epoch {
		*w = window{Producer: w.Producer, Topic: w.Topic, Partition: w.Partition, Epoch: epoch, Seen: true}
	}
	w.Entries[w.At] = producerEntry{first, next, int64(binary.BigEndian.Uint64(batch))}
	w.At = (w.At + 1) % windowSize
	w.Count = min(w.Count+1, windowSize)
	w.NextSeq = next
}

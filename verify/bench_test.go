package verify

import (
	"testing"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
)

// BenchmarkPair is the verifier's own work for one transaction of five operations
// on one target: both records decoded, joined and compared, the verdict encoded.
func BenchmarkPair(b *testing.B) {
	codec := avro.New()
	encode := func(rec *event.DigestRecord) []byte {
		value, err := codec.EncodeDigest(rec)
		if err != nil {
			b.Fatal(err)
		}
		return value
	}
	primary := encode(primaryOf(1, 1, 1, 1, 1, 1))
	backup := encode(backupOf("standby", 1, 1, 1, 1, 1, 1))
	now := time.Unix(1_800_000_000, 0)
	j := newJoiner(Config{Level: event.LevelCount, Timeout: time.Minute}, []string{"standby"}, 1<<20, 0)
	verdicts := 0
	j.say = func(v *event.VerdictRecord, pl *place) {
		if _, err := codec.EncodeVerdict(v); err != nil {
			b.Fatal(err)
		}
		verdicts++
		j.acked(pl)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for i, value := range [][]byte{primary, backup} {
			rec, err := codec.DecodeDigest(value)
			if err != nil {
				b.Fatal(err)
			}
			rec.Tx = txid(n)
			j.take(int64(2*n+i), rec, now)
		}
		n = (n + 1) % (1 << 24)
	}
	if verdicts == 0 {
		b.Fatal("no verdict")
	}
}

package pgwire

import (
	"bytes"
	"testing"
	"testing/iotest"
)

// FuzzStream: a stream of any bytes is the same messages in pieces of every size,
// and costs no more memory than what arrived (I7).
func FuzzStream(f *testing.F) {
	f.Add(message(Query, "SELECT 1\x00"), uint8(0))
	f.Add(append(message(Parse, "s\x00SELECT 1\x00\x00\x00"), message(Sync, "")...), uint8(1))
	f.Add([]byte{Query, 0x7f, 0xff, 0xff, 0xff, 'x'}, uint8(2))
	f.Add(append(SSLRequestPacket(), UntypedPacket([]byte{0, 3, 0, 0, 'u', 0, 'v', 0, 0})...), uint8(3))
	f.Fuzz(func(t *testing.T, stream []byte, how uint8) {
		read := func(r *Reader) (bodies [][]byte) {
			if how&1 == 1 { // the start-up phase
				for {
					body, err := r.ReadUntyped(MaxStartup)
					if err != nil {
						return bodies
					}
					_ = KindOfStartup(body)
					bodies = append(bodies, body)
				}
			}
			for {
				m, err := r.Message(1 << 20)
				if err != nil {
					return bodies
				}
				bodies = append(bodies, bytes.Clone(m.Raw))
			}
		}
		whole := NewReader(bytes.NewReader(stream), 64)
		want := read(whole)
		got := read(NewReader(iotest.OneByteReader(bytes.NewReader(stream)), 64))
		if !bytes.Equal(bytes.Join(want, nil), bytes.Join(got, nil)) || len(want) != len(got) {
			t.Errorf("%d messages whole, %d byte by byte", len(want), len(got))
		}
		if most := 128 + 2*len(stream); len(whole.buf) > most {
			t.Errorf("the buffer grew to %d bytes for %d that arrived", len(whole.buf), len(stream))
		}
		if how&2 == 2 && len(stream) > 4 && AuthCode(stream) == AuthSASL {
			_, _ = WithoutChannelBinding(stream)
		}
		_, _, _ = SASLChoice(stream)
		_ = Affected(Tag(stream))
		_ = Columns(stream)
	})
}

package pgwire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func message(typ byte, body string) []byte {
	var out bytes.Buffer
	w := NewWriter(&out, 1<<10)
	if err := errors.Join(w.Message(typ, []byte(body)), w.Flush()); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// TestMessagesSplitAnywhere reads a stream that arrives in pieces of every size.
func TestMessagesSplitAnywhere(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 300))
	stream := bytes.Join([][]byte{message(Query, "SELECT 1\x00"), message(Sync, ""), message(CopyData, long), message(Terminate, "")}, nil)
	for piece := 1; piece <= len(stream); piece++ {
		r := NewReader(&pieces{data: stream, size: piece}, 64)
		for _, want := range []struct {
			typ  byte
			body string
		}{{Query, "SELECT 1\x00"}, {Sync, ""}, {CopyData, long}, {Terminate, ""}} {
			m, err := r.Message(1 << 10)
			if err != nil {
				t.Fatalf("pieces of %d: %v", piece, err)
			}
			if m.Type != want.typ || string(m.Body()) != want.body {
				t.Fatalf("pieces of %d: got %q %q, want %q %q", piece, m.Type, m.Body(), want.typ, want.body)
			}
		}
		if _, err := r.Message(1 << 10); !errors.Is(err, io.EOF) {
			t.Fatalf("pieces of %d: end is %v, want io.EOF", piece, err)
		}
	}
}

type pieces struct {
	data []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.size, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

func TestCopyToStreamsWhatIsTooLargeToKeep(t *testing.T) {
	large := message(DataRow, string(bytes.Repeat([]byte("y"), 5000)))
	r := NewReader(iotest.OneByteReader(bytes.NewReader(append(append([]byte(nil), large...), message(Sync, "")...))), 64)
	_, err := r.Message(1000)
	var tooLarge *TooLargeError
	if !errors.As(err, &tooLarge) || tooLarge.Size != 5000 {
		t.Fatalf("got %v, want a TooLargeError of 5000 bytes", err)
	}
	var out bytes.Buffer
	w := NewWriter(&out, 128)
	if err := errors.Join(r.CopyTo(w), w.Flush()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), large) {
		t.Fatal("the message changed on its way")
	}
	if len(r.buf) > 128 {
		t.Fatalf("the reader's buffer grew to %d bytes", len(r.buf))
	}
	if m, err := r.Message(10); err != nil || m.Type != Sync {
		t.Fatalf("after it: %v, %v", m, err)
	}
}

// TestDeclaredLengthAllocatesNothing: a peer that declares much and sends little
// gets no memory (I7).
func TestDeclaredLengthAllocatesNothing(t *testing.T) {
	r := NewReader(io.MultiReader(bytes.NewReader([]byte{Query, 0x3f, 0xff, 0xff, 0xff, 'a'}), iotest.ErrReader(io.EOF)), 64)
	if _, err := r.Message(1 << 30); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("got %v, want an unexpected end", err)
	}
	if len(r.buf) > 64 {
		t.Fatalf("the buffer grew to %d bytes for 6 that arrived", len(r.buf))
	}
}

func TestLengthsOutOfRangeAreViolations(t *testing.T) {
	for _, length := range [][]byte{{0, 0, 0, 3}, {0x80, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}} {
		r := NewReader(bytes.NewReader(append([]byte{Query}, length...)), 64)
		var violation *ProtocolError
		if _, _, err := r.Header(); !errors.As(err, &violation) {
			t.Errorf("length %x: got %v, want a ProtocolError", length, err)
		}
	}
}

func TestArrivedTellsOnlyOfWholeMessages(t *testing.T) {
	stream := append(message(Query, "SELECT 1\x00"), message(Sync, "")...)
	r := NewReader(&pieces{data: stream, size: len(stream) - 1}, 64)
	if typ := r.Arrived(); typ != 0 {
		t.Errorf("%q has arrived before anything was read", typ)
	}
	if _, err := r.Message(1 << 10); err != nil {
		t.Fatal(err)
	}
	if typ := r.Arrived(); typ != 0 {
		t.Errorf("%q has arrived but for its last byte", typ)
	}
	if _, _, err := r.Header(); err != nil { // reads the rest
		t.Fatal(err)
	}
	if typ := r.Arrived(); typ != Sync {
		t.Errorf("%q has arrived, want Sync", typ)
	}
}

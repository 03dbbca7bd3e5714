package pgwire

import (
	"bytes"
	"io"
	"testing"
)

// Messages come out as they went in, whatever their sizes are beside the writer's.
func TestWriterKeepsTheStream(t *testing.T) {
	for size := headerSize; size < 40; size++ {
		var got bytes.Buffer
		w := NewWriter(&got, size)
		var want []byte
		for n := range 60 {
			body := bytes.Repeat([]byte{byte(n)}, n/2*(n%2)) // every other one is empty
			want = AppendMessage(want, 'd', body)
			if err := w.Message('d', body); err != nil {
				t.Fatal(err)
			}
			if w.Pending() > size {
				t.Fatalf("%d bytes are held back, of %d", w.Pending(), size)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("with %d bytes held back another stream came out", size)
		}
	}
}

func TestMessagesTakeNoMemory(t *testing.T) {
	w := NewWriter(io.Discard, 1<<10)
	body := []byte("UPDATE 1\x00")
	if n := testing.AllocsPerRun(100, func() {
		if err := w.Message(CommandComplete, body); err != nil {
			t.Fatal(err)
		}
		if tag := Tag(body); tag != "UPDATE 1" {
			t.Fatalf("the tag is %q", tag)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a message", n)
	}
}

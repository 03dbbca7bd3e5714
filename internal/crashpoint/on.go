//go:build crashpoints

package crashpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// chosen is where this process dies; it is read once.
var chosen = sync.OnceValue(func() *countdown {
	text := os.Getenv(Variable)
	if text == "" {
		return &countdown{}
	}
	name, nth, _ := strings.Cut(text, ":")
	n, err := strconv.ParseInt(nth, 10, 64)
	if err != nil || n < 1 {
		panic(fmt.Sprintf("%s: expected point:n with n from 1 on, got %q", Variable, text))
	}
	c := &countdown{point: Point(name)}
	c.left.Store(n)
	return c
})

// countdown counts the passes that are left.
type countdown struct {
	point Point
	left  atomic.Int64
}

// At ends the process with SIGKILL if this is the chosen pass of the chosen
// place. Its caller does not go on meanwhile.
func At(p Point) {
	c := chosen()
	if c.point != p || c.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // it cannot be refused for one's own process
	select {}
}

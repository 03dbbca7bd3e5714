package integration

import (
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/testkit"
)

// writersBeside has six sessions at two agents write for some rounds, w being which of them, while another one
// does something else over and over.
func (b *bench) writersBeside(rounds int, write func(conn *pgx.Conn, w, i int), other func(conn *pgx.Conn, i int)) {
	var writers, others sync.WaitGroup
	done := make(chan struct{})
	for w := range 6 {
		conn := testkit.Connect(b.t, b.agent([]string{"a1", "a2"}[w%2]).DSN())
		writers.Go(func() {
			for i := range rounds {
				write(conn, w, i)
			}
		})
	}
	conn := testkit.Connect(b.t, b.agent("a2").DSN())
	others.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				other(conn, i)
			}
		}
	})
	writers.Wait()
	close(done)
	others.Wait()
}

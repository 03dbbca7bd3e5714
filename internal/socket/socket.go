// Package socket has a connection's reads and writes go to the kernel without
// telling Go's scheduler. A session reads and writes little and often. The scheduler
// takes each of these calls for one that may wait: a thread that the kernel preempts in it, for the
// very process that it has just woken, loses its processor to another thread, which
// has to be woken too. A socket that never blocks needs none of that.
package socket

import "net"

// Direct returns a connection that does so, or c itself where it is no socket of the
// system's. Deadlines, Close and errors are those of c. It takes one reader and one writer at
// a time.
func Direct(c net.Conn) net.Conn { return direct(c) }

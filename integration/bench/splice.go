package main

import (
	"context"
	"net"
	"strings"
)

// spliceCommand makes this program the bare splice: two goroutines for each
// connection that pass bytes on unread, which is the least that any proxy in Go
// with goroutines and blocking calls does.
const spliceCommand = "splice"

// spliceBuffer is as large as pgbench's traffic ever needs at once.
const spliceBuffer = 16 << 10

func serveSplice(listen, upstream string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", listen)
	if err != nil {
		return err
	}
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		go spliceOne(client, upstream)
	}
}

func spliceOne(client net.Conn, upstream string) {
	defer client.Close()
	network := "tcp"
	if strings.HasPrefix(upstream, "/") {
		network = "unix"
	}
	var dialer net.Dialer
	server, err := dialer.DialContext(context.Background(), network, upstream)
	if err != nil {
		return // the client sees its connection closed
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pass(server, client)
		_ = client.Close() // so that the other direction ends as well
	}()
	pass(client, server)
	_ = server.Close()
	<-ended
}

// pass does not use io.Copy, which would go through a pipe in the kernel: that
// costs two system calls more for each message.
func pass(from, to net.Conn) {
	buf := make([]byte, spliceBuffer)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
